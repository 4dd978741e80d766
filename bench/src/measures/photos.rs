//! What the photo app's pages ask for, and what people do there, on a graph of people as it grows among people.

mod filling;

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

use self::filling::{filling, people_as_shown};
use super::http_load::{Contest, authorized};
use super::{Findings, progress};
use crate::bare;
use crate::column::{Column, Engine, FAN_OUT_LIMIT};
use crate::graph::{FAMOUS, Graph};
use crate::load::{Asked, get_json};
use crate::table::{Bound, Goal, Ratio, micros};
use crate::world;

const CONNECTIONS: usize = 32;
/// Of the acts that wait for the views.
const ACTING: usize = 64;
/// Whom each viewer follows, beside most of the famous.
const FOLLOWED: usize = 200;
/// The newest posts that have likes and comments, and how many of each on average.
const LOOKED_AT: usize = 20_000;
const LIKES: usize = 10;
const COMMENTS: usize = 2;
/// Posts that are looked for, and how long each may take.
const PUBLISHED: usize = 9;
const FOUND_LIMIT: Duration = Duration::from_secs(30);

/// What an Express server that answers a constant makes about 2.5 times as many of.
const PAGES: Goal = Goal { per_second: 8000.0, p99: None };
const ACTS: Goal = Goal { per_second: 2500.0, p99: Some(Duration::from_millis(60)) };

/// What is read from both servers.
struct Row {
    what: &'static str,
    /// Answers it.
    service: fn(Engine) -> Service,
    bound: Bound,
    goal: Option<Goal>,
    /// Draws the next path for a viewer.
    chorus: fn(&Stage, &User) -> Result<String>,
    bare: fn(&Stage, &User) -> Result<String>,
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            what: "home feed page of 20, with authors and viewer flags",
            service: Engine::reader,
            bound: Bound::AtLeast(0.5),
            goal: None,
            chorus: |_, _| Ok("/v1/feed?limit=20".to_owned()),
            bare: |_, viewer| Ok(format!("/homes/{}", viewer.id)),
        },
        Row {
            what: "`GET /instamern/posts`",
            service: Engine::apps,
            bound: Bound::AtLeast(0.5),
            goal: Some(PAGES),
            chorus: |_, _| Ok("/instamern/posts".to_owned()),
            bare: |_, _| Ok("/app/posts".to_owned()),
        },
        Row {
            what: "`GET /instamern/posts/:id`",
            service: Engine::apps,
            bound: Bound::AtLeast(0.5),
            goal: Some(PAGES),
            chorus: |stage, _| Ok(format!("/instamern/posts/{}", stage.post()?)),
            bare: |stage, _| Ok(format!("/app/posts/{}", stage.post()?)),
        },
        Row {
            what: "`GET /instamern/users/username/:username`",
            service: Engine::apps,
            bound: Bound::AtLeast(0.5),
            goal: Some(PAGES),
            chorus: |stage, _| Ok(format!("/instamern/users/username/{}", stage.username()?)),
            bare: |stage, _| Ok(format!("/app/users/{}", stage.username()?)),
        },
        Row {
            what: "page of 20 followers of somebody famous",
            service: Engine::reader,
            bound: Bound::AtLeast(0.5),
            goal: None,
            chorus: |stage, _| Ok(format!("/v1/users/{}/followers?limit=20", stage.famous()?)),
            bare: |stage, _| Ok(format!("/followers/{}", stage.famous()?)),
        },
        Row {
            what: "people by a username without its last character, up to 20",
            service: Engine::reader,
            bound: Bound::None,
            goal: None,
            chorus: |stage, _| Ok(format!("/v1/users?limit=20&q={}", stage.beginning()?)),
            bare: |stage, _| Ok(format!("/usernames/{}", stage.beginning()?)),
        },
        Row {
            what: "people with five characters within their usernames, against the beginning of one",
            service: Engine::reader,
            bound: Bound::None,
            goal: None,
            chorus: |stage, _| Ok(format!("/v1/users/by-username?part={}", stage.part()?)),
            // The bare server has no index for what stands within a name.
            bare: |stage, _| Ok(format!("/usernames/{}", stage.beginning()?)),
        },
    ]
}

/// What people do.
struct Act {
    what: &'static str,
    expected: StatusCode,
    path: &'static str,
    body: &'static str,
    /// How the bare server is asked for what costs as much: one append, and one commit that is waited for.
    bare: Method,
}

fn acts() -> [Act; 2] {
    [
        Act {
            what: "like over `/instamern`, 64 connections, waiting for the views",
            expected: StatusCode::OK,
            path: "like",
            body: "",
            bare: Method::PUT,
        },
        Act {
            what: "comment over `/instamern`, 64 connections, waiting for the views (bare: a like)",
            expected: StatusCode::CREATED,
            path: "comments",
            body: r#"{"comment":"What a light!"}"#,
            bare: Method::POST,
        },
    ]
}

/// The graph, and who looks at it.
struct Stage {
    graph: Graph,
    viewers: Vec<User>,
}

pub(crate) async fn photos(
    column: &Column,
    (people, posts): (usize, usize),
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let mut stage = Stage::set(column, people, posts, findings).await?;
    stage.read(column, time, findings).await?;
    stage.act(column, time, findings).await?;
    stage.publish(column, findings).await
}

impl Stage {
    async fn set(column: &Column, people: usize, posts: usize, findings: &mut Findings) -> Result<Self> {
        let engine = column.engine.name();
        progress(&format!("{engine}: a graph of {people} people and {posts} posts"));
        let api = column.chorus.api();
        let mut viewers = Vec::new();
        for _ in 0..ACTING {
            viewers.push(api.sign_up("viewer").await);
        }
        let ids: Vec<UserId> = viewers.iter().map(|viewer| Ok(viewer.id.parse()?)).collect::<Result<_>>()?;
        let mut graph = Graph::new(3);
        let log = column.chorus.log().await?;
        let start = Instant::now();
        world::append(&log, graph.sign_up(people)).await?;
        let follows = [graph.follow(), graph.follows_by(&ids, FOLLOWED.min(people))].concat();
        world::append(&log, follows.clone()).await?;
        let published = graph.publish(posts);
        world::append(&log, published.clone()).await?;
        // Events that are on their way together are appended in any order: each post is there before it is looked at.
        let looked = graph.look_at(LOOKED_AT.min(posts), LIKES, COMMENTS);
        world::append(&log, looked.clone()).await?;
        progress(&format!("{engine}: appended within {} s", start.elapsed().as_secs()));
        column.chorus.settle().await?;
        progress(&format!("{engine}: taken in within {} s", start.elapsed().as_secs()));
        let authors = people_as_shown(column, &[&graph.people[..], &ids[..]].concat()).await?;
        let filling = filling(&[published, follows, looked].concat(), authors);
        column.fill_bare(&filling).await?;
        let most = filling.follows.iter().filter(|follow| follow.followee == graph.people[0].to_string());
        let what = format!("follows among {people} people, and followers of the most famous");
        findings.figures.push((what, engine, format!("{}, {}", filling.follows.len(), most.count())));
        let what = "authors merged into a viewer's feed, on average".to_owned();
        let owners: HashSet<String> = ids.iter().map(ToString::to_string).collect();
        let merged = filling.merged.iter().filter(|it| owners.contains(&it.owner)).count().div_ceil(ACTING);
        findings.figures.push((what, engine, merged.to_string()));
        let stage = Self { graph, viewers };
        stage.check(column).await?;
        Ok(stage)
    }

    async fn read(&self, column: &Column, time: Duration, findings: &mut Findings) -> Result<()> {
        let readers = &self.viewers[..CONNECTIONS];
        for Row { what, service, bound, goal, chorus, bare } in rows() {
            let reader = column.address(service(column.engine))?;
            let asker = |path: fn(&Self, &User) -> Result<String>, viewer: &User, headers: HeaderMap| {
                let viewer = viewer.clone();
                move || {
                    let (path, headers) = (path(self, &viewer)?, headers.clone());
                    Ok(Asked { method: Method::GET, path, headers, body: Bytes::new() })
                }
            };
            let contest = Contest { what, bound, goal, expected: StatusCode::OK, time };
            let headers = readers.iter().map(authorized).collect::<Result<Vec<_>>>()?;
            let of_chorus = |_| {
                let readers = readers.iter().zip(&headers);
                readers.map(|(viewer, headers)| asker(chorus, viewer, headers.clone())).collect()
            };
            let of_bare =
                |_| readers.iter().map(|viewer| asker(bare, viewer, HeaderMap::new())).collect::<Vec<_>>();
            contest.run(column, reader, of_chorus, of_bare, findings).await?;
        }
        Ok(())
    }

    /// Likes and comments as the app sends them: whoever is answered finds them on every page.
    async fn act(&self, column: &Column, time: Duration, findings: &mut Findings) -> Result<()> {
        let apps = column.address(column.engine.apps())?;
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let headers = self.viewers.iter().map(|viewer| {
            let mut headers = authorized(viewer)?;
            headers.extend([content_type.clone()]);
            Ok(headers)
        });
        let headers = headers.collect::<Result<Vec<_>>>()?;
        for Act { what, expected, path, body, bare } in acts() {
            let ask = |method: &Method, path: String, headers: &HeaderMap, body: &'static str| {
                let (method, headers) = (method.clone(), headers.clone());
                Ok(Asked { method, path, headers, body: Bytes::from_static(body.as_bytes()) })
            };
            let of_chorus = |_| {
                let asker = |headers| {
                    move || {
                        ask(&Method::POST, format!("/instamern/posts/{path}/{}", self.post()?), headers, body)
                    }
                };
                headers.iter().map(asker).collect()
            };
            let no_headers = &HeaderMap::new();
            let of_bare = |_| {
                let (bare, asker) = (&bare, |viewer: &User| viewer.id.clone());
                let askers = self.viewers.iter().map(asker).map(|id| {
                    move || ask(bare, format!("/posts/{}/like/{id}/seen", self.post()?), no_headers, "")
                });
                askers.collect()
            };
            let contest = Contest { what, bound: Bound::None, goal: Some(ACTS), expected, time };
            contest.run(column, apps, of_chorus, of_bare, findings).await?;
        }
        Ok(())
    }

    /// How long it takes from the answer to a post until the last of its author's followers finds it, who are just so many
    /// that it is put into the feed of each: beside the same entries put into views that hold as much.
    async fn publish(&mut self, column: &Column, findings: &mut Findings) -> Result<()> {
        let engine = column.engine.name();
        let [author, last, ..] = &self.viewers[..] else { anyhow::bail!("nobody is there") };
        let id: UserId = author.id.parse()?;
        let count = (FAN_OUT_LIMIT - 1).min(self.graph.people.len());
        let what = format!("post answered → seen by the last of {count} followers, against as many inserts");
        if !findings.want(&what) {
            return Ok(());
        }
        progress(&format!("{engine}: a post for {count} followers"));
        let log = column.chorus.log().await?;
        let followers = self.graph.some(count - 1);
        let mut owners: Vec<String> = followers.iter().map(ToString::to_string).collect();
        owners.push(last.id.clone());
        owners.sort_unstable();
        let follows = followers.into_iter().map(|follower| Followed { follower, followee: id }.into());
        world::append(&log, follows.collect()).await?;
        let api = column.chorus.api();
        api.follow(last, author).await.expect(200);
        column.chorus.settle().await?;
        let (mut of_chorus, mut whole, mut of_bare) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..PUBLISHED {
            let entries = bare::entries(&format!("{round:032x}"), &author.id, &owners);
            of_bare.push(match column.bare_distributed().await? {
                None => bare::OneMachine::insert_entries(column.chorus.folder(), &entries)?,
                Some(bare) => bare.insert_entries(&entries).await?,
            });
            let (answered, found) = publish_and_find(&api, author, last).await?;
            of_chorus.push(found);
            whole.push(answered + found);
            column.chorus.settle().await?;
        }
        of_chorus.sort_unstable();
        of_bare.sort_unstable();
        whole.sort_unstable();
        let (chorus, bare) = (of_chorus[PUBLISHED / 2], of_bare[PUBLISHED / 2]);
        let shown = |taken: Duration| micros(crate::load::micros(taken));
        findings.ratios.push(Ratio {
            what,
            engine,
            chorus: format!("{} (with its upload {})", shown(chorus), shown(whole[PUBLISHED / 2])),
            bare: shown(bare),
            value: chorus.as_secs_f64() / bare.as_secs_f64(),
            bound: Bound::AtMost(2.0),
            goal: None,
        });
        Ok(())
    }

    /// One of those who are followed most.
    fn famous(&self) -> Result<UserId> {
        let famous = &self.graph.people[..self.graph.people.len().min(FAMOUS)];
        famous.choose(&mut rand::rng()).copied().context("nobody is there")
    }

    fn post(&self) -> Result<String> {
        let post = self.graph.looked_at.choose(&mut rand::rng()).context("nothing is there")?;
        Ok(post.0.to_string())
    }

    fn username(&self) -> Result<&str> {
        self.graph.usernames.choose(&mut rand::rng()).map(String::as_str).context("nobody is there")
    }

    /// A username but for its last character.
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

    /// Both servers show as much, if not in quite the same order, as the log took appends that were on their way together:
    /// otherwise nothing would be compared.
    async fn check(&self, column: &Column) -> Result<()> {
        let (reader, apps) = (column.address(column.engine.reader())?, column.address(column.engine.apps())?);
        let viewer = &self.viewers[0];
        let lengths = |found: &Value, lists: &[&str]| -> Vec<usize> {
            lists
                .iter()
                .map(|list| found.pointer(list).and_then(Value::as_array).map_or(0, Vec::len))
                .collect()
        };
        let (post, username, famous) = (self.post()?, self.username()?, self.graph.people[0]);
        for (service, of_chorus, lists, of_bare, bare_lists) in [
            (
                reader,
                "/v1/feed?limit=20".to_owned(),
                &["/items"][..],
                format!("/homes/{}", viewer.id),
                &[""][..],
            ),
            (
                reader,
                format!("/v1/users/{famous}/followers?limit=20"),
                &["/items"],
                format!("/followers/{famous}"),
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
            let bare = get_json(column.bare, of_bare, HeaderMap::new()).await?;
            let (chorus, bare) = (lengths(&chorus, lists), lengths(&bare, bare_lists));
            ensure!(
                chorus == bare && chorus.iter().sum::<usize>() > 0,
                "{of_chorus}: {chorus:?} and {bare:?}"
            );
        }
        Ok(())
    }
}

/// How long it took until the answer, and from there until the follower found the post.
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
