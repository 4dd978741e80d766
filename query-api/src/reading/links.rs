//! The pages that mailed links lead to, where no app of its own has any. They only show what a link stands for; the page's
//! button sends the command.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;

use crate::Queries;

/// Its own script and style, requests to this API, and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The paths of links, each followed by the token.
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
        // The token stands in the page's address.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}
