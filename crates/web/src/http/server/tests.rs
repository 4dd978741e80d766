//! The server over real sockets, with short limits.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use axum::body::Bytes;
use axum::extract::Request;
use axum::routing::{get, post};
use futures::future::join_all;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::*;
use crate::http::request_timeouts::RequestTimeouts;
use crate::http::{ClientAddress, with_middleware};
use crate::limits::MonotonicClock;
use service::config::HttpSettings;

/// Short, and still much longer than a response takes here.
const SHORT: Duration = Duration::from_millis(300);
/// Longer than anything takes here, on a busy machine too.
const LONG: Duration = Duration::from_mins(1);

const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 100,
    first_head: LONG,
    idle: LONG,
    write_pause: LONG,
    stream_pause: LONG,
};
const TIMEOUTS: RequestTimeouts = RequestTimeouts {
    handler: LONG,
    form_handler: LONG,
    body_pause: LONG,
    body_grace: LONG,
    body_rate: 1000,
    discard: 1024 * 1024,
};

struct TestServer {
    address: SocketAddr,
    tasks: Tasks,
}

impl TestServer {
    async fn start(
        routes: Router,
        limits: ConnectionLimits,
        timeouts: RequestTimeouts,
        tls: Option<Tls>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, tasks) = (listener.local_addr().unwrap(), Tasks::default());
        let allowed_origins = vec!["https://app.example".into()];
        let settings = HttpSettings { allowed_origins, ..HttpSettings::default() };
        let app = with_middleware(routes, &settings, timeouts, MonotonicClock::default());
        tasks.spawn("http", serve(listener, app, tls, limits, tasks.clone()));
        Self { address, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

fn routes() -> Router {
    Router::new()
        .route("/fine", get(async || "fine"))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
        .route("/from", get(async |from: ClientAddress| from.to_string()))
}

const GET_FINE: &[u8] = b"GET /fine HTTP/1.1\r\nHost: a\r\n\r\n";

/// The bytes until the other end closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await;
    // A connection that was cut off may end in an error.
    let _ = read.expect("the connection is still open");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer that has a length.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    let whole = |text: &str| {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        (body.len() >= length.parse().ok()?).then_some(())
    };
    while whole(&text).is_none() {
        let mut chunk = [0; 4096];
        let read = tokio::time::timeout(LONG, stream.read(&mut chunk)).await.expect("no answer").unwrap();
        assert_ne!(read, 0, "closed after {text}");
        text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
    text
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_first_head_is_cut_off() {
    let server =
        TestServer::start(routes(), ConnectionLimits { first_head: SHORT, ..LIMITS }, TIMEOUTS, None).await;
    let mut quick = server.connect().await;
    quick.write_all(GET_FINE).await.unwrap();
    answer(&mut quick).await;
    for silent in [&b""[..], b"GET /fine HTTP/1.1\r\nHost:"] {
        let mut stream = server.connect().await;
        stream.write_all(silent).await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    }
    // Bytes that keep trickling do not matter.
    let (mut read, mut write) = server.connect().await.into_split();
    write.write_all(b"GET /fine HTTP/1.1\r\n").await.unwrap();
    tokio::select! {
        () = trickle(&mut write, b"X-A: b\r\n") => {}
        text = rest(&mut read) => assert_eq!(text, ""),
    }
    // Only slow clients: this one has sent a request before, and may send another.
    quick.write_all(GET_FINE).await.unwrap();
    assert!(answer(&mut quick).await.ends_with("fine"));
}

/// Writes the same repeatedly, with pauses below the limit, forever.
async fn trickle(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    while stream.write_all(bytes).await.is_ok() {
        tokio::time::sleep(SHORT / 10).await;
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_the_idle_limit() {
    let server =
        TestServer::start(routes(), ConnectionLimits { idle: SHORT, ..LIMITS }, TIMEOUTS, None).await;
    for begun in [&b""[..], b"GET /fine HTTP/1.1\r\nHost:"] {
        let mut stream = server.connect().await;
        for _ in 0..2 {
            stream.write_all(GET_FINE).await.unwrap();
            assert!(answer(&mut stream).await.ends_with("fine"));
        }
        stream.write_all(begun).await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    }
}

const POST_BEGUN: &[u8] =
    b"POST /length HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nContent-Length: 1000\r\n\r\nfirst";

fn assert_too_slow(text: &str) {
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    for part in
        ["connection: close", "urn:chorus:problem:too-slow", "access-control-allow-origin: https://app"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_body_with_too_long_a_pause_is_answered_with_408() {
    let server =
        TestServer::start(routes(), LIMITS, RequestTimeouts { body_pause: SHORT, ..TIMEOUTS }, None).await;
    let mut stream = server.connect().await;
    stream.write_all(POST_BEGUN).await.unwrap();
    assert_too_slow(&rest(&mut stream).await);
    // A timely body is accepted in any number of pieces.
    let mut stream = server.connect().await;
    stream.write_all(POST_BEGUN).await.unwrap();
    stream.write_all(&[b'a'; 995]).await.unwrap();
    assert!(answer(&mut stream).await.ends_with("1000"));
}

#[tokio::test]
async fn a_body_below_the_minimum_rate_is_answered_with_408() {
    let server =
        TestServer::start(routes(), LIMITS, RequestTimeouts { body_grace: SHORT, ..TIMEOUTS }, None).await;
    let (mut read, mut write) = server.connect().await.into_split();
    write.write_all(POST_BEGUN).await.unwrap();
    tokio::select! {
        () = trickle(&mut write, b"a") => {}
        text = rest(&mut read) => assert_too_slow(&text),
    }
}

#[tokio::test]
async fn a_steady_slow_body_is_accepted_however_long_it_takes() {
    let timeouts = RequestTimeouts { handler: SHORT, body_pause: LONG, ..TIMEOUTS };
    let server = TestServer::start(routes(), LIMITS, timeouts, None).await;
    let mut stream = server.connect().await;
    stream.write_all(POST_BEGUN).await.unwrap();
    // The pauses alone last longer than the handler may take.
    for part in [b'a'; 995].chunks(50) {
        tokio::time::sleep(SHORT / 10).await;
        stream.write_all(part).await.unwrap();
    }
    assert!(answer(&mut stream).await.ends_with("1000"));
}

#[tokio::test]
async fn a_handler_that_takes_too_long_after_its_body_is_answered_with_503() {
    let stuck = post(async |_: Bytes| std::future::pending::<()>().await);
    // A handler that reads nothing has the same timeout as one that reads everything.
    let ignorant = post(async |_request: Request| std::future::pending::<()>().await);
    let routes = Router::new().route("/stuck", stuck).route("/ignorant", ignorant);
    let server =
        TestServer::start(routes, LIMITS, RequestTimeouts { handler: SHORT, ..TIMEOUTS }, None).await;
    for path in ["/stuck", "/ignorant"] {
        let mut stream = server.connect().await;
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 503"), "{path}");
    }
}

#[tokio::test]
async fn a_handler_of_a_form_with_files_may_take_longer() {
    let slow = post(async |_: Bytes| {
        tokio::time::sleep(2 * SHORT).await;
        "done"
    });
    let routes = Router::new().route("/slow", slow);
    let server =
        TestServer::start(routes, LIMITS, RequestTimeouts { handler: SHORT, ..TIMEOUTS }, None).await;
    for (content_type, expected) in [("Multipart/form-data; boundary=b", "done"), ("text/plain", "503")] {
        let mut stream = server.connect().await;
        let head = format!("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n");
        stream.write_all(format!("{head}Content-Length: 4\r\n\r\nbody").as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.contains(expected), "{content_type}: {answer}");
    }
}

#[tokio::test]
async fn a_refused_body_is_read_so_that_the_refusal_arrives() {
    let server = TestServer::start(routes(), LIMITS, TIMEOUTS, None).await;
    let mut stream = server.connect().await;
    let size = 512 * 1024;
    let head = format!("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'a'; size]).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 413"));
    stream.write_all(GET_FINE).await.unwrap();
    assert!(answer(&mut stream).await.ends_with("fine"));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let (ended, end) = oneshot::channel::<()>();
    let ended = Arc::new(std::sync::Mutex::new(Some(ended)));
    let endless = get(async move || {
        // Dropped, with the body, when the connection is.
        let ended = ended.lock().unwrap().take();
        Body::from_stream(futures::stream::repeat_with(move || {
            let _ended = &ended;
            Ok::<_, Infallible>(Bytes::from(vec![b'a'; 64 * 1024]))
        }))
    });
    let limits = ConnectionLimits { write_pause: SHORT, ..LIMITS };
    let server = TestServer::start(Router::new().route("/endless", endless), limits, TIMEOUTS, None).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(tokio::time::timeout(LONG, end).await.expect("it is still being written to").is_err());
}

#[tokio::test]
async fn at_the_connection_limit_new_connections_wait_and_idle_ones_are_closed() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, highest) = (Arc::clone(&now), Arc::clone(&most));
    let busy = get(async move || {
        highest.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(SHORT / 10).await;
        count.fetch_sub(1, Ordering::SeqCst);
        "done"
    });
    let limits = ConnectionLimits { connections: 2, ..LIMITS };
    let server = TestServer::start(Router::new().route("/busy", busy), limits, TIMEOUTS, None).await;
    let clients = join_all((0..8).map(async |_| {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(answer(&mut stream).await.ends_with("done"));
        // Kept open by the client, like a browser does.
        stream
    }))
    .await;
    assert_eq!((clients.len(), most.load(Ordering::SeqCst)), (8, 2));
}

#[tokio::test]
async fn shutdown_answers_requests_in_progress_and_closes_idle_connections() {
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_started, is_released) = (Arc::clone(&started), Arc::clone(&release));
    let slow = get(async move || {
        has_started.notify_one();
        is_released.notified().await;
        "late"
    });
    let server = TestServer::start(routes().route("/slow", slow), LIMITS, TIMEOUTS, None).await;
    let (mut idle, mut busy) = (server.connect().await, server.connect().await);
    idle.write_all(GET_FINE).await.unwrap();
    answer(&mut idle).await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    started.notified().await;
    let tasks = server.tasks.clone();
    let (stopped, ()) = tokio::join!(tasks.stop(), async {
        assert_eq!(rest(&mut idle).await, "");
        assert!(TcpStream::connect(server.address).await.is_err(), "a new connection is taken");
        release.notify_one();
        assert!(rest(&mut busy).await.ends_with("late"));
    });
    assert!(stopped);
}

#[tokio::test]
async fn a_handler_gets_the_address_of_the_peer() {
    let server = TestServer::start(routes(), LIMITS, TIMEOUTS, None).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /from HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(&mut stream).await.ends_with("127.0.0.1"));
}

/// Writes a new certificate for `localhost` with its key, and returns the certificate.
fn certify(folder: &Path) -> rcgen::Certificate {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("certificate.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert
}

fn files() -> (TempDir, rcgen::Certificate, Tls) {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certify(folder.path());
    let tls = Tls::open(&folder.path().join("certificate.pem"), &folder.path().join("key.pem")).unwrap();
    (folder, certificate, tls)
}

/// A client that trusts this certificate only.
async fn connect_trusting(
    server: &TestServer,
    certificate: &rcgen::Certificate,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    connect_tls(server, certificate, &[]).await
}

async fn connect_tls(
    server: &TestServer,
    certificate: &rcgen::Certificate,
    protocols: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), server.connect().await).await
}

#[tokio::test]
async fn a_reloaded_certificate_is_for_new_connections_only() {
    let (folder, first, tls) = files();
    let server = TestServer::start(routes(), LIMITS, TIMEOUTS, Some(tls.clone())).await;
    let mut old = connect_trusting(&server, &first).await.unwrap();
    old.write_all(GET_FINE).await.unwrap();
    assert!(answer(&mut old).await.ends_with("fine"));
    assert!(!tls.reload(), "nothing has changed");

    let second = certify(folder.path());
    assert!(tls.reload());
    assert!(connect_trusting(&server, &first).await.is_err(), "the old certificate is still shown");
    let mut new = connect_trusting(&server, &second).await.unwrap();
    for stream in [&mut old, &mut new] {
        stream.write_all(GET_FINE).await.unwrap();
        assert!(answer(stream).await.ends_with("fine"));
    }

    // An incomplete change, a key of another certificate, no key, an empty file: the last valid pair is still used.
    certify(folder.path());
    let key = folder.path().join("key.pem");
    for bad in [first.pem(), "no key".to_owned(), rcgen::KeyPair::generate().unwrap().serialize_pem()] {
        std::fs::write(&key, bad).unwrap();
        assert!(!tls.reload());
    }
    std::fs::remove_file(&key).unwrap();
    assert!(!tls.reload());
    connect_trusting(&server, &second).await.unwrap();
}

#[tokio::test]
async fn a_client_without_tls_is_cut_off() {
    let (_folder, _, tls) = files();
    let limits = ConnectionLimits { first_head: SHORT, ..LIMITS };
    let server = TestServer::start(routes(), limits, TIMEOUTS, Some(tls)).await;
    let mut silent = server.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut plain = server.connect().await;
    plain.write_all(GET_FINE).await.unwrap();
    assert!(!rest(&mut plain).await.contains("HTTP"));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = TestServer::start(
        routes().route("/heads", get(async |headers: HeaderMap, _: Request| headers.len().to_string())),
        LIMITS,
        TIMEOUTS,
        None,
    )
    .await;
    let mut stream = server.connect().await;
    let head = format!(
        "GET /heads HTTP/1.1\r\nHost: a\r\n{}: {}\r\n\r\n",
        header::COOKIE,
        "a".repeat(2 * HEAD_SIZE)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431"));
}

/// An HTTP/2 client, with a notification of the end of its connection.
struct Http2 {
    requests: SendRequest<Full<Bytes>>,
    ended: oneshot::Receiver<()>,
}

impl Http2 {
    async fn connect(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        // Streams whose answer is not read block early.
        let mut client = http2::Builder::new(TokioExecutor::new());
        client.initial_stream_window_size(1024).max_concurrent_reset_streams(0);
        let (requests, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
        let (end, ended) = oneshot::channel();
        TokioExecutor::new().execute(async move {
            let _ = connection.await;
            let _ = end.send(());
        });
        Self { requests, ended }
    }

    async fn send(&mut self, request: http::request::Builder) -> http::Response<Incoming> {
        let request = request.body(Full::default()).unwrap();
        tokio::time::timeout(LONG, self.requests.send_request(request)).await.expect("no answer").unwrap()
    }

    async fn get(&mut self, path: &str) -> (http::StatusCode, String) {
        let answer = self.send(Request::get(format!("http://chorus.example{path}"))).await;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn ended(self) {
        tokio::time::timeout(LONG, self.ended).await.expect("the connection is still open").unwrap();
    }
}

fn ok(text: &str) -> (http::StatusCode, String) {
    (http::StatusCode::OK, text.to_owned())
}

#[tokio::test]
async fn http2_is_negotiated_by_tls_and_accepted_in_clear_text() {
    let (_folder, certificate, tls) = files();
    let by_tls = TestServer::start(routes(), LIMITS, TIMEOUTS, Some(tls)).await;
    let stream = connect_tls(&by_tls, &certificate, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(Http2::connect(stream).await.get("/fine").await, ok("fine"));
    let plain = TestServer::start(routes(), LIMITS, TIMEOUTS, None).await;
    assert_eq!(Http2::connect(plain.connect().await).await.get("/from").await, ok("127.0.0.1"));
}

#[tokio::test]
async fn the_authority_of_http2_is_the_host() {
    let host = get(async |headers: HeaderMap| {
        headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap()).collect::<Vec<_>>().join(",")
    });
    let server = TestServer::start(Router::new().route("/host", host), LIMITS, TIMEOUTS, None).await;
    let mut client = Http2::connect(server.connect().await).await;
    assert_eq!(client.get("/host").await, ok("chorus.example"));
    for (host, status) in [("chorus.example", 200), ("other.example", 400)] {
        let request = Request::get("http://chorus.example/host").header(header::HOST, host);
        assert_eq!(client.send(request).await.status(), status, "{host}");
    }
}

#[tokio::test]
async fn an_http2_client_without_requests_is_cut_off_and_an_idle_one_is_closed() {
    let limits = ConnectionLimits { first_head: SHORT, idle: SHORT, ..LIMITS };
    let server = TestServer::start(routes(), limits, TIMEOUTS, None).await;
    Http2::connect(server.connect().await).await.ended().await;
    let mut client = Http2::connect(server.connect().await).await;
    assert_eq!(client.get("/fine").await, ok("fine"));
    client.ended().await;
}

#[tokio::test]
async fn an_http2_stream_that_is_not_read_is_reset() {
    let parts = std::iter::repeat_n(Ok::<_, Infallible>(vec![b'a'; 16 * 1024]), 4);
    let large = get(async move || Body::from_stream(futures::stream::iter(parts)));
    let server = TestServer::start(
        routes().route("/large", large),
        ConnectionLimits { stream_pause: SHORT, ..LIMITS },
        TIMEOUTS,
        None,
    )
    .await;
    let mut client = Http2::connect(server.connect().await).await;
    let unread = client.send(Request::get("http://chorus.example/large")).await;
    assert_eq!(unread.status(), http::StatusCode::OK);
    tokio::time::sleep(SHORT * 3).await;
    assert!(unread.into_body().collect().await.is_err());
    // Other streams of the connection continue.
    assert_eq!(client.get("/fine").await, ok("fine"));
    assert_eq!(client.get("/large").await, ok(&"a".repeat(64 * 1024)));
}

#[tokio::test]
async fn an_http2_connection_whose_buffered_answers_are_not_read_is_cut_off() {
    let limits = ConnectionLimits { first_head: SHORT, idle: SHORT, ..LIMITS };
    let large = Router::new().route("/large", get(async || vec![b'a'; 32 * 1024]));
    let server = TestServer::start(large, limits, TIMEOUTS, None).await;
    let mut client = Http2::connect(server.connect().await).await;
    let _unread = client.send(Request::get("http://chorus.example/large")).await;
    client.ended().await;
}

#[tokio::test]
async fn a_header_list_that_is_too_large_is_refused_over_http2() {
    let server = TestServer::start(routes(), LIMITS, TIMEOUTS, None).await;
    let mut client = Http2::connect(server.connect().await).await;
    let request = Request::get("http://chorus.example/fine").header(header::COOKIE, "a".repeat(HEAD_SIZE));
    assert_eq!(client.send(request).await.status(), 431);
    assert_eq!(client.get("/fine").await, ok("fine"));
}

#[tokio::test]
async fn shutdown_answers_http2_requests_in_progress() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_begun, may_go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = get(async move || {
        has_begun.notify_one();
        may_go_on.notified().await;
        "late"
    });
    let server = TestServer::start(Router::new().route("/slow", slow), LIMITS, TIMEOUTS, None).await;
    let mut client = Http2::connect(server.connect().await).await;
    let stop = async {
        begun.notified().await;
        let (stopped, ()) = tokio::join!(server.tasks.stop(), async { go_on.notify_one() });
        stopped
    };
    let (answer, stopped) = tokio::join!(client.get("/slow"), stop);
    assert_eq!((answer, stopped), (ok("late"), true));
    client.ended().await;
}
