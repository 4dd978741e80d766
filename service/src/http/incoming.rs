//! Patience with a request: how long its handling may take, how long its body may pause, and what becomes of a body
//! that nobody has read. A refusal sent before the body has been read would break the connection under whoever is
//! still sending: a browser shows a network error and a proxy a 502 where there should be a 413. So what is left is
//! read and thrown away first, within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep};

use super::REQUEST_LIMIT;
use crate::problem::Problem;

/// How long a client may pause in the middle of a body. How long it may take in all is [`REQUEST_LIMIT`].
const BODY_PAUSE: Duration = Duration::from_secs(10);
/// How much is thrown away, in bytes, and how long that may take; beyond either the connection breaks after all.
const DISCARD_LIMIT: usize = 256 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// How long a request is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) request: Duration,
    pub(super) body_pause: Duration,
    /// Largest body in bytes that is read only to be thrown away.
    pub(super) discard: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { request: REQUEST_LIMIT, body_pause: BODY_PAUSE, discard: DISCARD_LIMIT }
    }
}

/// Lets the request be handled, and reads what the handler has left of its body.
pub(super) async fn handle(request: Request, next: Next, patience: Patience) -> Response {
    let safe = request.method().is_safe();
    if request.body().is_end_stream() {
        let answer = tokio::time::timeout(patience.request, next.run(request)).await;
        return answer.unwrap_or_else(|_elapsed| took_too_long(safe));
    }
    let (parts, body) = request.into_parts();
    let shared = Shared::new(body, patience.body_pause);
    let rest = shared.clone();
    let request = Request::from_parts(parts, Body::new(shared));
    let answer = tokio::time::timeout(patience.request, next.run(request)).await;
    let progress = rest.progress();
    let answer = match (answer, progress) {
        // Whatever the handler made of a body that broke off, this is the reason.
        (_, Progress::Stalled) | (Err(_), Progress::AwaitingClient) => return came_too_slowly(),
        (Err(_elapsed), _) => took_too_long(safe),
        (Ok(answer), _) => answer,
    };
    if progress != Progress::Finished {
        discard(rest, patience.discard).await;
    }
    answer
}

/// Refuses a request without handling it.
pub(super) async fn refuse(request: Request, answer: Response, patience: Patience) -> Response {
    if !request.body().is_end_stream() {
        discard(Shared::new(request.into_body(), patience.body_pause), super::BODY_LIMIT).await;
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
    let _ = tokio::time::timeout(DISCARD_TIME, read).await;
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
    /// Somebody wants to read on, and the client has sent nothing yet.
    AwaitingClient,
    Finished,
    /// The client has paused for too long.
    Stalled,
}

/// A body that somebody else can go on reading.
#[derive(Clone)]
struct Shared(Arc<Mutex<Incoming>>);

struct Incoming {
    body: Body,
    progress: Progress,
    longest_pause: Duration,
    /// Ends when the present pause has been too long.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Shared {
    fn new(body: Body, longest_pause: Duration) -> Self {
        let progress = Progress::Unfinished;
        Self(Arc::new(Mutex::new(Incoming { body, progress, longest_pause, pause: None })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Incoming) -> T) -> T {
        // A reader that panicked left the body where it was.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn progress(&self) -> Progress {
        self.with(|incoming| match incoming.progress {
            Progress::Unfinished if incoming.body.is_end_stream() => Progress::Finished,
            Progress::Unfinished if incoming.pause.is_some() => Progress::AwaitingClient,
            progress => progress,
        })
    }
}

type NextFrame = Option<Result<Frame<Bytes>, axum::Error>>;

impl Incoming {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<NextFrame> {
        if self.progress == Progress::Stalled {
            return Poll::Ready(Some(Err(stalled())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.pause = None;
            // After an error nothing more will come.
            if !matches!(frame, Some(Ok(_))) {
                self.progress = Progress::Finished;
            }
            return Poll::Ready(frame);
        }
        let longest = self.longest_pause;
        ready!(self.pause.get_or_insert_with(|| Box::pin(sleep(longest))).as_mut().poll(context));
        self.progress = Progress::Stalled;
        Poll::Ready(Some(Err(stalled())))
    }
}

fn stalled() -> axum::Error {
    axum::Error::new(std::io::Error::new(std::io::ErrorKind::TimedOut, "the client has paused for too long"))
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
