//! What the photo app's pages come to in plain reads: the same documents found by the same keys, and answered in the same
//! shape as Chorus does.

mod distributed;
mod one_machine;

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

use super::{Author, Bare, Failed, Post, show};

/// Posts and people on one page of `/v1`.
const PAGE: i64 = 20;
/// Posts in the app's feed.
const FEED: i64 = 15;
/// Ids in one list of the app at most.
const IDS: i64 = 5000;

/// What is to be read.
#[derive(Debug, Default)]
pub(crate) struct Filling {
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

/// A post in somebody's home.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) owner: String,
    pub(crate) author: String,
    pub(crate) post: String,
    pub(crate) position: i64,
}

/// An author whose posts stand in no home but are looked up by whoever reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Merged {
    pub(crate) owner: String,
    pub(crate) author: String,
}

/// Whose ids are in a list of follows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Followers,
    Followings,
}

/// The reads that both engines do; each list has the newest first, but for comments.
#[async_trait]
pub(crate) trait Photos: Bare {
    async fn ids(&self, side: Side, user: &str, limit: i64) -> Result<Vec<String>>;

    /// Whose usernames begin so.
    async fn usernames(&self, beginning: &str, limit: i64) -> Result<Vec<Author>>;

    async fn by_username(&self, username: &str) -> Result<Option<Author>>;

    async fn home(&self, owner: &str, limit: i64) -> Result<Vec<Entry>>;

    /// Those whose posts are to be merged into a home.
    async fn merged(&self, owner: &str) -> Result<Vec<String>>;

    /// In any order.
    async fn posts(&self, posts: Vec<String>) -> Result<Vec<Post>>;

    async fn posts_by(&self, author: &str, limit: i64) -> Result<Vec<Post>>;

    async fn likers(&self, post: &str, limit: i64) -> Result<Vec<String>>;

    /// The oldest first.
    async fn comments(&self, post: &str, limit: i64) -> Result<Vec<Comment>>;

    /// How many stories somebody shows.
    async fn stories(&self, author: &str) -> Result<usize>;
}

pub(super) fn router(bare: Arc<dyn Photos>) -> Router {
    Router::new()
        .route("/followers/{user}", get(followers))
        .route("/usernames/{beginning}", get(usernames))
        .route("/homes/{user}", get(home))
        .route("/app/posts", get(newest))
        .route("/app/posts/{post}", get(one))
        .route("/app/users/{username}", get(user))
        .with_state(bare)
}

async fn followers(
    State(bare): State<Arc<dyn Photos>>,
    Path(user): Path<String>,
) -> Result<Json<Vec<Author>>, Failed> {
    let followers = bare.ids(Side::Followers, &user, PAGE).await?;
    Ok(Json(bare.authors(followers).await?))
}

async fn usernames(
    State(bare): State<Arc<dyn Photos>>,
    Path(beginning): Path<String>,
) -> Result<Json<Vec<Author>>, Failed> {
    Ok(Json(bare.usernames(&beginning, PAGE).await?))
}

async fn home(State(bare): State<Arc<dyn Photos>>, Path(user): Path<String>) -> Result<Response, Failed> {
    // One more tells whether there is a next page.
    let (entries, merged) = futures::try_join!(bare.home(&user, PAGE + 1), bare.merged(&user))?;
    let merged = try_join_all(merged.iter().map(|author| bare.posts_by(author, PAGE + 1))).await?.concat();
    let mut places: Vec<(i64, String)> =
        merged.iter().map(|post| (post.position, post.post.clone())).collect();
    places.extend(entries.into_iter().map(|entry| (entry.position, entry.post)));
    places.sort_unstable_by(|a, b| b.cmp(a));
    places.truncate(usize::try_from(PAGE)?);
    let unread = places.iter().filter(|(_, id)| !merged.iter().any(|post| post.post == *id));
    let mut found = bare.posts(unread.map(|(_, id)| id.clone()).collect()).await?;
    found.extend(merged);
    let posts = places.iter().filter_map(|(_, id)| found.iter().find(|post| post.post == *id).cloned());
    Ok(Json(show(&*bare, posts.collect(), &user).await?).into_response())
}

/// A post as the app has it.
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

async fn app_post(bare: &dyn Photos, post: Post) -> Result<AppPost> {
    let likes = if post.likes == 0 { Vec::new() } else { bare.likers(&post.post, IDS).await? };
    let Post { post: key, author, images, caption, published, likes: like, comments: comment, .. } = post;
    let photo = images.first().map(|image| format!("http://127.0.0.1/media/{}/full.jpg", image.media));
    Ok(AppPost { key, caption, photo, posted_by: author, likes, posted_at: published, like, comment })
}

async fn newest(State(bare): State<Arc<dyn Photos>>) -> Result<Json<Vec<AppPost>>, Failed> {
    let mut posts = Bare::newest(&*bare, FEED).await?;
    let authors = bare.authors(distinct(posts.iter().map(|post| &post.author))).await?;
    posts.retain(|post| authors.iter().any(|author| author.user == post.author));
    Ok(Json(try_join_all(posts.into_iter().map(|post| app_post(&*bare, post))).await?))
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

async fn one(State(bare): State<Arc<dyn Photos>>, Path(post): Path<String>) -> Result<Response, Failed> {
    let Some(post) = bare.post(&post).await? else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    let (id, author) = (post.post.clone(), post.author.clone());
    let (post, comments) = futures::try_join!(app_post(&*bare, post), bare.comments(&id, IDS))?;
    let people = comments.iter().map(|comment| &comment.author).chain([&author]);
    let people = bare.authors(distinct(people)).await?;
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

async fn user(State(bare): State<Arc<dyn Photos>>, Path(username): Path<String>) -> Result<Response, Failed> {
    let Some(author) = bare.by_username(&username).await? else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let posts = async {
        let mut posts = bare.posts_by(&author.user, IDS).await?;
        posts.reverse();
        try_join_all(posts.into_iter().map(|post| app_post(&*bare, post))).await
    };
    let (followers, followings, posts, stories) = futures::try_join!(
        bare.ids(Side::Followers, &author.user, IDS),
        bare.ids(Side::Followings, &author.user, IDS),
        posts,
        bare.stories(&author.user),
    )?;
    Ok(Json(AppUser { author, followers, followings, posts, stories }).into_response())
}

fn distinct<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut ids: Vec<String> = ids.cloned().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Entries of one post in the homes of these people.
pub(crate) fn entries(post: &str, author: &str, owners: &[String]) -> Vec<Entry> {
    let entry = |owner: &String| Entry {
        owner: owner.clone(),
        author: author.to_owned(),
        post: post.to_owned(),
        position: i64::MAX,
    };
    owners.iter().map(entry).collect()
}
