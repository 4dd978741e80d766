//! What the photo app's pages ask for, on a graph of people as it grows among people: followers, and searches by name.
//!
//! A row that is still to come (the home feed, the routes under `/instamern`) is one more [`Row`] in [`rows`], with a route of
//! the bare server that does the same reads.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use events::UserId;
use http::{HeaderMap, Method, StatusCode};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::Value;
use views::ViewStoreExt;
use views::profiles::Profile;

use super::http_load::{Contest, authorized};
use super::{Findings, progress};
use crate::bare;
use crate::column::Column;
use crate::graph::Graph;
use crate::load::{Asked, Connection};
use crate::table::Bound;
use crate::world;

const CONNECTIONS: usize = 32;
/// Whom each viewer follows.
const FOLLOWED: usize = 200;
/// Documents read from the views at once, to fill the bare server.
const READ_AT_ONCE: usize = 1000;

/// What is asked of both servers.
struct Row {
    what: &'static str,
    bound: Bound,
    /// Draws the next path.
    chorus: fn(&Stage) -> Result<String>,
    bare: fn(&Stage) -> Result<String>,
}

fn rows() -> Vec<Row> {
    vec![
        Row {
            what: "page of 20 followers of somebody famous",
            bound: Bound::AtLeast(0.5),
            chorus: |stage| Ok(format!("/v1/users/{}/followers?limit=20", stage.famous()?)),
            bare: |stage| Ok(format!("/followers/{}", stage.famous()?)),
        },
        Row {
            what: "people by a username without its last character, up to 20",
            bound: Bound::None,
            chorus: |stage| Ok(format!("/v1/users?limit=20&q={}", stage.beginning()?)),
            bare: |stage| Ok(format!("/usernames/{}", stage.beginning()?)),
        },
        Row {
            what: "people with five characters within their usernames, against the beginning of one",
            bound: Bound::None,
            chorus: |stage| Ok(format!("/v1/users/by-username?part={}", stage.part()?)),
            // The bare server has no index for what stands within a name.
            bare: |stage| Ok(format!("/usernames/{}", stage.beginning()?)),
        },
    ]
}

/// The graph, and who looks at it.
struct Stage {
    graph: Graph,
    headers: Vec<HeaderMap>,
}

pub(crate) async fn photos(
    column: &Column,
    (people, posts): (usize, usize),
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let stage = Stage::set(column, people, posts, findings).await?;
    let reader = column.address(column.engine.reader())?;
    for Row { what, bound, chorus, bare } in rows() {
        let asker = |path: fn(&Stage) -> Result<String>, headers: HeaderMap| {
            let stage = &stage;
            move || {
                let (path, headers) = (path(stage)?, headers.clone());
                Ok(Asked { method: Method::GET, path, headers, body: Bytes::new() })
            }
        };
        let contest = Contest { what, bound, expected: StatusCode::OK, time };
        let of_chorus = |_| stage.headers.iter().map(|headers| asker(chorus, headers.clone())).collect();
        let of_bare = |_| stage.headers.iter().map(|_| asker(bare, HeaderMap::new())).collect();
        contest.run(column, reader, of_chorus, of_bare, findings).await?;
    }
    Ok(())
}

impl Stage {
    async fn set(column: &Column, people: usize, posts: usize, findings: &mut Findings) -> Result<Self> {
        let engine = column.engine.name();
        progress(&format!("{engine}: a graph of {people} people and {posts} posts"));
        let api = column.chorus.api();
        let mut viewers = Vec::new();
        for _ in 0..CONNECTIONS {
            viewers.push(api.sign_up("viewer").await);
        }
        let ids: Vec<UserId> = viewers.iter().map(|viewer| Ok(viewer.id.parse()?)).collect::<Result<_>>()?;
        let mut graph = Graph::new(3);
        let log = column.chorus.log().await?;
        world::append(&log, graph.sign_up(people)).await?;
        let follows = [graph.follow(), graph.follows_by(&ids, FOLLOWED.min(people))].concat();
        let count = follows.len();
        fill_bare_follows(column, &follows).await?;
        world::append(&log, follows).await?;
        world::append(&log, graph.publish(posts)).await?;
        column.chorus.settle().await?;
        fill_bare_people(column, &[&graph.people[..], &ids[..]].concat()).await?;
        let what = format!("follows among {people} people, of whom the most famous is followed by most");
        findings.figures.push((what, engine, count.to_string()));
        let headers = viewers.iter().map(authorized).collect::<Result<_>>()?;
        let stage = Self { graph, headers };
        stage.check_followers(column).await?;
        Ok(stage)
    }

    /// One of the ten who are followed most.
    fn famous(&self) -> Result<UserId> {
        let famous = &self.graph.people[..self.graph.people.len().min(10)];
        famous.choose(&mut rand::rng()).copied().context("nobody is there")
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

    /// Both servers show as many people, if not in quite the same order, as the log took appends that were on their way together:
    /// otherwise nothing would be compared.
    async fn check_followers(&self, column: &Column) -> Result<()> {
        let famous = self.graph.people.first().context("nobody is there")?;
        let usernames = async |address, path: String, list: fn(Value) -> Value| -> Result<Vec<String>> {
            let asked = Asked { method: Method::GET, path, headers: HeaderMap::new(), body: Bytes::new() };
            let (status, body) = Connection::open(address).await?.send(asked).await?;
            ensure!(status == StatusCode::OK, "{status}");
            let people: Vec<Value> = serde_json::from_value(list(serde_json::from_slice(&body)?))?;
            Ok(people.iter().filter_map(|person| person["username"].as_str().map(str::to_owned)).collect())
        };
        let reader = column.address(column.engine.reader())?;
        let path = format!("/v1/users/{famous}/followers?limit=20");
        let of_chorus = usernames(reader, path, |mut page| page["items"].take()).await?;
        let of_bare = usernames(column.bare, format!("/followers/{famous}"), |page| page).await?;
        let same = of_chorus.len() == of_bare.len() && !of_chorus.is_empty();
        ensure!(same, "the pages differ: {of_chorus:?} and {of_bare:?}");
        Ok(())
    }
}

async fn fill_bare_follows(column: &Column, follows: &[events::Event]) -> Result<()> {
    let writes = world::plain(follows);
    match column.bare_distributed().await? {
        None => bare::OneMachine::fill_follows(column.chorus.folder(), &writes),
        Some(bare) => bare.fill_follows(&writes).await,
    }
}

/// Gives the bare server the people as the views of Chorus hold them.
async fn fill_bare_people(column: &Column, people: &[UserId]) -> Result<()> {
    let store = column.chorus.views().await?;
    let mut authors = Vec::new();
    for some in people.chunks(READ_AT_ONCE) {
        let keys: Vec<String> = some.iter().map(ToString::to_string).collect();
        let profiles = store.get_all::<Profile>(&keys).await?;
        authors.extend(profiles.into_iter().flatten().map(
            |Profile { user, username, firstname, lastname, .. }| bare::Author {
                user,
                username,
                firstname,
                lastname,
            },
        ));
    }
    match column.bare_distributed().await? {
        None => bare::OneMachine::fill(column.chorus.folder(), &[], &authors, &[]),
        Some(bare) => bare.fill(&[], &authors, &[]).await,
    }
}
