//! The media store: pictures and sound under keys with immutable content. Adapters: `file` for one machine, `s3` for
//! any S3. Both pass the contract in `tests/src/contracts/media.rs`.

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

/// The key of a stored file: segments of lower-case letters, digits, `-`, `_` and `.`, separated by slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaKey(String);

/// Bytes that are read from a file or the network and handed on at once: with smaller pieces the calls cost more than the
/// copying.
const BUFFER: usize = 128 * 1024;
/// `Cache-Control` of all files. The content of a key never changes, but it may be withdrawn: caches revalidate after
/// five minutes, and get 304 while it is still visible.
pub const CACHE_CONTROL: &str = "public, max-age=300";
/// Maximum length of a key in bytes.
const KEY_LIMIT: usize = 256;

impl MediaKey {
    /// None if the text is not a key: keys cannot leave the store's folder.
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

    /// The media type of its extension.
    pub fn content_type(&self) -> &'static str {
        match self.0.rsplit_once('.').map(|(_, ending)| ending) {
            Some("jpg" | "jpeg") => "image/jpeg",
            Some("png") => "image/png",
            Some("webp") => "image/webp",
            Some("gif") => "image/gif",
            Some("mp3") => "audio/mpeg",
            Some("m4a" | "mp4") => "audio/mp4",
            Some("aac") => "audio/aac",
            Some("flac") => "audio/flac",
            Some("ogg" | "oga" | "opus") => "audio/ogg",
            Some("wav") => "audio/wav",
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
    /// The requested range is beyond the end; the file has this many bytes.
    #[error("the requested part is beyond the end at {0}")]
    BeyondEnd(u64),
}

impl MediaError {
    fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

/// A range of bytes: from an offset on, or the last bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From the first to the second byte, inclusive; to the end if there is no second.
    From(u64, Option<u64>),
    Last(u64),
}

impl Part {
    /// The range within a file of this size; none if it is beyond the end.
    fn within(self, size: u64) -> Option<RangeInclusive<u64>> {
        let last = size.checked_sub(1)?;
        match self {
            Self::From(from, to) if from <= last => Some(from..=to.map_or(last, |to| to.min(last))),
            Self::Last(count) if count > 0 => Some(size.saturating_sub(count)..=last),
            Self::From(..) | Self::Last(_) => None,
        }
    }
}

/// A file from the store.
pub struct MediaObject {
    /// Size of the whole file.
    pub size: u64,
    /// The range that `body` returns.
    pub range: RangeInclusive<u64>,
    pub body: BoxStream<'static, std::io::Result<Bytes>>,
}

impl fmt::Debug for MediaObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaObject({:?} of {})", self.range, self.size)
    }
}

/// A file in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name; not a valid key if another program created it.
    pub name: String,
    pub modified: DateTime<Utc>,
}

/// A listing of the store, read page by page on demand.
pub type Listing = BoxStream<'static, Result<Listed, MediaError>>;

#[async_trait]
pub trait MediaStore: fmt::Debug + Send + Sync + 'static {
    /// Stores the whole file before it returns. An existing key is overwritten.
    async fn put(&self, key: &MediaKey, content: Bytes) -> Result<(), MediaError>;

    /// Stores a file of this machine, of any size, with flat memory. The file stays where it is, and may share its blocks with
    /// the stored one: it must not be written to afterwards. An existing key is overwritten.
    async fn put_file(&self, key: &MediaKey, file: &Path) -> Result<(), MediaError>;

    /// The file or a range of it; `None` if the key does not exist.
    async fn get(&self, key: &MediaKey, part: Option<Part>) -> Result<Option<MediaObject>, MediaError>;

    /// The size of a file, without reading it; `None` if the key does not exist.
    async fn size(&self, key: &MediaKey) -> Result<Option<u64>, MediaError>;

    /// Deleting a missing key is not an error.
    async fn delete(&self, key: &MediaKey) -> Result<(), MediaError>;

    /// Deletes everything below a key, including incomplete files of a crash. Nothing there is not an error.
    async fn delete_below(&self, folder: &MediaKey) -> Result<(), MediaError>;

    /// All files, each once, with the files of a folder together. Files that are stored or deleted meanwhile may be
    /// missing or listed.
    fn list(&self) -> Listing;

    /// A temporary URL of the file in the store itself, if browsers can reach it.
    async fn link(&self, key: &MediaKey, valid: Duration) -> Result<Option<String>, MediaError>;

    /// Checks whether the store is reachable.
    async fn check(&self) -> Result<(), MediaError>;
}

/// Opens the store of a `CHORUS_MEDIA` setting to look at it: creates no folder.
///
/// # Errors
/// What is wrong with the setting, or that the folder is missing.
pub async fn open_existing(setting: &str) -> Result<Arc<dyn MediaStore>, String> {
    if let Some(folder) = setting.strip_prefix("file:")
        && !Path::new(folder).is_dir()
    {
        return Err(format!("{folder}: there is no such folder"));
    }
    open(setting).await
}

/// Opens the store of a `CHORUS_MEDIA` setting, whose scheme selects the adapter.
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
        // The error does not quote the setting: it may contain a secret.
        _ => Err("the setting names no media store: expected file:<folder> or s3://<bucket>".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::*;

    #[test]
    fn key_cannot_leave_the_store() {
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
    fn range_is_within_the_file() {
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
        fn any_text_is_a_key_inside_the_store_or_rejected(
            text in "[a-z0-9./_-]{1,40}|(\\.\\.?/|[a-z]{1,3}/|//|%2e|\\\\|\0|/){1,6}[a-z.]{0,9}|\\PC{0,40}",
        ) {
            let Some(key) = MediaKey::parse(&text) else { return Ok(()) };
            prop_assert_eq!(key.as_str(), &text);
            let path = Path::new(&text);
            prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{text}");
            // Different keys are different files.
            let plain: std::path::PathBuf = path.components().collect();
            prop_assert_eq!(plain.to_str(), Some(text.as_str()));
        }

        #[test]
        fn any_range_is_within_the_file(from in any::<u64>(), to in any::<Option<u64>>(), size in 0_u64..1000) {
            for part in [Part::From(from % 1100, to), Part::From(from, to), Part::Last(from), Part::Last(from % 1100)] {
                // HTTP rules out an end before the start.
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
