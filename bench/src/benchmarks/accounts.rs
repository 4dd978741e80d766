//! The cost of authentication: log-ins against Argon2id alone, their effect on other requests, and the check of a token
//! against an Ed25519 verification alone.

use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use events::{SessionId, UserId};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jsonwebtoken::jwk::AlgorithmParameters;
use serde_json::json;
use service::clock;
use service::config::SameSite;
use tests::client::{PASSWORD, User};
use uuid::Uuid;
use web::problem::Problem;
use web::session_cookies::SessionCookies;
use web::sessions::{ActiveSession, Authenticator, FixedKeys, Parts, SessionLookup};
use web::tokens::{SigningKeys, VerifyingKeys};

use super::{Findings, progress};
use crate::baseline;
use crate::deployment::Deployment;
use crate::load::{Connection, LoadRequest, Measured, histogram, load, micros};
use crate::table::{self, Bound, Ratio, latency, median, rate};

/// Connections that log in: more than cores, so that the pool is never idle.
const LOGGING_IN: usize = 16;
/// Connections that read posts meanwhile.
const READING: usize = 4;
const ROUNDS: usize = 3;
const TOKENS: usize = 5000;
const REVOCATIONS: usize = 100;

pub(crate) async fn accounts(deployment: &Deployment, time: Duration, findings: &mut Findings) -> Result<()> {
    let api = deployment.chorus.api();
    let user = api.sign_up("somebody").await;
    let mut posts = Vec::new();
    for n in 0..20 {
        posts.push(api.publish(&user, &format!("post {n}")).await);
    }
    log_ins(deployment, &user, time, findings).await?;
    log_ins_beside_busy_processes(deployment, &user, time, findings).await?;
    revocations(deployment, &user, findings).await?;
    reads_beside_log_ins(deployment, &user, &posts, time, findings).await
}

fn log_in(user: &User) -> impl FnMut() -> Result<LoadRequest> + use<> {
    let body = json!({ "login": user.username, "password": PASSWORD }).to_string();
    move || {
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(LoadRequest {
            method: Method::POST,
            path: "/v1/sessions".to_owned(),
            headers: HeaderMap::from_iter([content_type]),
            body: body.clone().into(),
        })
    }
}

async fn log_ins(
    deployment: &Deployment,
    user: &User,
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let engine = deployment.engine.name();
    let writer = deployment.address(deployment.engine.writer())?;
    let (mut of_chorus, mut of_argon2, mut of_baseline) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        progress(&format!("{engine}: log-ins, round {round} of {ROUNDS}"));
        of_argon2.push(tokio::task::spawn_blocking(move || verify_passwords(time)).await??);
        let sources = (0..LOGGING_IN).map(|_| baseline_log_in(user)).collect();
        of_baseline.push(load(deployment.baseline, StatusCode::CREATED, time, sources).await?);
        let sources = (0..LOGGING_IN).map(|_| log_in(user)).collect();
        of_chorus.push(load(writer, StatusCode::CREATED, time, sources).await?);
        deployment.chorus.settle().await?;
    }
    of_argon2.sort_by(f64::total_cmp);
    let argon2 = of_argon2[ROUNDS / 2];
    let (chorus, baseline) = median(of_chorus).zip(median(of_baseline)).context("no round")?;
    let shown = |log_ins: &Measured| {
        format!("{}, p50 {}", rate(log_ins.per_second), latency(&log_ins.latencies, 0.5))
    };
    findings.ratios.push(Ratio {
        what: "log-ins, 16 connections, against Argon2id alone on all cores".to_owned(),
        engine,
        chorus: shown(&chorus),
        baseline: rate(argon2),
        value: chorus.per_second / argon2,
        bound: Bound::AtLeast(0.8),
        goal: None,
    });
    findings.ratios.push(Ratio {
        what: "the same, against a baseline that also appends and commits each".to_owned(),
        engine,
        chorus: shown(&chorus),
        baseline: shown(&baseline),
        value: chorus.per_second / baseline.per_second,
        bound: Bound::None,
        goal: None,
    });
    Ok(())
}

/// Processes that keep every processor busy until this is dropped.
struct BusyProcesses(Vec<Child>);

impl BusyProcesses {
    fn start() -> Result<Self> {
        let processors = std::thread::available_parallelism()?.get();
        let mut busy = Self(Vec::new());
        for _ in 0..processors {
            // Ends by itself if the benchmark is killed.
            busy.0.push(Command::new("sh").args(["-c", "while kill -0 $PPID; do :; done"]).spawn()?);
        }
        Ok(busy)
    }
}

impl Drop for BusyProcesses {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

async fn log_ins_beside_busy_processes(
    deployment: &Deployment,
    user: &User,
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let engine = deployment.engine.name();
    let writer = deployment.address(deployment.engine.writer())?;
    let _busy = BusyProcesses::start()?;
    let (mut of_chorus, mut of_argon2) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        progress(&format!("{engine}: log-ins beside busy processes, round {round} of {ROUNDS}"));
        of_argon2.push(tokio::task::spawn_blocking(move || verify_passwords(time)).await??);
        let sources = (0..LOGGING_IN).map(|_| log_in(user)).collect();
        of_chorus.push(load(writer, StatusCode::CREATED, time, sources).await?);
        deployment.chorus.settle().await?;
    }
    of_argon2.sort_by(f64::total_cmp);
    let argon2 = of_argon2[ROUNDS / 2];
    let chorus = median(of_chorus).context("no round")?;
    findings.ratios.push(Ratio {
        what: "log-ins, 16 connections, while other processes keep every processor busy, against Argon2id \
            alone under the same conditions"
            .to_owned(),
        engine,
        chorus: format!("{}, p50 {}", rate(chorus.per_second), latency(&chorus.latencies, 0.5)),
        baseline: rate(argon2),
        value: chorus.per_second / argon2,
        bound: Bound::AtLeast(0.6),
        goal: None,
    });
    Ok(())
}

fn baseline_log_in(user: &User) -> impl FnMut() -> Result<LoadRequest> + use<> {
    let path = format!("/log-ins/{}", user.id);
    move || {
        let (path, headers) = (path.clone(), HeaderMap::new());
        Ok(LoadRequest { method: Method::POST, path, headers, body: bytes::Bytes::new() })
    }
}

/// Verifications per second of Argon2id alone on all cores.
fn verify_passwords(time: Duration) -> Result<f64> {
    let hash = baseline::hashed()?;
    let cores = std::thread::available_parallelism()?.get();
    let (done, start) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while start.elapsed() < time && baseline::verify(&hash).is_ok() {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = done.into_inner() as f64 / start.elapsed().as_secs_f64();
    Ok(per_second)
}

/// The time from the response to a log-out until the read side, which has cached the token, refuses it.
async fn revocations(deployment: &Deployment, user: &User, findings: &mut Findings) -> Result<()> {
    let engine = deployment.engine.name();
    progress(&format!("{engine}: from a log-out to a refusal"));
    let mut writer = Connection::open(deployment.address(deployment.engine.writer())?).await?;
    let mut reader = Connection::open(deployment.address(deployment.engine.reader())?).await?;
    let api = deployment.chorus.api();
    let mut refused = histogram()?;
    for _ in 0..REVOCATIONS {
        let session = api.log_in(user, PASSWORD).await;
        let authorization = HeaderValue::try_from(format!("Bearer {}", session.token))?;
        let request = |method: Method, path: &str| LoadRequest {
            method,
            path: path.to_owned(),
            headers: HeaderMap::from_iter([
                (header::AUTHORIZATION, authorization.clone()),
                (HeaderName::from_static("prefer"), HeaderValue::from_static("respond-async")),
            ]),
            body: bytes::Bytes::new(),
        };
        let (status, _) = reader.send(request(Method::GET, "/v1/me")).await?;
        ensure!(status == StatusCode::OK, "{status}");
        let (status, _) = writer.send(request(Method::DELETE, "/v1/sessions/current")).await?;
        ensure!(status == StatusCode::ACCEPTED, "{status}");
        let ended = Instant::now();
        while reader.send(request(Method::GET, "/v1/me")).await?.0 != StatusCode::UNAUTHORIZED {
            ensure!(ended.elapsed() < Duration::from_secs(10), "an ended session is still accepted");
        }
        refused.record(micros(ended.elapsed()))?;
    }
    let figure = format!(
        "p50 {}, p99 {}, longest {}",
        latency(&refused, 0.5),
        latency(&refused, 0.99),
        latency(&refused, 1.0)
    );
    findings.figures.push((
        "log-out answered → its token refused by the read side".to_owned(),
        engine,
        figure,
    ));
    Ok(())
}

/// Latency of reads with and without concurrent log-ins.
async fn reads_beside_log_ins(
    deployment: &Deployment,
    user: &User,
    posts: &[String],
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let engine = deployment.engine.name();
    let writer = deployment.address(deployment.engine.writer())?;
    let reader = deployment.address(deployment.engine.reader())?;
    let authorization = HeaderValue::try_from(format!("Bearer {}", user.token))?;
    let read = |place: usize| {
        let path = format!("/v1/posts/{}", posts[place % posts.len()]);
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, authorization.clone())]);
        move || {
            let (path, headers) = (path.clone(), headers.clone());
            Ok(LoadRequest { method: Method::GET, path, headers, body: bytes::Bytes::new() })
        }
    };
    let readers = || (0..READING).map(read).collect::<Vec<_>>();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        progress(&format!("{engine}: reads beside log-ins, round {round} of {ROUNDS}"));
        alone.push(load(reader, StatusCode::OK, time, readers()).await?);
        // The log-ins start before the reads and end after them.
        let log_ins = (0..LOGGING_IN).map(|_| log_in(user)).collect();
        let logging_in = load(writer, StatusCode::CREATED, time * 3 / 2, log_ins);
        let reading = async {
            tokio::time::sleep(time / 4).await;
            load(reader, StatusCode::OK, time, readers()).await
        };
        let (log_ins, reading) = tokio::try_join!(logging_in, reading)?;
        ensure!(log_ins.per_second > 0.0, "no log-ins beside the reads");
        beside.push(reading);
        deployment.chorus.settle().await?;
    }
    let by_p99 = |mut rounds: Vec<Measured>| {
        rounds.sort_by_key(|round| round.latencies.value_at_quantile(0.99));
        rounds.swap_remove(ROUNDS / 2)
    };
    let (alone, beside) = (by_p99(alone), by_p99(beside));
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let value =
        beside.latencies.value_at_quantile(0.99) as f64 / alone.latencies.value_at_quantile(0.99) as f64;
    let shown = |measured: &Measured| {
        format!("{} at {}", latency(&measured.latencies, 0.99), rate(measured.per_second))
    };
    findings.ratios.push(Ratio {
        what: "p99 of one post, 4 connections, while log-ins saturate the pool (baseline: without them)"
            .to_owned(),
        engine,
        chorus: shown(&beside),
        baseline: shown(&alone),
        value,
        bound: Bound::AtMost(5.0),
        goal: None,
    });
    Ok(())
}

/// A lookup that finds every session active.
#[derive(Debug)]
struct AlwaysActive(DateTime<Utc>);

#[async_trait]
impl SessionLookup for AlwaysActive {
    async fn active(&self, _: UserId, _: SessionId) -> Result<Option<ActiveSession>, Problem> {
        Ok(Some(ActiveSession { began: 1, seen: self.0 }))
    }
}

/// The check of a token that the process sees for the first time, and of one that it has seen.
pub(crate) async fn tokens(findings: &mut Findings) -> Result<()> {
    progress("checking tokens");
    let keys = SigningKeys::parse(&SigningKeys::generate())?;
    let clock = clock::system();
    let now = clock.now();
    let user = UserId::new(Uuid::from_u128(1));
    let tokens = (0..TOKENS)
        .map(|n| {
            Ok(keys.sign(
                user,
                SessionId::new(Uuid::from_u128(n as u128 + 2)),
                now,
                now + TimeDelta::days(1),
            )?)
        })
        .collect::<Result<Vec<_>>>()?;
    let AlgorithmParameters::OctetKeyPair(pair) = &keys.public().keys[0].algorithm else {
        anyhow::bail!("not an Ed25519 key")
    };
    let key: [u8; 32] = URL_SAFE_NO_PAD.decode(&pair.x)?.as_slice().try_into()?;
    let key = VerifyingKey::from_bytes(&key)?;
    let (mut first, mut again, mut baseline) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let authenticator = Authenticator::new(Parts {
            keys: Arc::new(FixedKeys(Arc::new(VerifyingKeys::of(keys.public())))),
            lookup: Arc::new(AlwaysActive(now)),
            clock: Arc::clone(&clock),
            session_cookies: Arc::new(SessionCookies::new([], SameSite::Lax)),
            last_seen: None,
        });
        for of_round in [&mut first, &mut again] {
            let start = Instant::now();
            for token in &tokens {
                let session = authenticator.authenticate(token).await;
                ensure!(session.is_ok_and(|session| session.user == user), "a valid token was refused");
            }
            of_round.push(start.elapsed());
        }
        let start = Instant::now();
        for token in &tokens {
            let (signed, signature) = token.rsplit_once('.').context("a token")?;
            let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature)?)?;
            key.verify(signed.as_bytes(), &signature)?;
        }
        baseline.push(start.elapsed());
    }
    let each = |mut rounds: Vec<Duration>| {
        rounds.sort();
        rounds[ROUNDS / 2] / u32::try_from(TOKENS).unwrap_or(u32::MAX)
    };
    let (first, again, baseline) = (each(first), each(again), each(baseline));
    for (what, taken) in [("a token seen for the first time", first), ("a token seen before", again)] {
        findings.ratios.push(Ratio {
            what: format!("check of {what}, against an Ed25519 verification alone"),
            engine: "none",
            chorus: table::nanos(taken),
            baseline: table::nanos(baseline),
            value: taken.as_secs_f64() / baseline.as_secs_f64(),
            bound: Bound::AtMost(1.5),
            goal: None,
        });
    }
    Ok(())
}
