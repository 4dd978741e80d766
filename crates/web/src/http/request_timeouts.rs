//! Limits of time for a request: how long its handler may take, how long its body may pause, and the minimum rate of a
//! body, which no crate limits. The handler's time begins with the last byte that it was given, so that a long upload may
//! last as long as it keeps the minimum rate.
//!
//! What a handler leaves of the body is read and discarded, within limits: an answer that is sent before would break the
//! connection of a client that is still sending. A browser shows a network error then, and a proxy a 502, instead of a
//! 413.

use std::error::Error as _;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::{FORM_HANDLER_LIMIT, HANDLER_LIMIT};
use crate::problem::Problem;

/// Longest pause within a body.
const BODY_PAUSE: Duration = Duration::from_secs(10);
/// Time for the client in all, added to the time that its bytes take at the minimum rate.
const BODY_GRACE: Duration = Duration::from_secs(30);
/// Slowest rate in bytes per second, 64 kbit/s: slower than any network on which pictures are sent.
const BODY_RATE: u32 = 8 * 1024;
/// Most bytes that are discarded, and the time for it; above either the connection breaks after all.
const DISCARD_LIMIT: usize = 256 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub(super) struct RequestTimeouts {
    /// Time of the handler, not counting the time that it waits for the client.
    pub(super) handler: Duration,
    /// The same for forms with files.
    pub(super) form_handler: Duration,
    pub(super) body_pause: Duration,
    pub(super) body_grace: Duration,
    /// Bytes per second.
    pub(super) body_rate: u32,
    /// Most bytes of a body that are read only to be discarded.
    pub(super) discard: usize,
}

impl Default for RequestTimeouts {
    fn default() -> Self {
        Self {
            handler: HANDLER_LIMIT,
            form_handler: FORM_HANDLER_LIMIT,
            body_pause: BODY_PAUSE,
            body_grace: BODY_GRACE,
            body_rate: BODY_RATE,
            discard: DISCARD_LIMIT,
        }
    }
}

/// Runs the handler within the limits, and discards what it leaves of the body.
pub(super) async fn handle(request: Request, next: Next, timeouts: RequestTimeouts) -> Response {
    let safe = request.method().is_safe();
    if request.body().is_end_stream() {
        let answer = timeout(timeouts.handler, next.run(request)).await;
        return answer.unwrap_or_else(|_elapsed| timed_out(safe));
    }
    let (parts, body) = request.into_parts();
    let limit = if has_files(&parts.headers) { timeouts.form_handler } else { timeouts.handler };
    let shared = SharedBody::new(body, timeouts);
    let rest = shared.clone();
    let mut handling = pin!(next.run(Request::from_parts(parts, Body::new(shared))));
    let answer = loop {
        match timeout_at(rest.handler_since() + limit, handling.as_mut()).await {
            Ok(answer) => break answer,
            // The handler has got more of the body meanwhile, or waits for it: then the limits of the body apply.
            Err(_elapsed) if rest.handler_since() + limit > Instant::now() => {}
            Err(_elapsed) => break timed_out(safe),
        }
    };
    match rest.progress() {
        // Whatever the handler answers to a body that broke off, this is the cause.
        Progress::TooSlow => return came_too_slowly(),
        Progress::Unfinished => discard(rest, timeouts.discard).await,
        Progress::Finished => {}
    }
    answer
}

fn has_files(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let form = b"multipart/form-data";
    content_type.get(..form.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(form))
}

/// Rejects a request without handling it.
pub(super) async fn refuse(request: Request, answer: Response, timeouts: RequestTimeouts) -> Response {
    if !request.body().is_end_stream() {
        discard(SharedBody::new(request.into_body(), timeouts), super::BODY_LIMIT).await;
    }
    answer
}

async fn discard(mut rest: SharedBody, limit: usize) {
    let read = async {
        let mut discarded = 0;
        while discarded < limit
            && let Some(Ok(frame)) = rest.frame().await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // The answer is sent even if the rest does not come.
    let _ = timeout(DISCARD_TIME, read).await;
}

fn timed_out(safe: bool) -> Response {
    let cause = "time limit of the request";
    let problem = if safe {
        Problem::overloaded("The request took too long: try again a little later", cause)
    } else {
        Problem::outcome_unknown(cause)
    };
    problem.into_response()
}

/// Closes the connection, since the rest of the body may still come.
fn came_too_slowly() -> Response {
    let detail = "The body came too slowly, or not to its end";
    let mut answer = Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail).into_response();
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Unfinished,
    Finished,
    /// The client paused for too long, or is below the minimum rate.
    TooSlow,
}

/// A body that can be read on after the handler has dropped it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<TimedBody>>);

struct TimedBody {
    /// Fails when the client pauses for too long.
    inner: Body,
    progress: Progress,
    grace: Duration,
    /// Bytes per second.
    rate: u32,
    received: u64,
    /// Time that was spent waiting for the client, without the present wait.
    waited: Duration,
    /// When the handler was last given something, or began to wait for the client.
    since: Instant,
    awaiting_client: bool,
}

impl SharedBody {
    fn new(body: Body, RequestTimeouts { body_pause, body_grace, body_rate, .. }: RequestTimeouts) -> Self {
        Self(Arc::new(Mutex::new(TimedBody {
            inner: Body::new(TimeoutBody::new(body_pause, body)),
            progress: Progress::Unfinished,
            grace: body_grace,
            rate: body_rate,
            received: 0,
            waited: Duration::ZERO,
            since: Instant::now(),
            awaiting_client: false,
        })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut TimedBody) -> T) -> T {
        // A reader that panicked left the body where it was.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn progress(&self) -> Progress {
        self.with(|body| match body.progress {
            Progress::Unfinished if body.inner.is_end_stream() => Progress::Finished,
            progress => progress,
        })
    }

    /// Since when the handler has worked on what it was given; the present while it waits for the client.
    fn handler_since(&self) -> Instant {
        self.with(|body| if body.awaiting_client { Instant::now() } else { body.since })
    }
}

type NextFrame = Option<Result<Frame<Bytes>, axum::Error>>;

impl TimedBody {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<NextFrame> {
        if self.progress == Progress::TooSlow {
            return Poll::Ready(Some(Err(too_slow())));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            if !self.awaiting_client {
                (self.awaiting_client, self.since) = (true, Instant::now());
            }
            return Poll::Pending;
        };
        let now = Instant::now();
        if self.awaiting_client {
            self.waited += now - self.since;
        }
        (self.awaiting_client, self.since) = (false, now);
        match &frame {
            Some(Ok(frame)) => self.received += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) if error.source().is_some_and(<dyn std::error::Error>::is::<TimeoutError>) => {
                self.progress = Progress::TooSlow;
            }
            // After an error nothing more will come.
            Some(Err(_)) | None => self.progress = Progress::Finished,
        }
        let milliseconds = self.received.saturating_mul(1000) / u64::from(self.rate);
        let needed = Duration::from_millis(milliseconds);
        if self.progress == Progress::Unfinished && self.waited > self.grace + needed {
            self.progress = Progress::TooSlow;
            return Poll::Ready(Some(Err(too_slow())));
        }
        Poll::Ready(frame)
    }
}

fn too_slow() -> axum::Error {
    axum::Error::new(std::io::Error::new(std::io::ErrorKind::TimedOut, "the body comes too slowly"))
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<NextFrame> {
        self.with(|body| body.poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.inner.size_hint())
    }
}
