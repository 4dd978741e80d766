use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use rusqlite::types::FromSql;
use rusqlite::{OptionalExtension, Params, params};
use serde::de::DeserializeOwned;

use super::{Author, Comment, Entry, Photos, Post, SeedData, Side};
use crate::baseline::standalone::{Standalone, VIEWS, connect};

const MORE_VIEWS: &str = "
    CREATE TABLE IF NOT EXISTS homes (
        owner TEXT NOT NULL, post TEXT NOT NULL, author TEXT NOT NULL, position INTEGER NOT NULL, doc TEXT NOT NULL,
        PRIMARY KEY (owner, post)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS homes_by_owner ON homes (owner, position DESC);
    CREATE TABLE IF NOT EXISTS merged (
        owner TEXT NOT NULL, author TEXT NOT NULL, PRIMARY KEY (owner, author)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS comments (
        comment TEXT PRIMARY KEY, post TEXT NOT NULL, position INTEGER NOT NULL, doc TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS comments_by_post ON comments (post, position);
    CREATE TABLE IF NOT EXISTS stories (
        story TEXT PRIMARY KEY, author TEXT NOT NULL, position INTEGER NOT NULL, doc TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS stories_by_author ON stories (author, position);
";

impl Standalone {
    /// Seeds the views.
    pub(crate) fn seed(folder: &Path, seed_data: &SeedData) -> Result<()> {
        let SeedData { posts, authors, likes, follows, comments, homes, merged } = seed_data;
        let mut connection = connect(&folder.join("baseline-views.db"), "NORMAL", VIEWS)?;
        connection.execute_batch(MORE_VIEWS)?;
        let transaction = connection.transaction()?;
        let put = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<()> {
            transaction.prepare_cached(sql)?.execute(values)?;
            Ok(())
        };
        for post in posts {
            let doc = serde_json::to_string(post)?;
            put(
                "INSERT INTO posts VALUES (?1, ?2, ?3, ?4, ?5)",
                params![post.post, post.author, post.position, post.likes, doc],
            )?;
        }
        for author in authors {
            let doc = serde_json::to_string(author)?;
            put("INSERT INTO authors VALUES (?1, ?2, ?3)", params![author.user, author.username, doc])?;
        }
        for like in likes {
            put("INSERT INTO likes VALUES (?1, ?2, ?3, ?3)", params![like.post, like.user, like.position])?;
        }
        for follow in follows {
            put(
                "INSERT INTO follows VALUES (?1, ?2, ?3, ?4, ?4)",
                params![follow.follower, follow.followee, follow.accepted, follow.position],
            )?;
        }
        for comment in comments {
            let doc = serde_json::to_string(comment)?;
            put(
                "INSERT INTO comments VALUES (?1, ?2, ?3, ?4)",
                params![comment.comment, comment.post, comment.position, doc],
            )?;
        }
        for entry in homes {
            insert(&transaction, entry)?;
        }
        for one in merged {
            put("INSERT INTO merged VALUES (?1, ?2)", params![one.owner, one.author])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Inserts home feed entries in one transaction; returns the time it took.
    pub(crate) fn insert_entries(folder: &Path, entries: &[Entry]) -> Result<Duration> {
        let mut connection = connect(&folder.join("baseline-views.db"), "NORMAL", MORE_VIEWS)?;
        let start = Instant::now();
        let transaction = connection.transaction()?;
        for entry in entries {
            insert(&transaction, entry)?;
        }
        transaction.commit()?;
        Ok(start.elapsed())
    }

    fn documents<T: DeserializeOwned>(&self, sql: &str, values: impl Params) -> Result<Vec<T>> {
        let docs: Vec<String> = self.first_column(sql, values)?;
        Ok(docs.iter().map(|doc| serde_json::from_str(doc)).collect::<Result<_, _>>()?)
    }

    fn first_column<T: FromSql>(&self, sql: &str, values: impl Params) -> Result<Vec<T>> {
        self.read_views(|connection| {
            connection.prepare_cached(sql)?.query_map(values, |row| row.get(0))?.collect()
        })
    }
}

fn insert(connection: &rusqlite::Connection, entry: &Entry) -> Result<()> {
    let doc = serde_json::to_string(entry)?;
    connection.prepare_cached("INSERT INTO homes VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        entry.owner,
        entry.post,
        entry.author,
        entry.position,
        doc
    ])?;
    Ok(())
}

#[async_trait]
impl Photos for Standalone {
    async fn ids(&self, side: Side, user: &str, limit: i64) -> Result<Vec<String>> {
        let sql = match side {
            Side::Followers => {
                "SELECT follower FROM follows WHERE followee = ?1 AND accepted = 1 ORDER BY position DESC LIMIT ?2"
            }
            Side::Followings => {
                "SELECT followee FROM follows WHERE follower = ?1 AND accepted = 1 ORDER BY position DESC LIMIT ?2"
            }
        };
        self.first_column(sql, params![user, limit])
    }

    async fn usernames(&self, beginning: &str, limit: i64) -> Result<Vec<Author>> {
        self.documents(
            "SELECT doc FROM authors WHERE username >= ?1 AND username < ?2 ORDER BY username LIMIT ?3",
            params![beginning, format!("{beginning}{}", char::MAX), limit],
        )
    }

    async fn by_username(&self, username: &str) -> Result<Option<Author>> {
        Ok(self.documents("SELECT doc FROM authors WHERE username = ?1", [username])?.pop())
    }

    async fn home(&self, owner: &str, limit: i64) -> Result<Vec<Entry>> {
        self.documents(
            "SELECT doc FROM homes WHERE owner = ?1 ORDER BY position DESC LIMIT ?2",
            params![owner, limit],
        )
    }

    async fn merged(&self, owner: &str) -> Result<Vec<String>> {
        self.first_column("SELECT author FROM merged WHERE owner = ?1", [owner])
    }

    async fn posts(&self, posts: Vec<String>) -> Result<Vec<Post>> {
        let docs: Vec<Option<String>> = self.read_views(|connection| {
            let mut statement = connection.prepare_cached("SELECT doc FROM posts WHERE post = ?1")?;
            posts.iter().map(|post| statement.query_row([post], |row| row.get(0)).optional()).collect()
        })?;
        Ok(docs.iter().flatten().map(|doc| serde_json::from_str(doc)).collect::<Result<_, _>>()?)
    }

    async fn posts_by(&self, author: &str, limit: i64) -> Result<Vec<Post>> {
        self.documents(
            "SELECT doc FROM posts WHERE author = ?1 ORDER BY position DESC LIMIT ?2",
            params![author, limit],
        )
    }

    async fn likers(&self, post: &str, limit: i64) -> Result<Vec<String>> {
        self.first_column(
            "SELECT user FROM likes WHERE post = ?1 ORDER BY position DESC LIMIT ?2",
            params![post, limit],
        )
    }

    async fn comments(&self, post: &str, limit: i64) -> Result<Vec<Comment>> {
        self.documents(
            "SELECT doc FROM comments WHERE post = ?1 ORDER BY position LIMIT ?2",
            params![post, limit],
        )
    }

    async fn stories(&self, author: &str) -> Result<usize> {
        let docs: Vec<String> =
            self.first_column("SELECT doc FROM stories WHERE author = ?1 ORDER BY position", [author])?;
        Ok(docs.len())
    }
}
