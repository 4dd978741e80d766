//! `GET /`: describes the server, with links to the documentation, as JSON or as a page.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use crate::Queries;

/// Allows only the stylesheet of the link pages.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn routes() -> Router<Queries> {
    let root =
        async |State(queries): State<Queries>, headers: HeaderMap| welcome(&queries.public_url, &headers);
    Router::new().route("/", get(root))
}

fn welcome(public_url: &str, headers: &HeaderMap) -> Response {
    let accepted = |media_type| quality(headers, media_type);
    let mut response = if accepted("text/html") > accepted("application/json") {
        let page = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        ];
        (page, include_str!("welcome/page.html")).into_response()
    } else {
        let links = json!({
            "name": "Chorus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The open backend for social, photo and music apps",
            "documentation": format!("{public_url}/docs/"),
            "openapi": format!("{public_url}/openapi.json"),
        });
        axum::Json(links).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// The quality of a media type in `Accept`: 0 to 1, and 0 if it is not listed.
fn quality(headers: &HeaderMap, media_type: &str) -> f32 {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let named = values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().filter(|name| name.eq_ignore_ascii_case(media_type))?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some(weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
    });
    named.fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn browser_gets_a_page_and_other_clients_get_json() {
        for (accept, is_page) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json"), false),
            (Some("application/json, text/html;q=0.9"), false),
            (Some("text/html;q=0"), false),
            (Some("text/html"), true),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), true),
        ] {
            let accept = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)));
            let answer = welcome("https://chorus.example", &accept.into_iter().collect());
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()[header::VARY], "accept");
            let kind = answer.headers()[header::CONTENT_TYPE].clone();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let text = std::str::from_utf8(&body).unwrap();
            if is_page {
                assert_eq!(kind, "text/html; charset=utf-8");
                assert!(
                    text.contains("href=\"/docs/\"") && text.contains("href=\"/openapi.json\""),
                    "{text}"
                );
            } else {
                assert_eq!(kind, "application/json");
                assert!(text.contains("\"documentation\":\"https://chorus.example/docs/\""), "{text}");
                assert!(text.contains("\"openapi\":\"https://chorus.example/openapi.json\""), "{text}");
            }
        }
    }
}
