//! A request that is refused before its body has been read to the end. Answered at once, the connection would break
//! under whoever is still sending: a browser shows a network error and a proxy a 502 where there should be a 413. So
//! what is left is read and thrown away first, within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

/// How much is thrown away, in bytes, and how long that may take; beyond either the connection breaks after all.
const DISCARD_LIMIT: usize = 256 * 1024 * 1024;
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Reads what a handler has left of the body, then passes its answer on.
pub(super) async fn discard(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let shared = Shared(Arc::new(Mutex::new(body)));
    let rest = Shared(Arc::clone(&shared.0));
    let response = next.run(Request::from_parts(parts, Body::new(shared))).await;
    // Too slow is no error of this response.
    let _ = tokio::time::timeout(TIME_LIMIT, read_rest(rest)).await;
    response
}

async fn read_rest(mut rest: Shared) {
    let mut discarded = 0;
    while discarded < DISCARD_LIMIT
        && let Some(Ok(frame)) = rest.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// A body that somebody else can go on reading.
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    fn with<T>(&self, look: impl FnOnce(Pin<&mut Body>) -> T) -> T {
        // A reader that panicked left the body where it was.
        look(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.with(|body| body.poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}
