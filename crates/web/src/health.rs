//! `/livez`, `/readyz` and `/metrics`: for whoever runs the process, not for its users.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

use service::telemetry::Metrics;

/// Where the routes are.
pub(crate) const PATHS: [&str; 3] = ["/livez", "/readyz", "/metrics"];
/// How long one check may take before it counts as failed.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// Something the process needs to do its work; says what is wrong with it, and what else an operator may want to know.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, (Result<(), String>, Value)> + Send + Sync>;

/// A check from a function that answers a future.
pub fn check<F>(check: impl Fn() -> F + Send + Sync + 'static) -> Check
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    detailed_check(move || check().map(|outcome| (outcome, Value::Null)))
}

/// The same with details, shown whatever the outcome is; null if there are none.
pub fn detailed_check<F>(check: impl Fn() -> F + Send + Sync + 'static) -> Check
where
    F: Future<Output = (Result<(), String>, Value)> + Send + 'static,
{
    Arc::new(move || Box::pin(check()))
}

/// The routes. Alive is a process that answers; ready is one whose checks all pass.
pub fn routes(checks: Vec<(&'static str, Check)>, metrics: Metrics) -> Router {
    let checks = Arc::new(checks);
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let [_, readiness, measures] = PATHS;
    live()
        .route(readiness, get(async move || ready(&checks).await))
        .route(measures, get(async move || (text, metrics.render())))
}

/// `/livez` alone.
pub(crate) fn live() -> Router {
    Router::new().route(PATHS[0], get(async || "alive\n"))
}

async fn ready(checks: &[(&'static str, Check)]) -> (StatusCode, Json<Value>) {
    let outcomes = join_all(checks.iter().map(async |(name, check)| {
        let outcome = tokio::time::timeout(CHECK_LIMIT, check()).await;
        let (outcome, details) =
            outcome.unwrap_or_else(|_| (Err(format!("no answer within {CHECK_LIMIT:?}")), Value::Null));
        (*name, outcome, details)
    }))
    .await;
    let all_pass = outcomes.iter().all(|(_, outcome, _)| outcome.is_ok());
    let (mut told, mut all_details) = (Map::new(), Map::new());
    for (name, outcome, details) in outcomes {
        told.insert(name.to_owned(), outcome.map_or_else(Value::from, |()| "ok".into()));
        if !details.is_null() {
            all_details.insert(name.to_owned(), details);
        }
    }
    let status = if all_pass { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": all_pass, "checks": told, "details": all_details })))
}
