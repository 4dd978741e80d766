//! The time from the response to a command until a query shows its effect.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::{Findings, progress};
use crate::baseline;
use crate::deployment::Deployment;
use crate::load::{Connection, LoadRequest, histogram, micros};
use crate::table::{self, Bound, Ratio, latency};

const TIMES: usize = 500;

pub(crate) async fn freshness(deployment: &Deployment, findings: &mut Findings) -> Result<()> {
    let engine = deployment.engine.name();
    progress(&format!("{engine}: from a command's answer to a query that shows it"));
    let api = deployment.chorus.api();
    let user = api.sign_up("reader").await;
    let post = api.publish(&user, "to be liked").await;
    let mut writer = Connection::open(deployment.address(deployment.engine.writer())?).await?;
    let mut reader = Connection::open(deployment.address(deployment.engine.reader())?).await?;
    let token = HeaderValue::try_from(format!("Bearer {}", user.token))?;
    let mut visible = histogram()?;
    for n in 0..TIMES {
        let like = n % 2 == 0;
        let command = LoadRequest {
            method: if like { Method::PUT } else { Method::DELETE },
            path: format!("/v1/posts/{post}/like"),
            headers: HeaderMap::from_iter([
                (header::AUTHORIZATION, token.clone()),
                (HeaderName::from_static("prefer"), HeaderValue::from_static("respond-async")),
            ]),
            body: Bytes::new(),
        };
        let (status, receipt) = writer.send(command).await?;
        let answered = Instant::now();
        ensure!(status == StatusCode::ACCEPTED, "{status}");
        let position =
            serde_json::from_slice::<Value>(&receipt)?["position"].as_u64().context("a position")?;
        let query = LoadRequest {
            method: Method::GET,
            path: format!("/v1/posts/{post}"),
            headers: HeaderMap::from_iter([
                (header::AUTHORIZATION, token.clone()),
                (HeaderName::from_static("chorus-min-position"), HeaderValue::from(position)),
            ]),
            body: Bytes::new(),
        };
        let (_, shown) = reader.send(query).await?;
        visible.record(micros(answered.elapsed()))?;
        let shown: Value = serde_json::from_slice(&shown)?;
        ensure!(shown["viewer"]["liked"] == like && shown["likes"] == u64::from(like), "{shown}");
    }
    let taken = match deployment.baseline_distributed().await? {
        None => baseline::Standalone::one_by_one(deployment.chorus.folder(), TIMES).await?,
        Some(baseline) => baseline.one_by_one(TIMES).await?,
    };
    let (mut appends, mut commits) = (histogram()?, histogram()?);
    for (append, commit) in taken {
        appends.record(micros(append))?;
        commits.record(micros(commit))?;
    }
    let baseline = appends.value_at_quantile(0.5) + commits.value_at_quantile(0.5);
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ratio = visible.value_at_quantile(0.5) as f64 / baseline as f64;
    findings.ratios.push(Ratio {
        what: "command answered → visible to a query, p50".to_owned(),
        engine,
        chorus: format!("{}, p99 {}", latency(&visible, 0.5), latency(&visible, 0.99)),
        baseline: format!(
            "{} (append {} + commit {})",
            table::micros(baseline),
            latency(&appends, 0.5),
            latency(&commits, 0.5)
        ),
        value: ratio,
        bound: Bound::AtMost(3.0),
        goal: None,
    });
    Ok(())
}
