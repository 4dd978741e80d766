//! A small HTTP client with little overhead: keep-alive connections, each sending one request after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// Latencies in microseconds, with three significant digits.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new(3).context("a histogram")
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// One connection to one server.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A request of the load.
#[derive(Debug, Clone)]
pub(crate) struct LoadRequest {
    pub(crate) method: http::Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        #[expect(clippy::disallowed_methods, reason = "it ends with its connection")]
        let driver = tokio::spawn(connection).abort_handle();
        Ok(Self { sender, host: address.to_string(), driver })
    }

    pub(crate) async fn send(&mut self, load_request: LoadRequest) -> Result<(StatusCode, Bytes)> {
        let LoadRequest { method, path, headers, body } = load_request;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.host.as_str())
            .body(Full::new(body))?;
        request.headers_mut().extend(headers);
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

/// A JSON response.
pub(crate) async fn get_json(address: SocketAddr, path: String, headers: HeaderMap) -> Result<Value> {
    let load_request = LoadRequest { method: http::Method::GET, path, headers, body: Bytes::new() };
    let (status, body) = Connection::open(address).await?.send(load_request).await?;
    ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

/// The result of a load.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// Latencies in microseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// Loads a server for this time over one connection per request source. Each source produces the next request until the
/// time is over. Every response must have the expected status.
pub(crate) async fn load<A>(
    address: SocketAddr,
    expected: StatusCode,
    time: Duration,
    sources: Vec<A>,
) -> Result<Measured>
where
    A: FnMut() -> Result<LoadRequest>,
{
    load_while(address, expected, Duration::ZERO, |elapsed| elapsed < time, sources).await
}

/// As [`load`], for as long as `goes_on` says, which is given the time so far. Each connection pauses after an answer.
pub(crate) async fn load_while<A>(
    address: SocketAddr,
    expected: StatusCode,
    pause: Duration,
    goes_on: impl Fn(Duration) -> bool,
    sources: Vec<A>,
) -> Result<Measured>
where
    A: FnMut() -> Result<LoadRequest>,
{
    let goes_on = &goes_on;
    let connections = try_join_all(sources.iter().map(|_| Connection::open(address))).await?;
    let start = Instant::now();
    let workers = connections.into_iter().zip(sources).map(|(mut connection, mut next_request)| async move {
        let mut latencies = histogram()?;
        while goes_on(start.elapsed()) {
            let load_request = next_request()?;
            let sent = Instant::now();
            let (status, body) = connection.send(load_request).await?;
            ensure!(status == expected, "{status}: {}", String::from_utf8_lossy(&body));
            latencies.record(micros(sent.elapsed()))?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        anyhow::Ok(latencies)
    });
    let mut latencies = histogram()?;
    for of_one in try_join_all(workers).await? {
        latencies.add(of_one)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = latencies.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Measured { per_second, latencies })
}
