//! Patience with a request: how long its handling may take, how slowly its body may come, and what becomes of a body
//! that nobody has read. A refusal sent before the body has been read would break the connection under whoever is
//! still sending: a browser shows a network error and a proxy a 502 where there should be a 413. So what is left is
//! read and thrown away first, within bounds.
//!
//! The two limits do not mix: an upload may last as long as it goes on at the minimum rate, and the handler has its own
//! time from the last byte that it was given.

use std::error::Error as _;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout, timeout_at};
use tower_http::timeout::{TimeoutBody, TimeoutError};

use super::HANDLER_LIMIT;
use crate::problem::Problem;

/// How long a client may pause in the middle of a body.
const BODY_PAUSE: Duration = Duration::from_secs(10);
/// How long a client may be waited for in all, beyond the time that its bytes take at the minimum rate.
const BODY_GRACE: Duration = Duration::from_secs(30);
/// Slowest rate in bytes per second, 64 kbit/s: slower than any network on which pictures are sent.
const BODY_RATE: u32 = 8 * 1024;
/// How much is thrown away, in bytes, and how long that may take; beyond either the connection breaks after all.
const DISCARD_LIMIT: usize = 256 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// How long a request is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long the handler may take, not counting the time that it waits for the client.
    pub(super) handler: Duration,
    pub(super) body_pause: Duration,
    pub(super) body_grace: Duration,
    /// Bytes per second.
    pub(super) body_rate: u32,
    /// Largest body in bytes that is read only to be thrown away.
    pub(super) discard: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handler: HANDLER_LIMIT,
            body_pause: BODY_PAUSE,
            body_grace: BODY_GRACE,
            body_rate: BODY_RATE,
            discard: DISCARD_LIMIT,
        }
    }
}

/// Lets the request be handled, and reads what the handler has left of its body.
pub(super) async fn handle(request: Request, next: Next, patience: Patience) -> Response {
    let safe = request.method().is_safe();
    if request.body().is_end_stream() {
        let answer = timeout(patience.handler, next.run(request)).await;
        return answer.unwrap_or_else(|_elapsed| took_too_long(safe));
    }
    let (parts, body) = request.into_parts();
    let shared = Shared::new(body, patience);
    let rest = shared.clone();
    let mut handling = pin!(next.run(Request::from_parts(parts, Body::new(shared))));
    let answer = loop {
        match timeout_at(rest.handler_since() + patience.handler, handling.as_mut()).await {
            Ok(answer) => break answer,
            // The body has gone on meanwhile, or the client is waited for: then the body's limits hold.
            Err(_elapsed) if rest.handler_since() + patience.handler > Instant::now() => {}
            Err(_elapsed) => break took_too_long(safe),
        }
    };
    match rest.progress() {
        // Whatever the handler made of a body that broke off, this is the reason.
        Progress::TooSlow => return came_too_slowly(),
        Progress::Unfinished => discard(rest, patience.discard).await,
        Progress::Finished => {}
    }
    answer
}

/// Refuses a request without handling it.
pub(super) async fn refuse(request: Request, answer: Response, patience: Patience) -> Response {
    if !request.body().is_end_stream() {
        discard(Shared::new(request.into_body(), patience), super::BODY_LIMIT).await;
    }
    answer
}

async fn discard(mut rest: Shared, limit: usize) {
    let read = async {
        let mut discarded = 0;
        while discarded < limit
            && let Some(Ok(frame)) = rest.frame().await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Too slow is no error of the answer.
    let _ = timeout(DISCARD_TIME, read).await;
}

fn took_too_long(safe: bool) -> Response {
    let cause = "time limit of the request";
    let problem = if safe {
        Problem::unavailable("What this request needs", cause)
    } else {
        Problem::outcome_unknown(cause)
    };
    problem.into_response()
}

/// The connection is closed, since nobody knows when the rest of the body would come.
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
    /// The client has paused for too long, or is below the minimum rate.
    TooSlow,
}

/// A body that somebody else can go on reading.
#[derive(Clone)]
struct Shared(Arc<Mutex<Incoming>>);

struct Incoming {
    /// Fails when the client pauses for too long.
    body: Body,
    progress: Progress,
    grace: Duration,
    /// Bytes per second.
    rate: u32,
    /// Bytes that have come.
    received: u64,
    /// How long the client was waited for, before the present wait.
    waited: Duration,
    /// Since when the handler has what it has been given, or the client is waited for.
    since: Instant,
    awaiting_client: bool,
}

impl Shared {
    fn new(body: Body, Patience { body_pause, body_grace, body_rate, .. }: Patience) -> Self {
        Self(Arc::new(Mutex::new(Incoming {
            body: Body::new(TimeoutBody::new(body_pause, body)),
            progress: Progress::Unfinished,
            grace: body_grace,
            rate: body_rate,
            received: 0,
            waited: Duration::ZERO,
            since: Instant::now(),
            awaiting_client: false,
        })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Incoming) -> T) -> T {
        // A reader that panicked left the body where it was.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn progress(&self) -> Progress {
        self.with(|incoming| match incoming.progress {
            Progress::Unfinished if incoming.body.is_end_stream() => Progress::Finished,
            progress => progress,
        })
    }

    /// Since when the handler has been working on what it was given; now, while the client is waited for.
    fn handler_since(&self) -> Instant {
        self.with(|incoming| if incoming.awaiting_client { Instant::now() } else { incoming.since })
    }
}

type NextFrame = Option<Result<Frame<Bytes>, axum::Error>>;

impl Incoming {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<NextFrame> {
        if self.progress == Progress::TooSlow {
            return Poll::Ready(Some(Err(too_slow())));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
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

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<NextFrame> {
        self.with(|incoming| incoming.poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|incoming| incoming.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|incoming| incoming.body.size_hint())
    }
}
