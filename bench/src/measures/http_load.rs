//! Likes, pages of posts and single posts over HTTP, at 64 connections.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use events::UserId;
use futures::future::try_join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use rand::seq::IndexedRandom;
use tests::client::User;
use views::accounts::profiles::Profile;
use views::social::likes::Like;
use views::social::posts::Post;
use views::{Query, ViewStoreExt};

use super::{Findings, progress};
use crate::bare;
use crate::column::{Column, Engine};
use crate::load::{Asked, Measured, get_json, load};
use crate::table::{Bound, Goal, Ratio, latency, mebibytes, median, rate};
use crate::world::{self, World};

const CONNECTIONS: usize = 64;
const AUTHORS: usize = 200;
const POSTS: usize = 18_000;
/// Posts that each viewer likes before the reads.
const LIKED: usize = 200;
const ROUNDS: usize = 3;
/// Those of both contests of likes.
const LIKE_ROUNDS: usize = 2 * ROUNDS;

/// One thing to load both servers with.
pub(super) struct Contest<'a> {
    pub(super) what: &'a str,
    pub(super) bound: Bound,
    pub(super) goal: Option<Goal>,
    pub(super) expected: StatusCode,
    pub(super) time: Duration,
}

/// Who asks, and for what.
struct Stage {
    viewers: Vec<User>,
    /// With which each of them is known.
    headers: Vec<HeaderMap>,
    posts: Vec<String>,
}

pub(crate) async fn http_load(column: &Column, time: Duration, findings: &mut Findings) -> Result<()> {
    let engine = column.engine.name();
    progress(&format!("{engine}: making people and posts"));
    let stage = Stage::set(column).await?;
    let memory = |findings: &mut Findings, when: &str| -> Result<()> {
        if column.engine == Engine::OneMachine {
            let resident = column.chorus.resident_memory(column.engine.writer())?;
            let what = format!("resident memory of `chorus serve`, {when}");
            findings.figures.push((what, engine, mebibytes(resident)));
        }
        Ok(())
    };
    memory(findings, "idle, after 64 sign-ups and 18,000 posts")?;
    stage.read(column, time, findings).await?;
    memory(findings, "under read load, 64 connections")?;
    stage.like(column, time, findings).await?;
    memory(findings, "under write load, 64 connections")
}

impl Stage {
    async fn set(column: &Column) -> Result<Self> {
        let api = column.chorus.api();
        let mut viewers = Vec::new();
        for _ in 0..CONNECTIONS {
            viewers.push(api.sign_up("viewer").await);
        }
        let log = column.chorus.log().await?;
        let mut world = World::new(1);
        world::append(&log, world.sign_up(AUTHORS)).await?;
        world::append(&log, world.publish(POSTS)).await?;
        let ids: Vec<UserId> = viewers.iter().map(|viewer| Ok(viewer.id.parse()?)).collect::<Result<_>>()?;
        world::append(&log, world.likes_by(&ids, LIKED)).await?;
        column.chorus.settle().await?;
        fill_bare(column, &viewers).await?;
        let posts = world.posts.iter().map(|(post, _)| post.to_string()).collect();
        let headers = viewers.iter().map(authorized).collect::<Result<Vec<_>>>()?;
        check_pages(column, &viewers[0], &headers[0]).await?;
        Ok(Self { viewers, headers, posts })
    }

    async fn read(&self, column: &Column, time: Duration, findings: &mut Findings) -> Result<()> {
        let Self { viewers, headers, posts } = self;
        let reader = column.address(column.engine.reader())?;
        let contest = Contest {
            what: "page of 20 posts with authors and viewer flags",
            bound: Bound::AtLeast(0.6),
            goal: None,
            expected: StatusCode::OK,
            time,
        };
        let page = |path: String, headers: HeaderMap| {
            move || {
                Ok(Asked {
                    method: Method::GET,
                    path: path.clone(),
                    headers: headers.clone(),
                    body: Bytes::new(),
                })
            }
        };
        let chorus = |_| {
            headers.iter().map(|headers| page("/v1/posts?limit=20".to_owned(), headers.clone())).collect()
        };
        let bare = |_| {
            viewers.iter().map(|viewer| page(format!("/posts/by/{}", viewer.id), HeaderMap::new())).collect()
        };
        contest.run(column, reader, chorus, bare, findings).await?;

        let contest = Contest {
            what: "one post by id, with author and viewer flag",
            bound: Bound::AtLeast(0.7),
            ..contest
        };
        let one = |paths: Vec<String>, headers: HeaderMap| {
            move || {
                let path = paths.choose(&mut rand::rng()).context("a post")?.clone();
                Ok(Asked { method: Method::GET, path, headers: headers.clone(), body: Bytes::new() })
            }
        };
        let chorus = |_| {
            let paths: Vec<String> = posts.iter().map(|post| format!("/v1/posts/{post}")).collect();
            headers.iter().map(|headers| one(paths.clone(), headers.clone())).collect()
        };
        let bare = |_| {
            let paths =
                |viewer: &User| posts.iter().map(|post| format!("/posts/{post}/by/{}", viewer.id)).collect();
            viewers.iter().map(|viewer| one(paths(viewer), HeaderMap::new())).collect()
        };
        contest.run(column, reader, chorus, bare, findings).await
    }

    /// Every viewer likes every post once, each beginning at another one; each round takes its share of the posts.
    async fn like(&self, column: &Column, time: Duration, findings: &mut Findings) -> Result<()> {
        let Self { viewers, headers, posts } = self;
        let contest = Contest {
            what: "like with `Prefer: respond-async`",
            bound: Bound::AtLeast(0.6),
            goal: None,
            expected: StatusCode::ACCEPTED,
            time,
        };
        let like = |mut paths: std::vec::IntoIter<String>, headers: HeaderMap| {
            move || {
                let path = paths.next().context("no post is left to be liked: more posts, or less time")?;
                Ok(Asked { method: Method::PUT, path, headers: headers.clone(), body: Bytes::new() })
            }
        };
        let share = |round: usize, viewer: usize| {
            let of_round = &posts[round * POSTS / LIKE_ROUNDS..(round + 1) * POSTS / LIKE_ROUNDS];
            let (before, after) = of_round.split_at(viewer * of_round.len() / CONNECTIONS);
            after.iter().chain(before).cloned().collect::<Vec<_>>()
        };
        let respond_async = (HeaderName::from_static("prefer"), HeaderValue::from_static("respond-async"));
        let chorus = |round| {
            let askers = headers.iter().enumerate().map(|(viewer, headers)| {
                let mut headers = headers.clone();
                headers.extend([respond_async.clone()]);
                let paths = share(round, viewer).into_iter().map(|post| format!("/v1/posts/{post}/like"));
                like(paths.collect::<Vec<_>>().into_iter(), headers)
            });
            askers.collect()
        };
        let bare = |round: usize, projected: &str| {
            let askers = viewers.iter().enumerate().map(|(place, viewer)| {
                let posts = share(round, place).into_iter();
                let paths = posts.map(|post| format!("/posts/{post}/like/{}{projected}", viewer.id));
                like(paths.collect::<Vec<_>>().into_iter(), HeaderMap::new())
            });
            askers.collect::<Vec<_>>()
        };
        let writer = column.address(column.engine.writer())?;
        contest.run(column, writer, &chorus, |round| bare(round, ""), findings).await?;
        // The same with what Chorus does besides: each like is taken into two views.
        let contest = Contest {
            what: "the same, the bare server also keeping the views of likes and posts",
            bound: Bound::None,
            ..contest
        };
        contest
            .run(
                column,
                writer,
                |round| chorus(ROUNDS + round),
                |round| bare(ROUNDS + round, "/projected"),
                findings,
            )
            .await
    }
}

impl Contest<'_> {
    pub(super) async fn run<A, B>(
        &self,
        column: &Column,
        chorus_at: std::net::SocketAddr,
        chorus: impl Fn(usize) -> Vec<A>,
        bare: impl Fn(usize) -> Vec<B>,
        findings: &mut Findings,
    ) -> Result<()>
    where
        A: FnMut() -> Result<Asked>,
        B: FnMut() -> Result<Asked>,
    {
        if !findings.want(self.what) {
            return Ok(());
        }
        let engine = column.engine.name();
        let (mut of_chorus, mut of_bare) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            progress(&format!("{engine}: {}, round {} of {ROUNDS}", self.what, round + 1));
            of_bare.push(load(column.bare, self.expected, self.time, bare(round)).await?);
            of_chorus.push(load(chorus_at, self.expected, self.time, chorus(round)).await?);
            // What a round has set off is not to weigh on the next.
            column.chorus.settle().await?;
        }
        let (chorus, bare) = median(of_chorus).zip(median(of_bare)).context("no round")?;
        let shown = |measured: &Measured| {
            let Measured { per_second, latencies } = measured;
            format!(
                "{}, p50 {}, p99 {}",
                rate(*per_second),
                latency(latencies, 0.5),
                latency(latencies, 0.99)
            )
        };
        findings.ratios.push(Ratio {
            what: self.what.to_owned(),
            engine,
            chorus: shown(&chorus),
            bare: shown(&bare),
            value: chorus.per_second / bare.per_second,
            bound: self.bound,
            goal: self.goal.map(|goal| goal.text(&chorus)),
        });
        Ok(())
    }
}

pub(super) fn authorized(viewer: &User) -> Result<HeaderMap> {
    let value = HeaderValue::try_from(format!("Bearer {}", viewer.token))?;
    Ok(HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
}

/// Both servers show the same posts, liked the same: otherwise nothing would be compared.
async fn check_pages(column: &Column, viewer: &User, headers: &HeaderMap) -> Result<()> {
    let reader = column.address(column.engine.reader())?;
    let chorus = get_json(reader, "/v1/posts?limit=20".to_owned(), headers.clone()).await?;
    let bare = get_json(column.bare, format!("/posts/by/{}", viewer.id), HeaderMap::new()).await?;
    let of_chorus: Vec<_> = chorus["items"]
        .as_array()
        .context("items")?
        .iter()
        .map(|item| (item["id"].clone(), item["author"]["username"].clone(), item["viewer"]["liked"].clone()))
        .collect();
    let of_bare: Vec<_> = bare
        .as_array()
        .context("an array")?
        .iter()
        .map(|item| (item["post"]["post"].clone(), item["author"]["username"].clone(), item["liked"].clone()))
        .collect();
    ensure!(of_chorus == of_bare && of_bare.len() == 20, "the pages differ: {of_chorus:?} and {of_bare:?}");
    Ok(())
}

/// Gives the bare server what the views of Chorus hold.
async fn fill_bare(column: &Column, viewers: &[User]) -> Result<()> {
    let store = column.chorus.views().await?;
    let store = &*store;
    let mut posts = Vec::new();
    let mut after = None;
    loop {
        let query = Query::new(&views::social::posts::VIEW, &views::social::posts::NEWEST, Vec::new(), 100)
            .after(after);
        let page = store.page_of::<Post>(query).await?;
        posts.extend(page.documents);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let authors: Vec<String> = {
        let mut authors: Vec<_> = posts.iter().map(|post| post.author.clone()).collect();
        authors.sort_unstable();
        authors.dedup();
        authors
    };
    let profiles = store.get_all::<Profile>(&authors).await?;
    let authors = profiles.into_iter().flatten().map(bare::Author::from).collect();
    let liked = try_join_all(viewers.iter().map(|viewer| async {
        let keys: Vec<String> =
            posts.iter().map(|post| views::social::likes::key(&post.post, &viewer.id)).collect();
        let found = store.get_all::<Like>(&keys).await?;
        let likes = found.into_iter().flatten();
        anyhow::Ok(
            likes
                .map(|Like { post, user, position, .. }| bare::Like { post, user, position })
                .collect::<Vec<_>>(),
        )
    }));
    let likes = liked.await?.concat();
    let posts: Vec<bare::Post> = posts
        .into_iter()
        .map(|post| Ok(serde_json::from_value(serde_json::to_value(post)?)?))
        .collect::<Result<_>>()?;
    column.fill_bare(&bare::Filling { posts, authors, likes, ..bare::Filling::default() }).await
}
