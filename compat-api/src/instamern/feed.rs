//! The feed, one post, and the posts of a profile.

use query_api::reading::answer::{Conditions, answer};
use query_api::store_problem;
use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use events::PostId;
use futures::{StreamExt, TryStreamExt};
use media::ImageVariant;
use serde::{Serialize, Serializer};
use serde_json::json;
use views::accounts::profiles::{self, AccountStatus, Profile};
use views::social::comments;
use views::social::comments::Comment;
use views::social::posts::{NEWEST, Post, VIEW};
use views::{Query, ViewStoreExt};
use web::compat::{Fields, PathText, Refusal, Success};
use web::problem::Problem;

use super::{Answer, time_of};

use crate::Apps;

/// Default and maximum number of posts in the feed.
const FEED: usize = 15;
const FEED_LIMIT: i64 = 100;
/// Posts that are read at once at most.
const STRETCH_LIMIT: usize = 1000;
/// Maximum number of comments on one post; the oldest ones.
const COMMENTS_LIMIT: usize = 5000;
/// Lists of likes that are read concurrently for one answer.
const AT_ONCE: usize = 16;
const MISSING: &str = "The post no longer active.";

/// The views that posts are shown from.
const VIEWS: [&str; 3] = [VIEW.name, comments::VIEW.name, profiles::VIEW.name];

/// The fields of a post in every list.
#[derive(Debug, Serialize)]
struct PostFields {
    #[serde(rename = "_id")]
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<String>,
    /// None for a post without pictures, which no client can create.
    photo: Option<String>,
    #[serde(rename = "postedBy")]
    posted_by: String,
    #[serde(serialize_with = "ids")]
    likes: Arc<[String]>,
    #[serde(rename = "postedAt")]
    posted_at: String,
}

fn ids<S: Serializer>(ids: &Arc<[String]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter())
}

/// A post in the feed, with the numbers of likes and comments.
#[derive(Debug, Serialize)]
struct FeedPost {
    #[serde(flatten)]
    fields: PostFields,
    like: i64,
    comment: i64,
}

/// A post in a profile.
#[derive(Debug, Serialize)]
pub(super) struct ProfilePost {
    id: String,
    #[serde(flatten)]
    fields: PostFields,
}

/// A single post with its comments.
#[derive(Debug, Serialize)]
struct OnePost {
    #[serde(flatten)]
    post: ProfilePost,
    comments: Vec<PostComment>,
}

#[derive(Debug, Serialize)]
struct PostComment {
    comment: String,
    #[serde(rename = "commentedBy")]
    commented_by: String,
    #[serde(rename = "commentedPost")]
    commented_post: String,
}

#[derive(Serialize)]
struct Posts<T> {
    posts: Vec<T>,
}

#[derive(Serialize)]
struct OneOf<T> {
    post: T,
}

impl Apps {
    async fn show(&self, post: Post) -> Result<PostFields, Problem> {
        let likes = self.queries.likers(&post).await?;
        let Post { post: key, author, images, caption, published, .. } = post;
        let photo = images.first().map(|image| self.queries.image_url(&image.media, ImageVariant::COVER));
        Ok(PostFields { key, caption, photo, posted_by: author, likes, posted_at: time_of(published) })
    }

    /// The fields of these posts, in order.
    async fn shown_posts(&self, posts: Vec<Post>) -> Result<Vec<PostFields>, Problem> {
        futures::stream::iter(posts).map(|post| self.show(post)).buffered(AT_ONCE).try_collect().await
    }

    pub(super) async fn posts_of_profile(&self, posts: Vec<Post>) -> Result<Vec<ProfilePost>, Problem> {
        let shown = self.shown_posts(posts).await?.into_iter();
        Ok(shown.map(|fields| ProfilePost { id: fields.key.clone(), fields }).collect())
    }

    /// The users among these whose posts and comments are shown. Deactivated users are included.
    async fn visible_authors(&self, ids: impl Iterator<Item = &String>) -> Result<HashSet<String>, Problem> {
        let ids: HashSet<String> = ids.cloned().collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let found = self.queries.store().get_all::<Profile>(&ids).await.map_err(store_problem)?;
        let shown = found.into_iter().flatten().filter(|profile| profile.status != AccountStatus::Suspended);
        Ok(shown.map(|profile| profile.user).collect())
    }

    /// The newest visible posts, up to a limit.
    async fn feed(&self, limit: usize) -> Result<Vec<Post>, Problem> {
        let mut posts: Vec<Post> = Vec::with_capacity(limit);
        let mut after = None;
        let mut stretch = limit;
        loop {
            let query = Query::new(&VIEW, &NEWEST, Vec::new(), stretch).after(after.take());
            let page = self.queries.store().page_of::<Post>(query).await.map_err(store_problem)?;
            let visible = self.visible_authors(page.documents.iter().map(|post| &post.author)).await?;
            posts.extend(
                page.documents.into_iter().filter(|post| !post.removed && visible.contains(&post.author)),
            );
            if posts.len() >= limit || page.next.is_none() {
                posts.truncate(limit);
                return Ok(posts);
            }
            after = page.next;
            // Many hidden posts in a row cost few reads.
            stretch = (stretch * 2).min(STRETCH_LIMIT);
        }
    }
}

pub(super) async fn newest(State(apps): State<Apps>, conditions: Conditions, fields: Fields) -> Answer {
    let limit = fields.whole_number("limit").filter(|limit| *limit > 0).map(|limit| limit.min(FEED_LIMIT));
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(FEED);
    let caught_up = apps.queries.catch_up(&conditions, &VIEWS).await;
    let posts = apps.feed(limit).await?;
    let likes: Vec<i64> = posts.iter().map(|post| post.likes).collect();
    let comments = apps.queries.comment_counts(&posts).await?;
    let shown = apps.shown_posts(posts).await?.into_iter().zip(likes).zip(comments);
    let posts: Vec<FeedPost> =
        shown.map(|((fields, like), comment)| FeedPost { fields, like, comment }).collect();
    let count = posts.len();
    Ok(answer(&conditions, caught_up, &Success::of(Posts { posts }).counting(count))?)
}

pub(super) async fn one(State(apps): State<Apps>, PathText(id): PathText, conditions: Conditions) -> Answer {
    let missing = || Refusal::not_found(MISSING);
    let id: PostId = id.parse().map_err(|_| missing())?;
    let caught_up = apps.queries.catch_up(&conditions, &VIEWS).await;
    let found: Option<Post> = apps.queries.store().get(&id.to_string()).await.map_err(store_problem)?;
    let post = found.filter(|post| !post.removed).ok_or_else(missing)?;
    let author = post.author.clone();
    let comments = async {
        let shown = vec![json!(id), json!(true)];
        let query = Query::new(&comments::VIEW, &comments::BY_POST, shown, COMMENTS_LIMIT);
        Ok(apps.queries.store().page_of::<Comment>(query).await.map_err(store_problem)?.documents)
    };
    let shown = apps.posts_of_profile(vec![post]);
    let (mut shown, comments) = futures::try_join!(shown, comments)?;
    let authors = comments.iter().map(|comment| &comment.author).chain([&author]);
    let visible = apps.visible_authors(authors).await?;
    let post = shown.pop().filter(|_| visible.contains(&author)).ok_or_else(missing)?;
    let comments = comments.into_iter().filter(|comment| visible.contains(&comment.author));
    let comments = comments.map(|Comment { text, author, post, .. }| PostComment {
        comment: text,
        commented_by: author,
        commented_post: post,
    });
    let post = OnePost { post, comments: comments.collect() };
    Ok(answer(&conditions, caught_up, &Success::of(OneOf { post }))?)
}
