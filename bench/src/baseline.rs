//! The baseline: the same work without Chorus, by plain axum handlers and loops on the engines' own clients, optimised for
//! this one task. It is a separate process, so that it runs under the same conditions as Chorus.

mod distributed;
mod log_ins;
mod photos;
mod songs;
mod standalone;

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
use photos::Photos;
pub(crate) use photos::{Comment, Entry, Follow, Like, Merged, SeedData, entries};
pub(crate) use songs::Song;
use songs::Songs;
pub(crate) use standalone::Standalone;

/// Maximum number of writes per view transaction, as in the projector.
const BATCH: usize = 500;

/// The engines of the baseline server.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[arg(long)]
    listen: SocketAddr,
    /// A folder with the files of [`Standalone`].
    #[arg(long, conflicts_with_all = ["nats", "mongo"])]
    folder: Option<std::path::PathBuf>,
    #[arg(long, requires = "mongo")]
    nats: Option<String>,
    #[arg(long)]
    mongo: Option<String>,
}

/// A stored post.
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
    /// Counted in another view by Chorus.
    #[serde(default)]
    pub(crate) comments: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) media: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) alt: String,
}

/// The author of a post.
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

/// A post in a response.
#[derive(Debug, Serialize)]
pub(crate) struct ShownPost {
    post: Post,
    author: Author,
    liked: bool,
}

/// The view writes of one event.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Post(Post),
    Like {
        post: String,
        user: String,
        /// The author of the post, who is notified, where known.
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

/// A queued view write, and whom to notify once it is committed.
type Projected = (Write, Option<oneshot::Sender<()>>);

/// Queues a view write; waits for its commit if `seen`.
async fn enqueue(to: &mpsc::Sender<Projected>, write: Write, seen: bool) -> Result<()> {
    let (committed, done) = oneshot::channel();
    to.send((write, seen.then_some(committed))).await?;
    if seen {
        done.await?;
    }
    Ok(())
}

fn notify_committed(waiting: Vec<Option<oneshot::Sender<()>>>) {
    for waiting in waiting.into_iter().flatten() {
        // The caller may have stopped waiting.
        let _ = waiting.send(());
    }
}

/// Reads and writes on either engine.
#[async_trait]
pub(crate) trait Baseline: Send + Sync + 'static {
    /// Reads the last event of the subject and appends on condition that it is still the last.
    async fn like(&self, post: &str, user: &str) -> Result<u64>;

    /// Queues a view write, which is committed together with others; waits for the commit if `seen`.
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
    let baseline: Arc<dyn Songs> = match (folder, nats.zip(mongo)) {
        (Some(folder), _) => Arc::new(Standalone::open(&folder)?),
        (None, Some((nats, mongo))) => Arc::new(Distributed::open(&nats, &mongo).await?),
        (None, None) => anyhow::bail!("--folder, or --nats and --mongo"),
    };
    let router = Router::<Arc<dyn Baseline>>::new()
        .route("/posts/{post}/like/{user}", put(like))
        .route("/posts/{post}/like/{user}/projected", put(like_and_project))
        .route("/posts/{post}/like/{user}/seen", put(like_and_see).post(comment_and_see))
        .route("/posts/by/{user}", get(page))
        .route("/posts/{post}/by/{user}", get(one))
        .with_state(Arc::clone(&baseline) as Arc<dyn Baseline>)
        .merge(log_ins::router(Arc::clone(&baseline) as Arc<dyn Baseline>)?)
        .merge(photos::router(Arc::clone(&baseline) as Arc<dyn Photos>))
        .merge(songs::router(baseline));
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
    State(baseline): State<Arc<dyn Baseline>>,
    Path((post, user)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    let position = baseline.like(&post, &user).await?;
    Ok((StatusCode::ACCEPTED, Json(Receipt { position })))
}

async fn like_and_project(
    State(baseline): State<Arc<dyn Baseline>>,
    Path((post, user)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    let position = baseline.like(&post, &user).await?;
    baseline.project(liked(post, user, position)?, false).await?;
    Ok((StatusCode::ACCEPTED, Json(Receipt { position })))
}

async fn like_and_see(
    State(baseline): State<Arc<dyn Baseline>>,
    Path((post, user)): Path<(String, String)>,
) -> Result<Json<Receipt>, Failed> {
    let position = baseline.like(&post, &user).await?;
    baseline.project(liked(post, user, position)?, true).await?;
    Ok(Json(Receipt { position }))
}

fn liked(post: String, user: String, position: u64) -> Result<Write> {
    let position = i64::try_from(position)?;
    Ok(Write::Like { post, user, owner: None, liked: position, position })
}

/// Stands for another activity of the same cost.
async fn comment_and_see(
    baseline: State<Arc<dyn Baseline>>,
    path: Path<(String, String)>,
) -> Result<(StatusCode, Json<Receipt>), Failed> {
    Ok((StatusCode::CREATED, like_and_see(baseline, path).await?))
}

async fn page(
    State(baseline): State<Arc<dyn Baseline>>,
    Path(user): Path<String>,
) -> Result<Json<Vec<ShownPost>>, Failed> {
    let posts = baseline.newest(20).await?;
    Ok(Json(show(&*baseline, posts, &user).await?))
}

async fn one(
    State(baseline): State<Arc<dyn Baseline>>,
    Path((post, user)): Path<(String, String)>,
) -> Result<Response, Failed> {
    let posts = baseline.post(&post).await?.into_iter().collect();
    let shown = show(&*baseline, posts, &user).await?.pop();
    Ok(shown.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |shown| Json(shown).into_response()))
}

async fn show(baseline: &dyn Baseline, posts: Vec<Post>, user: &str) -> Result<Vec<ShownPost>> {
    let mut users: Vec<String> = posts.iter().map(|post| post.author.clone()).collect();
    users.sort_unstable();
    users.dedup();
    let (authors, liked) = futures::try_join!(baseline.authors(users), baseline.liked(&posts, user))?;
    let shown = posts.into_iter().filter_map(|post| {
        let author = authors.iter().find(|author| author.user == post.author)?.clone();
        let liked = liked.contains(&post.post);
        Some(ShownPost { post, author, liked })
    });
    Ok(shown.collect())
}

/// The body of a like event, as long as that of Chorus.
fn like_body(post: &str, user: &str) -> String {
    format!(r#"{{"post":"{post}","user":"{user}","post_author":"00000000000000000000000000000000"}}"#)
}
