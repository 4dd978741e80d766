//! Pictures, served from the media store, or by a link to it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use media::{CACHE_CONTROL, ImageVariant, MediaError, MediaKey, MediaObject, MediaStore, Part};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles::{AccountStatus, Profile};
use views::social::pictures::Picture;
use views::{StoreError, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};

use crate::reading::answer::known_tags;
use crate::{Queries, store_problem};

/// Lifetime of a link to the store, and how long browsers may cache it. Together with [`CACHE_CONTROL`] this bounds
/// how long a picture stays visible after its owner's content is hidden.
const LINK_VALID: Duration = Duration::from_mins(10);
const LINK_CACHE: &str = "private, max-age=300";

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_media))
}

impl Queries {
    pub fn image_url(&self, picture: &str, variant: ImageVariant) -> String {
        variant.url(&self.public_url, picture)
    }

    /// Whether a picture belongs to visible content. A picture that nothing shows has no owner.
    async fn is_shown(&self, picture: &str) -> Result<bool, StoreError> {
        let Some(Picture { owner, removed: false, .. }) = self.store.get(picture).await? else {
            return Ok(false);
        };
        let owner: Option<Profile> = self.store.get(&owner).await?;
        Ok(owner.is_some_and(|owner| owner.status == AccountStatus::Active))
    }
}

#[derive(Debug, Deserialize)]
struct Place {
    picture: String,
    file: String,
}

/// Get a picture
///
/// Needs no token. The content of a URL never changes. The picture is not found any more once its post or story is deleted or
/// removed, or its owner is deactivated, suspended or erased.
#[utoipa::path(
    get, path = "/media/images/{picture}/{file}", tag = "media",
    params(
        ("picture" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("file" = String, Path, example = "feed.jpg"),
        ("Range" = Option<String>, Header, example = "bytes=0-1023"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` that `Range` refers to."),
    ),
    responses(
        (status = 200, content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"))),
        (status = 206, content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"))),
        (status = 304), (status = 307), Problems
    )
)]
async fn get_media(
    State(queries): State<Queries>,
    method: Method,
    Path(Place { picture, file }): Path<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = MediaKey::parse(&format!("images/{picture}/{file}")).ok_or_else(missing)?;
    if !queries.is_shown(&picture).await.map_err(store_problem)? {
        return Err(missing());
    }
    serve(&*queries.media, &method, &key, &headers).await
}

fn missing() -> Problem {
    Problem::not_found("There is no such picture")
}

/// 416 with the size of the file (RFC 9110, section 15.5.17).
fn beyond_end(size: u64) -> Problem {
    let detail = format!("The range begins behind the end of the file, which has {size} bytes");
    let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", detail);
    match HeaderValue::try_from(format!("bytes */{size}")) {
        Ok(whole) => Problem { headers: Box::new([(header::CONTENT_RANGE, whole)]), ..problem },
        Err(error) => Problem::internal(error),
    }
}

/// The picture, a range of it, its headers, or a link to it, only while it is in the store. Otherwise revalidation
/// would keep a deleted picture alive in caches.
async fn serve(
    media: &dyn MediaStore,
    method: &Method,
    key: &MediaKey,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let tag = format!("\"{key}\"");
    let is_known = known_tags(headers).iter().any(|known| *known == tag || known == "*");
    let link = media.link(key, LINK_VALID).await.map_err(media_problem)?;
    if link.is_some() || is_known || method == Method::HEAD {
        let size = media.size(key).await.map_err(media_problem)?.ok_or_else(missing)?;
        if let Some(link) = link {
            let headers = [(header::LOCATION, link), (header::CACHE_CONTROL, LINK_CACHE.to_owned())];
            return Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response());
        }
        if is_known {
            return Ok(described(StatusCode::NOT_MODIFIED.into_response(), key, &tag));
        }
        // Without a range, which is for GET only (RFC 9110, section 14.2).
        let length = [(header::CONTENT_LENGTH, HeaderValue::from(size))];
        return Ok(described((length, Body::empty()).into_response(), key, &tag));
    }
    let part = requested_part(headers, &tag);
    let MediaObject { size, range, body } = match media.get(key, part).await {
        Err(MediaError::BeyondEnd(size)) => return Err(beyond_end(size)),
        found => found.map_err(media_problem)?.ok_or_else(missing)?,
    };
    let length = range.end() - range.start() + 1;
    let mut response = Body::from_stream(body).into_response();
    if part.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {}-{}/{size}", range.start(), range.end());
        response.headers_mut().insert(header::CONTENT_RANGE, range.try_into().map_err(Problem::internal)?);
    }
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    Ok(described(response, key, &tag))
}

/// Headers of all pictures. Pages of other origins may show them.
fn described(mut response: Response, key: &MediaKey, tag: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(key.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
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

/// The requested range, unless it is for another version: `If-Range` must be the tag, compared strongly. Dates never
/// match, since the server sends none.
fn requested_part(headers: &HeaderMap, tag: &str) -> Option<Part> {
    let of_this = headers.get(header::IF_RANGE).is_none_or(|version| version == tag);
    headers.get(header::RANGE).filter(|_| of_this).and_then(|range| part(range.to_str().ok()?))
}

/// A single byte range; several or invalid ranges get the whole picture (RFC 9110).
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
    use async_trait::async_trait;
    use bytes::Bytes;
    use http_body_util::BodyExt;
    use media::{FileMedia, Listing};
    use proptest::prelude::*;

    use super::*;

    /// A store in a folder that redirects to links, like a public S3.
    #[derive(Debug)]
    struct Linked(FileMedia);

    #[async_trait]
    impl MediaStore for Linked {
        async fn put(&self, key: &MediaKey, content: Bytes) -> Result<(), MediaError> {
            self.0.put(key, content).await
        }

        async fn get(&self, key: &MediaKey, part: Option<Part>) -> Result<Option<MediaObject>, MediaError> {
            self.0.get(key, part).await
        }

        async fn size(&self, key: &MediaKey) -> Result<Option<u64>, MediaError> {
            self.0.size(key).await
        }

        async fn delete(&self, key: &MediaKey) -> Result<(), MediaError> {
            self.0.delete(key).await
        }

        async fn delete_below(&self, folder: &MediaKey) -> Result<(), MediaError> {
            self.0.delete_below(folder).await
        }

        fn list(&self) -> Listing {
            self.0.list()
        }

        async fn link(&self, key: &MediaKey, _: Duration) -> Result<Option<String>, MediaError> {
            Ok(Some(format!("https://media.example/{key}?signature")))
        }

        async fn check(&self) -> Result<(), MediaError> {
            self.0.check().await
        }
    }

    /// Status, headers and body of a response about the picture.
    async fn ask(
        media: &dyn MediaStore,
        method: Method,
        headers: &[(HeaderName, &str)],
    ) -> (u16, HeaderMap, Bytes) {
        let key = MediaKey::parse("images/a/feed.jpg").unwrap();
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let answer = serve(media, &method, &key, &headers).await.into_response();
        let (parts, body) = answer.into_parts();
        (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn deleted_picture_is_404_for_every_request() {
        /// The store, the method, the headers, and the status while the picture exists.
        type Question<'a> = (&'a dyn MediaStore, Method, Vec<(HeaderName, &'a str)>, u16);
        let folder = tempfile::tempdir().unwrap();
        let (plain, linked) =
            (FileMedia::open(folder.path()).unwrap(), Linked(FileMedia::open(folder.path()).unwrap()));
        let key = MediaKey::parse("images/a/feed.jpg").unwrap();
        plain.put(&key, Bytes::from_static(b"picture")).await.unwrap();
        let (_, headers, _) = ask(&plain, Method::GET, &[]).await;
        let tag = headers[header::ETAG].to_str().unwrap();
        let questions: [Question<'_>; 6] = [
            (&plain, Method::GET, vec![], 200),
            (&plain, Method::HEAD, vec![], 200),
            (&plain, Method::GET, vec![(header::IF_NONE_MATCH, tag)], 304),
            (&plain, Method::GET, vec![(header::IF_NONE_MATCH, "*")], 304),
            (&linked, Method::GET, vec![], 307),
            (&linked, Method::GET, vec![(header::IF_NONE_MATCH, tag)], 307),
        ];
        for (store, method, headers, status) in &questions {
            assert_eq!(ask(*store, method.clone(), headers).await.0, *status, "{method} {headers:?}");
        }
        plain.delete(&key).await.unwrap();
        for (store, method, headers, _) in &questions {
            assert_eq!(ask(*store, method.clone(), headers).await.0, 404, "{method} {headers:?}");
        }
    }

    #[tokio::test]
    async fn head_ignores_a_range_and_returns_the_full_length() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileMedia::open(folder.path()).unwrap();
        let key = MediaKey::parse("images/a/feed.jpg").unwrap();
        store.put(&key, Bytes::from_static(b"picture")).await.unwrap();
        let range = [(header::RANGE, "bytes=0-2")];
        let (status, headers, body) = ask(&store, Method::GET, &range).await;
        assert_eq!(
            (status, headers[header::CONTENT_LENGTH].as_bytes(), &*body),
            (206, &b"3"[..], &b"pic"[..])
        );
        let (status, headers, body) = ask(&store, Method::HEAD, &range).await;
        assert_eq!((status, headers[header::CONTENT_LENGTH].as_bytes(), &*body), (200, &b"7"[..], &b""[..]));
        assert_eq!(headers.get(header::CONTENT_RANGE), None);
        assert_eq!(headers[header::CONTENT_TYPE], "image/jpeg");
    }

    #[test]
    fn ranges_are_parsed() {
        assert_eq!(part("bytes=0-9"), Some(Part::From(0, Some(9))));
        assert_eq!(part("bytes=5-"), Some(Part::From(5, None)));
        assert_eq!(part("bytes=-5"), Some(Part::Last(5)));
        for whole in ["", "bytes=", "bytes=-", "bytes=9-0", "bytes=a-b", "bytes=0-1,3-4", "lines=0-9"] {
            assert_eq!(part(whole), None, "{whole}");
        }
    }

    #[test]
    fn range_of_another_version_gets_the_whole_picture() {
        let tag = "\"images/a/feed.jpg\"";
        for (version, is_given) in [
            (None, true),
            (Some(tag), true),
            (Some("W/\"images/a/feed.jpg\""), false),
            (Some("\"images/b/feed.jpg\""), false),
            (Some("Sat, 29 Oct 1994 19:43:31 GMT"), false),
        ] {
            let mut headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=0-9"))]);
            headers.extend(version.map(|version| (header::IF_RANGE, HeaderValue::from_static(version))));
            let expected = is_given.then_some(Part::From(0, Some(9)));
            assert_eq!(requested_part(&headers, tag), expected, "{version:?}");
        }
    }

    proptest! {
        #[test]
        fn any_range_is_one_part_or_none(
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
