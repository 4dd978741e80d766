use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use command_api::music::copy_ledgers;
use events::{LogFiles, MasterKeys};
use indicatif::{ProgressBar, ProgressStyle};
use media::copy_media;
use service::config::{LogSettings, PlaceSettings, SigningSettings, UploadSettings};

use super::{
    FORMAT, LOG, MANIFEST, MASTER_KEY, MEDIA, Manifest, MediaCount, OF_SERVERS, SIGNING_KEYS, UPLOADS,
    list_missing, missing_media, write_private,
};

/// The staging folder, in the data folder, which may be a separate file system.
const UNFINISHED: &str = ".restoring";

/// Takes the same settings as the server that will use the restored data.
#[derive(Debug, Args)]
pub struct RestoreSettings {
    /// Folder that `chorus backup` has created
    backup: PathBuf,

    /// Restore although media files are missing; their images will not be shown
    #[arg(long)]
    accept_missing_media: bool,

    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    uploads: UploadSettings,
    #[command(flatten)]
    signing: SigningSettings,
}

/// Checks a backup and restores it into an empty data folder.
///
/// # Errors
/// If the folder is not empty, or the backup is incomplete. Then nothing of it remains in the folder.
pub async fn restore(settings: RestoreSettings) -> Result<()> {
    let RestoreSettings { backup, accept_missing_media, place, log, uploads, signing } = settings;
    let data = place.data.clone();
    let files = events::log_files(&log.place.url(&place))?.context(OF_SERVERS)?;
    ensure!(
        files.log == data.join(LOG),
        "a backup is restored to {}: unset CHORUS_LOG, and move the files afterwards",
        data.display()
    );
    let manifest = std::fs::read(backup.join(MANIFEST));
    let manifest = manifest.with_context(|| format!("{} is not a backup", backup.display()))?;
    let manifest: Manifest = serde_json::from_slice(&manifest).context("reading the backup's description")?;
    ensure!(
        manifest.format == FORMAT,
        "the backup has format {}, this program supports {FORMAT}",
        manifest.format
    );
    place.prepare().with_context(|| format!("creating the folder {}", data.display()))?;
    let secrets = [(log.master_keys().path(&place), MASTER_KEY), (signing.keys().path(&place), SIGNING_KEYS)];
    require_only_secrets(&data, &secrets)?;
    let unfinished = Unfinished(data.join(UNFINISHED));
    let mut copied = copy_all(&backup, &unfinished.0, &manifest).await?;
    for (path, name) in &secrets {
        let from = backup.join(name);
        if manifest.secrets && !path.exists() && *path == data.join(name) {
            let text = std::fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            write_private(&unfinished.0.join(name), &text)?;
            copied.push(name);
        }
    }
    let (master_path, _) = &secrets[0];
    let opened = open_with(&unfinished.0, master_path).await?;
    let missing = check(&unfinished.0, &manifest).await?;
    let mut out = std::io::stdout().lock();
    if !missing.is_empty() {
        let known = missing.iter().all(|name| manifest.missing.contains(name));
        list_missing(&mut out, &missing, if known { "it was already missing" } else { "not in the backup" })?;
        ensure!(
            known || accept_missing_media,
            "{} media files are not in the backup: add them, or restore without them \
             (--accept-missing-media)",
            missing.len()
        );
    }
    media::sync_file_system(&unfinished.0).context("flushing all files to the disk")?;
    // The log comes last: the server refuses keys without a log.
    for name in copied.iter().rev() {
        let (from, to) = (unfinished.0.join(name), data.join(name));
        std::fs::rename(from, &to).with_context(|| format!("renaming a file to {}", to.display()))?;
    }
    media::sync_file_system(&data).context("flushing all files to the disk")?;
    writeln!(
        out,
        "{} holds {} events and {} keys, as of position {}",
        data.display(),
        manifest.position,
        manifest.keys,
        manifest.position
    )?;
    if !opened {
        writeln!(
            out,
            "  missing  the master key: put it at {} before the start; without it personal data cannot be read",
            master_path.display()
        )?;
    }
    if manifest.media.is_none() {
        writeln!(out, "  missing  media: they were in a bucket (CHORUS_MEDIA)")?;
    }
    report_ledgers(&mut out, &manifest, &data.join(UPLOADS), &uploads.folder(&place))?;
    writeln!(out, "start `chorus serve`: it builds the views from the events")?;
    Ok(())
}

/// Reports ledgers that the server will not find.
fn report_ledgers(out: &mut impl Write, manifest: &Manifest, restored: &Path, used: &Path) -> Result<()> {
    if manifest.ledgers.is_none() {
        let why = "an earlier version made this backup, so the storage quotas count new songs only";
        writeln!(out, "  missing  what each account stores: {why}")?;
    } else if restored != used {
        let (restored, used) = (restored.display(), used.display());
        writeln!(out, "  missing  what each account stores: move the files of {restored} to {used}")?;
    }
    Ok(())
}

/// Removes the staging folder when dropped.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.0.display(), %error, "cannot remove the staging folder");
            }
            _ => {}
        }
    }
}

/// # Errors
/// If the folder has anything but secrets. The staging folder of an interrupted attempt is removed.
fn require_only_secrets(data: &Path, secrets: &[(PathBuf, &str)]) -> Result<()> {
    drop(Unfinished(data.join(UNFINISHED)));
    for entry in std::fs::read_dir(data).with_context(|| format!("reading the folder {}", data.display()))? {
        let path = entry?.path();
        let is_secret = secrets.iter().any(|(secret, _)| *secret == path);
        // A new file system has `lost+found`, and an ended server may have left locks.
        let is_fine = is_secret || path.ends_with("lost+found") || path.extension() == Some("lock".as_ref());
        if !is_fine {
            bail!("{} is not empty (it holds {}): nothing is overwritten", data.display(), path.display());
        }
    }
    Ok(())
}

/// Copies the log, the keys, the media and the ledgers; returns the names of the copies, the log first.
async fn copy_all(backup: &Path, target: &Path, manifest: &Manifest) -> Result<Vec<&'static str>> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(target)
        .with_context(|| format!("creating {}", target.display()))?;
    let mut names = vec![LOG, "keys.db"];
    for name in &names {
        let (from, to) = (backup.join(name), target.join(name));
        write_private(&to, &[])?;
        std::fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        private(&to)?;
    }
    if let Some(MediaCount { files, .. }) = manifest.media {
        let bar = ProgressBar::new(files).with_style(ProgressStyle::with_template(
            "media   {bar:30} {human_pos} of {human_len} files ({eta})",
        )?);
        let (from, to, shown) = (backup.join(MEDIA), target.join(MEDIA), bar.clone());
        let copied = tokio::task::spawn_blocking(move || copy_media(&from, &to, &|| shown.inc(1))).await?;
        bar.finish_and_clear();
        copied.context("copying the media")?;
        names.push(MEDIA);
    }
    if let Some(expected) = manifest.ledgers {
        let copied = copy_ledgers(&backup.join(UPLOADS), &target.join(UPLOADS));
        let copied = copied.context("copying the ledgers of stored songs")?;
        ensure!(
            copied == expected,
            "the backup should hold the ledgers of {expected} accounts, but it holds {copied}"
        );
        names.push(UPLOADS);
    }
    Ok(names)
}

fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

/// Whether there is a master key.
///
/// # Errors
/// If it does not belong to these keys.
async fn open_with(folder: &Path, named: &Path) -> Result<bool> {
    let copied = folder.join(MASTER_KEY);
    let path = if copied.exists() { copied.as_path() } else { named };
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    let master = MasterKeys::parse(&text).with_context(|| format!("reading {}", path.display()))?;
    let setting = format!("sqlite:{}", folder.join(LOG).display());
    let log = events::open_sealed(&setting, None, &master).await;
    let log = log.with_context(|| format!("opening the keys with {}", path.display()))?;
    log.close().await?;
    Ok(true)
}

/// Compares the copies with the backup's description; returns the missing files.
async fn check(folder: &Path, manifest: &Manifest) -> Result<Vec<String>> {
    let files = LogFiles::of_log(folder.join(LOG));
    let checked = files.clone();
    let contents = tokio::task::spawn_blocking(move || checked.check()).await?;
    let contents = contents.context("checking the log and the keys")?;
    ensure!(
        (contents.position.0, contents.keys) == (manifest.position, manifest.keys),
        "the backup should hold {} events and {} keys, but it holds {} and {}",
        manifest.position,
        manifest.keys,
        contents.position,
        contents.keys
    );
    if manifest.media.is_none() {
        return Ok(Vec::new());
    }
    let missing = missing_media(&files, &folder.join(MEDIA)).await?;
    Ok(missing.iter().map(|one| one.key.to_string()).collect())
}
