//! Middleware of all routes (request id, tracing, metrics, security headers, CORS, limits of rate, time and size,
//! compression), and the server.

mod address;
mod headers;
mod request_timeouts;
mod server;
mod timings;
mod tls;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, FromRequestParts, MatchedPath, OriginalUri, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tracing::Instrument;
use uuid::Uuid;

use self::request_timeouts::RequestTimeouts;
use self::server::ConnectionLimits;
use self::tls::Tls;
use crate::compat::{App, Caller, Origins, preflight_status, to_app_format};
use crate::health;
use crate::limits::{AddressLimit, MonotonicClock, RATE_LIMIT, RATE_LIMIT_POLICY};
use crate::problem::{FieldCode, Problem};
use crate::sessions::Authenticator;
use service::clock::{Clock, SystemClock};
use service::config::HttpSettings;
use service::shutdown::{Tasks, asked_to_end};

/// Timeout of a handler, not counting the time that it waits for the client's body.
const HANDLER_LIMIT: Duration = Duration::from_secs(30);
/// The same for forms with files: their pictures wait for a processor, which all accounts share.
const FORM_HANDLER_LIMIT: Duration = Duration::from_mins(5);
/// Default maximum size of a body in bytes.
pub const BODY_LIMIT: usize = 64 * 1024;
/// Minimum size of a compressed body in bytes.
const COMPRESS_FROM: u64 = 1024;
/// How long browsers may cache the response to a preflight request.
const PREFLIGHT_AGE: Duration = Duration::from_hours(1);

pub use address::ClientAddress;
pub use axum::Router;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Position of the event that a command has appended, or that a query must include.
pub const POSITION: HeaderName = HeaderName::from_static("chorus-position");
pub const MIN_POSITION: HeaderName = HeaderName::from_static("chorus-min-position");
/// `true` if the views did not contain a command's event when it was answered.
pub const PENDING: HeaderName = HeaderName::from_static("chorus-pending");
/// Bytes of an upload that have arrived.
pub const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The identity of a request, passed on to everything that it causes.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The client's id if it is a UUID, otherwise a new one; returned as `X-Request-Id`.
    pub id: Uuid,
    /// UUIDv7 shared by all events of the request: the id if it is one.
    pub correlation: Uuid,
    /// The W3C trace context as received.
    pub traceparent: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::internal("a route without the layers of web::http");
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

/// Adds the middleware and the fallback. The authenticator is needed for apps that answer 401 before 404.
pub fn finish(routes: Router, settings: &HttpSettings, authenticator: Option<Arc<Authenticator>>) -> Router {
    let routes = with_fallback(routes, authenticator);
    with_middleware(routes, settings, RequestTimeouts::default(), MonotonicClock::default())
}

/// Adds the responses to requests that match no route. The apps spell their paths in several ways: such a path ends
/// up here, and is routed again in the spelling of the routes.
fn with_fallback(routes: Router, authenticator: Option<Arc<Authenticator>>) -> Router {
    let not_found = move |request| not_found(request, authenticator.clone());
    let strict = routes.clone().fallback(not_found.clone());
    let strict = strict.method_not_allowed_fallback({
        let not_found = not_found.clone();
        move |request| method_not_allowed(request, not_found.clone())
    });
    let fallback = move |request: Request, unmatched: Unmatched| {
        let (strict, not_found) = (strict.clone(), not_found.clone());
        async move {
            let respelled = App::of(request.uri().path()).and_then(|app| app.respell(request.uri()));
            match (respelled, unmatched) {
                (Some(respelled), _) => {
                    let answer = strict.oneshot(with_uri(respelled, request)).await;
                    answer.unwrap_or_else(|never| match never {})
                }
                (None, Unmatched::Path) => not_found(request).await,
                (None, Unmatched::Method) => method_not_allowed(request, not_found).await,
            }
        }
    };
    let method_fallback = fallback.clone();
    routes
        .fallback(move |request| fallback(request, Unmatched::Path))
        .method_not_allowed_fallback(move |request| method_fallback(request, Unmatched::Method))
}

/// Why a request matched no route.
#[derive(Debug, Clone, Copy)]
enum Unmatched {
    Path,
    Method,
}

fn with_uri(uri: Uri, mut request: Request) -> Request {
    *request.uri_mut() = uri;
    // It will match another route.
    request.extensions_mut().remove::<MatchedPath>();
    request
}

/// The apps do not distinguish unknown paths from unsupported methods.
async fn method_not_allowed<F: Future<Output = Response>>(
    request: Request,
    not_found: impl FnOnce(Request) -> F,
) -> Response {
    if App::of(request.uri().path()).is_some() {
        return not_found(request).await;
    }
    let detail = format!("{} is not possible at {}", request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail).into_response()
}

async fn not_found(request: Request, authenticator: Option<Arc<Authenticator>>) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let Some(app) = App::of(path) else {
        return Problem::not_found(format!("There is nothing at {method} {path}")).into_response();
    };
    if let Some(authenticator) = authenticator.filter(|_| app.is_guarded(path))
        && let Err(refusal) = Caller::of(app, &authenticator, request.headers()).await
    {
        return refusal.into_response();
    }
    let asked = request.extensions().get::<OriginalUri>().map_or(request.uri(), |OriginalUri(uri)| uri);
    let asked = asked.path_and_query().map_or("", PathAndQuery::as_str);
    Problem::not_found(format!("Unsupported URL: {asked}")).into_response()
}

/// State of the middleware.
struct MiddlewareState {
    by_tls: bool,
    trusted_hops: u8,
    limit: Option<AddressLimit>,
    timeouts: RequestTimeouts,
}

/// Outermost layer first. Rejecting layers are inside CORS, so that pages can read the rejection. All layers are one
/// for the router, which clones the layers of a route for each request.
fn with_middleware(
    routes: Router,
    settings: &HttpSettings,
    timeouts: RequestTimeouts,
    clock: MonotonicClock,
) -> Router {
    let state = Arc::new(MiddlewareState {
        by_tls: settings.is_reached_by_tls(),
        trusted_hops: settings.trusted_hops,
        limit: AddressLimit::new(settings.rate_limit, clock),
        timeouts,
    });
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(Arc::clone(&state), trace_request))
        .layer(cors(settings))
        .layer(middleware::from_fn_with_state(state, rate_limit))
        .layer(
            CompressionLayer::new().gzip(true).compress_when(SizeAbove::new(COMPRESS_FROM).and(JsonOrText)),
        )
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    routes.layer(layers)
}

/// Compresses neither pictures, which are compressed already, nor byte ranges, which must not change.
#[derive(Debug, Clone, Copy)]
struct JsonOrText;

impl Predicate for JsonOrText {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &http::Response<B>) -> bool {
        let kind =
            response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        response.status() != StatusCode::PARTIAL_CONTENT
            && (kind.contains("json") || kind.starts_with("text/"))
    }
}

fn cors(settings: &HttpSettings) -> CorsLayer {
    let origins = Origins::new(settings);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, request| origins.allow(origin, request)))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            POSITION,
            PENDING,
            REQUEST_ID,
            RATE_LIMIT,
            RATE_LIMIT_POLICY,
            header::ACCEPT_RANGES,
            header::CONTENT_LENGTH,
            header::CONTENT_RANGE,
            header::ETAG,
            header::RETRY_AFTER,
            header::LOCATION,
            UPLOAD_OFFSET,
        ])
        .max_age(PREFLIGHT_AGE)
}

/// Rejects malformed requests and clients above the rate limit, and sets the rate limit headers.
async fn rate_limit(State(state): State<Arc<MiddlewareState>>, request: Request, next: Next) -> Response {
    let app = App::of(request.uri().path());
    let response = handle_within_limits(&state, request, next).await;
    match app {
        None => response,
        Some(_) => to_app_format(response),
    }
}

async fn handle_within_limits(state: &MiddlewareState, mut request: Request, next: Next) -> Response {
    let address = ClientAddress::of(&request, state.trusted_hops);
    request.extensions_mut().insert(address);
    let timeouts = state.timeouts;
    // Monitoring must not be locked out by users.
    let limit = state.limit.as_ref().filter(|_| !health::PATHS.contains(&request.uri().path()));
    let (budget, refusal) = limit.map(|limit| limit.take(address)).unzip();
    let refusal = refusal.flatten().or_else(|| set_host(&mut request).err()).map(Problem::into_response);
    let refusal = refusal.or_else(|| encoded(&request));
    let mut response = match refusal {
        None => request_timeouts::handle(request, next, timeouts).await,
        Some(refusal) => request_timeouts::refuse(request, refusal, timeouts).await,
    };
    if let Some((limit, budget)) = limit.zip(budget) {
        limit.write_headers(budget, response.headers_mut());
    }
    response
}

/// Sets `Host` also for HTTP/2, which names it in `:authority`.
///
/// # Errors
/// 400 if the host is missing or ambiguous (RFC 9112, section 3.2; RFC 9113, section 8.3.1): proxies and Chorus must
/// read the same one.
fn set_host(request: &mut Request) -> Result<(), Problem> {
    let authority = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
    let authority = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let hosts = request.headers().get_all(header::HOST);
    let hosts = hosts.iter().filter(|host| authority.as_ref() != Some(host)).chain(&authority);
    let is_good = match hosts.collect::<Vec<_>>()[..] {
        [] => request.version() < Version::HTTP_11,
        [host] => {
            Authority::try_from(host.as_bytes()).is_ok_and(|authority| !authority.as_str().contains('@'))
        }
        _ => false,
    };
    if !is_good {
        return Err(Problem::malformed(
            "host",
            FieldCode::InvalidFormat,
            "must be given once, as a host with or without a port",
        ));
    }
    if let Some(authority) = authority {
        request.headers_mut().insert(header::HOST, authority);
    }
    Ok(())
}

/// 415 for a compressed body: no route decompresses bodies.
fn encoded(request: &Request) -> Option<Response> {
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    if request.body().is_end_stream()
        || encodings.all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return None;
    }
    let detail = "The body must not be compressed: Content-Encoding may only be identity";
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", detail);
    Some(([(header::ACCEPT_ENCODING, "identity")], problem).into_response())
}

/// Adds id, span and metrics to the request, and the common headers to the response.
async fn trace_request(
    State(state): State<Arc<MiddlewareState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let context = context(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    let mut text = Uuid::encode_buffer();
    let id = &*context.id.hyphenated().encode_lower(&mut text);
    let span = tracing::info_span!("http", %method, route, request = id, correlation = tracing::field::Empty);
    if context.correlation != context.id {
        span.record("correlation", tracing::field::display(context.correlation));
    }
    let id = HeaderValue::from_str(id).ok();
    request.extensions_mut().insert(context);
    let mut response = next.run(request).instrument(span).await;
    if method == Method::OPTIONS {
        preflight_status(&mut response);
    }
    headers::secure(response.headers_mut(), state.by_tls);
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    timings::record(&method, route, response.status(), start.elapsed());
    response
}

fn context(headers: &HeaderMap) -> RequestContext {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let own = || {
        let now = u64::try_from(SystemClock.now().timestamp_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(now, &rand::random()).into_uuid()
    };
    let id = text(REQUEST_ID).and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_else(own);
    let correlation = if id.get_version_num() == 7 { id } else { own() };
    let traceparent = text(TRACEPARENT).filter(|text| is_traceparent(text)).map(str::to_owned);
    RequestContext { id, correlation, traceparent }
}

/// Version, trace id, parent id and flags in lower-case hexadecimal digits; neither id is all zeros.
/// Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn is_traceparent(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str| part.bytes().any(|b| b != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else { return false };
    [version, trace, parent, flags].map(str::len) == [2, 32, 16, 2]
        && parts.into_iter().all(is_hex)
        && version != "ff"
        && is_id(trace)
        && is_id(parent)
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    Problem::internal(format!("panic: {message}")).into_response()
}

/// Adds the routes of `health`, or serves them on a separate listener if configured: then only `/livez` is also among
/// the other routes.
///
/// # Errors
/// If that address cannot be bound.
pub async fn with_operations(
    routes: Router,
    operations: Router,
    settings: &HttpSettings,
    background: &Tasks,
) -> std::io::Result<Router> {
    let Some(address) = settings.operations_listen else { return Ok(routes.merge(operations)) };
    let in_use = |error: std::io::Error| {
        std::io::Error::new(
            error.kind(),
            format!("CHORUS_OPERATIONS_LISTEN: listening on {address}: {error}"),
        )
    };
    let listener = TcpListener::bind(address).await.map_err(in_use)?;
    tracing::info!(%address, "/readyz and /metrics are served here only");
    let app = finish(operations, settings, None);
    let serving = server::serve(listener, app, None, ConnectionLimits::default(), background.clone());
    background.spawn("operations", serving);
    Ok(routes.merge(health::live()))
}

/// Serves until the process shuts down. Then requests in progress are completed, and afterwards the background tasks
/// end, which the requests may need. Each phase has [`GRACE`](service::shutdown::GRACE).
///
/// # Errors
/// If the certificate is invalid, or the signal handlers cannot be installed.
/// If the certificate cannot be used, or the signals cannot be listened to.
pub async fn run(
    listener: TcpListener,
    app: Router,
    settings: &HttpSettings,
    background: &Tasks,
) -> std::io::Result<()> {
    let open = |(certificate, key)| Tls::open(certificate, key).map_err(std::io::Error::other);
    let tls = settings.certificate_files().map(open).transpose()?;
    let serving = Tasks::default();
    if let Some(tls) = tls.clone() {
        serving.spawn_until_stopping("certificate", tls.watch());
    }
    serving.spawn("http", server::serve(listener, app, tls, ConnectionLimits::default(), serving.clone()));
    asked_to_end().await?;
    let all_answered = serving.stop().await;
    let all_ended = background.stop().await;
    if !(all_answered && all_ended) {
        tracing::warn!("the shutdown timed out; acknowledged writes are durable");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use governor::clock::FakeRelativeClock;
    use http_body_util::BodyExt;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    fn routes() -> Router {
        Router::new()
            .route("/fine", get(async || "fine"))
            .route("/livez", get(async || "alive"))
            .route("/context", get(async |context: RequestContext| format!("{context:?}")))
            .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
            .route("/large", post(async |body: axum::body::Bytes| body.len().to_string()))
            .route("/json", get(async || axum::Json(vec!["chorus"; 1000])))
    }

    fn app() -> Router {
        let allowed_origins = vec!["https://app.example".into()];
        let settings = HttpSettings { allowed_origins, ..HttpSettings::default() };
        finish(routes(), &settings, None)
    }

    async fn ask(request: http::request::Builder, body: impl Into<Body>) -> Response {
        app().oneshot(request.header(header::HOST, "a").body(body.into()).unwrap()).await.unwrap()
    }

    async fn problem(response: Response) -> Value {
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn every_response_has_security_headers_and_the_request_id() {
        let id = "0191e2a4-0000-7000-8000-000000000001";
        for uri in ["/fine", "/missing", "/panic", "/large"] {
            let response = ask(Request::get(uri).header(REQUEST_ID, id), "").await;
            assert_eq!(response.headers()[REQUEST_ID], id, "{uri}");
            for (name, value) in headers::SECURITY_HEADERS {
                assert_eq!(response.headers()[&name], value, "{uri} {name}");
            }
        }
        let own = ask(Request::get("/fine").header(REQUEST_ID, "x\u{e9}"), "").await;
        assert!(Uuid::try_parse(own.headers()[REQUEST_ID].to_str().unwrap()).is_ok());
    }

    #[tokio::test]
    async fn errors_are_problem_documents() {
        assert_eq!(problem(ask(Request::get("/missing"), "").await).await["status"], 404);
        assert_eq!(problem(ask(Request::delete("/fine"), "").await).await["status"], 405);
        let panic = problem(ask(Request::get("/panic"), "").await).await;
        assert_eq!(panic["status"], 500);
        assert!(!panic.to_string().contains("on purpose"), "{panic}");
        assert_eq!(ask(Request::post("/large"), vec![0; BODY_LIMIT + 1]).await.status(), 413);
    }

    #[tokio::test]
    async fn cors_allows_only_the_configured_origin() {
        let from = async |origin: &str| {
            let response = ask(Request::get("/missing").header(header::ORIGIN, origin), "").await;
            response
                .headers()
                .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
                .map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(from("https://app.example").await.as_deref(), Some("https://app.example"));
        for foreign in
            ["https://evil.example", "https://app.example.evil.example", "null", "http://app.example"]
        {
            assert_eq!(from(foreign).await, None, "{foreign}");
        }
        let answer = ask(Request::get("/fine").header(header::ORIGIN, "https://app.example"), "").await;
        let exposed = answer.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
        let exposed: Vec<_> = exposed.split(',').map(str::trim).collect();
        // Those that docs/api-guide.md tells clients to read.
        for name in [
            "chorus-pending",
            "chorus-position",
            "content-range",
            "etag",
            "location",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "upload-offset",
            "x-request-id",
        ] {
            assert!(exposed.contains(&name), "{name}: {exposed:?}");
        }
        let preflight = Request::options("/fine")
            .header(header::ORIGIN, "https://app.example")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type");
        let answer = ask(preflight, "").await;
        let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(answer.status().is_success());
        assert!(header(header::ACCESS_CONTROL_ALLOW_METHODS).contains("PATCH"));
        assert_eq!(header(header::ACCESS_CONTROL_ALLOW_HEADERS), "authorization,content-type");
        assert_eq!(header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "true");
        assert!(header(header::VARY).to_lowercase().contains("origin"));
    }

    #[tokio::test]
    async fn json_is_compressed_if_accepted() {
        let accepting = ask(Request::get("/json").header(header::ACCEPT_ENCODING, "gzip"), "").await;
        assert_eq!(accepting.headers()[header::CONTENT_ENCODING], "gzip");
        let plain = ask(Request::get("/json"), "").await;
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
    }

    #[tokio::test]
    async fn request_must_name_its_host_once() {
        let send = async |version: Version, hosts: &[&'static str]| {
            let mut request = Request::get("/fine").version(version).body(Body::empty()).unwrap();
            for host in hosts {
                request.headers_mut().append(header::HOST, HeaderValue::from_static(host));
            }
            app().oneshot(request).await.unwrap()
        };
        for hosts in [&[][..], &["a", "a"], &["a", "b"], &[""], &["a b"], &["user@a"], &["a/b"]] {
            let refused = send(Version::HTTP_11, hosts).await;
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{hosts:?}");
            assert_eq!(problem(refused).await["errors"][0]["field"], "host");
        }
        for host in ["a", "a.example:8080", "127.0.0.1:80", "[::1]:8080"] {
            assert_eq!(send(Version::HTTP_11, &[host]).await.status(), StatusCode::OK, "{host}");
        }
        assert_eq!(send(Version::HTTP_10, &[]).await.status(), StatusCode::OK);
        assert_eq!(send(Version::HTTP_10, &["a", "a"]).await.status(), StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn response_with_a_cookie_is_not_cached() {
        let settings = HttpSettings::default();
        let cookie =
            get(async || ([(header::SET_COOKIE, "a=b"), (header::CACHE_CONTROL, "private")], "token"));
        let app = finish(Router::new().route("/cookie", cookie).merge(routes()), &settings, None);
        for (path, stored) in [("/cookie", Some("no-store")), ("/fine", None)] {
            let request = Request::get(path).header(header::HOST, "a").body(Body::empty()).unwrap();
            let answer = app.clone().oneshot(request).await.unwrap();
            let cache_control =
                answer.headers().get(header::CACHE_CONTROL).map(|value| value.to_str().unwrap());
            assert_eq!(cache_control, stored, "{path}");
        }
    }

    #[tokio::test]
    async fn compressed_body_is_rejected_with_415() {
        let send = async |encoding: &'static str, body: &'static str| {
            ask(Request::post("/large").header(header::CONTENT_ENCODING, encoding), body).await
        };
        for encoding in ["gzip", "br", "identity, gzip"] {
            let refused = send(encoding, "not empty").await;
            assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{encoding}");
            assert_eq!(refused.headers()[header::ACCEPT_ENCODING], "identity");
            assert_eq!(problem(refused).await["type"], "urn:chorus:problem:unsupported-encoding");
        }
        for (encoding, body) in [("identity", "not empty"), ("Identity", "not empty"), ("gzip", "")] {
            assert_eq!(send(encoding, body).await.status(), StatusCode::OK, "{encoding}");
        }
    }

    #[tokio::test]
    async fn trace_context_is_used_only_if_valid() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (sent, kept) in [
            (good, true),
            ("00-x", false),
            (&"z".repeat(55), false),
            (&good.to_uppercase(), false),
            (&good.replace("00-0af7", "ff-0af7"), false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
        ] {
            let response = ask(Request::get("/context").header(TRACEPARENT, sent), "").await;
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(String::from_utf8_lossy(&text).contains(sent), kept, "{sent}");
        }
    }

    #[tokio::test]
    async fn correlation_is_always_a_uuid_v7() {
        let (version_7, version_4) =
            ("0191e2a4-0000-7000-8000-000000000001", "8e03978e-40d5-43dd-bc93-6894a57f9324");
        for (sent, kept) in [(version_7, true), (version_4, false), ("none", false)] {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(sent))]);
            let context = context(&headers);
            assert_eq!(context.correlation.get_version_num(), 7, "{sent}");
            assert_eq!(context.correlation.to_string() == sent, kept, "{sent}");
            assert_eq!(context.id.to_string() == sent, sent != "none", "{sent}");
        }
    }

    /// An app with a limit of two requests per minute, behind one proxy.
    fn limited(clock: &FakeRelativeClock) -> Router {
        let settings = HttpSettings {
            allowed_origins: vec!["https://app.example".into()],
            rate_limit: 2,
            trusted_hops: 1,
            ..HttpSettings::default()
        };
        with_middleware(with_fallback(routes(), None), &settings, RequestTimeouts::default(), clock.into())
    }

    async fn ask_from(app: &Router, from: &str, method: &str, uri: &str) -> Response {
        let request = Request::builder().method(method).uri(uri).header("x-forwarded-for", from);
        let request = request.header(header::ORIGIN, "https://app.example").header(header::HOST, "a");
        let request = request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
        app.clone().oneshot(request.body(Body::from("a body")).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn rate_limited_response_is_readable_by_pages() {
        let clock = FakeRelativeClock::default();
        let app = limited(&clock);
        for left in ["r=1;t=30", "r=0;t=60"] {
            // A path without a route counts as well.
            let answer = ask_from(&app, "1.1.1.1", "GET", "/missing").await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
            assert_eq!(answer.headers()["ratelimit"], format!("\"address\";{left}"));
            assert_eq!(answer.headers()["ratelimit-policy"], "\"address\";q=2;w=60");
        }
        let refused = ask_from(&app, "1.1.1.1", "POST", "/large").await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let headers = refused.headers().clone();
        assert_eq!(headers[header::RETRY_AFTER], "30");
        assert_eq!(headers["ratelimit"], "\"address\";r=0;t=30");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        let exposed = headers[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap().to_lowercase();
        assert!(["retry-after", "ratelimit", "ratelimit-policy"].iter().all(|name| exposed.contains(name)));
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(Uuid::try_parse(headers[REQUEST_ID].to_str().unwrap()).is_ok());
        assert_eq!(problem(refused).await["type"], "urn:chorus:problem:too-many-requests");

        // Other clients, health checks and preflight requests are not affected.
        for (from, method, uri) in
            [("2.2.2.2", "GET", "/fine"), ("1.1.1.1", "GET", "/livez"), ("1.1.1.1", "OPTIONS", "/fine")]
        {
            assert!(ask_from(&app, from, method, uri).await.status().is_success(), "{from} {uri}");
        }
        clock.advance(Duration::from_secs(30));
        assert_eq!(ask_from(&app, "1.1.1.1", "GET", "/fine").await.status(), StatusCode::OK);
        assert_eq!(ask_from(&app, "1.1.1.1", "GET", "/fine").await.status().as_u16(), 429);
    }

    #[tokio::test]
    async fn hsts_is_sent_only_with_tls() {
        for (url, is_sent) in [("https://a.example", true), ("http://a.example", false)] {
            let settings = HttpSettings { public_url: Some(url.to_owned()), ..HttpSettings::default() };
            let request = Request::get("/missing").header(header::HOST, "a").body(Body::empty()).unwrap();
            let answer = finish(routes(), &settings, None).oneshot(request).await.unwrap();
            let header = answer.headers().get(header::STRICT_TRANSPORT_SECURITY);
            assert_eq!(header.is_some_and(|v| v == "max-age=15552000; includeSubDomains"), is_sent, "{url}");
            assert!(answer.headers().get("ratelimit").is_none(), "there is no limit");
        }
    }

    /// Middleware uses the format of the app that the route belongs to.
    #[tokio::test]
    async fn rejections_have_the_apps_format() {
        const ORIGIN: &str = "https://instamern.netlify.app";
        let ask = async |app: &Router, method: &str, uri: &str, body: Body| {
            let request = Request::builder().method(method).uri(uri).header(header::HOST, "a");
            let request = request.header(header::ORIGIN, ORIGIN);
            let answer = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
            assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], ORIGIN, "{uri}");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json; charset=utf-8", "{uri}");
            let (parts, body) = answer.into_parts();
            let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
            assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
            (parts.status.as_u16(), body["status"].as_str().unwrap().to_owned(), parts.headers)
        };
        let never = || Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let routes = || {
            Router::new()
                .route("/instamern/panic", get(async || -> &'static str { panic!("on purpose") }))
                .route("/instamern/late", get(async || std::future::pending::<()>().await))
                .route("/instamern/large", post(async |body: axum::body::Bytes| body.len().to_string()))
                .route(
                    "/instamern/read",
                    post(async |request: Request| {
                        crate::extract::body(request, &()).await.map(|body| body.len().to_string())
                    }),
                )
        };
        let settings = HttpSettings::default();
        let with = |timeouts| {
            with_middleware(with_fallback(routes(), None), &settings, timeouts, MonotonicClock::default())
        };
        let slow_body =
            with(RequestTimeouts { body_pause: Duration::from_millis(10), ..RequestTimeouts::default() });
        let slow_handler = with(RequestTimeouts { handler: Duration::ZERO, ..RequestTimeouts::default() });
        for (app, method, uri, body, status, kind) in [
            (&slow_body, "GET", "/instamern/panic", Body::empty(), 500, "error"),
            (&slow_handler, "GET", "/instamern/late", Body::empty(), 503, "fail"),
            (&slow_body, "GET", "/instamern/nothing", Body::empty(), 404, "fail"),
            (&slow_body, "PUT", "/instamern/late", Body::empty(), 404, "fail"),
            (&slow_body, "POST", "/instamern/read", Body::from(vec![0; BODY_LIMIT + 1]), 413, "fail"),
            (&slow_body, "POST", "/instamern/read", never(), 408, "fail"),
        ] {
            let (answered, named, headers) = ask(app, method, uri, body).await;
            assert_eq!((answered, named.as_str()), (status, kind), "{method} {uri}");
            assert_eq!(headers.contains_key(header::RETRY_AFTER), status == 503, "{uri}");
        }
        let clock = FakeRelativeClock::default();
        let limited = HttpSettings { rate_limit: 1, ..HttpSettings::default() };
        let app = with_middleware(
            with_fallback(routes(), None),
            &limited,
            RequestTimeouts::default(),
            (&clock).into(),
        );
        assert_eq!(ask(&app, "GET", "/instamern/nothing", Body::empty()).await.0, 404);
        let (status, named, headers) = ask(&app, "GET", "/instamern/nothing", Body::empty()).await;
        assert_eq!((status, named.as_str()), (429, "fail"));
        assert_eq!(headers[header::RETRY_AFTER], "60");
    }

    #[tokio::test]
    async fn timeout_response_is_readable_by_pages() {
        let timeouts = RequestTimeouts { handler: Duration::ZERO, ..RequestTimeouts::default() };
        let allowed_origins = vec!["https://app.example".into()];
        let settings = HttpSettings { allowed_origins, ..HttpSettings::default() };
        let routes = Router::new().route("/never", get(async || std::future::pending::<()>().await));
        let app = with_middleware(routes, &settings, timeouts, MonotonicClock::default());
        let answer = ask_from(&app, "1.1.1.1", "GET", "/never").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        assert_eq!(answer.headers()[header::RETRY_AFTER], "2");
    }
}
