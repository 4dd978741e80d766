//! `/livez`, `/readyz` and `/metrics`: for operators.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

use service::telemetry::Metrics;

/// The paths of the routes.
pub(crate) const PATHS: [&str; 3] = ["/livez", "/readyz", "/metrics"];
/// Timeout of one check.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// A dependency of the process; returns its problem, and details for operators.
pub type Check = Arc<dyn Fn() -> BoxFuture<'static, (Result<(), String>, Value)> + Send + Sync>;

/// Creates a check from an async function.
pub fn check<F>(check: impl Fn() -> F + Send + Sync + 'static) -> Check
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    detailed_check(move || check().map(|outcome| (outcome, Value::Null)))
}

/// Creates a check with details, which are always shown; null if there are none.
pub fn detailed_check<F>(check: impl Fn() -> F + Send + Sync + 'static) -> Check
where
    F: Future<Output = (Result<(), String>, Value)> + Send + 'static,
{
    Arc::new(move || Box::pin(check()))
}

/// The routes. A process is alive if it responds, and ready if all its checks pass.
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
    let (mut texts, mut all_details) = (Map::new(), Map::new());
    for (name, outcome, details) in outcomes {
        texts.insert(name.to_owned(), outcome.map_or_else(Value::from, |()| "ok".into()));
        if !details.is_null() {
            all_details.insert(name.to_owned(), details);
        }
    }
    let status = if all_pass { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": all_pass, "checks": texts, "details": all_details })))
}
