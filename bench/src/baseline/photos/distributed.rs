use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::bson::{Document, doc, serialize_to_document};
use mongodb::options::{ReadConcern, WriteConcern};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Author, Comment, Entry, Photos, Post, SeedData, Side};
use crate::baseline::distributed::{Distributed, index};

const INSERTED_AT_ONCE: usize = 10_000;

impl Distributed {
    /// Seeds the views.
    pub(crate) async fn seed(&self, seed_data: &SeedData) -> Result<()> {
        let SeedData { posts, authors, likes, follows, comments, homes, merged } = seed_data;
        let indexes = [
            ("authors", doc! { "username": 1 }),
            ("homes", doc! { "owner": 1, "position": -1, "_id": -1 }),
            ("merged", doc! { "owner": 1 }),
            ("comments", doc! { "post": 1, "position": 1, "_id": 1 }),
            ("stories", doc! { "author": 1, "position": 1, "_id": 1 }),
        ];
        index(&self.database, &indexes).await?;
        self.insert("posts", posts, |post| post.post.clone()).await?;
        self.insert("authors", authors, |author| author.user.clone()).await?;
        self.insert("likes", likes, |like| format!("{}.{}", like.post, like.user)).await?;
        self.insert("follows", follows, |follow| format!("{}.{}", follow.follower, follow.followee)).await?;
        self.insert("comments", comments, |comment| comment.comment.clone()).await?;
        self.insert("homes", homes, key).await?;
        self.insert("merged", merged, |one| format!("{}.{}", one.owner, one.author)).await
    }

    async fn insert<T: Serialize>(&self, name: &str, rows: &[T], key: impl Fn(&T) -> String) -> Result<()> {
        for rows in rows.chunks(INSERTED_AT_ONCE) {
            self.collection::<Document>(name).insert_many(keyed(rows, &key)?).await?;
        }
        Ok(())
    }

    /// Inserts home feed entries in one transaction; returns the time it took.
    pub(crate) async fn insert_entries(&self, entries: &[Entry]) -> Result<Duration> {
        let mut session = self.client.start_session().await?;
        let start = Instant::now();
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(WriteConcern::majority())
            .await?;
        let documents = keyed(entries, key)?;
        self.collection::<Document>("homes").insert_many(documents).session(&mut session).await?;
        session.commit_transaction().await?;
        Ok(start.elapsed())
    }

    async fn all<T: DeserializeOwned + Send + Sync>(
        &self,
        collection: &str,
        filter: Document,
        sort: Document,
        limit: i64,
    ) -> Result<Vec<T>> {
        let found = self.collection::<T>(collection).find(filter).sort(sort).limit(limit).await?;
        Ok(found.try_collect().await?)
    }

    /// One field of each document.
    async fn texts(
        &self,
        collection: &str,
        field: &str,
        filter: Document,
        sort: Document,
        limit: i64,
    ) -> Result<Vec<String>> {
        let collection = self.collection::<Document>(collection);
        let found = collection.find(filter).sort(sort).limit(limit).projection(doc! { field: 1, "_id": 0 });
        let found: Vec<Document> = found.await?.try_collect().await?;
        found.iter().map(|document| Ok(document.get_str(field)?.to_owned())).collect()
    }
}

fn key(entry: &Entry) -> String {
    format!("{}.{}", entry.owner, entry.post)
}

fn keyed<T: Serialize>(rows: &[T], key: impl Fn(&T) -> String) -> Result<Vec<Document>> {
    let keyed = rows.iter().map(|row| {
        let mut document = doc! { "_id": key(row) };
        document.extend(serialize_to_document(row)?);
        Ok(document)
    });
    keyed.collect()
}

fn newest() -> Document {
    doc! { "position": -1, "_id": -1 }
}

fn oldest() -> Document {
    doc! { "position": 1, "_id": 1 }
}

#[async_trait]
impl Photos for Distributed {
    async fn ids(&self, side: Side, user: &str, limit: i64) -> Result<Vec<String>> {
        let (own, other) = match side {
            Side::Followers => ("followee", "follower"),
            Side::Followings => ("follower", "followee"),
        };
        self.texts("follows", other, doc! { own: user, "accepted": true }, newest(), limit).await
    }

    async fn usernames(&self, beginning: &str, limit: i64) -> Result<Vec<Author>> {
        let range = doc! { "username": { "$gte": beginning, "$lt": format!("{beginning}{}", char::MAX) } };
        self.all("authors", range, doc! { "username": 1 }, limit).await
    }

    async fn by_username(&self, username: &str) -> Result<Option<Author>> {
        Ok(self.collection("authors").find_one(doc! { "username": username }).await?)
    }

    async fn home(&self, owner: &str, limit: i64) -> Result<Vec<Entry>> {
        self.all("homes", doc! { "owner": owner }, newest(), limit).await
    }

    async fn merged(&self, owner: &str) -> Result<Vec<String>> {
        self.texts("merged", "author", doc! { "owner": owner }, doc! {}, 0).await
    }

    async fn posts(&self, posts: Vec<String>) -> Result<Vec<Post>> {
        self.all("posts", doc! { "_id": { "$in": posts } }, doc! {}, 0).await
    }

    async fn posts_by(&self, author: &str, limit: i64) -> Result<Vec<Post>> {
        self.all("posts", doc! { "author": author }, newest(), limit).await
    }

    async fn likers(&self, post: &str, limit: i64) -> Result<Vec<String>> {
        self.texts("likes", "user", doc! { "post": post }, newest(), limit).await
    }

    async fn comments(&self, post: &str, limit: i64) -> Result<Vec<Comment>> {
        self.all("comments", doc! { "post": post }, oldest(), limit).await
    }

    async fn stories(&self, author: &str) -> Result<usize> {
        Ok(self.all::<Document>("stories", doc! { "author": author }, oldest(), 0).await?.len())
    }
}
