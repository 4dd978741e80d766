//! `kill -9` at any moment loses no acknowledged command and applies none twice.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use events::{
    Draft, Event, EventId, Image, MediaId, Personal, Position, Recorded, STORY_LIFETIME, SealedLog,
    SocialEvent, StoryId, StoryPublished, StoryText, Subject, time_ordered_id,
};
use futures::future::join_all;
use rand::RngExt;
use rand::seq::IndexedRandom;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use tests::chorus::{Chorus, Service};
use tests::client::{Api, User};
use tests::model::{World, all_events};
use tests::waiting;
use uuid::Uuid;

const KILLS: usize = 12;
const WORKERS: usize = 8;
/// How long a request is retried.
const RETRY_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_and_duplicate_nothing_standalone() {
    let chorus = Chorus::standalone().await.unwrap();
    kill_under_load(chorus, &[Service::Chorus]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_and_duplicate_nothing_distributed() {
    let chorus = Chorus::distributed().await.unwrap();
    kill_under_load(chorus, &[Service::CommandApi, Service::Projector]).await;
}

/// An acknowledged command and the position of its event.
struct Acknowledged {
    position: u64,
    changed: bool,
    about: Expected,
}

enum Expected {
    Like { post: String, user: String },
    Follow { follower: String, followee: String },
    Comment { id: String },
    Post { id: String },
    View { story: String, viewer: String },
    Save { post: String, user: String },
}

struct Load {
    api: Api,
    users: Vec<User>,
    posts: Vec<String>,
    /// With their authors.
    stories: Vec<(String, String)>,
    log: SealedLog,
    stop: AtomicBool,
    keys: AtomicU64,
}

impl Load {
    /// Retries a command under the same key until there is a response, as a client does after an unknown outcome. None if the
    /// server takes too long to recover.
    async fn retry(&self, request: impl Fn() -> RequestBuilder) -> Option<Value> {
        let key = self.keys.fetch_add(1, Ordering::Relaxed).to_string();
        let Ok(answer) = waiting::answer(RETRY_LIMIT, || async {
            Ok::<_, Infallible>(match self.api.try_send(request().header("Idempotency-Key", &key)).await {
                Ok(answer) if answer.status.is_success() => Some(answer.json()),
                // The response of the proxy for a service that is down.
                Ok(answer) if answer.status.is_server_error() => None,
                Ok(answer) => panic!("refused: {} {}", answer.status, answer.text()),
                Err(_broken) => None,
            })
        })
        .await;
        answer
    }

    async fn act(&self) -> Option<Acknowledged> {
        let (user, other, post, (author, story), what) = {
            let mut rng = rand::rng();
            let user = self.users.choose(&mut rng)?;
            (
                user,
                self.users.choose(&mut rng)?,
                self.posts.choose(&mut rng)?.clone(),
                self.stories.choose(&mut rng)?.clone(),
                rng.random_range(0..14),
            )
        };
        let with_token = |method, path: &str| self.api.request(method, path).bearer_auth(&user.token);
        let like = format!("/v1/posts/{post}/like");
        let follow = format!("/v1/users/{}/follow", other.id);
        let save = format!("/v1/posts/{post}/save");
        let comments = format!("/v1/posts/{post}/comments");
        let (receipt, about) = match what {
            0..=4 => {
                let method = if rand::random() { Method::PUT } else { Method::DELETE };
                let receipt = self.retry(|| with_token(method.clone(), &like)).await?;
                (receipt, Expected::Like { post, user: user.id.clone() })
            }
            5..=6 if user.id != other.id => {
                let method = if rand::random() { Method::PUT } else { Method::DELETE };
                let receipt = self.retry(|| with_token(method.clone(), &follow)).await?;
                (receipt, Expected::Follow { follower: user.id.clone(), followee: other.id.clone() })
            }
            7 => {
                let form = || with_token(Method::POST, "/v1/posts").multipart(Api::post_form("during kills"));
                let receipt = self.retry(form).await?;
                let id = receipt["id"].as_str().unwrap().to_owned();
                (receipt, Expected::Post { id })
            }
            8 => {
                let view = format!("/v1/users/{author}/stories/{story}/view");
                let receipt = self.retry(|| with_token(Method::PUT, &view)).await?;
                (receipt, Expected::View { story, viewer: user.id.clone() })
            }
            9..=10 => {
                let method = if rand::random() { Method::PUT } else { Method::DELETE };
                let receipt = self.retry(|| with_token(method.clone(), &save)).await?;
                (receipt, Expected::Save { post, user: user.id.clone() })
            }
            11 => {
                self.publish_expired_story(user).await;
                return None;
            }
            _ => {
                let body = json!({ "text": "during kills" });
                let receipt = self.retry(|| with_token(Method::POST, &comments).json(&body)).await?;
                let id = receipt["id"].as_str().unwrap().to_owned();
                (receipt, Expected::Comment { id })
            }
        };
        let (position, changed) = (receipt["position"].as_u64().unwrap(), receipt["changed"] == true);
        Some(Acknowledged { position, changed, about })
    }

    /// Publishes a story that has expired already, so that it ends during the kills.
    async fn publish_expired_story(&self, author: &User) {
        let id = || Uuid::from_u128(rand::random());
        let time = SystemClock.now() - STORY_LIFETIME - TimeDelta::minutes(1);
        let event = StoryPublished {
            author: author.id.parse().unwrap(),
            story: StoryId::new(id()),
            image: Image { media: MediaId::new(id()), width: 1, height: 1 },
            text: Personal::Open(StoryText::default()),
        };
        let draft = Draft {
            id: EventId::new(time_ordered_id(time)),
            time,
            actor: None,
            correlation: id(),
            causation: None,
            traceparent: None,
            event: event.into(),
        };
        self.log.append(draft, Position::START).await.unwrap();
    }

    async fn work(&self) -> Vec<Acknowledged> {
        let mut acknowledged = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            acknowledged.extend(self.act().await);
        }
        acknowledged
    }
}

async fn kill_under_load(mut chorus: Chorus, victims: &[Service]) {
    let api = chorus.api();
    let users = join_all((0..6).map(|_| api.sign_up("user"))).await;
    let mut posts = Vec::new();
    for user in &users {
        posts.push(api.publish(user, "before").await);
    }
    let mut stories = Vec::new();
    for user in &users {
        stories.push((user.id.clone(), api.publish_story(user).await));
    }
    let (log, stop, keys) = (chorus.log().await.unwrap(), AtomicBool::new(false), AtomicU64::new(0));
    let load = Load { api, users, posts, stories, log, stop, keys };
    let kill = async {
        for _ in 0..KILLS {
            let (pause, victim) = {
                let mut rng = rand::rng();
                (rng.random_range(30..400), *victims.choose(&mut rng).unwrap())
            };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            tokio::task::block_in_place(|| chorus.kill(victim)).unwrap();
            chorus.start_again(victim).await.unwrap();
        }
        load.stop.store(true, Ordering::Relaxed);
    };
    let (acknowledged, ()) = tokio::join!(join_all((0..WORKERS).map(|_| load.work())), kill);
    let acknowledged: Vec<Acknowledged> = acknowledged.into_iter().flatten().collect();

    chorus.settle().await.unwrap();
    let events = all_events(&chorus.log().await.unwrap()).await.unwrap();
    assert_acknowledged_are_stored(&events, &acknowledged);
    assert_log_is_sound(&events);
    let expected = World::of_log(&events);
    let store = chorus.views().await.unwrap();
    let shown = World::of_views(&*store, &expected).await.unwrap();
    assert_eq!(shown, expected, "the views differ from a fold of the log");
    assert_expired_stories_ended(&events, &expected);
    for view in views::all() {
        assert_eq!(store.parked(view.name, 10).await.unwrap(), [], "{} has parked events", view.name);
    }
    #[expect(clippy::print_stdout, reason = "a randomised test reports its size")]
    {
        println!("{KILLS} kills, {} commands acknowledged, {} events", acknowledged.len(), events.len());
    }
}

/// Every acknowledged position has the event of its command.
fn assert_acknowledged_are_stored(events: &[Recorded], acknowledged: &[Acknowledged]) {
    let by_position: BTreeMap<u64, &Recorded> =
        events.iter().map(|event| (event.position.0, event)).collect();
    let mut changed = BTreeSet::new();
    for Acknowledged { position, changed: is_new, about } in acknowledged {
        if *position == 0 {
            // The state already held, and there was never an event.
            assert!(!is_new);
            continue;
        }
        let recorded = by_position.get(position).unwrap_or_else(|| panic!("there is no event at {position}"));
        let fits = match (&recorded.envelope.subject, about) {
            (Subject::Like(p, u), Expected::Like { post, user }) => {
                p.to_string() == *post && u.to_string() == *user
            }
            (Subject::Follow(a, b), Expected::Follow { follower, followee }) => {
                a.to_string() == *follower && b.to_string() == *followee
            }
            (Subject::Comment(_, c), Expected::Comment { id }) => c.to_string() == *id,
            (Subject::Post(p), Expected::Post { id }) => p.to_string() == *id,
            (Subject::StoryView(s, v), Expected::View { story, viewer: who }) => {
                s.to_string() == *story && v.to_string() == *who
            }
            (Subject::Save(u, p), Expected::Save { post, user }) => {
                p.to_string() == *post && u.to_string() == *user
            }
            _ => false,
        };
        assert!(fits, "the event at {position} is of {}", recorded.envelope.subject);
        assert!(!is_new || changed.insert(*position), "two commands claim the event at {position}");
    }
}

/// Expired stories have ended (once, as the fold checks), and only the unexpired ones are left.
fn assert_expired_stories_ended(events: &[Recorded], world: &World) {
    let (mut ended, mut left) = (0, BTreeSet::new());
    for recorded in events {
        match &recorded.event {
            Event::Social(SocialEvent::Story(events::StoryEvent::StoryPublished(event))) => {
                left.insert(event.story.to_string());
            }
            Event::Social(SocialEvent::Story(events::StoryEvent::StoryExpired(event))) => {
                ended += 1;
                left.remove(&event.story.to_string());
            }
            _ => {}
        }
    }
    assert!(ended > 0, "no story ended during the kills");
    assert_eq!(left.into_iter().collect::<Vec<_>>(), world.stories.keys().cloned().collect::<Vec<_>>());
    assert_eq!(world.stories.len(), world.people.len());
}

/// Positions have no gaps, events are unique, likes and unlikes alternate.
fn assert_log_is_sound(events: &[Recorded]) {
    let mut ids = BTreeSet::new();
    let mut liked: BTreeMap<Subject, bool> = BTreeMap::new();
    for (recorded, place) in events.iter().zip(1..) {
        assert_eq!(recorded.position.0, place);
        assert!(ids.insert(recorded.envelope.id), "an event is stored twice");
        if let Event::Social(SocialEvent::Like(event)) = &recorded.event {
            let now = matches!(event, events::LikeEvent::PostLiked(_));
            let before = liked.insert(recorded.envelope.subject, now).unwrap_or(false);
            assert_ne!(now, before, "{} does not alternate", recorded.envelope.subject);
        }
    }
}
