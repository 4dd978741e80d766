//! Files from the media store: whole, in ranges, or by a link to the store.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use media::{MediaError, MediaKey, MediaObject, MediaStore, Part};
use web::problem::Problem;

use crate::reading::answer::known_tags;

/// Lifetime of a link to the store, and how long browsers may cache it. Together with [`CACHE_CONTROL`](media::CACHE_CONTROL)
/// this bounds how long a picture stays visible after its owner's content is hidden.
const LINK_VALID: Duration = Duration::from_mins(10);
const LINK_CACHE: &str = "private, max-age=300";

/// 416 with the size of the file (RFC 9110, section 15.5.17).
fn beyond_end(size: u64) -> Problem {
    let detail = format!("The range begins behind the end of the file, which has {size} bytes");
    let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", detail);
    match HeaderValue::try_from(format!("bytes */{size}")) {
        Ok(whole) => Problem { headers: Box::new([(header::CONTENT_RANGE, whole)]), ..problem },
        Err(error) => Problem::internal(error),
    }
}

/// How a file is delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// The kind of file, as the client reads it.
    pub(crate) what: &'static str,
    pub(crate) cache_control: &'static str,
    /// Whether a store that browsers can reach delivers it: the answer is a redirect.
    pub(crate) by_link: bool,
    pub(crate) modified: Option<DateTime<Utc>>,
}

impl Delivery {
    pub(crate) fn missing(self) -> Problem {
        Problem::not_found(format!("There is no such {}", self.what))
    }

    /// The value of `Last-Modified` (RFC 9110, section 5.6.7).
    fn last_modified(self) -> Option<String> {
        self.modified.map(|time| time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
    }
}

/// The content of a key never changes.
fn entity_tag(key: &MediaKey) -> String {
    format!("\"{key}\"")
}

/// The file, a range of it, its headers, or a link to it, only while it is in the store. Otherwise revalidation would keep a
/// deleted file alive in caches.
pub(crate) async fn serve(
    media: &dyn MediaStore,
    method: &Method,
    key: &MediaKey,
    headers: &HeaderMap,
    delivery: Delivery,
) -> Result<Response, Problem> {
    let missing = || delivery.missing();
    let described = |response| described(response, key, delivery);
    let tag = entity_tag(key);
    let is_known = known_tags(headers).iter().any(|known| *known == tag || known == "*");
    let link = match delivery.by_link {
        true => media.link(key, LINK_VALID).await.map_err(media_problem)?,
        false => None,
    };
    if link.is_some() || is_known || method == Method::HEAD {
        let size = media.size(key).await.map_err(media_problem)?.ok_or_else(missing)?;
        if let Some(link) = link {
            let headers = [(header::LOCATION, link), (header::CACHE_CONTROL, LINK_CACHE.to_owned())];
            return Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response());
        }
        if is_known {
            return Ok(described(StatusCode::NOT_MODIFIED.into_response()));
        }
        // Without a range, which is for GET only (RFC 9110, section 14.2).
        let length = [(header::CONTENT_LENGTH, HeaderValue::from(size))];
        return Ok(described((length, Body::empty()).into_response()));
    }
    let part = requested_part(headers, &tag, delivery.last_modified().as_deref());
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
    Ok(described(response))
}

/// Headers of all files. Pages of other origins may use them.
fn described(mut response: Response, key: &MediaKey, delivery: Delivery) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(key.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(delivery.cache_control));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    if let Ok(tag) = HeaderValue::try_from(entity_tag(key)) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(modified) = delivery.last_modified().and_then(|time| HeaderValue::try_from(time).ok()) {
        headers.insert(header::LAST_MODIFIED, modified);
    }
    response
}

/// The requested range, unless it is for another version: `If-Range` must be the tag, compared strongly, or exactly the time
/// of the last change, which is never later than the file.
fn requested_part(headers: &HeaderMap, tag: &str, modified: Option<&str>) -> Option<Part> {
    let is_this = |version: &HeaderValue| version == tag || modified.is_some_and(|time| version == time);
    let of_this = headers.get(header::IF_RANGE).is_none_or(is_this);
    headers.get(header::RANGE).filter(|_| of_this).and_then(|range| part(range.to_str().ok()?))
}

/// A single byte range; several or invalid ranges get the whole file (RFC 9110).
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

    const PICTURE: Delivery =
        Delivery { what: "picture", cache_control: media::CACHE_CONTROL, by_link: true, modified: None };

    /// A store in a folder that redirects to links, like a public S3.
    #[derive(Debug)]
    struct Linked(FileMedia);

    #[async_trait]
    impl MediaStore for Linked {
        async fn put(&self, key: &MediaKey, content: Bytes) -> Result<(), MediaError> {
            self.0.put(key, content).await
        }

        async fn put_file(&self, key: &MediaKey, file: &std::path::Path) -> Result<(), MediaError> {
            self.0.put_file(key, file).await
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
        let answer = serve(media, &method, &key, &headers, PICTURE).await.into_response();
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
            assert_eq!(requested_part(&headers, tag, None), expected, "{version:?}");
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
