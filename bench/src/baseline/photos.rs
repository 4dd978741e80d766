//! The photo app's pages as plain reads: the same documents by the same keys, in responses of the same format as those of
//! Chorus.

mod distributed;
mod standalone;

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::try_join_all;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Author, Baseline, Failed, Post, show};

/// Posts and people on one page of `/v1`.
const PAGE: i64 = 20;
/// Posts in the app's feed.
const FEED: i64 = 15;
/// Maximum number of ids in one list of the app.
const IDS: i64 = 5000;

/// The documents to read.
#[derive(Debug, Default)]
pub(crate) struct SeedData {
    pub(crate) posts: Vec<Post>,
    pub(crate) authors: Vec<Author>,
    pub(crate) likes: Vec<Like>,
    pub(crate) follows: Vec<Follow>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) homes: Vec<Entry>,
    pub(crate) merged: Vec<Merged>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Like {
    pub(crate) post: String,
    pub(crate) user: String,
    pub(crate) position: i64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Follow {
    pub(crate) follower: String,
    pub(crate) followee: String,
    pub(crate) accepted: bool,
    pub(crate) position: i64,
}

#[expect(clippy::struct_field_names, reason = "the names of the documents of Chorus")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Comment {
    pub(crate) comment: String,
    pub(crate) post: String,
    pub(crate) author: String,
    pub(crate) text: String,
    pub(crate) position: i64,
}

/// A post in a home feed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) owner: String,
    pub(crate) author: String,
    pub(crate) post: String,
    pub(crate) position: i64,
}

/// An author above the fan-out limit, whose posts are merged into feeds on read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Merged {
    pub(crate) owner: String,
    pub(crate) author: String,
}

/// The side of a list of follows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Followers,
    Followings,
}

/// Reads on either engine; lists are newest first, except comments.
#[async_trait]
pub(crate) trait Photos: Baseline {
    async fn ids(&self, side: Side, user: &str, limit: i64) -> Result<Vec<String>>;

    /// Authors whose usernames start with `beginning`.
    async fn usernames(&self, beginning: &str, limit: i64) -> Result<Vec<Author>>;

    async fn by_username(&self, username: &str) -> Result<Option<Author>>;

    async fn home(&self, owner: &str, limit: i64) -> Result<Vec<Entry>>;

    /// The authors to merge into a home feed.
    async fn merged(&self, owner: &str) -> Result<Vec<String>>;

    /// In any order.
    async fn posts(&self, posts: Vec<String>) -> Result<Vec<Post>>;

    async fn posts_by(&self, author: &str, limit: i64) -> Result<Vec<Post>>;

    async fn likers(&self, post: &str, limit: i64) -> Result<Vec<String>>;

    /// Oldest first.
    async fn comments(&self, post: &str, limit: i64) -> Result<Vec<Comment>>;

    /// The number of an author's stories.
    async fn stories(&self, author: &str) -> Result<usize>;
}

pub(super) fn router(baseline: Arc<dyn Photos>) -> Router {
    Router::new()
        .route("/followers/{user}", get(followers))
        .route("/usernames/{beginning}", get(usernames))
        .route("/homes/{user}", get(home))
        .route("/app/posts", get(newest))
        .route("/app/posts/{post}", get(one))
        .route("/app/users/{username}", get(user))
        .with_state(baseline)
}

async fn followers(
    State(baseline): State<Arc<dyn Photos>>,
    Path(user): Path<String>,
) -> Result<Json<Vec<Author>>, Failed> {
    let followers = baseline.ids(Side::Followers, &user, PAGE).await?;
    Ok(Json(baseline.authors(followers).await?))
}

async fn usernames(
    State(baseline): State<Arc<dyn Photos>>,
    Path(beginning): Path<String>,
) -> Result<Json<Vec<Author>>, Failed> {
    Ok(Json(baseline.usernames(&beginning, PAGE).await?))
}

async fn home(State(baseline): State<Arc<dyn Photos>>, Path(user): Path<String>) -> Result<Response, Failed> {
    // One more shows whether there is a next page.
    let (entries, merged) = futures::try_join!(baseline.home(&user, PAGE + 1), baseline.merged(&user))?;
    let merged = merged.iter().map(|author| baseline.posts_by(author, PAGE + 1));
    let merged = try_join_all(merged).await?.concat();
    let mut places: Vec<(i64, String)> =
        merged.iter().map(|post| (post.position, post.post.clone())).collect();
    places.extend(entries.into_iter().map(|entry| (entry.position, entry.post)));
    places.sort_unstable_by(|a, b| b.cmp(a));
    places.truncate(usize::try_from(PAGE)?);
    let unread = places.iter().filter(|(_, id)| !merged.iter().any(|post| post.post == *id));
    let mut found = baseline.posts(unread.map(|(_, id)| id.clone()).collect()).await?;
    found.extend(merged);
    let posts = places.iter().filter_map(|(_, id)| found.iter().find(|post| post.post == *id).cloned());
    Ok(Json(show(&*baseline, posts.collect(), &user).await?).into_response())
}

/// A post in the app's format.
#[derive(Serialize)]
struct AppPost {
    #[serde(rename = "_id")]
    key: String,
    caption: Option<String>,
    photo: Option<String>,
    #[serde(rename = "postedBy")]
    posted_by: String,
    likes: Vec<String>,
    #[serde(rename = "postedAt")]
    posted_at: i64,
    like: i64,
    comment: i64,
}

async fn app_post(baseline: &dyn Photos, post: Post) -> Result<AppPost> {
    let likes = if post.likes == 0 { Vec::new() } else { baseline.likers(&post.post, IDS).await? };
    let Post { post: key, author, images, caption, published, likes: like, comments: comment, .. } = post;
    let photo = images.first().map(|image| format!("http://127.0.0.1/media/{}/full.jpg", image.media));
    Ok(AppPost { key, caption, photo, posted_by: author, likes, posted_at: published, like, comment })
}

async fn newest(State(baseline): State<Arc<dyn Photos>>) -> Result<Json<Vec<AppPost>>, Failed> {
    let mut posts = Baseline::newest(&*baseline, FEED).await?;
    let authors = baseline.authors(distinct(posts.iter().map(|post| &post.author))).await?;
    posts.retain(|post| authors.iter().any(|author| author.user == post.author));
    Ok(Json(try_join_all(posts.into_iter().map(|post| app_post(&*baseline, post))).await?))
}

#[derive(Serialize)]
struct AppComment {
    comment: String,
    #[serde(rename = "commentedBy")]
    commented_by: String,
    #[serde(rename = "commentedPost")]
    commented_post: String,
}

#[derive(Serialize)]
struct OnePost {
    #[serde(flatten)]
    post: AppPost,
    comments: Vec<AppComment>,
}

async fn one(State(baseline): State<Arc<dyn Photos>>, Path(post): Path<String>) -> Result<Response, Failed> {
    let Some(post) = baseline.post(&post).await? else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    let (id, author) = (post.post.clone(), post.author.clone());
    let (post, comments) = futures::try_join!(app_post(&*baseline, post), baseline.comments(&id, IDS))?;
    let people = comments.iter().map(|comment| &comment.author).chain([&author]);
    let people = baseline.authors(distinct(people)).await?;
    let comments = comments.into_iter().filter(|comment| people.iter().any(|one| one.user == comment.author));
    let comments = comments.map(|Comment { author, post, text, .. }| AppComment {
        comment: text,
        commented_by: author,
        commented_post: post,
    });
    Ok(Json(OnePost { post, comments: comments.collect() }).into_response())
}

#[derive(Serialize)]
struct AppUser {
    #[serde(flatten)]
    author: Author,
    followers: Vec<String>,
    followings: Vec<String>,
    posts: Vec<AppPost>,
    stories: usize,
}

async fn user(
    State(baseline): State<Arc<dyn Photos>>,
    Path(username): Path<String>,
) -> Result<Response, Failed> {
    let Some(author) = baseline.by_username(&username).await? else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let posts = async {
        let mut posts = baseline.posts_by(&author.user, IDS).await?;
        posts.reverse();
        try_join_all(posts.into_iter().map(|post| app_post(&*baseline, post))).await
    };
    let (followers, followings, posts, stories) = futures::try_join!(
        baseline.ids(Side::Followers, &author.user, IDS),
        baseline.ids(Side::Followings, &author.user, IDS),
        posts,
        baseline.stories(&author.user),
    )?;
    Ok(Json(AppUser { author, followers, followings, posts, stories }).into_response())
}

fn distinct<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut ids: Vec<String> = ids.cloned().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Entries of a post in the home feeds of these users.
pub(crate) fn entries(post: &str, author: &str, owners: &[String]) -> Vec<Entry> {
    let entry = |owner: &String| Entry {
        owner: owner.clone(),
        author: author.to_owned(),
        post: post.to_owned(),
        position: i64::MAX,
    };
    owners.iter().map(entry).collect()
}
