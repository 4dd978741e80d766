//! The same work without Chorus: plain axum handlers and plain loops over the engines' own clients, written as somebody
//! would who wants this one thing to be fast. A process of its own, so that it runs under the conditions Chorus does.

mod distributed;
mod log_ins;
mod one_machine;
mod photos;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use clap::Args;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use views::accounts::profiles::Profile;

pub(crate) use distributed::Distributed;
pub(crate) use log_ins::{hashed, verify};
pub(crate) use one_machine::OneMachine;
use photos::Photos;
pub(crate) use photos::{Comment, Entry, Filling, Follow, Like, Merged, entries};

/// Writes that views take in together at most, as many as the projector does.
const BATCH: usize = 500;

/// What the bare server runs on.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[arg(long)]
    listen: SocketAddr,
    /// A folder with the files of [`OneMachine`].
    #[arg(long, conflicts_with_all = ["nats", "mongo"])]
    folder: Option<std::path::PathBuf>,
    #[arg(long, requires = "mongo")]
    nats: Option<String>,
    #[arg(long)]
    mongo: Option<String>,
}

/// A post as it is stored.
#[expect(clippy::struct_field_names, reason = "the names of the documents of Chorus")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) post: String,
    pub(crate) author: String,
    pub(crate) images: Vec<Image>,
    pub(crate) caption: Option<String>,
    pub(crate) edited: bool,
    pub(crate) published: i64,
    pub(crate) position: i64,
    pub(crate) likes: i64,
    pub(crate) comments: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) media: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) alt: String,
}

/// Its author.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Author {
    pub(crate) user: String,
    pub(crate) username: String,
    pub(crate) firstname: String,
    pub(crate) lastname: String,
}

impl From<Profile> for Author {
    fn from(Profile { user, username, firstname, lastname, .. }: Profile) -> Self {
        Self { user, username, firstname, lastname }
    }
}

/// What is answered.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    post: Post,
    author: Author,
    liked: bool,
}

/// What the events of a catch-up come to, in plain writes.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Post(Post),
    Like {
        post: String,
        user: String,
        /// Who is told of it, where that is known.
        owner: Option<String>,
        liked: i64,
        position: i64,
    },
    Follow {
        follower: String,
        followee: String,
        since: i64,
        position: i64,
    },
    Session {
        session: String,
        user: String,
        position: i64,
    },
}

/// A write on its way into the views, and whom to tell once it is there.
type Projected = (Write, Option<oneshot::Sender<()>>);

/// Hands a write to whoever keeps the views; waits for it if it is to be seen.
async fn hand_over(to: &mpsc::Sender<Projected>, write: Write, seen: bool) -> Result<()> {
    let (told, done) = oneshot::channel();
    to.send((write, seen.then_some(told))).await?;
    if seen {
        done.await?;
    }
    Ok(())
}

fn tell_that_seen(waiting: Vec<Option<oneshot::Sender<()>>>) {
    for waiting in waiting.into_iter().flatten() {
        // Whoever has stopped waiting needs no answer.
        let _ = waiting.send(());
    }
}

/// The reads and writes that both engines do.
#[async_trait]
pub(crate) trait Bare: Send + Sync + 'static {
    /// One read of the subject's last event, and one append on condition that it is still the last.
    async fn like(&self, post: &str, user: &str) -> Result<u64>;

    /// Has a write taken into the views, with others that wait; waits for it itself if it is to be seen.
    async fn project(&self, write: Write, seen: bool) -> Result<()>;

    async fn newest(&self, limit: i64) -> Result<Vec<Post>>;

    async fn post(&self, post: &str) -> Result<Option<Post>>;

    /// In any order.
    async fn authors(&self, users: Vec<String>) -> Result<Vec<Author>>;

    /// Which of these posts a user likes.
    async fn liked(&self, posts: &[Post], user: &str) -> Result<Vec<String>>;
}

pub(crate) async fn serve(settings: Settings) -> Result<()> {
    let Settings { listen, folder, nats, mongo } = settings;
    let bare: Arc<dyn Photos> = match (folder, nats.zip(mongo)) {
        (Some(folder), _) => Arc::new(OneMachine::open(&folder)?),
        (None, Some((nats, mongo))) => Arc::new(Distributed::open(&nats, &mongo).await?),
        (None, None) => anyhow::bail!("--folder, or --nats and --mongo"),
    };
    let router = Router::<Arc<dyn Bare>>::new()
        .route("/posts/{post}/like/{user}", put(like))
        .route("/posts/{post}/like/{user}/projected", put(like_and_project))
        .route("/posts/{post}/like/{user}/seen", put(like_and_see).post(act_and_see))
        .route("/posts/by/{user}", get(page))
        .route("/posts/{post}/by/{user}", get(one))
        .with_state(Arc::clone(&bare) as Arc<dyn Bare>)
        .merge(log_ins::router(Arc::clone(&bare) as Arc<dyn Bare>)?)
        .merge(photos::router(bare));
    axum::serve(TcpListener::bind(listen).await?, router).await?;
    Ok(())
}

struct Failed(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{:#}", self.0)).into_response()
    }
}

#[derive(Serialize)]
struct Receipt {
    position: u64,
}

async fn like(
    State(bare): State<Arc<dyn Bare>>,
    Path((post, user)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    let position = bare.like(&post, &user).await?;
    Ok((StatusCode::ACCEPTED, Json(Receipt { position })))
}

async fn like_and_project(
    State(bare): State<Arc<dyn Bare>>,
    Path((post, user)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    let position = bare.like(&post, &user).await?;
    bare.project(liked(post, user, position)?, false).await?;
    Ok((StatusCode::ACCEPTED, Json(Receipt { position })))
}

async fn like_and_see(
    State(bare): State<Arc<dyn Bare>>,
    Path((post, user)): Path<(String, String)>,
) -> Result<Json<Receipt>, Failed> {
    let position = bare.like(&post, &user).await?;
    bare.project(liked(post, user, position)?, true).await?;
    Ok(Json(Receipt { position }))
}

fn liked(post: String, user: String, position: u64) -> Result<Write> {
    let position = i64::try_from(position)?;
    Ok(Write::Like { post, user, owner: None, liked: position, position })
}

/// What stands for another act that costs as much.
async fn act_and_see(
    bare: State<Arc<dyn Bare>>,
    path: Path<(String, String)>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    Ok((StatusCode::CREATED, like_and_see(bare, path).await?))
}

async fn page(
    State(bare): State<Arc<dyn Bare>>,
    Path(user): Path<String>,
) -> Result<Json<Vec<Shown>>, Failed> {
    let posts = bare.newest(20).await?;
    Ok(Json(show(&*bare, posts, &user).await?))
}

async fn one(
    State(bare): State<Arc<dyn Bare>>,
    Path((post, user)): Path<(String, String)>,
) -> Result<Response, Failed> {
    let posts = bare.post(&post).await?.into_iter().collect();
    let shown = show(&*bare, posts, &user).await?.pop();
    Ok(shown.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |shown| Json(shown).into_response()))
}

async fn show(bare: &dyn Bare, posts: Vec<Post>, user: &str) -> Result<Vec<Shown>> {
    let mut users: Vec<String> = posts.iter().map(|post| post.author.clone()).collect();
    users.sort_unstable();
    users.dedup();
    let (authors, liked) = futures::try_join!(bare.authors(users), bare.liked(&posts, user))?;
    let shown = posts.into_iter().filter_map(|post| {
        let author = authors.iter().find(|author| author.user == post.author)?.clone();
        let liked = liked.contains(&post.post);
        Some(Shown { post, author, liked })
    });
    Ok(shown.collect())
}

/// The body of a like, as long as Chorus writes it.
fn like_body(post: &str, user: &str) -> String {
    format!(r#"{{"post":"{post}","user":"{user}","post_author":"00000000000000000000000000000000"}}"#)
}
