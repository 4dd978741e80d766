//! A small HTTP client that costs little beside the server it loads: keep-alive connections, each sending one request
//! after the other.

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

/// Latencies are kept to the microsecond, with three digits.
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

/// What a connection asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
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

    pub(crate) async fn send(&mut self, asked: Asked) -> Result<(StatusCode, Bytes)> {
        let Asked { method, path, headers, body } = asked;
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

/// One page of JSON.
pub(crate) async fn get_json(address: SocketAddr, path: String, headers: HeaderMap) -> Result<Value> {
    let asked = Asked { method: http::Method::GET, path, headers, body: Bytes::new() };
    let (status, body) = Connection::open(address).await?.send(asked).await?;
    ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

/// What a server did under load.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// Latencies in microseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// Loads a server for a while over as many connections as there are `askers`; each is asked for the next request until
/// the time is over. Every answer must have the status that is expected.
pub(crate) async fn load<A>(
    address: SocketAddr,
    expected: StatusCode,
    time: Duration,
    askers: Vec<A>,
) -> Result<Measured>
where
    A: FnMut() -> Result<Asked>,
{
    let connections = try_join_all(askers.iter().map(|_| Connection::open(address))).await?;
    let start = Instant::now();
    let workers = connections.into_iter().zip(askers).map(|(mut connection, mut ask)| async move {
        let mut latencies = histogram()?;
        while start.elapsed() < time {
            let asked = ask()?;
            let sent = Instant::now();
            let (status, body) = connection.send(asked).await?;
            ensure!(status == expected, "{status}: {}", String::from_utf8_lossy(&body));
            latencies.record(micros(sent.elapsed()))?;
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
