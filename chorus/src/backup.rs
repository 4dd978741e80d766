//! `chorus backup` and `chorus restore`: copies of log, keys and media of a standalone deployment, consistent at one log
//! position, and of the ledgers of stored songs, which the log does not have. Views are not included, since they can be
//! rebuilt.

mod restore;

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use command_api::music::copy_ledgers;
use events::{LogFiles, Position};
use indicatif::{ProgressBar, ProgressStyle};
use media::{MediaSize, copy_media, local_folder};
use projector::reactions::media::{Missing, audit};
use serde::{Deserialize, Serialize};
use service::clock::{Clock, SystemClock};
use service::config::{LogSettings, MediaSettings, PlaceSettings, SigningSettings, UploadSettings};

pub use restore::{RestoreSettings, restore};

/// Names of the files in a backup.
const MANIFEST: &str = "backup.json";
const LOG: &str = "events.db";
const MEDIA: &str = "media";
/// Holds the ledgers, without the uploads in progress.
const UPLOADS: &str = "uploads";
const MASTER_KEY: &str = "master.key";
const SIGNING_KEYS: &str = "signing-keys.pem";
/// Version of the backup's layout.
const FORMAT: u32 = 1;
/// Maximum number of rounds: files may be deleted while they are copied.
const ROUNDS: usize = 3;
/// The interval of progress updates.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum number of missing files that are listed.
const LISTED: usize = 20;

/// The message for deployments whose log is not a file.
const OF_SERVERS: &str = "`chorus backup` and `chorus restore` are for a log in a file (sqlite:). A log on NATS is backed up \
    with `nats stream backup` of the log stream first and of the bucket of the keys (stream KV_<name>-keys) right after it; \
    media with the versioning or replication of their bucket; the secrets separately, as you keep them. MongoDB needs no backup: \
    views can be rebuilt. See docs/operations.md";

/// Takes the same settings as the server, which may be running.
#[derive(Debug, Args)]
pub struct Settings {
    /// Folder to create; it must not exist, or be empty
    folder: PathBuf,

    /// Put the master key and the signing keys into the backup as well: anyone who has it can read everything
    #[arg(long)]
    with_secrets: bool,

    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    media: MediaSettings,
    #[command(flatten)]
    uploads: UploadSettings,
    #[command(flatten)]
    signing: SigningSettings,
}

/// The description of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Version of the program that created it.
    version: String,
    made: DateTime<Utc>,
    /// Position of the last event.
    position: u64,
    /// Names in the vault, destroyed keys included.
    keys: u64,
    /// None if media are not in a local folder.
    media: Option<MediaCount>,
    /// Accounts whose stored songs are counted. None in backups of earlier versions, which have no ledgers.
    ledgers: Option<u64>,
    /// Files that events refer to and that were missing when the backup was created.
    missing: Vec<String>,
    /// Whether it includes the secrets.
    secrets: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct MediaCount {
    files: u64,
    bytes: u64,
}

impl From<MediaSize> for MediaCount {
    fn from(MediaSize { files, bytes }: MediaSize) -> Self {
        Self { files, bytes }
    }
}

/// # Errors
/// If the folder is not empty, or a file cannot be copied. Then nothing of the backup remains.
pub async fn run(settings: Settings) -> Result<()> {
    let Settings { folder, with_secrets, place, log, media, uploads, signing } = settings;
    let source = events::log_files(&log.place.url(&place))?.context(OF_SERVERS)?;
    ensure!(source.log.exists(), "there is no log at {}", source.log.display());
    require_empty(&folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary folder, private to its owner, until the backup is complete; removed on failure.
    let unfinished = tempfile::Builder::new()
        .prefix(".chorus-backup-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .with_context(|| format!("creating a folder in {}", parent.display()))?;
    let mut secrets = Vec::new();
    if with_secrets {
        secrets.push((log.master_keys().path(&place), MASTER_KEY));
        secrets.push((signing.keys().path(&place), SIGNING_KEYS));
    }
    for (from, name) in &secrets {
        let text = std::fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        write_private(&unfinished.path().join(name), &text)?;
    }
    let media = local_folder(&media.url(&place));
    let uploads = uploads.folder(&place);
    let backup = Backup { source, media, uploads, target: unfinished.path().to_owned() };
    let manifest = backup.copy(with_secrets).await?;
    write_private(&backup.target.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
    media::sync_file_system(&backup.target).context("flushing all files to the disk")?;
    std::fs::rename(unfinished.keep(), &folder)
        .with_context(|| format!("renaming it to {}", folder.display()))?;
    media::sync_file_system(parent).context("flushing all files to the disk")?;
    print_summary(&manifest, &folder, backup.media.is_some())
}

fn print_summary(manifest: &Manifest, folder: &Path, has_media: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} holds {} events and {} keys, as of position {}",
        folder.display(),
        manifest.position,
        manifest.keys,
        manifest.position
    )?;
    match manifest.media {
        Some(MediaCount { files, bytes }) => writeln!(out, "  media    {files} files, {bytes} bytes")?,
        None if has_media => {}
        None => writeln!(out, "  media    not included: they are in a bucket; see docs/operations.md")?,
    }
    if let Some(ledgers) = manifest.ledgers {
        writeln!(out, "  quotas   of {ledgers} accounts")?;
    }
    let secrets = if manifest.secrets {
        "included: anyone who has the backup can read everything"
    } else {
        "not included: keep the master key elsewhere, without it personal data cannot be read"
    };
    writeln!(out, "  secrets  {secrets}")?;
    list_missing(&mut out, &manifest.missing, "was missing before the backup")
}

fn list_missing(out: &mut impl Write, missing: &[String], why: &str) -> Result<()> {
    for name in missing.iter().take(LISTED) {
        writeln!(out, "  missing  {name}  ({why})")?;
    }
    if missing.len() > LISTED {
        writeln!(out, "  missing  {} more", missing.len() - LISTED)?;
    }
    Ok(())
}

struct Backup {
    source: LogFiles,
    /// None if media are not in a folder.
    media: Option<PathBuf>,
    uploads: PathBuf,
    target: PathBuf,
}

impl Backup {
    fn files(&self) -> LogFiles {
        LogFiles::of_log(self.target.join(LOG))
    }

    /// The log refers to media and keys, so neither may be older than the log. Large files are copied first; then newer
    /// changes are added quickly.
    async fn copy(&self, secrets: bool) -> Result<Manifest> {
        self.copy_media().await?;
        self.begin_log().await?;
        let mut missing = Vec::new();
        let (mut position, mut ledgers) = (Position::START, 0);
        for _ in 0..ROUNDS {
            self.copy_media().await?;
            // Before the events: a song that is published meanwhile is then not counted. A ledger with a song that the log
            // lacks could never give its bytes back.
            ledgers = self.copy_ledgers().await?;
            let (source, target) = (self.source.clone(), self.files());
            let completed = tokio::task::spawn_blocking(move || source.complete_copy(&target)).await?;
            position = completed.context("copying the keys and the newest events")?;
            self.copy_media().await?;
            missing = self.missing().await?;
            // A file may have been deleted by an event after the position.
            if missing.is_empty() {
                break;
            }
        }
        let files = self.files();
        let contents = tokio::task::spawn_blocking(move || files.check()).await?;
        let contents = contents.context("checking the copy")?;
        ensure!(contents.position == position, "the copy ends at {}, not at {position}", contents.position);
        let media = self.media.is_some().then(|| media::measure(&self.target.join(MEDIA))).transpose()?;
        Ok(Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            made: SystemClock.now(),
            position: position.0,
            keys: contents.keys,
            media: media.map(MediaCount::from),
            ledgers: Some(ledgers),
            missing: missing.iter().map(|one| one.key.to_string()).collect(),
            secrets,
        })
    }

    /// Copies media that are not in the backup yet.
    async fn copy_media(&self) -> Result<()> {
        let Some(from) = self.media.clone() else { return Ok(()) };
        let to = self.target.join(MEDIA);
        let bar = ProgressBar::no_length()
            .with_style(ProgressStyle::with_template("media   {human_pos} files ({per_sec})")?);
        let shown = bar.clone();
        let copied = tokio::task::spawn_blocking(move || copy_media(&from, &to, &|| shown.inc(1))).await?;
        bar.finish_and_clear();
        copied.context("copying the media")?;
        Ok(())
    }

    /// Returns the number of ledgers.
    async fn copy_ledgers(&self) -> Result<u64> {
        let (from, to) = (self.uploads.clone(), self.target.join(UPLOADS));
        let copied = tokio::task::spawn_blocking(move || copy_ledgers(&from, &to)).await?;
        copied.context("copying the ledgers of stored songs")
    }

    async fn begin_log(&self) -> Result<()> {
        let (source, target) = (self.source.clone(), self.files());
        let size = |path: &Path| path.metadata().map_or(0, |info| info.len());
        let bar = ProgressBar::new(size(&source.log))
            .with_style(ProgressStyle::with_template("log     {bar:30} {bytes} of {total_bytes} ({eta})")?);
        let shown = target.log.clone();
        let mut copying = tokio::task::spawn_blocking(move || source.begin_copy(&target));
        let copied = loop {
            match tokio::time::timeout(PROGRESS_INTERVAL, &mut copying).await {
                Ok(copied) => break copied?,
                Err(_elapsed) => bar.set_position(size(&shown)),
            }
        };
        bar.finish_and_clear();
        copied.context("copying the log")
    }

    /// Files that the copied events refer to and that are not among the copied media.
    async fn missing(&self) -> Result<Vec<Missing>> {
        if self.media.is_none() {
            return Ok(Vec::new());
        }
        missing_media(&self.files(), &self.target.join(MEDIA)).await
    }
}

/// Files that events refer to and that are not in the folder.
async fn missing_media(files: &LogFiles, folder: &Path) -> Result<Vec<Missing>> {
    let log = events::open(&format!("sqlite:{}", files.log.display()), None).await?;
    let media = media::open(&format!("file:{}", folder.display())).await.map_err(anyhow::Error::msg)?;
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template(
        "check   {bar:30} {human_pos} of {human_len} events ({eta})",
    )?);
    let show_progress = |passed: Position, head: Position| {
        bar.set_length(head.0);
        bar.set_position(passed.0);
    };
    let audited = audit(&*log.log, &*media, (SystemClock.now(), TimeDelta::zero()), &show_progress).await;
    bar.finish_and_clear();
    log.vault.close().await?;
    log.log.close().await?;
    Ok(audited.context("comparing the media with the events")?.missing)
}

/// # Errors
/// If the folder is not empty.
fn require_empty(folder: &Path) -> Result<()> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("reading the folder {}", folder.display())),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => bail!("{} is not empty: nothing is overwritten", folder.display()),
        },
    }
}

fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}
