//! Headers that restrict what a browser does with a response.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// On every response, unless the route has set the header itself.
pub(super) const SECURITY_HEADERS: [(HeaderName, HeaderValue); 11] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("origin-agent-cluster"), HeaderValue::from_static("?1")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_DNS_PREFETCH_CONTROL, HeaderValue::from_static("off")),
    (HeaderName::from_static("x-download-options"), HeaderValue::from_static("noopen")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
    (HeaderName::from_static("x-permitted-cross-domain-policies"), HeaderValue::from_static("none")),
    // Turns off a filter of old browsers that made pages less safe.
    (header::X_XSS_PROTECTION, HeaderValue::from_static("0")),
];

/// Browsers use TLS only, for half a year. Sent only if there is TLS.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=15552000; includeSubDomains");

pub(super) fn secure(headers: &mut HeaderMap, by_tls: bool) {
    headers.reserve(SECURITY_HEADERS.len() + 1);
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(value);
    }
    // The cookie contains a token, and so does the body of such a response.
    if headers.contains_key(header::SET_COOKIE) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if by_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
}
