//! The media store: pictures and sound under keys that never change their content. Adapters: `file` for one machine,
//! `s3` for any S3. Both pass the contract in `tests/src/contracts/media.rs`.

mod copy;
mod file;
mod image;
#[cfg(feature = "s3")]
mod s3;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use thiserror::Error;

pub use copy::{MediaSize, copy_media, local_folder, measure, sync_file_system};
pub use file::FileMedia;
pub use image::{Fit, ImageVariant, PictureFormat, ratio, scaled};
#[cfg(feature = "s3")]
pub use s3::{S3Media, S3Settings};

/// The name of something in the store: segments of lower-case letters, digits, `-`, `_` and `.`, parted by slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaKey(String);

/// `Cache-Control` of everything in the store. What stands under a key never changes, but it may be withdrawn: caches ask
/// again after five minutes, and are answered 304 while it may still be shown.
pub const CACHE_CONTROL: &str = "public, max-age=300";
/// Longest key in bytes.
const KEY_LIMIT: usize = 256;

impl MediaKey {
    /// None for a text that is no key: nothing that could leave the store's own folder is one.
    pub fn parse(text: &str) -> Option<Self> {
        let segment_is_good = |segment: &str| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        };
        (text.len() <= KEY_LIMIT && text.split('/').all(segment_is_good)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What its ending says it is.
    pub fn content_type(&self) -> &'static str {
        match self.0.rsplit_once('.').map(|(_, ending)| ending) {
            Some("jpg" | "jpeg") => "image/jpeg",
            Some("png") => "image/png",
            Some("webp") => "image/webp",
            Some("gif") => "image/gif",
            Some("mp3") => "audio/mpeg",
            Some("m4a" | "mp4") => "audio/mp4",
            Some("ogg") => "audio/ogg",
            _ => "application/octet-stream",
        }
    }
}

impl fmt::Display for MediaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Error)]
pub enum MediaError {
    #[error("the media store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The part asked for lies beyond the end; the whole has this many bytes.
    #[error("the part asked for lies beyond the end at {0}")]
    BeyondEnd(u64),
}

impl MediaError {
    fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

/// A part of something: from a byte on, or the last bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the first to the second byte, both included; to the end if there is no second.
    From(u64, Option<u64>),
    Last(u64),
}

impl Part {
    /// The bytes of this part in something of so many bytes; none if it lies beyond the end.
    fn within(self, size: u64) -> Option<RangeInclusive<u64>> {
        let last = size.checked_sub(1)?;
        match self {
            Self::From(from, to) if from <= last => Some(from..=to.map_or(last, |to| to.min(last))),
            Self::Last(count) if count > 0 => Some(size.saturating_sub(count)..=last),
            Self::From(..) | Self::Last(_) => None,
        }
    }
}

/// Something out of the store.
pub struct MediaObject {
    /// Bytes of the whole.
    pub size: u64,
    /// The bytes that `body` gives.
    pub range: RangeInclusive<u64>,
    pub body: BoxStream<'static, std::io::Result<Bytes>>,
}

impl fmt::Debug for MediaObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaObject({:?} of {})", self.range, self.size)
    }
}

/// Something in the store, as a list tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key; no key at all where somebody else has put it there.
    pub name: String,
    pub modified: DateTime<Utc>,
}

/// What is in the store, page after page for as long as it is asked.
pub type Listing = BoxStream<'static, Result<Listed, MediaError>>;

#[async_trait]
pub trait MediaStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the whole of it before it answers. Storing again under the same key replaces it.
    async fn put(&self, key: &MediaKey, content: Bytes) -> Result<(), MediaError>;

    /// All of it or a part; `None` if there is nothing under the key.
    async fn get(&self, key: &MediaKey, part: Option<Part>) -> Result<Option<MediaObject>, MediaError>;

    /// Bytes of what is under the key, without reading it; `None` if there is nothing.
    async fn size(&self, key: &MediaKey) -> Result<Option<u64>, MediaError>;

    /// Deleting what is not there is no error.
    async fn delete(&self, key: &MediaKey) -> Result<(), MediaError>;

    /// Deletes everything below a key, with whatever a crash has left half-written there. Nothing there is no error.
    async fn delete_below(&self, folder: &MediaKey) -> Result<(), MediaError>;

    /// Everything in the store, each once, with what lies in one folder together. What is put or deleted meanwhile may
    /// be told or not.
    fn list(&self) -> Listing;

    /// An address at which the store itself gives it out for so long, if it can be reached by browsers.
    async fn link(&self, key: &MediaKey, valid: Duration) -> Result<Option<String>, MediaError>;

    /// Whether the store can be reached.
    async fn check(&self) -> Result<(), MediaError>;
}

/// Opens what a `CHORUS_MEDIA` setting names; its scheme picks the adapter.
///
/// # Errors
/// What is wrong with the setting.
pub async fn open(setting: &str) -> Result<Arc<dyn MediaStore>, String> {
    match setting.split_once(':') {
        Some(("file", folder)) if !folder.is_empty() => {
            let store = FileMedia::open(Path::new(folder)).map_err(|e| format!("{folder}: {e}"))?;
            Ok(Arc::new(store))
        }
        #[cfg(not(feature = "s3"))]
        Some(("s3", _)) => Err(
            "this program was built without S3: build it with the feature `distributed`, or use file:<folder>".to_owned(),
        ),
        #[cfg(feature = "s3")]
        Some(("s3", rest)) => Ok(Arc::new(S3Media::open(&S3Settings::parse(rest)?).await)),
        // The setting itself is not told: it may hold a secret.
        _ => Err("the setting names no media store: expected file:<folder> or s3://<bucket>".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::*;

    #[test]
    fn a_key_cannot_leave_the_store() {
        for good in ["a", "posts/0191/feed.jpg", "a-b_c.1/d"] {
            assert!(MediaKey::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".hidden",
            "a/.b",
            "A",
            "a b",
            "a\\b",
            "a\0",
            "ä",
            "a%2f",
            &"a".repeat(300),
        ] {
            assert!(MediaKey::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_part_lies_within_the_whole() {
        assert_eq!(Part::From(0, None).within(10), Some(0..=9));
        assert_eq!(Part::From(3, Some(5)).within(10), Some(3..=5));
        assert_eq!(Part::From(3, Some(500)).within(10), Some(3..=9));
        assert_eq!(Part::Last(4).within(10), Some(6..=9));
        assert_eq!(Part::Last(40).within(10), Some(0..=9));
        for beyond in [Part::From(10, None), Part::Last(0)] {
            assert_eq!(beyond.within(10), None);
        }
        assert_eq!(Part::From(0, None).within(0), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_below_the_stores_folder_or_refused(
            text in "[a-z0-9./_-]{1,40}|(\\.\\.?/|[a-z]{1,3}/|//|%2e|\\\\|\0|/){1,6}[a-z.]{0,9}|\\PC{0,40}",
        ) {
            let Some(key) = MediaKey::parse(&text) else { return Ok(()) };
            prop_assert_eq!(key.as_str(), &text);
            let path = Path::new(&text);
            prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{text}");
            // No two keys are one file.
            let plain: std::path::PathBuf = path.components().collect();
            prop_assert_eq!(plain.to_str(), Some(text.as_str()));
        }

        #[test]
        fn any_part_lies_within_the_whole(from in any::<u64>(), to in any::<Option<u64>>(), size in 0_u64..1000) {
            for part in [Part::From(from % 1100, to), Part::From(from, to), Part::Last(from), Part::Last(from % 1100)] {
                // As HTTP reads it: an end before the beginning is no part at all, and never gets here.
                if matches!(part, Part::From(from, Some(to)) if to < from) {
                    continue;
                }
                if let Some(range) = part.within(size) {
                    prop_assert!(range.start() <= range.end() && *range.end() < size, "{part:?} {range:?}");
                }
            }
        }
    }
}
