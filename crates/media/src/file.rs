use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use tempfile::NamedTempFile;
use tokio::fs::{self, File};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;

use crate::{BUFFER, Listed, Listing, MediaError, MediaKey, MediaObject, MediaStore, Part};

/// Names of incomplete files begin with this.
const PART_PREFIX: &str = ".part-";
/// Number of names read ahead for a list.
const READ_AHEAD: usize = 1000;

/// The media store in a folder.
#[derive(Debug)]
pub struct FileMedia {
    folder: PathBuf,
}

impl FileMedia {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, key: &MediaKey) -> PathBuf {
        self.folder.join(key.as_str())
    }
}

#[async_trait]
impl MediaStore for FileMedia {
    async fn put(&self, key: &MediaKey, content: Bytes) -> Result<(), MediaError> {
        let path = self.path(key);
        let stored = tokio::task::spawn_blocking(move || store(&path, &content)).await;
        stored.map_err(MediaError::unavailable)?.map_err(MediaError::unavailable)
    }

    async fn put_file(&self, key: &MediaKey, file: &Path) -> Result<(), MediaError> {
        let (path, file) = (self.path(key), file.to_owned());
        let stored = tokio::task::spawn_blocking(move || store_file(&path, &file)).await;
        stored.map_err(MediaError::unavailable)?.map_err(MediaError::unavailable)
    }

    async fn get(&self, key: &MediaKey, part: Option<Part>) -> Result<Option<MediaObject>, MediaError> {
        let path = self.path(key);
        let opened = tokio::task::spawn_blocking(move || open_part(&path, part)).await;
        let Some(Opened { size, range, start, rest }) = opened.map_err(MediaError::unavailable)?? else {
            return Ok(None);
        };
        let start = futures::stream::iter([Ok(start)]);
        let body = match rest {
            None => start.boxed(),
            Some((file, length)) => {
                let mut file = File::from_std(file);
                file.set_max_buf_size(BUFFER);
                start.chain(ReaderStream::with_capacity(file.take(length), BUFFER)).boxed()
            }
        };
        Ok(Some(MediaObject { size, range, body }))
    }

    async fn size(&self, key: &MediaKey) -> Result<Option<u64>, MediaError> {
        let found = if_stored(fs::metadata(self.path(key)).await)?;
        Ok(found.filter(std::fs::Metadata::is_file).map(|info| info.len()))
    }

    async fn delete(&self, key: &MediaKey) -> Result<(), MediaError> {
        if_stored(fs::remove_file(self.path(key)).await).map(drop)
    }

    async fn delete_below(&self, folder: &MediaKey) -> Result<(), MediaError> {
        if_stored(fs::remove_dir_all(self.path(folder)).await).map(drop)
    }

    fn list(&self) -> Listing {
        let (sender, mut listed) = mpsc::channel(READ_AHEAD);
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = list_into(&folder, String::new(), &sender) {
                // The receiver of the list was dropped.
                let _ = sender.blocking_send(Err(MediaError::unavailable(error)));
            }
        });
        futures::stream::poll_fn(move |context| listed.poll_recv(context)).boxed()
    }

    async fn link(&self, _: &MediaKey, _: Duration) -> Result<Option<String>, MediaError> {
        Ok(None)
    }

    async fn check(&self) -> Result<(), MediaError> {
        fs::metadata(&self.folder).await.map(drop).map_err(MediaError::unavailable)
    }
}

/// Lists the files below a folder until the receiver is dropped.
fn list_into(
    folder: &Path,
    prefix: String,
    listed: &mpsc::Sender<Result<Listed, MediaError>>,
) -> std::io::Result<()> {
    let Some(entries) = if_there(std::fs::read_dir(folder))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let Some(info) = if_there(entry.metadata())? else { continue };
        if info.is_dir() {
            list_into(&entry.path(), format!("{name}/"), listed)?;
        } else {
            let modified: DateTime<Utc> = info.modified()?.into();
            if listed.blocking_send(Ok(Listed { name, modified })).is_err() {
                return Ok(());
            }
        }
        if listed.is_closed() {
            return Ok(());
        }
    }
    Ok(())
}

/// None for a file that was deleted meanwhile.
pub(super) fn if_there<T>(found: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// None if nothing has this key, also because part of it is the name of a file.
fn if_stored<T>(found: std::io::Result<T>) -> Result<Option<T>, MediaError> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(None),
        found => if_there(found).map_err(MediaError::unavailable),
    }
}

/// Writes a temporary file, syncs it and renames it, so that the content of a key is complete or absent.
fn store(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut aside = tempfile::Builder::new().prefix(PART_PREFIX).tempfile_in(folder)?;
    aside.write_all(content)?;
    complete(aside, path, folder)
}

/// Like [`store`], from a file. `std::io::copy` shares the blocks where the file system can (`copy_file_range`), so that the
/// copy takes no space; unlike a hard link it has a time and permissions of its own.
fn store_file(path: &Path, file: &Path) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut aside = tempfile::Builder::new().prefix(PART_PREFIX).tempfile_in(folder)?;
    std::io::copy(&mut std::fs::File::open(file)?, aside.as_file_mut())?;
    complete(aside, path, folder)
}

fn complete(aside: NamedTempFile, path: &Path, folder: &Path) -> std::io::Result<()> {
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

/// A part of a file: its first bytes, and the file at the rest of so many bytes.
struct Opened {
    size: u64,
    range: RangeInclusive<u64>,
    start: Bytes,
    rest: Option<(std::fs::File, u64)>,
}

/// Opens a file and reads the start of a part of it, in one visit of a thread that may block. None if there is no such file.
fn open_part(path: &Path, part: Option<Part>) -> Result<Option<Opened>, MediaError> {
    let Some(mut file) = if_stored(std::fs::File::open(path))? else { return Ok(None) };
    let info = file.metadata().map_err(MediaError::unavailable)?;
    if !info.is_file() {
        return Ok(None);
    }
    let size = info.len();
    let range = part.unwrap_or(Part::From(0, None)).within(size).ok_or(MediaError::BeyondEnd(size))?;
    let length = range.end() - range.start() + 1;
    file.seek(SeekFrom::Start(*range.start())).map_err(MediaError::unavailable)?;
    let first = length.min(BUFFER as u64);
    let mut start = Vec::with_capacity(usize::try_from(first).unwrap_or(BUFFER));
    (&file).take(first).read_to_end(&mut start).map_err(MediaError::unavailable)?;
    let rest = length - first;
    let rest = (rest > 0).then_some((file, rest));
    Ok(Some(Opened { size, range, start: start.into(), rest }))
}
