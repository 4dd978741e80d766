//! The target pages of mailed links for apps without such pages. They only show what the link is for; the button
//! sends the command.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

use crate::Queries;

/// Allows the page's own script and style, and requests to this API.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The paths of links; the token follows.
const PATHS: [&str; 3] = ["/verify-email/{token}", "/confirm-email/{token}", "/reset-password/{token}"];

pub(crate) fn routes() -> Router<Queries> {
    let page = || get(async || text("text/html; charset=utf-8", include_str!("links/page.html")));
    let script = get(async || text("text/javascript; charset=utf-8", include_str!("links/links.js")));
    let style = get(async || text("text/css; charset=utf-8", include_str!("links/links.css")));
    let router = Router::new().route("/links.js", script).route("/links.css", style);
    PATHS.into_iter().fold(router, |router, path| router.route(path, page()))
}

fn text(content_type: &'static str, body: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        // The page's URL contains the token.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}
