//! The server itself: takes connections, as many at once as it can bear, and gives each client the time that an honest
//! one needs, no more. HTTP/1.1 only: browsers that would gain by HTTP/2 come through a proxy or can do without, and
//! there is much less to attack.

use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::patient::PatientWriter;
use super::tls::Tls;
use service::shutdown::Tasks;

/// Connections at once; beyond, new ones wait in the system's queue. Each may hold [`HEAD_SIZE`] of memory.
const CONNECTIONS: usize = 10_000;
/// Of the files that the process may open, the part in quarters that connections may be.
const QUARTERS_OF_FILES: usize = 3;
/// Largest head of a request in bytes, its line and its headers.
const HEAD_SIZE: usize = 32 * 1024;
/// Time for the TLS handshake, and then for the head of the first request.
const FIRST_HEAD: Duration = Duration::from_secs(15);
/// Time from an answer to the end of the next request's head: longer than proxies keep an idle connection (60 s at
/// most, as a rule), so that it is they who close it.
const IDLE: Duration = Duration::from_secs(75);
/// How long a client may take in nothing of its answer.
const WRITE_PAUSE: Duration = Duration::from_secs(30);
/// Pause after a connection could not be taken, because this process or the machine has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// When there is no room, one more connection is asked to end each time.
const MAKE_ROOM: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionLimits {
    pub(super) at_once: usize,
    pub(super) first_head: Duration,
    pub(super) idle: Duration,
    pub(super) write_pause: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            at_once: CONNECTIONS.min(open_files() / 4 * QUARTERS_OF_FILES),
            first_head: FIRST_HEAD,
            idle: IDLE,
            write_pause: WRITE_PAUSE,
        }
    }
}

/// How many files this process may open, once it has asked for as many as it may ask for.
fn open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.current;
    limit.current = limit.maximum;
    let raised = setrlimit(Resource::Nofile, limit);
    if let Err(error) = &raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let now = if raised.is_ok() { limit.maximum } else { allowed };
    now.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// What all connections have in common.
struct Server {
    app: Router,
    tls: Option<Tls>,
    limits: ConnectionLimits,
    http: Builder,
    /// Tells the connection that has listened longest to end, when there is no room.
    please_end: Notify,
    /// Tells all of them.
    stopping: CancellationToken,
}

/// Takes connections until the tasks are asked to end; each of them ends with what it has begun.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    tls: Option<Tls>,
    limits: ConnectionLimits,
    tasks: Tasks,
) {
    let mut http = Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(HEAD_SIZE);
    let stopping = tasks.stopping();
    let please_end = Notify::new();
    let server = Arc::new(Server { app, tls, limits, http, please_end, stopping: stopping.clone() });
    let room = Arc::new(Semaphore::new(limits.at_once));
    while let Some((stream, peer, place)) = stopping.run_until_cancelled(server.next(&listener, &room)).await
    {
        let server = Arc::clone(&server);
        tasks.spawn("connection", async move {
            // Small answers must not wait to be joined with the next one.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "set_nodelay");
            }
            if let Err(error) = server.talk(stream, peer).await {
                tracing::debug!(%peer, %error, "a connection has ended before its time");
            }
            drop(place);
        });
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Server {
    /// The next connection, once there is room for it.
    async fn next(
        &self,
        listener: &TcpListener,
        room: &Arc<Semaphore>,
    ) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        let place = loop {
            match tokio::time::timeout(MAKE_ROOM, Arc::clone(room).acquire_owned()).await {
                Ok(Ok(place)) => break place,
                // Nobody closes the semaphore.
                Ok(Err(_closed)) => std::future::pending().await,
                Err(_elapsed) => self.please_end.notify_one(),
            }
        };
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, place),
                // The client's own doing.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted
                            | ErrorKind::ConnectionRefused
                            | ErrorKind::ConnectionReset
                            | ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    self.please_end.notify_one();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn talk(&self, stream: TcpStream, peer: SocketAddr) -> Ended {
        let limits = self.limits;
        match &self.tls {
            Some(tls) => {
                let handshake = tokio::time::timeout(limits.first_head, tls.accept(stream));
                let stream = handshake.await.map_err(|_elapsed| too_slow("the TLS handshake"))??;
                self.talk_http(PatientWriter::new(stream, limits.write_pause), peer).await
            }
            None => self.talk_http(PatientWriter::new(stream, limits.write_pause), peer).await,
        }
    }

    async fn talk_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) -> Ended {
        let has_asked = Arc::new(AtomicBool::new(false));
        let routes = Routes { app: self.app.clone(), peer, has_asked: Arc::clone(&has_asked) };
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), routes));
        // In a set, because that looks only at what has something to say: the connection wakes up for each request.
        let signals: [BoxFuture<'_, Signal>; 2] = [
            Box::pin(async {
                tokio::time::sleep(self.limits.first_head).await;
                Signal::FirstHeadIsDue
            }),
            Box::pin(async {
                self.stopping.run_until_cancelled(self.please_end.notified()).await;
                Signal::PleaseEnd
            }),
        ];
        let mut signals = FuturesUnordered::from_iter(signals);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => return Ok(ended?),
                Some(signal) = signals.next() => match signal {
                    Signal::FirstHeadIsDue if !has_asked.load(Ordering::Relaxed) => {
                        return Err(too_slow("the head of the first request").into());
                    }
                    Signal::FirstHeadIsDue => {}
                    Signal::PleaseEnd => connection.as_mut().graceful_shutdown(),
                }
            }
        }
    }
}

/// What a connection is told while it goes on.
enum Signal {
    FirstHeadIsDue,
    PleaseEnd,
}

fn too_slow(what: &str) -> Error {
    Error::new(ErrorKind::TimedOut, format!("{what} came too slowly"))
}

/// The routes, for one connection.
struct Routes {
    app: Router,
    peer: SocketAddr,
    /// Whether the head of a request has come.
    has_asked: Arc<AtomicBool>,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = <Router as Service<hyper::Request<Body>>>::Future;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.has_asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        // A router is always ready.
        self.app.clone().call(request)
    }
}

#[cfg(test)]
mod tests;
