//! The server: accepts connections up to a limit, and cuts off clients that send or read too slowly. hyper-util speaks the
//! protocols: HTTP/1.1 and HTTP/2, by TLS (ALPN) or in clear text.

use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::tls::Tls;
use service::shutdown::Tasks;

/// Open connections; above it, new ones wait in the system's queue. Each may hold [`HEAD_SIZE`] of memory.
const CONNECTIONS: usize = 10_000;
/// Share of the process's file limit that connections may use, in quarters.
const QUARTERS_OF_FILES: usize = 3;
/// Largest head of a request in bytes: request line and headers, or the header list of HTTP/2.
const HEAD_SIZE: usize = 32 * 1024;
/// Time for the TLS handshake, and then for the head of the first request.
const FIRST_HEAD: Duration = Duration::from_secs(15);
/// Time from an answer to the end of the next request's head. Proxies keep an idle connection for at most 60 s as a rule:
/// with a longer time here they close it, and never send a request into a closing connection.
const IDLE: Duration = Duration::from_secs(75);
/// How long a client may read nothing of its answer.
const WRITE_PAUSE: Duration = Duration::from_secs(30);
/// How long an HTTP/2 stream may make no progress. Longer than a handler's timeout.
const STREAM_PAUSE: Duration = Duration::from_mins(1);
/// Concurrent streams of one HTTP/2 connection (RFC 9113 recommends no less).
const STREAMS: u32 = 100;
/// Bytes of an answer that are buffered for each HTTP/2 stream.
const STREAM_BUFFER: usize = 64 * 1024;
/// Pause after a failed accept: this process or the machine has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// At the connection limit, one more connection is asked to close each time this has passed.
const MAKE_ROOM: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    pub(super) connections: usize,
    pub(super) first_head: Duration,
    pub(super) idle: Duration,
    pub(super) write_pause: Duration,
    pub(super) stream_pause: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS.min(open_files() / 4 * QUARTERS_OF_FILES),
            first_head: FIRST_HEAD,
            idle: IDLE,
            write_pause: WRITE_PAUSE,
            stream_pause: STREAM_PAUSE,
        }
    }
}

/// The process's limit of open files, after raising it as far as allowed.
fn open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.current;
    limit.current = limit.maximum;
    let raised = setrlimit(Resource::Nofile, limit);
    if let Err(error) = &raised {
        tracing::debug!(%error, "the limit of open files cannot be raised");
    }
    let now = if raised.is_ok() { limit.maximum } else { allowed };
    now.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// State that all connections share.
struct Server {
    app: Router,
    tls: Option<Tls>,
    limits: ConnectionLimits,
    /// Asks the connection that has waited longest to close.
    make_room: Notify,
    /// Asks all connections to close.
    stopping: CancellationToken,
}

/// Accepts connections until the tasks are asked to stop. Requests in progress are then still answered.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    tls: Option<Tls>,
    limits: ConnectionLimits,
    tasks: Tasks,
) {
    let stopping = tasks.stopping();
    let make_room = Notify::new();
    let server = Arc::new(Server { app, tls, limits, make_room, stopping: stopping.clone() });
    let places = Arc::new(Semaphore::new(limits.connections));
    while let Some((stream, peer, place)) =
        stopping.run_until_cancelled(server.accept(&listener, &places)).await
    {
        let server = Arc::clone(&server);
        tasks.spawn("connection", async move {
            if let Err(error) = server.serve_connection(stream, peer).await {
                tracing::debug!(%peer, %error, "a connection has failed");
            }
            drop(place);
        });
    }
}

/// One connection's builder. hyper closes connections whose client does not answer pings.
fn http(limits: ConnectionLimits, activity: Arc<Activity>) -> Builder<StreamExecutor> {
    let mut http = Builder::new(StreamExecutor { longest_pause: limits.stream_pause, activity });
    http.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(HEAD_SIZE);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD_SIZE).unwrap_or(u32::MAX))
        .max_send_buf_size(STREAM_BUFFER)
        .keep_alive_interval(limits.idle)
        .keep_alive_timeout(limits.first_head);
    http
}

type Closed = Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Server {
    /// The next connection, once the limit allows one more.
    async fn accept(
        &self,
        listener: &TcpListener,
        places: &Arc<Semaphore>,
    ) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let place = loop {
            match tokio::time::timeout(MAKE_ROOM, Arc::clone(places).acquire_owned()).await {
                Ok(Ok(place)) => break place,
                // Nobody closes the semaphore.
                Ok(Err(_closed)) => std::future::pending().await,
                Err(_elapsed) => self.make_room.notify_one(),
            }
        };
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, place),
                // Caused by the client.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted
                            | ErrorKind::ConnectionRefused
                            | ErrorKind::ConnectionReset
                            | ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.make_room.notify_one();
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve_connection(&self, stream: TcpStream, peer: SocketAddr) -> Closed {
        // Small answers must not wait to be joined with the next one.
        stream.set_nodelay(true)?;
        limit_write_pause(&stream, self.limits.write_pause)?;
        match &self.tls {
            Some(tls) => {
                let handshake = tokio::time::timeout(self.limits.first_head, tls.accept(stream));
                let stream = handshake.await.map_err(|_elapsed| too_slow("the TLS handshake"))??;
                self.serve_http(stream, peer).await
            }
            None => self.serve_http(stream, peer).await,
        }
    }

    async fn serve_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) -> Closed {
        let activity = Arc::new(Activity::default());
        let routes = Routes { app: self.app.clone(), peer, activity: Arc::clone(&activity) };
        let http = http(self.limits, Arc::clone(&activity));
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), routes));
        let mut asked_to_close = pin!(self.stopping.run_until_cancelled(self.make_room.notified()));
        let mut check = pin!(sleep(self.limits.first_head));
        let (mut is_first_check, mut is_closing, mut is_idle) = (true, false, false);
        loop {
            tokio::select! {
                biased;
                closed = connection.as_mut() => return closed,
                () = check.as_mut() => {
                    let is_used = activity.requested.swap(false, Ordering::Relaxed);
                    if is_first_check && !is_used {
                        return Err(too_slow("the head of the first request").into());
                    }
                    // A client of HTTP/2 need neither close its side nor read what is buffered.
                    if !is_used && is_idle && activity.is_http2.load(Ordering::Relaxed) && activity.streams.is_empty() {
                        return Err(too_slow("the end of the connection").into());
                    }
                    if !is_used {
                        // Requests in progress, such as long uploads, still finish.
                        connection.as_mut().graceful_shutdown();
                    }
                    (is_first_check, is_idle) = (false, !is_used);
                    check.as_mut().reset(Instant::now() + self.limits.idle);
                }
                _ = asked_to_close.as_mut(), if !is_closing => {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// The system closes the connection if the client acknowledges nothing, or reads nothing while data waits, for this
/// long. Only Linux has this option; other systems are for development only.
#[cfg(target_os = "linux")]
fn limit_write_pause(stream: &TcpStream, longest: Duration) -> std::io::Result<()> {
    let milliseconds = u32::try_from(longest.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds)?)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn limit_write_pause(_: &TcpStream, _: Duration) -> std::io::Result<()> {
    Ok(())
}

fn too_slow(what: &str) -> Error {
    Error::new(ErrorKind::TimedOut, format!("{what} came too slowly"))
}

/// What a connection is used for.
#[derive(Debug, Default)]
struct Activity {
    /// Set by each request.
    requested: AtomicBool,
    is_http2: AtomicBool,
    /// Streams of HTTP/2 whose request or answer is in progress, unless all of the answer is buffered.
    streams: TaskTracker,
}

/// Runs the streams of an HTTP/2 connection. A stream that is not woken for too long has a client that neither sends
/// nor reads: it is reset. TCP does not show this, since each stream has a window of its own.
#[derive(Debug, Clone)]
struct StreamExecutor {
    longest_pause: Duration,
    activity: Arc<Activity>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let longest_pause = self.longest_pause;
        self.activity.is_http2.store(true, Ordering::Relaxed);
        self.activity.streams.spawn(async move {
            let (mut stream, mut pause) = (pin!(stream), pin!(sleep(longest_pause)));
            std::future::poll_fn(|context| {
                if stream.as_mut().poll(context).is_ready() || pause.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                pause.as_mut().reset(Instant::now() + longest_pause);
                pause.as_mut().poll(context)
            })
            .await;
        });
    }
}

/// The routes, for one connection.
struct Routes {
    app: Router,
    peer: SocketAddr,
    activity: Arc<Activity>,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = <Router as Service<hyper::Request<Body>>>::Future;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.activity.requested.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        // A router is always ready.
        self.app.clone().call(request)
    }
}

#[cfg(test)]
mod tests;
