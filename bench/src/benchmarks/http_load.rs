//! Likes, pages of posts and single posts over HTTP with 64 connections.

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
use crate::baseline;
use crate::deployment::{Deployment, Engine};
use crate::load::{LoadRequest, Measured, get_json, load};
use crate::table::{Bound, Goal, Ratio, latency, mebibytes, median, rate};
use crate::world::{self, World};

const CONNECTIONS: usize = 64;
const AUTHORS: usize = 200;
const POSTS: usize = 18_000;
/// Posts that each viewer likes before the reads.
const LIKED: usize = 200;
const ROUNDS: usize = 3;
/// Rounds of both comparisons of likes.
const LIKE_ROUNDS: usize = 2 * ROUNDS;

/// A request that both servers are loaded with.
pub(super) struct Comparison<'a> {
    pub(super) what: &'a str,
    pub(super) bound: Bound,
    pub(super) goal: Option<Goal>,
    pub(super) expected: StatusCode,
    pub(super) time: Duration,
}

/// Users and posts of the load.
struct Scenario {
    viewers: Vec<User>,
    /// The authorization of each viewer.
    headers: Vec<HeaderMap>,
    posts: Vec<String>,
}

pub(crate) async fn http_load(
    deployment: &Deployment,
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let engine = deployment.engine.name();
    progress(&format!("{engine}: creating users and posts"));
    let scenario = Scenario::create(deployment).await?;
    let memory = |findings: &mut Findings, when: &str| -> Result<()> {
        if deployment.engine == Engine::Standalone {
            let resident = deployment.chorus.resident_memory(deployment.engine.writer())?;
            let what = format!("resident memory of `chorus serve`, {when}");
            findings.figures.push((what, engine, mebibytes(resident)));
        }
        Ok(())
    };
    memory(findings, "idle, after 64 sign-ups and 18,000 posts")?;
    scenario.read(deployment, time, findings).await?;
    memory(findings, "under read load, 64 connections")?;
    scenario.like(deployment, time, findings).await?;
    memory(findings, "under write load, 64 connections")
}

impl Scenario {
    async fn create(deployment: &Deployment) -> Result<Self> {
        let api = deployment.chorus.api();
        let mut viewers = Vec::new();
        for _ in 0..CONNECTIONS {
            viewers.push(api.sign_up("viewer").await);
        }
        let log = deployment.chorus.log().await?;
        let mut world = World::new(1);
        world::append(&log, world.sign_up(AUTHORS)).await?;
        world::append(&log, world.publish(POSTS)).await?;
        let ids: Vec<UserId> = viewers.iter().map(|viewer| Ok(viewer.id.parse()?)).collect::<Result<_>>()?;
        world::append(&log, world.likes_by(&ids, LIKED)).await?;
        deployment.chorus.settle().await?;
        seed_baseline(deployment, &viewers).await?;
        let posts = world.posts.iter().map(|(post, _)| post.to_string()).collect();
        let headers = viewers.iter().map(authorized).collect::<Result<Vec<_>>>()?;
        check_pages(deployment, &viewers[0], &headers[0]).await?;
        Ok(Self { viewers, headers, posts })
    }

    async fn read(&self, deployment: &Deployment, time: Duration, findings: &mut Findings) -> Result<()> {
        let Self { viewers, headers, posts } = self;
        let reader = deployment.address(deployment.engine.reader())?;
        let comparison = Comparison {
            what: "page of 20 posts with authors and viewer flags",
            bound: Bound::AtLeast(0.6),
            goal: None,
            expected: StatusCode::OK,
            time,
        };
        let page = |path: String, headers: HeaderMap| {
            move || {
                Ok(LoadRequest {
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
        let baseline = |_| {
            viewers.iter().map(|viewer| page(format!("/posts/by/{}", viewer.id), HeaderMap::new())).collect()
        };
        comparison.run(deployment, reader, chorus, baseline, findings).await?;

        let comparison = Comparison {
            what: "one post by id, with author and viewer flag",
            bound: Bound::AtLeast(0.7),
            ..comparison
        };
        let one = |paths: Vec<String>, headers: HeaderMap| {
            move || {
                let path = paths.choose(&mut rand::rng()).context("a post")?.clone();
                Ok(LoadRequest { method: Method::GET, path, headers: headers.clone(), body: Bytes::new() })
            }
        };
        let chorus = |_| {
            let paths: Vec<String> = posts.iter().map(|post| format!("/v1/posts/{post}")).collect();
            headers.iter().map(|headers| one(paths.clone(), headers.clone())).collect()
        };
        let baseline = |_| {
            let paths =
                |viewer: &User| posts.iter().map(|post| format!("/posts/{post}/by/{}", viewer.id)).collect();
            viewers.iter().map(|viewer| one(paths(viewer), HeaderMap::new())).collect()
        };
        comparison.run(deployment, reader, chorus, baseline, findings).await
    }

    /// Every viewer likes every post once, each starting at a different one; each round uses its share of the posts.
    async fn like(&self, deployment: &Deployment, time: Duration, findings: &mut Findings) -> Result<()> {
        let Self { viewers, headers, posts } = self;
        let comparison = Comparison {
            what: "like with `Prefer: respond-async`",
            bound: Bound::AtLeast(0.6),
            goal: None,
            expected: StatusCode::ACCEPTED,
            time,
        };
        let like = |mut paths: std::vec::IntoIter<String>, headers: HeaderMap| {
            move || {
                let path = paths.next().context("no post is left to like: use more posts or less time")?;
                Ok(LoadRequest { method: Method::PUT, path, headers: headers.clone(), body: Bytes::new() })
            }
        };
        let share = |round: usize, viewer: usize| {
            let of_round = &posts[round * POSTS / LIKE_ROUNDS..(round + 1) * POSTS / LIKE_ROUNDS];
            let (before, after) = of_round.split_at(viewer * of_round.len() / CONNECTIONS);
            after.iter().chain(before).cloned().collect::<Vec<_>>()
        };
        let respond_async = (HeaderName::from_static("prefer"), HeaderValue::from_static("respond-async"));
        let chorus = |round| {
            let sources = headers.iter().enumerate().map(|(viewer, headers)| {
                let mut headers = headers.clone();
                headers.extend([respond_async.clone()]);
                let paths = share(round, viewer).into_iter().map(|post| format!("/v1/posts/{post}/like"));
                like(paths.collect::<Vec<_>>().into_iter(), headers)
            });
            sources.collect()
        };
        let baseline = |round: usize, projected: &str| {
            let sources = viewers.iter().enumerate().map(|(place, viewer)| {
                let posts = share(round, place).into_iter();
                let paths = posts.map(|post| format!("/posts/{post}/like/{}{projected}", viewer.id));
                like(paths.collect::<Vec<_>>().into_iter(), HeaderMap::new())
            });
            sources.collect::<Vec<_>>()
        };
        let writer = deployment.address(deployment.engine.writer())?;
        comparison.run(deployment, writer, &chorus, |round| baseline(round, ""), findings).await?;
        // Like Chorus, the baseline now also writes each like to two views.
        let comparison = Comparison {
            what: "the same, the baseline also keeping the views of likes and posts",
            bound: Bound::None,
            ..comparison
        };
        comparison
            .run(
                deployment,
                writer,
                |round| chorus(ROUNDS + round),
                |round| baseline(ROUNDS + round, "/projected"),
                findings,
            )
            .await
    }
}

impl Comparison<'_> {
    pub(super) async fn run<A, B>(
        &self,
        deployment: &Deployment,
        chorus_at: std::net::SocketAddr,
        chorus: impl Fn(usize) -> Vec<A>,
        baseline: impl Fn(usize) -> Vec<B>,
        findings: &mut Findings,
    ) -> Result<()>
    where
        A: FnMut() -> Result<LoadRequest>,
        B: FnMut() -> Result<LoadRequest>,
    {
        if !findings.selects(self.what) {
            return Ok(());
        }
        let engine = deployment.engine.name();
        let (mut of_chorus, mut of_baseline) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            progress(&format!("{engine}: {}, round {} of {ROUNDS}", self.what, round + 1));
            of_baseline.push(load(deployment.baseline, self.expected, self.time, baseline(round)).await?);
            of_chorus.push(load(chorus_at, self.expected, self.time, chorus(round)).await?);
            // Pending work of a round must not affect the next one.
            deployment.chorus.settle().await?;
        }
        let (chorus, baseline) = median(of_chorus).zip(median(of_baseline)).context("no round")?;
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
            baseline: shown(&baseline),
            value: chorus.per_second / baseline.per_second,
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

/// Checks that both servers show the same posts with the same likes, so that the comparison is valid.
async fn check_pages(deployment: &Deployment, viewer: &User, headers: &HeaderMap) -> Result<()> {
    let reader = deployment.address(deployment.engine.reader())?;
    let chorus = get_json(reader, "/v1/posts?limit=20".to_owned(), headers.clone()).await?;
    let baseline =
        get_json(deployment.baseline, format!("/posts/by/{}", viewer.id), HeaderMap::new()).await?;
    let of_chorus: Vec<_> = chorus["items"]
        .as_array()
        .context("items")?
        .iter()
        .map(|item| (item["id"].clone(), item["author"]["username"].clone(), item["viewer"]["liked"].clone()))
        .collect();
    let of_baseline: Vec<_> = baseline
        .as_array()
        .context("an array")?
        .iter()
        .map(|item| (item["post"]["post"].clone(), item["author"]["username"].clone(), item["liked"].clone()))
        .collect();
    ensure!(
        of_chorus == of_baseline && of_baseline.len() == 20,
        "the pages differ: {of_chorus:?} and {of_baseline:?}"
    );
    Ok(())
}

/// Copies the views of Chorus to the baseline server.
async fn seed_baseline(deployment: &Deployment, viewers: &[User]) -> Result<()> {
    let store = deployment.chorus.views().await?;
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
    let authors = profiles.into_iter().flatten().map(baseline::Author::from).collect();
    let liked = try_join_all(viewers.iter().map(|viewer| async {
        let keys: Vec<String> =
            posts.iter().map(|post| views::social::likes::key(&post.post, &viewer.id)).collect();
        let found = store.get_all::<Like>(&keys).await?;
        let likes = found.into_iter().flatten();
        anyhow::Ok(
            likes
                .map(|Like { post, user, position, .. }| baseline::Like { post, user, position })
                .collect::<Vec<_>>(),
        )
    }));
    let likes = liked.await?.concat();
    let posts: Vec<baseline::Post> = posts
        .into_iter()
        .map(|post| Ok(serde_json::from_value(serde_json::to_value(post)?)?))
        .collect::<Result<_>>()?;
    let seed_data = baseline::SeedData { posts, authors, likes, ..baseline::SeedData::default() };
    deployment.seed_baseline(&seed_data).await
}
