//! Fills a running server through its API with a small realistic dataset: people, images, posts, likes, comments, follows,
//! stories, songs and playlists. The same seed creates the same dataset, and running it again on the same day changes nothing.

mod pictures;
mod playlists;
mod songs;
mod world;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::NaiveTime;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use playlists::PLAYLISTS;
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use service::clock;
use service::config::{LogSettings, MediaSettings, PlaceSettings};
use songs::{Operator, SONGS};
use world::{Activity, World};

/// Concurrent requests.
const AT_ONCE: usize = 8;
/// Timeout of a request, and maximum number of attempts if the server asks to retry later.
const REQUEST_LIMIT: Duration = Duration::from_mins(2);
const ATTEMPTS: usize = 20;

/// Rotations of the seed for images of posts and of stories, so that all images differ.
const OF_POSTS: u32 = 32;
const OF_STORIES: u32 = 48;

#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Address of the server
    #[arg(long, env = "CHORUS_PUBLIC_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,

    /// People to sign up
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(2..=2000))]
    pub people: u16,

    /// Posts to publish
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub posts: u32,

    /// Password of all created users
    #[arg(
        long,
        env = "CHORUS_DEMO_PASSWORD",
        value_name = "PASSWORD",
        default_value = "chorus-demo",
        hide_env_values = true
    )]
    pub password: String,

    /// Seed of the dataset
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    // Those of the server, if it runs here: publishing songs needs a role, which an operator grants.
    #[command(flatten)]
    pub place: PlaceSettings,
    #[command(flatten)]
    pub log: LogSettings,
    #[command(flatten)]
    pub media: MediaSettings,
}

/// # Errors
/// If the server cannot be reached or refuses a request.
pub async fn run(settings: Settings) -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Arc::new(Server {
        url: settings.url.trim_end_matches('/').to_owned(),
        client: Client::builder().timeout(REQUEST_LIMIT).build()?,
        seed: settings.seed,
        password: settings.password.clone(),
    });
    server.check_reachable().await?;
    let world = World::generate(settings.seed, settings.people.into(), settings.posts as usize);

    let operator = Operator { place: settings.place, log: settings.log, media: settings.media };
    let operator = operator.commands().await?;

    let of_songs = SONGS.len() + world.listeners.len() + PLAYLISTS.len();
    let total = world.people.len() + world.posts.len() + world.activities.len() + of_songs;
    let bar = ProgressBar::new(total as u64).with_style(ProgressStyle::with_template(
        "{msg:12} {bar:40} {pos}/{len}  {elapsed} elapsed, {eta} left",
    )?);
    bar.set_message("people");
    let people: Vec<Login> =
        each(&world.people, &bar, async |number, person| server.sign_up(number, person).await).await?;
    bar.set_message("posts");
    let posts: Vec<String> = each(&world.posts, &bar, async |number, post| {
        server.publish(number, &people[post.author], post).await
    })
    .await?;
    bar.set_message("activities");
    each(&world.activities, &bar, async |number, activity| {
        server.perform(number, activity, &people, &posts).await
    })
    .await?;
    bar.set_message("songs");
    let songs = match &operator {
        Some(operator) => server.publish_songs(operator, &bar).await?,
        None => None,
    };
    if let Some(songs) = &songs {
        let midnight = clock::system().now().date_naive().and_time(NaiveTime::MIN).and_utc();
        each(&world.listeners, &bar, async |number, listener| {
            server.listen(listener, &people[number], songs, midnight).await
        })
        .await?;
        server.fill_playlists(&people, songs, &bar).await?;
    }
    bar.finish_and_clear();

    let songs = match songs {
        Some(songs) => format!("{} songs with {} playlists", songs.len(), PLAYLISTS.len()),
        None => "no songs (to publish them, run this with the settings of the server)".to_owned(),
    };
    writeln!(
        std::io::stdout(),
        "{} people, {} posts, {} likes, comments, follows and stories, and {songs} are at {}\nLog in as {} with the password \
         {}",
        people.len(),
        posts.len(),
        world.activities.len(),
        server.url,
        world.people[0].username,
        settings.password,
    )?;
    Ok(())
}

/// Runs `work` for each item, a few concurrently; returns the outcomes in the order of the items.
async fn each<T, R>(
    items: &[T],
    bar: &ProgressBar,
    work: impl AsyncFn(usize, &T) -> Result<R>,
) -> Result<Vec<R>> {
    stream::iter(items.iter().enumerate())
        .map(|(number, item)| {
            let work = work(number, item);
            async {
                let outcome = work.await;
                bar.inc(1);
                outcome
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// A user who is logged in.
#[derive(Debug)]
struct Login {
    id: String,
    token: String,
}

impl Login {
    fn of(signed_in: &Value) -> Result<Self> {
        let text =
            |field: &str| signed_in[field].as_str().map(str::to_owned).context("an answer without a token");
        Ok(Self { id: text("user")?, token: text("token")? })
    }
}

#[derive(Debug)]
struct Server {
    url: String,
    client: Client,
    seed: u64,
    password: String,
}

impl Server {
    async fn check_reachable(&self) -> Result<()> {
        let asked = self.client.get(format!("{}/livez", self.url)).send().await;
        let answer = asked
            .with_context(|| format!("no server answers at {} (start one with `chorus serve`)", self.url))?;
        if !answer.status().is_success() {
            bail!("{} answers {}: is it a Chorus server?", self.url, answer.status());
        }
        Ok(())
    }

    /// Signs a person up, or finds that an earlier run has done it.
    async fn create_account(&self, key: &str, person: &world::Person) -> Result<Option<Login>> {
        let body = json!({
            "username": person.username,
            "email": format!("{}@example.org", person.username),
            "password": self.password,
            "firstname": person.firstname,
            "lastname": person.lastname,
        });
        let signed_up =
            self.send(Method::POST, "/v1/accounts", key, |request| Ok(request.json(&body))).await?;
        if signed_up.status() == StatusCode::CONFLICT {
            return Ok(None);
        }
        Login::of(&accepted(signed_up, "signing up").await?).map(Some)
    }

    async fn log_in(&self, person: &world::Person, key: &str) -> Result<Login> {
        let body = json!({ "login": person.username, "password": self.password });
        let logged_in =
            self.send(Method::POST, "/v1/sessions", key, |request| Ok(request.json(&body))).await?;
        Login::of(&accepted(logged_in, "logging in").await?)
    }

    async fn sign_up(&self, number: usize, person: &world::Person) -> Result<Login> {
        let login = match self.create_account(&format!("sign-up {number}"), person).await? {
            Some(login) => login,
            None => self.log_in(person, "").await?,
        };
        let profile = json!({ "bio": person.bio });
        let edited = self
            .send(Method::PATCH, "/v1/me/profile", "", |request| {
                Ok(request.bearer_auth(&login.token).json(&profile))
            })
            .await?;
        accepted(edited, "editing a profile").await?;
        let photo = pictures::portrait(&mut StdRng::seed_from_u64(self.seed ^ number as u64))?;
        let changed = self
            .send(Method::PUT, "/v1/me/photo", &format!("photo {number}"), |request| {
                Ok(request.bearer_auth(&login.token).body(photo.clone()))
            })
            .await?;
        accepted(changed, "changing a photo").await?;
        Ok(login)
    }

    async fn publish(&self, number: usize, author: &Login, post: &world::Post) -> Result<String> {
        let picture = self.landscape(OF_POSTS, number).await?;
        let published = self
            .send(Method::POST, "/v1/posts", &format!("post {number}"), |request| {
                let form = form(&picture, post.alt)?.text("caption", post.caption);
                Ok(request.bearer_auth(&author.token).multipart(form))
            })
            .await?;
        let published = accepted(published, "publishing a post").await?;
        published["id"].as_str().map(str::to_owned).context("a published post without an id")
    }

    /// The image with this number, of posts or stories depending on the rotation of the seed.
    async fn landscape(&self, rotation: u32, number: usize) -> Result<Vec<u8>> {
        let seed = self.seed.rotate_left(rotation) ^ number as u64;
        // On the blocking pool, so that several cores draw.
        tokio::task::spawn_blocking(move || pictures::landscape(&mut StdRng::seed_from_u64(seed))).await?
    }

    async fn perform(
        &self,
        number: usize,
        activity: &Activity,
        people: &[Login],
        posts: &[String],
    ) -> Result<()> {
        let key = format!("act {number}");
        let answer = match *activity {
            Activity::Follow { follower, followee } => {
                let path = format!("/v1/users/{}/follow", people[followee].id);
                self.send(
                    Method::PUT,
                    &path,
                    &key,
                    |request| Ok(request.bearer_auth(&people[follower].token)),
                )
                .await?
            }
            Activity::Like { user, post } => {
                let path = format!("/v1/posts/{}/like", posts[post]);
                self.send(Method::PUT, &path, &key, |request| Ok(request.bearer_auth(&people[user].token)))
                    .await?
            }
            Activity::Comment { user, post, text } => {
                let path = format!("/v1/posts/{}/comments", posts[post]);
                let body = json!({ "text": text });
                let token = &people[user].token;
                self.send(Method::POST, &path, &key, |request| Ok(request.bearer_auth(token).json(&body)))
                    .await?
            }
            Activity::Story { author, alt } => {
                let picture = self.landscape(OF_STORIES, number).await?;
                let token = &people[author].token;
                self.send(Method::POST, "/v1/stories", &key, |request| {
                    Ok(request.bearer_auth(token).multipart(form(&picture, alt)?))
                })
                .await?
            }
        };
        accepted(answer, "an activity").await.map(drop)
    }

    /// Sends a request and retries it if the server asks for that. The key makes it idempotent.
    async fn send(
        &self,
        method: Method,
        path: &str,
        key: &str,
        fill: impl Fn(RequestBuilder) -> Result<RequestBuilder>,
    ) -> Result<Response> {
        let mut attempt = 1;
        loop {
            let mut request = fill(self.client.request(method.clone(), format!("{}{path}", self.url)))?;
            if !key.is_empty() {
                request = request.header("Idempotency-Key", format!("\"demo {} {key}\"", self.seed));
            }
            let answer = request
                .header("Prefer", "respond-async")
                .send()
                .await
                .with_context(|| format!("{method} {path}"))?;
            let later =
                matches!(answer.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            if !later || attempt == ATTEMPTS {
                return Ok(answer);
            }
            let seconds =
                answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(1).min(30))).await;
            attempt += 1;
        }
    }
}

/// A form with an image and its description.
fn form(picture: &[u8], alt: &'static str) -> Result<Form> {
    let image = Part::bytes(picture.to_vec()).file_name("picture.jpg").mime_str("image/jpeg")?;
    Ok(Form::new().part("image", image).text("alt", alt))
}

/// The body of a successful response.
async fn accepted(answer: Response, what: &str) -> Result<Value> {
    let status = answer.status();
    let body = answer.text().await?;
    if !status.is_success() {
        let problem: Value = serde_json::from_str(&body).unwrap_or_default();
        bail!("{what} was refused: {status} {}", problem["detail"].as_str().unwrap_or(&body));
    }
    Ok(serde_json::from_str(&body)?)
}
