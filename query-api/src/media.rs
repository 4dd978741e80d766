//! Pictures, given out from the media store, or by a link to it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use service::extract::Path;
use service::media::{CACHE_FOR_EVER, ImageVariant, MediaError, MediaKey, MediaObject, Part};
use service::problem::{Problem, Problems};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Queries;
use crate::answer::known_tags;

/// How long a link to the store is good, and how long a browser may go on using it.
const LINK_VALID: Duration = Duration::from_hours(1);
const LINK_CACHE: &str = "private, max-age=1800";

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_media))
}

impl Queries {
    pub(crate) fn image_url(&self, picture: &str, variant: ImageVariant) -> String {
        variant.url(&self.public_url, picture)
    }
}

#[derive(Debug, Deserialize)]
struct Place {
    picture: String,
    file: String,
}

/// A picture
///
/// Needs no token. What stands under such an address never changes.
#[utoipa::path(
    get, path = "/media/images/{picture}/{file}", tag = "media",
    params(
        ("picture" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("file" = String, Path, example = "feed.jpg"),
        ("Range" = Option<String>, Header, example = "bytes=0-1023"),
    ),
    responses(
        (status = 200, content_type = "image/jpeg", body = Vec<u8>),
        (status = 206, content_type = "image/jpeg", body = Vec<u8>),
        (status = 304), (status = 307), Problems
    )
)]
async fn get_media(
    State(queries): State<Queries>,
    Path(Place { picture, file }): Path<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("There is no such picture");
    let key = MediaKey::parse(&format!("images/{picture}/{file}")).ok_or_else(missing)?;
    if let Some(link) = queries.media.link(&key, LINK_VALID).await.map_err(media_problem)? {
        let headers = [(header::LOCATION, link), (header::CACHE_CONTROL, LINK_CACHE.to_owned())];
        return Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response());
    }
    let tag = format!("\"{key}\"");
    if known_tags(&headers).iter().any(|known| *known == tag || known == "*") {
        return Ok(described(StatusCode::NOT_MODIFIED.into_response(), &key, &tag));
    }
    let part = headers.get(header::RANGE).and_then(|range| part(range.to_str().ok()?));
    let MediaObject { size, range, body } = match queries.media.get(&key, part).await {
        Err(MediaError::BeyondEnd(size)) => {
            let whole = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, whole).into_response());
        }
        found => found.map_err(media_problem)?.ok_or_else(missing)?,
    };
    let length = range.end() - range.start() + 1;
    let mut response = Body::from_stream(body).into_response();
    if part.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let told = format!("bytes {}-{}/{size}", range.start(), range.end());
        response.headers_mut().insert(header::CONTENT_RANGE, told.try_into().map_err(Problem::internal)?);
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    Ok(described(response, &key, &tag))
}

/// With what is said of everything in the store. Pages of other origins may show it.
fn described(mut response: Response, key: &MediaKey, tag: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(key.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_FOR_EVER));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// One range of bytes; several at once, or none that can be read, are answered with the whole (RFC 9110).
fn part(range: &str) -> Option<Part> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    match (from.trim(), to.trim()) {
        ("", last) => last.parse().ok().map(Part::Last),
        (from, "") => from.parse().ok().map(|from| Part::From(from, None)),
        (from, to) => {
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            (from <= to).then_some(Part::From(from, Some(to)))
        }
    }
}

fn media_problem(error: MediaError) -> Problem {
    match error {
        MediaError::Unavailable(_) => Problem::unavailable("The media store", error),
        MediaError::BeyondEnd(_) => Problem::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read_as_written() {
        assert_eq!(part("bytes=0-9"), Some(Part::From(0, Some(9))));
        assert_eq!(part("bytes=5-"), Some(Part::From(5, None)));
        assert_eq!(part("bytes=-5"), Some(Part::Last(5)));
        for whole in ["", "bytes=", "bytes=-", "bytes=9-0", "bytes=a-b", "bytes=0-1,3-4", "lines=0-9"] {
            assert_eq!(part(whole), None, "{whole}");
        }
    }

    proptest! {
        #[test]
        fn any_range_is_read_as_one_part_or_as_none(
            range in "(bytes=)?[0-9 ]{0,22}-?[0-9 ,-]{0,22}|\\PC{0,20}",
            from in any::<u64>(), to in any::<u64>(),
        ) {
            if let Some(Part::From(from, Some(to))) = part(&range) {
                prop_assert!(from <= to, "{range}");
            }
            prop_assert_eq!(part(&format!("bytes={from}-{to}")).is_some(), from <= to);
        }
    }
}
