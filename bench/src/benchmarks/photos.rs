//! Requests of the photo app and activity of its users, on a dataset with a skewed follow graph.

mod seeding;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use events::{Followed, UserId};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::Value;
use tests::chorus::Service;
use tests::client::{Api, User};

use self::seeding::{seed_data, stored_authors};
use super::http_load::{Comparison, authorized};
use super::{Findings, progress};
use crate::baseline;
use crate::dataset::{Dataset, POPULAR};
use crate::deployment::{Deployment, Engine, FAN_OUT_LIMIT};
use crate::load::{LoadRequest, get_json};
use crate::table::{Bound, Goal, Ratio, micros};
use crate::world;

const CONNECTIONS: usize = 32;
/// Connections for activities that wait for the views.
const ACTING: usize = 64;
/// How many users each viewer follows, besides most of the popular ones.
const FOLLOWED: usize = 200;
/// The newest posts that have likes and comments, and their averages.
const ACTIVE_POSTS: usize = 20_000;
const LIKES: usize = 10;
const COMMENTS: usize = 2;
/// How many posts are published and found, and the timeout of each.
const PUBLISHED: usize = 9;
const FOUND_LIMIT: Duration = Duration::from_secs(30);

/// About 40 % of what an Express server with a constant response serves.
const PAGES: Goal = Goal { per_second: 8000.0, p99: None };
const ACTS: Goal = Goal { per_second: 2500.0, p99: Some(Duration::from_millis(60)) };

/// A read from both servers.
struct Row {
    what: &'static str,
    /// The service that responds.
    service: fn(Engine) -> Service,
    bound: Bound,
    goal: Option<Goal>,
    /// Picks the next path for a viewer.
    chorus: fn(&Scenario, &User) -> Result<String>,
    baseline: fn(&Scenario, &User) -> Result<String>,
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            what: "home feed page of 20, with authors and viewer flags",
            service: Engine::reader,
            bound: Bound::AtLeast(0.5),
            goal: None,
            chorus: |_, _| Ok("/v1/feed?limit=20".to_owned()),
            baseline: |_, viewer| Ok(format!("/homes/{}", viewer.id)),
        },
        Row {
            what: "`GET /instamern/posts`",
            service: Engine::apps,
            bound: Bound::AtLeast(0.5),
            goal: Some(PAGES),
            chorus: |_, _| Ok("/instamern/posts".to_owned()),
            baseline: |_, _| Ok("/app/posts".to_owned()),
        },
        Row {
            what: "`GET /instamern/posts/:id`",
            service: Engine::apps,
            bound: Bound::AtLeast(0.5),
            goal: Some(PAGES),
            chorus: |scenario, _| Ok(format!("/instamern/posts/{}", scenario.post()?)),
            baseline: |scenario, _| Ok(format!("/app/posts/{}", scenario.post()?)),
        },
        Row {
            what: "`GET /instamern/users/username/:username`",
            service: Engine::apps,
            bound: Bound::AtLeast(0.5),
            goal: Some(PAGES),
            chorus: |scenario, _| Ok(format!("/instamern/users/username/{}", scenario.username()?)),
            baseline: |scenario, _| Ok(format!("/app/users/{}", scenario.username()?)),
        },
        Row {
            what: "page of 20 followers of a popular user",
            service: Engine::reader,
            bound: Bound::AtLeast(0.5),
            goal: None,
            chorus: |scenario, _| Ok(format!("/v1/users/{}/followers?limit=20", scenario.popular()?)),
            baseline: |scenario, _| Ok(format!("/followers/{}", scenario.popular()?)),
        },
        Row {
            what: "people by a username without its last character, up to 20",
            service: Engine::reader,
            bound: Bound::None,
            goal: None,
            chorus: |scenario, _| Ok(format!("/v1/users?limit=20&q={}", scenario.beginning()?)),
            baseline: |scenario, _| Ok(format!("/usernames/{}", scenario.beginning()?)),
        },
        Row {
            what: "people with five characters within their usernames, against the beginning of one",
            service: Engine::reader,
            bound: Bound::None,
            goal: None,
            chorus: |scenario, _| Ok(format!("/v1/users/by-username?part={}", scenario.part()?)),
            // The baseline has no index for parts of names.
            baseline: |scenario, _| Ok(format!("/usernames/{}", scenario.beginning()?)),
        },
    ]
}

/// An activity of users.
struct Activity {
    what: &'static str,
    expected: StatusCode,
    path: &'static str,
    body: &'static str,
    /// The baseline's method for a request of the same cost: one append, and one commit that is waited for.
    baseline: Method,
}

fn activities() -> [Activity; 2] {
    [
        Activity {
            what: "like over `/instamern`, 64 connections, waiting for the views",
            expected: StatusCode::OK,
            path: "like",
            body: "",
            baseline: Method::PUT,
        },
        Activity {
            what: "comment over `/instamern`, 64 connections, waiting for the views (baseline: a like)",
            expected: StatusCode::CREATED,
            path: "comments",
            body: r#"{"comment":"What a light!"}"#,
            baseline: Method::POST,
        },
    ]
}

/// The dataset and its viewers.
struct Scenario {
    dataset: Dataset,
    viewers: Vec<User>,
}

pub(crate) async fn photos(
    deployment: &Deployment,
    (people, posts): (usize, usize),
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let mut scenario = Scenario::create(deployment, people, posts, findings).await?;
    scenario.read(deployment, time, findings).await?;
    scenario.act(deployment, time, findings).await?;
    scenario.publish(deployment, findings).await
}

impl Scenario {
    async fn create(
        deployment: &Deployment,
        people: usize,
        posts: usize,
        findings: &mut Findings,
    ) -> Result<Self> {
        let engine = deployment.engine.name();
        progress(&format!("{engine}: a dataset of {people} users and {posts} posts"));
        let api = deployment.chorus.api();
        let mut viewers = Vec::new();
        for _ in 0..ACTING {
            viewers.push(api.sign_up("viewer").await);
        }
        let ids: Vec<UserId> = viewers.iter().map(|viewer| Ok(viewer.id.parse()?)).collect::<Result<_>>()?;
        let mut dataset = Dataset::new(3);
        let log = deployment.chorus.log().await?;
        let start = Instant::now();
        world::append(&log, dataset.sign_up(people)).await?;
        let follows = [dataset.follow(), dataset.follows_by(&ids, FOLLOWED.min(people))].concat();
        world::append(&log, follows.clone()).await?;
        let published = dataset.publish(posts);
        world::append(&log, published.clone()).await?;
        // Concurrent appends have no order: each post must exist before its likes and comments.
        let engagement = dataset.engage(ACTIVE_POSTS.min(posts), LIKES, COMMENTS);
        world::append(&log, engagement.clone()).await?;
        progress(&format!("{engine}: appended within {} s", start.elapsed().as_secs()));
        deployment.chorus.settle().await?;
        progress(&format!("{engine}: projected within {} s", start.elapsed().as_secs()));
        let authors = stored_authors(deployment, &[&dataset.people[..], &ids[..]].concat()).await?;
        let seed_data = seed_data(&[published, follows, engagement].concat(), authors);
        deployment.seed_baseline(&seed_data).await?;
        let most = seed_data.follows.iter().filter(|follow| follow.followee == dataset.people[0].to_string());
        let what = format!("follows among {people} users, and followers of the most popular");
        findings.figures.push((what, engine, format!("{}, {}", seed_data.follows.len(), most.count())));
        let what = "authors merged into a viewer's feed, on average".to_owned();
        let owners: HashSet<String> = ids.iter().map(ToString::to_string).collect();
        let merged = seed_data.merged.iter().filter(|it| owners.contains(&it.owner)).count().div_ceil(ACTING);
        findings.figures.push((what, engine, merged.to_string()));
        let scenario = Self { dataset, viewers };
        scenario.check(deployment).await?;
        Ok(scenario)
    }

    async fn read(&self, deployment: &Deployment, time: Duration, findings: &mut Findings) -> Result<()> {
        let readers = &self.viewers[..CONNECTIONS];
        for Row { what, service, bound, goal, chorus, baseline } in rows() {
            let reader = deployment.address(service(deployment.engine))?;
            let next = |path: fn(&Self, &User) -> Result<String>, viewer: &User, headers: HeaderMap| {
                let viewer = viewer.clone();
                move || {
                    let (path, headers) = (path(self, &viewer)?, headers.clone());
                    Ok(LoadRequest { method: Method::GET, path, headers, body: Bytes::new() })
                }
            };
            let comparison = Comparison { what, bound, goal, expected: StatusCode::OK, time };
            let headers = readers.iter().map(authorized).collect::<Result<Vec<_>>>()?;
            let of_chorus = |_| {
                let readers = readers.iter().zip(&headers);
                readers.map(|(viewer, headers)| next(chorus, viewer, headers.clone())).collect()
            };
            let of_baseline =
                |_| readers.iter().map(|viewer| next(baseline, viewer, HeaderMap::new())).collect::<Vec<_>>();
            comparison.run(deployment, reader, of_chorus, of_baseline, findings).await?;
        }
        Ok(())
    }

    /// Likes and comments as the app sends them: the response comes once they are visible.
    async fn act(&self, deployment: &Deployment, time: Duration, findings: &mut Findings) -> Result<()> {
        let apps = deployment.address(deployment.engine.apps())?;
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let headers = self.viewers.iter().map(|viewer| {
            let mut headers = authorized(viewer)?;
            headers.extend([content_type.clone()]);
            Ok(headers)
        });
        let headers = headers.collect::<Result<Vec<_>>>()?;
        for Activity { what, expected, path, body, baseline } in activities() {
            let send = |method: &Method, path: String, headers: &HeaderMap, body: &'static str| {
                let (method, headers) = (method.clone(), headers.clone());
                Ok(LoadRequest { method, path, headers, body: Bytes::from_static(body.as_bytes()) })
            };
            let of_chorus = |_| {
                let next = |headers| {
                    move || {
                        let path = format!("/instamern/posts/{path}/{}", self.post()?);
                        send(&Method::POST, path, headers, body)
                    }
                };
                headers.iter().map(next).collect()
            };
            let no_headers = &HeaderMap::new();
            let of_baseline = |_| {
                let (baseline, id_of) = (&baseline, |viewer: &User| viewer.id.clone());
                let clients = self.viewers.iter().map(id_of).map(|id| {
                    move || send(baseline, format!("/posts/{}/like/{id}/seen", self.post()?), no_headers, "")
                });
                clients.collect()
            };
            let comparison = Comparison { what, bound: Bound::None, goal: Some(ACTS), expected, time };
            comparison.run(deployment, apps, of_chorus, of_baseline, findings).await?;
        }
        Ok(())
    }

    /// The time from the response to a post until the last of its author's followers finds it, with just so many
    /// followers that it is fanned out to each feed; against inserting the same entries into equally large views.
    async fn publish(&mut self, deployment: &Deployment, findings: &mut Findings) -> Result<()> {
        let engine = deployment.engine.name();
        let [author, last, ..] = &self.viewers[..] else { anyhow::bail!("no users") };
        let id: UserId = author.id.parse()?;
        let count = (FAN_OUT_LIMIT - 1).min(self.dataset.people.len());
        let what = format!("post answered → seen by the last of {count} followers, against as many inserts");
        if !findings.selects(&what) {
            return Ok(());
        }
        progress(&format!("{engine}: a post for {count} followers"));
        let log = deployment.chorus.log().await?;
        let followers = self.dataset.some(count - 1);
        let mut owners: Vec<String> = followers.iter().map(ToString::to_string).collect();
        owners.push(last.id.clone());
        owners.sort_unstable();
        let follows = followers.into_iter().map(|follower| Followed { follower, followee: id }.into());
        world::append(&log, follows.collect()).await?;
        let api = deployment.chorus.api();
        api.follow(last, author).await.expect(200);
        deployment.chorus.settle().await?;
        let (mut of_chorus, mut whole, mut of_baseline) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..PUBLISHED {
            let entries = baseline::entries(&format!("{round:032x}"), &author.id, &owners);
            of_baseline.push(match deployment.baseline_distributed().await? {
                None => baseline::Standalone::insert_entries(deployment.chorus.folder(), &entries)?,
                Some(baseline) => baseline.insert_entries(&entries).await?,
            });
            let (answered, found) = publish_and_find(&api, author, last).await?;
            of_chorus.push(found);
            whole.push(answered + found);
            deployment.chorus.settle().await?;
        }
        of_chorus.sort_unstable();
        of_baseline.sort_unstable();
        whole.sort_unstable();
        let (chorus, baseline) = (of_chorus[PUBLISHED / 2], of_baseline[PUBLISHED / 2]);
        let shown = |taken: Duration| micros(crate::load::micros(taken));
        findings.ratios.push(Ratio {
            what,
            engine,
            chorus: format!("{} (with its upload {})", shown(chorus), shown(whole[PUBLISHED / 2])),
            baseline: shown(baseline),
            value: chorus.as_secs_f64() / baseline.as_secs_f64(),
            bound: Bound::AtMost(2.0),
            goal: None,
        });
        Ok(())
    }

    /// A popular user.
    fn popular(&self) -> Result<UserId> {
        let popular = &self.dataset.people[..self.dataset.people.len().min(POPULAR)];
        popular.choose(&mut rand::rng()).copied().context("no users")
    }

    fn post(&self) -> Result<String> {
        let post = self.dataset.active_posts.choose(&mut rand::rng()).context("no posts")?;
        Ok(post.0.to_string())
    }

    fn username(&self) -> Result<&str> {
        self.dataset.usernames.choose(&mut rand::rng()).map(String::as_str).context("no users")
    }

    /// A username without its last character.
    fn beginning(&self) -> Result<&str> {
        let username = self.username()?;
        Ok(&username[..username.len() - 1])
    }

    fn part(&self) -> Result<&str> {
        const LENGTH: usize = 5;
        let username = self.username()?;
        let from = rand::rng().random_range(0..=username.len().saturating_sub(LENGTH));
        Ok(&username[from..(from + LENGTH).min(username.len())])
    }

    /// Checks that lists of both servers have the same lengths, so that the comparison is valid. Their order may differ,
    /// since concurrent appends have none.
    async fn check(&self, deployment: &Deployment) -> Result<()> {
        let reader = deployment.address(deployment.engine.reader())?;
        let apps = deployment.address(deployment.engine.apps())?;
        let viewer = &self.viewers[0];
        let lengths = |found: &Value, lists: &[&str]| -> Vec<usize> {
            lists
                .iter()
                .map(|list| found.pointer(list).and_then(Value::as_array).map_or(0, Vec::len))
                .collect()
        };
        let (post, username, popular) = (self.post()?, self.username()?, self.dataset.people[0]);
        for (service, of_chorus, lists, of_baseline, baseline_lists) in [
            (
                reader,
                "/v1/feed?limit=20".to_owned(),
                &["/items"][..],
                format!("/homes/{}", viewer.id),
                &[""][..],
            ),
            (
                reader,
                format!("/v1/users/{popular}/followers?limit=20"),
                &["/items"],
                format!("/followers/{popular}"),
                &[""],
            ),
            (apps, "/instamern/posts".to_owned(), &["/data/posts"], "/app/posts".to_owned(), &[""]),
            (
                apps,
                format!("/instamern/posts/{post}"),
                &["/data/post/likes", "/data/post/comments"],
                format!("/app/posts/{post}"),
                &["/likes", "/comments"],
            ),
            (
                apps,
                format!("/instamern/users/username/{username}"),
                &["/data/user/followers", "/data/user/followings", "/data/user/posts"],
                format!("/app/users/{username}"),
                &["/followers", "/followings", "/posts"],
            ),
        ] {
            let chorus = get_json(service, of_chorus.clone(), authorized(viewer)?).await?;
            let baseline = get_json(deployment.baseline, of_baseline, HeaderMap::new()).await?;
            let (chorus, baseline) = (lengths(&chorus, lists), lengths(&baseline, baseline_lists));
            ensure!(
                chorus == baseline && chorus.iter().sum::<usize>() > 0,
                "{of_chorus}: {chorus:?} and {baseline:?}"
            );
        }
        Ok(())
    }
}

/// The time until the response, and from there until the follower finds the post.
async fn publish_and_find(api: &Api, author: &User, follower: &User) -> Result<(Duration, Duration)> {
    let request = api.request(Method::POST, "/v1/posts").bearer_auth(&author.token);
    let request = request.header("prefer", "respond-async").multipart(Api::post_form("First light"));
    let start = Instant::now();
    let receipt = api.send(request).await.expect(202).json();
    let (answered, start) = (start.elapsed(), Instant::now());
    loop {
        let request = api.request(Method::GET, "/v1/feed?limit=1").bearer_auth(&follower.token);
        let request = request.header("chorus-min-position", receipt["position"].to_string());
        let feed = api.send(request).await.expect(200).json();
        if feed["items"][0]["id"] == receipt["id"] {
            return Ok((answered, start.elapsed()));
        }
        ensure!(start.elapsed() < FOUND_LIMIT, "a follower does not find {receipt}");
    }
}
