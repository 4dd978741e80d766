//! The folder of uploads in progress. An upload is a file with its bytes, whose length is the offset, and a file with its
//! state, so that it goes on after a restart. Of a refused upload only the state is left, which has the reason.
//! `stored.<user>` counts the bytes of the songs that an account has published from here and not removed.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audio::{ProbeError, Probed, Prober, Refusal};
use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use events::{SongId, UploadId, UserId};
use futures::StreamExt;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use service::clock::Clock;
use service::telemetry::with_causes;
use sha2::{Digest, Sha256};
use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{MutexGuard, OwnedMutexGuard};
use tokio::time::timeout;
use web::http::UPLOAD_OFFSET;
use web::problem::{FieldCode, FieldProblem, Problem};

/// Largest upload in bytes: a long symphony without loss.
pub(crate) const UPLOAD_LIMIT: u64 = 500 * 1024 * 1024;
/// Uploads of an account that are in progress.
const OPEN_LIMIT: usize = 20;
/// An upload without new bytes ends after this time.
const LIFETIME: TimeDelta = TimeDelta::days(1);
/// How long `finish` waits for the check of a file, which goes on afterwards: less than the time limit of a request.
const CHECK_WAIT: Duration = Duration::from_secs(20);
/// Between two searches for abandoned uploads.
const COLLECTION: Duration = Duration::from_hours(1);
const READ_BUFFER: usize = 128 * 1024;
/// Ending of the names of files that are being written.
const PART: &str = ".part";
/// Beginning of the names of ledgers, before the id of the account.
const LEDGER: &str = "stored.";

/// Why an upload is refused.
#[derive(Debug)]
pub(crate) enum UploadRejected {
    NotFound,
    /// The client's offset is not the present one.
    WrongOffset(u64),
    /// Another request appends to it, or it is being checked.
    Busy,
    /// More bytes than announced.
    TooLarge,
    Incomplete(u64),
    WrongChecksum,
    Refused(Refusal),
    Quota(u64),
    TooMany,
    /// It was not finished before it was published.
    NotFinished,
    /// It is finished, and takes no more bytes.
    Finished,
    Failed(std::io::Error),
}

impl From<std::io::Error> for UploadRejected {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<UploadRejected> for Problem {
    fn from(rejected: UploadRejected) -> Self {
        let at = |offset: u64, problem: Self| Self {
            headers: Box::new([(UPLOAD_OFFSET, HeaderValue::from(offset))]),
            ..problem
        };
        match rejected {
            UploadRejected::NotFound => Self::not_found(
                "There is no such upload; uploads end after a day, and when their file is refused",
            ),
            UploadRejected::WrongOffset(offset) => {
                let detail = format!("The upload has {offset} bytes: continue there");
                at(offset, Self::conflict("wrong-offset", detail))
            }
            UploadRejected::Busy => Self::conflict("upload-busy", "Another request works on this upload"),
            UploadRejected::TooLarge => {
                web::extract::too_large("body", "The upload is larger than announced")
            }
            UploadRejected::Incomplete(offset) => at(
                offset,
                Self::conflict("upload-incomplete", format!("The upload has only {offset} bytes so far")),
            ),
            UploadRejected::WrongChecksum => Self::invalid(vec![FieldProblem::new(
                "sha256",
                FieldCode::Incorrect,
                "is not the checksum of what arrived: send the right one, or delete the upload",
            )]),
            UploadRejected::Refused(refusal) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "audio-refused", refusal.to_string())
            }
            UploadRejected::Quota(quota) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "quota-exceeded",
                format!("The account may store {quota} bytes, and this would be more"),
            ),
            UploadRejected::TooMany => Self::conflict(
                "too-many-uploads",
                format!(
                    "An account has at most {OPEN_LIMIT} uploads in progress, which GET /v1/uploads lists: \
                     publish or delete one first"
                ),
            ),
            UploadRejected::NotFinished => Self::conflict("upload-not-finished", "Finish the upload first"),
            UploadRejected::Finished => Self::conflict("upload-finished", "The upload is finished"),
            UploadRejected::Failed(error)
                if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                let detail = "The server has no space left for uploads: try again later";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", detail).because(error)
            }
            UploadRejected::Failed(error) => Self::unavailable("The folder for uploads", error),
        }
    }
}

/// An upload, as in its state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    pub(crate) user: UserId,
    pub(crate) size: u64,
    /// The checksum that the client has announced, in lower-case hexadecimal digits.
    pub(crate) sha256: Option<String>,
    /// The checksum of the bytes, once all have arrived and `finish` has read them.
    pub(crate) actual_sha256: Option<String>,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) checked: Option<Checked>,
    /// Its bytes were moved to the media store.
    pub(crate) published: bool,
}

impl Upload {
    /// Whether a song can be published from it, or was.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.checked, Some(Checked::Accepted(_)))
    }

    fn is_refused(&self) -> bool {
        matches!(self.checked, Some(Checked::Refused(_)))
    }

    /// Whether its bytes are still here.
    fn is_in_progress(&self) -> bool {
        !self.published && !self.is_refused()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Checked {
    Accepted(Box<Probed>),
    /// Only in files of earlier versions, which did not let the client correct a checksum. Read as not checked.
    WrongChecksum,
    Refused(Refusal),
}

/// The songs that an account has published from uploads, as in its ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ledger {
    /// Bytes of songs that earlier versions have counted without their ids. They stay.
    earlier: u64,
    songs: BTreeMap<SongId, CountedSong>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct CountedSong {
    bytes: u64,
    removed: bool,
}

/// A ledger, or the only number of an earlier version.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum LedgerFile {
    Earlier(u64),
    Ledger(Ledger),
}

impl Ledger {
    fn bytes(&self) -> u64 {
        let stored = self.songs.values().filter(|song| !song.removed).map(|song| song.bytes);
        self.earlier + stored.sum::<u64>()
    }
}

#[derive(Debug)]
pub(crate) struct Spool(Arc<Inner>);

/// No other request of this process counts songs or uploads meanwhile.
pub(crate) struct Counting<'a> {
    inner: &'a Inner,
    _guard: MutexGuard<'a, ()>,
}

impl Counting<'_> {
    /// # Errors
    /// If a removed song does not fit into the quota any more. Songs that were not published from an upload are not counted.
    pub(crate) async fn check_restored(
        &self,
        user: UserId,
        song: SongId,
        now: DateTime<Utc>,
    ) -> Result<(), UploadRejected> {
        let ledger = self.inner.ledger(user).await?;
        match ledger.songs.get(&song) {
            Some(CountedSong { bytes, removed: true }) => self.inner.check_quota(user, *bytes, now).await,
            Some(CountedSong { removed: false, .. }) | None => Ok(()),
        }
    }

    /// Counts a song that was published from an upload, or stops to do so.
    pub(crate) async fn set_removed(
        &self,
        user: UserId,
        song: SongId,
        removed: bool,
    ) -> Result<(), UploadRejected> {
        let mut ledger = self.inner.ledger(user).await?;
        if let Some(counted) = ledger.songs.get_mut(&song).filter(|counted| counted.removed != removed) {
            counted.removed = removed;
            self.inner.write_ledger(user, &ledger).await?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    quota: u64,
    prober: Prober,
    /// Uploads that a request works on.
    locks: Mutex<HashMap<UploadId, Arc<tokio::sync::Mutex<()>>>>,
    /// Held while an upload is created, or a song is counted or restored, so that two of an account cannot both take the last
    /// bytes.
    accounts: tokio::sync::Mutex<()>,
}

impl Spool {
    pub(crate) fn open(folder: PathBuf, quota: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let (prober, locks) = (Prober::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { folder, quota, prober, locks, accounts: tokio::sync::Mutex::default() })))
    }

    /// Deletes abandoned uploads, at once and then every hour.
    pub(crate) async fn collect_regularly(&self, clock: &dyn Clock) {
        let mut hours = tokio::time::interval(COLLECTION);
        loop {
            hours.tick().await;
            if let Err(error) = self.0.collect(clock.now()).await {
                tracing::error!(error = with_causes(&error), "abandoned uploads cannot be deleted");
            }
        }
    }

    /// Creates an upload, or finds the one that an earlier copy of the request created; if that one was refused, it begins
    /// anew. Abandoned ones are deleted first.
    pub(crate) async fn create(
        &self,
        id: UploadId,
        user: UserId,
        size: u64,
        sha256: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<(Upload, u64), UploadRejected> {
        let inner = &self.0;
        let _counting = inner.accounts.lock().await;
        if inner.read(id).await?.is_some_and(|known| !known.is_refused()) {
            return self.find(id, user).await;
        }
        if inner.open_uploads(user, now).await?.len() >= OPEN_LIMIT {
            return Err(UploadRejected::TooMany);
        }
        inner.check_quota(user, size, now).await?;
        let expires_at = now + LIFETIME;
        let (actual_sha256, checked) = (None, None);
        let upload = Upload { id, user, size, sha256, actual_sha256, expires_at, checked, published: false };
        fs::write(inner.data(id), b"").await?;
        inner.write(&upload).await?;
        Ok((upload, 0))
    }

    /// The uploads of this user that are in progress, with their offsets: at most [`OPEN_LIMIT`].
    pub(crate) async fn list(
        &self,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<Vec<(Upload, u64)>, UploadRejected> {
        let mut listed = Vec::new();
        for upload in self.0.open_uploads(user, now).await? {
            match self.0.offset(upload.id).await {
                Ok(offset) => listed.push((upload, offset)),
                // It has ended meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        listed.sort_unstable_by_key(|(upload, _)| upload.id);
        Ok(listed)
    }

    /// The upload of this user, and its offset. A refused one is not found.
    pub(crate) async fn find(&self, id: UploadId, user: UserId) -> Result<(Upload, u64), UploadRejected> {
        let upload = self.0.read_own(id, user).await?;
        if upload.is_refused() {
            return Err(UploadRejected::NotFound);
        }
        let offset = if upload.published { upload.size } else { self.0.offset(id).await? };
        Ok((upload, offset))
    }

    /// Appends a body at its offset. What arrives before a body breaks off stays.
    pub(crate) async fn append(
        &self,
        id: UploadId,
        user: UserId,
        offset: u64,
        body: Body,
        now: DateTime<Utc>,
    ) -> Result<(Upload, u64), UploadRejected> {
        let _writing = self.0.lock(id).try_lock_owned().map_err(|_| UploadRejected::Busy)?;
        let (mut upload, mut present) = self.find(id, user).await?;
        if upload.checked.is_some() {
            return Err(UploadRejected::Finished);
        }
        if offset != present {
            return Err(UploadRejected::WrongOffset(present));
        }
        let mut file = OpenOptions::new().append(true).open(self.0.data(id)).await?;
        let mut body = body.into_data_stream();
        let mut outcome = Ok(());
        while let Some(chunk) = body.next().await {
            // The client or the network gave up; the client asks for the offset and continues.
            let Ok(chunk) = chunk else { break };
            if present + chunk.len() as u64 > upload.size {
                outcome = Err(UploadRejected::TooLarge);
                break;
            }
            if let Err(error) = file.write_all(&chunk).await {
                outcome = Err(error.into());
                break;
            }
            present += chunk.len() as u64;
        }
        file.flush().await?;
        file.sync_data().await?;
        outcome?;
        upload.expires_at = now + LIFETIME;
        self.0.write(&upload).await?;
        Ok((upload, present))
    }

    /// Checks a complete upload. An outcome other than a wrong checksum is final: repetitions get it again. A check that
    /// takes long goes on after this returns [`UploadRejected::Busy`].
    pub(crate) async fn finish(
        &self,
        id: UploadId,
        user: UserId,
        sha256: String,
    ) -> Result<Probed, UploadRejected> {
        let upload = self.0.read_own(id, user).await?;
        if upload.checked.is_none() {
            let offset = self.0.offset(id).await?;
            if offset < upload.size {
                return Err(UploadRejected::Incomplete(offset));
            }
        }
        let guard =
            timeout(CHECK_WAIT, self.0.lock(id).lock_owned()).await.map_err(|_| UploadRejected::Busy)?;
        // An earlier request may have checked it meanwhile.
        let mut upload = self.0.read_own(id, user).await?;
        if let Some(checked) = upload.checked.take() {
            return accepted(checked);
        }
        let inner = Arc::clone(&self.0);
        #[expect(
            clippy::disallowed_methods,
            reason = "its outcome is awaited here; a check that a shutdown interrupts is repeated by the client"
        )]
        let check = tokio::spawn(async move { inner.check(upload, sha256, guard).await });
        match timeout(CHECK_WAIT, check).await {
            Ok(done) => done.map_err(std::io::Error::other)?,
            Err(_elapsed) => Err(UploadRejected::Busy),
        }
    }

    /// A finished upload and the path of its bytes, which no other request touches while the guard is held.
    pub(crate) async fn finished(
        &self,
        id: UploadId,
        user: UserId,
    ) -> Result<(Probed, PathBuf, OwnedMutexGuard<()>), UploadRejected> {
        let guard =
            timeout(CHECK_WAIT, self.0.lock(id).lock_owned()).await.map_err(|_| UploadRejected::Busy)?;
        let upload = self.0.read_own(id, user).await?;
        let probed = accepted(upload.checked.ok_or(UploadRejected::NotFinished)?)?;
        Ok((probed, self.0.data(id), guard))
    }

    /// Deletes the bytes of a published upload, and counts its song unless the catalogue had it already. The state stays until it
    /// expires, for requests that are repeated.
    pub(crate) async fn published(
        &self,
        id: UploadId,
        user: UserId,
        new: Option<SongId>,
    ) -> Result<(), UploadRejected> {
        let (upload, _) = self.find(id, user).await?;
        if upload.published {
            return Ok(());
        }
        let _counting = self.counting().await;
        if let Some(song) = new {
            let mut ledger = self.0.ledger(user).await?;
            ledger.songs.entry(song).or_insert(CountedSong { bytes: upload.size, removed: false });
            self.0.write_ledger(user, &ledger).await?;
        }
        self.0.write(&Upload { published: true, ..upload }).await?;
        remove(&self.0.data(id)).await?;
        Ok(())
    }

    pub(crate) async fn counting(&self) -> Counting<'_> {
        Counting { inner: &self.0, _guard: self.0.accounts.lock().await }
    }

    /// Deletes an upload of this user.
    pub(crate) async fn delete(&self, id: UploadId, user: UserId) -> Result<(), UploadRejected> {
        let _writing = self.0.lock(id).try_lock_owned().map_err(|_| UploadRejected::Busy)?;
        self.find(id, user).await?;
        self.0.remove(id).await.map_err(Into::into)
    }
}

fn accepted(checked: Checked) -> Result<Probed, UploadRejected> {
    match checked {
        Checked::Accepted(probed) => Ok(*probed),
        Checked::WrongChecksum => Err(UploadRejected::WrongChecksum),
        Checked::Refused(refusal) => Err(UploadRejected::Refused(refusal)),
    }
}

impl Inner {
    fn data(&self, id: UploadId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn state(&self, id: UploadId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn ledger_path(&self, user: UserId) -> PathBuf {
        self.folder.join(format!("{LEDGER}{user}"))
    }

    fn lock(&self, id: UploadId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Locks that nobody holds any more.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(id).or_default())
    }

    async fn read(&self, id: UploadId) -> std::io::Result<Option<Upload>> {
        let text = match fs::read(self.state(id)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let upload: Upload = serde_json::from_slice(&text)?;
        let checked = upload.checked.filter(|checked| *checked != Checked::WrongChecksum);
        Ok(Some(Upload { checked, ..upload }))
    }

    /// The upload of this user, which may have been refused.
    async fn read_own(&self, id: UploadId, user: UserId) -> Result<Upload, UploadRejected> {
        let upload = self.read(id).await?.filter(|upload| upload.user == user);
        upload.ok_or(UploadRejected::NotFound)
    }

    async fn write(&self, upload: &Upload) -> std::io::Result<()> {
        self.replace(&self.state(upload.id), &serde_json::to_vec(upload)?).await
    }

    /// Replaces a file as a whole: after a power cut it has its old content or the new one.
    async fn replace(&self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(PART);
        let mut file = fs::File::create(&aside).await?;
        file.write_all(content).await?;
        file.sync_all().await?;
        fs::rename(aside, path).await?;
        fs::File::open(&self.folder).await?.sync_all().await
    }

    async fn offset(&self, id: UploadId) -> std::io::Result<u64> {
        Ok(fs::metadata(self.data(id)).await?.len())
    }

    async fn ledger(&self, user: UserId) -> std::io::Result<Ledger> {
        match fs::read(self.ledger_path(user)).await {
            Ok(text) => Ok(match serde_json::from_slice(&text)? {
                LedgerFile::Earlier(earlier) => Ledger { earlier, ..Ledger::default() },
                LedgerFile::Ledger(ledger) => ledger,
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Ledger::default()),
            Err(error) => Err(error),
        }
    }

    async fn write_ledger(&self, user: UserId, ledger: &Ledger) -> std::io::Result<()> {
        self.replace(&self.ledger_path(user), &serde_json::to_vec(ledger)?).await
    }

    /// The uploads of an account that are in progress. Abandoned ones are deleted first.
    async fn open_uploads(&self, user: UserId, now: DateTime<Utc>) -> std::io::Result<Vec<Upload>> {
        let mut open = self.collect(now).await?;
        open.retain(|upload| upload.user == user && upload.is_in_progress());
        Ok(open)
    }

    /// Refuses more bytes than the account may still store.
    async fn check_quota(&self, user: UserId, more: u64, now: DateTime<Utc>) -> Result<(), UploadRejected> {
        let open: u64 = self.open_uploads(user, now).await?.iter().map(|upload| upload.size).sum();
        let used = self.ledger(user).await?.bytes() + open;
        if used.saturating_add(more) > self.quota { Err(UploadRejected::Quota(self.quota)) } else { Ok(()) }
    }

    /// Compares the checksum, then reads the file.
    async fn check(
        &self,
        mut upload: Upload,
        sha256: String,
        _guard: OwnedMutexGuard<()>,
    ) -> Result<Probed, UploadRejected> {
        let data = self.data(upload.id);
        let actual = match upload.actual_sha256.take() {
            Some(actual) => actual,
            None => checksum(&data).await?,
        };
        let is_right =
            actual == sha256 && upload.sha256.as_ref().is_none_or(|announced| *announced == actual);
        if !is_right {
            // The client may send the right one: then a large file is not read again.
            self.write(&Upload { actual_sha256: Some(actual), ..upload }).await?;
            return Err(UploadRejected::WrongChecksum);
        }
        match self.prober.probe(&data).await {
            Ok(probed) => {
                let checked = Some(Checked::Accepted(Box::new(probed.clone())));
                self.write(&Upload { checked, ..upload }).await?;
                Ok(probed)
            }
            Err(ProbeError::Refused(refusal)) => {
                self.refuse(upload, refusal).await?;
                Err(UploadRejected::Refused(refusal))
            }
            Err(ProbeError::Failed(error)) => Err(error.into()),
        }
    }

    /// Deletes the bytes of an upload. The reason stays until the upload expires, for requests that are repeated.
    async fn refuse(&self, upload: Upload, refusal: Refusal) -> std::io::Result<()> {
        let data = self.data(upload.id);
        self.write(&Upload { checked: Some(Checked::Refused(refusal)), ..upload }).await?;
        remove(&data).await
    }

    /// Deletes expired uploads; returns the others.
    async fn collect(&self, now: DateTime<Utc>) -> std::io::Result<Vec<Upload>> {
        let mut open = Vec::new();
        let mut entries = fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let Some(id) = name.strip_suffix(".json").and_then(|id| id.parse::<UploadId>().ok()) else {
                self.remove_remnant(&entry.path(), name, now).await?;
                continue;
            };
            match self.read(id).await {
                Ok(Some(upload)) if upload.expires_at > now => open.push(upload),
                Ok(Some(_)) => {
                    if let Ok(_unused) = self.lock(id).try_lock_owned() {
                        self.remove(id).await?;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%id, error = with_causes(&error), "the state of an upload is unreadable");
                }
            }
        }
        Ok(open)
    }

    /// Deletes what a crash has left: bytes of an upload without its state, and files that were being written.
    async fn remove_remnant(&self, path: &Path, name: &str, now: DateTime<Utc>) -> std::io::Result<()> {
        let has_no_state = match name.parse::<UploadId>() {
            Ok(id) => !fs::try_exists(self.state(id)).await?,
            Err(_) => name.ends_with(PART),
        };
        if !has_no_state {
            return Ok(());
        }
        match fs::metadata(path).await.and_then(|info| info.modified()) {
            Ok(modified) if DateTime::<Utc>::from(modified) + LIFETIME <= now => remove(path).await,
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn remove(&self, id: UploadId) -> std::io::Result<()> {
        remove(&self.data(id)).await?;
        remove(&self.state(id)).await
    }
}

async fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies the ledgers of all accounts into a folder, which is created, for a backup or from one; returns their number.
/// Uploads in progress are not copied. Blocks.
pub fn copy_ledgers(from: &Path, to: &Path) -> std::io::Result<u64> {
    std::fs::create_dir_all(to)?;
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut copied = 0;
    for entry in entries {
        let name = entry?.file_name();
        if is_ledger(&name) {
            // Ledgers are replaced as a whole, so that a copy is the old one or the new one.
            std::fs::copy(from.join(&name), to.join(&name))?;
            copied += 1;
        }
    }
    Ok(copied)
}

fn is_ledger(name: &OsStr) -> bool {
    let user = name.to_str().and_then(|name| name.strip_prefix(LEDGER));
    user.is_some_and(|user| user.parse::<UserId>().is_ok())
}

async fn checksum(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path).await?;
    file.set_max_buf_size(READ_BUFFER);
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; READ_BUFFER]);
    loop {
        let length = file.read(&mut buffer).await?;
        if length == 0 {
            return Ok(events::AudioHash::new(hash.finalize().into()).to_string());
        }
        hash.update(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use bytes::Bytes;
    use service::clock::StoppedClock;
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;
    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));

    fn id(n: u128) -> UploadId {
        UploadId::new(Uuid::from_u128(n))
    }

    async fn append(spool: &Spool, offset: u64, bytes: &'static [u8]) -> Result<u64, UploadRejected> {
        let appended = spool.append(id(1), ANN, offset, Body::from(Bytes::from_static(bytes)), NOW).await;
        appended.map(|(_, offset)| offset)
    }

    #[tokio::test]
    async fn upload_goes_on_at_its_offset_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        spool.create(id(1), ANN, 5, None, NOW).await.unwrap();
        assert_eq!(append(&spool, 0, b"abc").await.unwrap(), 3);
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        assert_eq!(spool.find(id(1), ANN).await.unwrap().1, 3);
        assert!(matches!(append(&spool, 0, b"abc").await, Err(UploadRejected::WrongOffset(3))));
        assert!(matches!(append(&spool, 3, b"def").await, Err(UploadRejected::TooLarge)));
        assert!(matches!(spool.finish(id(1), ANN, String::new()).await, Err(UploadRejected::Incomplete(3))));
        assert_eq!(append(&spool, 3, b"de").await.unwrap(), 5);
        assert!(matches!(spool.find(id(1), BOB).await, Err(UploadRejected::NotFound)));
    }

    #[tokio::test]
    async fn wrong_checksum_does_not_end_the_upload() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        spool.create(id(1), ANN, 5, None, NOW).await.unwrap();
        append(&spool, 0, b"abcde").await.unwrap();
        for _ in 0..2 {
            let finished = spool.finish(id(1), ANN, "0".into()).await;
            assert!(matches!(finished, Err(UploadRejected::WrongChecksum)), "{finished:?}");
        }
        let (upload, offset) = spool.find(id(1), ANN).await.unwrap();
        assert_eq!((upload.checked, offset), (None, 5));
        // It is computed once.
        let actual = checksum(&spool.0.data(id(1))).await.unwrap();
        assert_eq!(upload.actual_sha256, Some(actual));
        assert!(matches!(append(&spool, 5, b"f").await, Err(UploadRejected::TooLarge)));
        // As an earlier version has ended it.
        let old = serde_json::json!({
            "id": id(1), "user": ANN, "size": 5, "sha256": null, "expires_at": NOW + LIFETIME,
            "checked": "wrong_checksum", "published": false,
        });
        std::fs::write(spool.0.state(id(1)), old.to_string()).unwrap();
        let (upload, _) = spool.find(id(1), ANN).await.unwrap();
        assert_eq!((upload.checked, upload.actual_sha256), (None, None));
    }

    #[tokio::test]
    async fn refused_upload_leaves_its_reason_and_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        for n in (1..).take(OPEN_LIMIT) {
            spool.create(id(n), ANN, 5, None, NOW).await.unwrap();
        }
        let next = id(100);
        assert!(matches!(spool.create(next, ANN, 5, None, NOW).await, Err(UploadRejected::TooMany)));
        append(&spool, 0, b"abcde").await.unwrap();
        let (upload, _) = spool.find(id(1), ANN).await.unwrap();
        spool.0.refuse(upload, Refusal::NoAudio).await.unwrap();
        assert_eq!(files(), 2 * OPEN_LIMIT - 1, "its bytes are deleted");

        let spool = Spool::open(folder.path().into(), 100).unwrap();
        assert!(matches!(spool.find(id(1), ANN).await, Err(UploadRejected::NotFound)));
        assert!(matches!(append(&spool, 0, b"abcde").await, Err(UploadRejected::NotFound)));
        assert!(matches!(spool.delete(id(1), ANN).await, Err(UploadRejected::NotFound)));
        // A client that has lost the answer, and one that publishes all the same.
        let repeated = spool.finish(id(1), ANN, String::new()).await;
        assert!(matches!(repeated, Err(UploadRejected::Refused(Refusal::NoAudio))), "{repeated:?}");
        let published = spool.finished(id(1), ANN).await;
        assert!(matches!(published, Err(UploadRejected::Refused(Refusal::NoAudio))), "{published:?}");
        // Neither its place nor its bytes are counted any more.
        spool.create(next, ANN, 5, None, NOW).await.unwrap();
        spool.delete(next, ANN).await.unwrap();
        let (upload, offset) = spool.create(id(1), ANN, 5, None, NOW).await.unwrap();
        assert_eq!((&upload.checked, offset), (&None, 0), "a repeated request begins anew");
        spool.0.refuse(upload, Refusal::NoAudio).await.unwrap();
        spool.0.collect(NOW + LIFETIME).await.unwrap();
        assert_eq!(files(), 0, "the reason expires");
    }

    #[tokio::test]
    async fn list_has_own_uploads_in_progress_only() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        for (n, user) in [(1, ANN), (2, ANN), (3, ANN), (4, ANN), (5, BOB)] {
            spool.create(id(n), user, 5, None, NOW).await.unwrap();
        }
        append(&spool, 0, b"abc").await.unwrap();
        spool.published(id(2), ANN, Some(SONG)).await.unwrap();
        let (upload, _) = spool.find(id(3), ANN).await.unwrap();
        spool.0.refuse(upload, Refusal::Damaged).await.unwrap();
        let listed = async |now: DateTime<Utc>| {
            let listed = spool.list(ANN, now).await.unwrap().into_iter();
            listed.map(|(upload, offset)| (upload.id, offset)).collect::<Vec<_>>()
        };
        assert_eq!(listed(NOW).await, [(id(1), 3), (id(4), 0)]);
        assert!(listed(NOW + LIFETIME).await.is_empty());
    }

    #[test]
    fn only_ledgers_are_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        assert_eq!(copy_ledgers(&from, &to).unwrap(), 0, "there were no uploads yet");
        std::fs::create_dir(&from).unwrap();
        let ledger = format!("stored.{ANN}");
        for name in
            [ledger.clone(), format!("stored.{BOB}.part"), id(1).to_string(), format!("{}.json", id(1))]
        {
            std::fs::write(from.join(name), "7").unwrap();
        }
        for _ in 0..2 {
            assert_eq!(copy_ledgers(&from, &to).unwrap(), 1);
        }
        let copied: Vec<_> =
            std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(copied, [ledger.as_str()]);
    }

    #[tokio::test]
    async fn one_of_two_writers_wins() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        spool.create(id(1), ANN, 5, None, NOW).await.unwrap();
        let writing = spool.0.lock(id(1)).lock_owned().await;
        assert!(matches!(append(&spool, 0, b"abc").await, Err(UploadRejected::Busy)));
        drop(writing);
        assert_eq!(append(&spool, 0, b"abc").await.unwrap(), 3);
    }

    #[tokio::test]
    async fn quota_counts_open_and_published_uploads_and_abandoned_ones_end() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        spool.create(id(1), ANN, 60, None, NOW).await.unwrap();
        assert!(matches!(spool.create(id(2), ANN, 50, None, NOW).await, Err(UploadRejected::Quota(100))));
        spool.create(id(3), BOB, 50, None, NOW).await.unwrap();
        spool.published(id(1), ANN, Some(SONG)).await.unwrap();
        assert!(matches!(spool.create(id(2), ANN, 50, None, NOW).await, Err(UploadRejected::Quota(100))));
        spool.create(id(2), ANN, 40, None, NOW).await.unwrap();
        let later = NOW + LIFETIME;
        spool.create(id(4), ANN, 40, None, later).await.unwrap();
        assert!(matches!(spool.find(id(2), ANN).await, Err(UploadRejected::NotFound)), "abandoned");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "an upload, its state, the ledger");
    }

    #[tokio::test]
    async fn removed_song_gives_the_quota_back_and_a_restored_one_takes_it_again() {
        let folder = tempfile::tempdir().unwrap();
        // Counted by an earlier version.
        std::fs::write(folder.path().join(format!("stored.{ANN}")), "30").unwrap();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        spool.create(id(1), ANN, 60, None, NOW).await.unwrap();
        spool.published(id(1), ANN, Some(SONG)).await.unwrap();
        let is_full = |created: Result<_, UploadRejected>| matches!(created, Err(UploadRejected::Quota(100)));
        assert!(is_full(spool.create(id(2), ANN, 20, None, NOW).await));
        for _ in 0..2 {
            spool.counting().await.set_removed(ANN, SONG, true).await.unwrap();
        }
        spool.create(id(2), ANN, 20, None, NOW).await.unwrap();
        let check = async || spool.counting().await.check_restored(ANN, SONG, NOW).await;
        assert!(matches!(check().await, Err(UploadRejected::Quota(100))));
        spool.delete(id(2), ANN).await.unwrap();
        check().await.unwrap();
        spool.counting().await.set_removed(ANN, SONG, false).await.unwrap();
        assert!(is_full(spool.create(id(2), ANN, 20, None, NOW).await));
        // A song that was imported is not counted.
        let imported = SongId::new(Uuid::from_u128(0x51));
        spool.counting().await.set_removed(ANN, imported, true).await.unwrap();
        spool.counting().await.check_restored(ANN, imported, NOW).await.unwrap();
        assert_eq!(spool.0.ledger(ANN).await.unwrap().bytes(), 90);
    }

    #[tokio::test]
    async fn abandoned_uploads_and_remnants_of_a_crash_end_without_another_request() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        let now = service::clock::SystemClock.now();
        spool.create(id(1), ANN, 5, None, now).await.unwrap();
        for remnant in [id(2).to_string(), format!("{}.json.part", id(3)), format!("stored.{ANN}.part")] {
            std::fs::write(folder.path().join(remnant), "x").unwrap();
        }
        std::fs::write(folder.path().join(format!("stored.{ANN}")), "7").unwrap();
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let collected_by = async |clock: StoppedClock, left: usize| {
            let until = async {
                while files() > left {
                    tokio::task::yield_now().await;
                }
            };
            let collecting = pin!(spool.collect_regularly(&clock));
            let until = pin!(until);
            let found = timeout(Duration::from_secs(10), futures::future::select(collecting, until));
            assert!(found.await.is_ok(), "{} files are left", files());
        };
        spool.0.collect(now).await.unwrap();
        assert_eq!(files(), 6, "nothing is a day old");
        collected_by(StoppedClock(now + LIFETIME + TimeDelta::minutes(1)), 1).await;
        assert!(matches!(spool.find(id(1), ANN).await, Err(UploadRejected::NotFound)));
        assert_eq!(spool.0.ledger(ANN).await.unwrap().bytes(), 7);
    }

    #[tokio::test]
    async fn full_disk_refuses_a_part_and_keeps_the_upload() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().into(), 100).unwrap();
        spool.create(id(1), ANN, 5, None, NOW).await.unwrap();
        let data = folder.path().join(id(1).to_string());
        std::fs::remove_file(&data).unwrap();
        std::os::unix::fs::symlink("/dev/full", &data).unwrap();
        let problem = Problem::from(append(&spool, 0, b"abcde").await.unwrap_err());
        assert_eq!((problem.status, problem.code), (StatusCode::INSUFFICIENT_STORAGE, "disk-full"));
        std::fs::remove_file(&data).unwrap();
        std::fs::write(&data, "").unwrap();
        assert_eq!(append(&spool, 0, b"abcde").await.unwrap(), 5);
    }
}
