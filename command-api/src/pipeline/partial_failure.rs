//! Answers for outages after a part of a request is done: `outcome-unknown` instead of `unavailable`.

use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use events::EventId;
use http::StatusCode;
use web::problem::Problem;

/// The first event of a request, once it is in the log. Shared by the middleware and all contexts of the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct FirstEvent(Arc<OnceLock<EventId>>);

impl FirstEvent {
    pub(crate) fn get(&self) -> Option<EventId> {
        self.0.get().copied()
    }

    pub(crate) fn set(&self, event: EventId) {
        // An event that was set before stays.
        let _ = self.0.set(event);
    }
}

/// Middleware that answers `outcome-unknown` instead of any other 503 once an event of the request is in the log:
/// `unavailable` promises that nothing was done.
pub(crate) async fn report_partial_failure(mut request: Request, next: Next) -> Response {
    let first = FirstEvent::default();
    request.extensions_mut().insert(first.clone());
    let answer = next.run(request).await;
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE && first.get().is_some() {
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
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn outage_after_an_append_answers_outcome_unknown() {
        let outage = || Problem::unavailable("The event log", "down");
        let router = Router::new()
            .route("/before", post(async move || outage()))
            .route(
                "/after",
                post(async move |request: Request| {
                    let first = request.extensions().get::<FirstEvent>().unwrap();
                    first.set(EventId::new(Uuid::nil()));
                    outage()
                }),
            )
            .route_layer(axum::middleware::from_fn(report_partial_failure));
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
