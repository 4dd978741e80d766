//! Compares the media store with the log: referenced files must exist, stored files must be referenced. It can run on
//! a live system: differences are checked again before they are reported.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventLog, Kind, MediaId, Position, Subject};
use futures::TryStreamExt;
use media::{ImageVariant, MediaError, MediaKey, MediaStore, Part};

use super::claims::{Claims, Tracked, of_log};
use super::{MediaFailed, Stored};

/// The result of an audit.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Pictures that the log claims.
    pub pictures: usize,
    /// Files in the store.
    pub files: usize,
    pub missing: Vec<Missing>,
    /// Names of unreferenced files.
    pub unreferenced: Vec<String>,
    /// Unreferenced files that may belong to uploads in progress.
    pub young: usize,
}

/// A referenced file that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    pub key: MediaKey,
    pub referenced_by: Subject,
}

impl Audit {
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unreferenced.is_empty()
    }
}

/// Audits the whole store against the whole log. `on_progress` receives the current position and the head.
///
/// # Errors
/// If the log or the media store is unavailable, or the log is corrupt.
pub async fn audit(
    log: &dyn EventLog,
    media: &dyn MediaStore,
    (now, grace): (DateTime<Utc>, TimeDelta),
    on_progress: &(dyn Fn(Position, Position) + Sync),
) -> Result<Audit, MediaFailed> {
    let mut stored: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
    let mut listed = media.list();
    while let Some(one) = listed.try_next().await? {
        stored.insert(one.name, one.modified);
    }
    let head = log.head().await?;
    let claims = of_log(log, head, Tracked::Everything, &|passed| on_progress(passed, head)).await?;
    let mut claims = claims.ok_or(MediaFailed::Closed)?;
    // The next collection deletes these.
    let over = claims.release_removed(now);
    let used: HashSet<MediaId> = claims.being_published(now).collect();
    let files = stored.len();
    let mut absent = Vec::new();
    for (key, referenced_by) in expected(&claims) {
        if stored.remove(key.as_str()).is_none() {
            absent.push(Missing { key, referenced_by });
        }
    }
    stored.retain(|name, _| {
        Stored::of(name).is_none_or(|file| !over.contains(&file.id()) && !used.contains(&file.id()))
    });
    let (young, old): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|(_, modified)| now - *modified < grace);
    let old: Vec<String> = old.into_iter().map(|(name, _)| name).collect();
    Ok(Audit {
        pictures: claims.pictures().count(),
        files,
        missing: still_missing(log, media, absent, now).await?,
        unreferenced: still_unreferenced(media, old).await?,
        young: young.len(),
    })
}

/// All referenced files.
fn expected(claims: &Claims) -> impl Iterator<Item = (MediaKey, Subject)> {
    let pictures = claims.pictures().flat_map(|(picture, subject)| {
        let keys = variants(subject).iter().filter_map(move |variant| variant.key(&picture.to_string()));
        keys.map(move |key| (key, subject))
    });
    pictures.chain(claims.audio().into_iter().filter_map(|(key, song)| Some((MediaKey::parse(key)?, song))))
}

/// The image variants of a subject's pictures.
fn variants(subject: Subject) -> &'static [ImageVariant] {
    match subject.kind() {
        Kind::Post => ImageVariant::OF_POST,
        Kind::Profile => ImageVariant::OF_PHOTO,
        Kind::Story => ImageVariant::OF_STORY,
        Kind::Artist | Kind::Album | Kind::Song | Kind::Playlist => ImageVariant::OF_COVER,
        Kind::Account
        | Kind::Username
        | Kind::Email
        | Kind::Session
        | Kind::Comment
        | Kind::Like
        | Kind::Follow
        | Kind::StoryView
        | Kind::Notifications
        | Kind::Save
        | Kind::Collection
        | Kind::Mail
        | Kind::Mailbox
        | Kind::Moderation
        | Kind::ArtistLink
        | Kind::SongLike
        | Kind::AlbumLike
        | Kind::ArtistFollow
        | Kind::Rating
        | Kind::Bookmark
        | Kind::Audio
        | Kind::PlaylistSnapshot
        | Kind::Listen
        | Kind::Listening
        | Kind::ChartDay
        | Kind::Queue
        | Kind::Operation => &[],
    }
}

/// Removes files from the list that were stored, or are no longer claimed, since the listing.
async fn still_missing(
    log: &dyn EventLog,
    media: &dyn MediaStore,
    absent: Vec<Missing>,
    now: DateTime<Utc>,
) -> Result<Vec<Missing>, MediaFailed> {
    let mut missing = Vec::new();
    for one in absent {
        if !is_there(media, &one.key).await? {
            missing.push(one);
        }
    }
    if missing.is_empty() {
        return Ok(missing);
    }
    let id = |one: &Missing| Stored::of(one.key.as_str()).map(Stored::id);
    let files: HashSet<MediaId> = missing.iter().filter_map(id).collect();
    let head = log.head().await?;
    let mut claims = of_log(log, head, Tracked::These(files), &|_| ()).await?.ok_or(MediaFailed::Closed)?;
    claims.release_removed(now);
    let pictures = claims.pictures().map(|(picture, _)| picture);
    let held: HashSet<MediaId> = pictures.chain(claims.audio_in_use(now)).collect();
    missing.retain(|one| id(one).is_none_or(|file| held.contains(&file)));
    missing.sort();
    Ok(missing)
}

/// Removes files from the list that were deleted since the listing.
async fn still_unreferenced(media: &dyn MediaStore, names: Vec<String>) -> Result<Vec<String>, MediaFailed> {
    let mut unreferenced = Vec::new();
    for name in names {
        let gone = match MediaKey::parse(&name) {
            Some(key) => !is_there(media, &key).await?,
            // Not a file of this system, so it is never deleted.
            None => false,
        };
        if !gone {
            unreferenced.push(name);
        }
    }
    Ok(unreferenced)
}

async fn is_there(media: &dyn MediaStore, key: &MediaKey) -> Result<bool, MediaFailed> {
    match media.get(key, Some(Part::From(0, Some(0)))).await {
        Ok(found) => Ok(found.is_some()),
        // An empty file exists too.
        Err(MediaError::BeyondEnd(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
