//! The OpenAPI document of both sides, and a page to try the API. The document is a file in this crate, so that the
//! read side can serve it without the write side; a test compares the file with the code.

use axum::Router;
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderValue, header};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::Queries;

/// OpenAPI 3.1, as printed by `chorus openapi`.
pub(crate) const OPENAPI: &str = include_str!("../../openapi.json");

/// The page may run its own scripts and styles, and send requests to this API only.
const PAGE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub(crate) fn routes() -> Router<Queries> {
    let page: Router<Queries> = SwaggerUi::new("/docs")
        .config(Config::from("/openapi.json").persist_authorization(true).try_it_out_enabled(true))
        .into();
    let page = page.layer(middleware::map_response(async |mut response: Response| {
        let policy = HeaderValue::from_static(PAGE_POLICY);
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        response
    }));
    let document = get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI));
    Router::new().route("/openapi.json", document).merge(page)
}
