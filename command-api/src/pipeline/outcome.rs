//! An outage after a part of a request was done is another answer than one before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use web::problem::Problem;

/// Whether an event was appended on behalf of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Appended(Arc<AtomicBool>);

impl Appended {
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Answers `outcome-unknown` instead of any other 503 once something was appended: `unavailable` says that nothing was.
pub(crate) async fn after_append(mut request: Request, next: Next) -> Response {
    let appended = Appended::default();
    request.extensions_mut().insert(appended.clone());
    let answer = next.run(request).await;
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE && appended.0.load(Ordering::Relaxed) {
        return Problem::outcome_unknown("a part of the request had been done").into_response();
    }
    answer
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::post;
    use http::header;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn an_outage_after_an_append_leaves_the_outcome_unknown() {
        let outage = || Problem::unavailable("The event log", "down");
        let router = Router::new()
            .route("/before", post(async move || outage()))
            .route(
                "/after",
                post(async move |request: Request| {
                    request.extensions().get::<Appended>().unwrap().note();
                    outage()
                }),
            )
            .route_layer(axum::middleware::from_fn(after_append));
        for (uri, code) in [("/before", "unavailable"), ("/after", "outcome-unknown")] {
            let request = Request::post(uri).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(answer.headers().contains_key(header::RETRY_AFTER));
            let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
            assert!(
                String::from_utf8_lossy(&body).contains(&format!("urn:chorus:problem:{code}\"")),
                "{body:?}"
            );
        }
    }
}
