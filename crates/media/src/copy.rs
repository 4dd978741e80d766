//! Copies of a media store in a folder that is in use.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::file::if_there;

/// The amount of media.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct MediaSize {
    pub files: u64,
    pub bytes: u64,
}

/// The folder that a `CHORUS_MEDIA` setting names, if any.
pub fn local_folder(setting: &str) -> Option<PathBuf> {
    setting.strip_prefix("file:").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Copies all files that the target does not have; the content of a key never changes. Skips files that are deleted
/// meanwhile or incomplete. `copied` is called after each file. Blocks.
pub fn copy_media(from: &Path, to: &Path, copied: &dyn Fn()) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    let Some(entries) = if_there(std::fs::read_dir(from))? else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let (source, target) = (entry.path(), to.join(&name));
        // Complete files have names without a leading dot.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_media(&source, &target, copied)?;
        } else if !target.exists() && if_there(std::fs::copy(&source, &target))?.is_some() {
            copied();
        }
    }
    Ok(())
}

/// The amount of media in a folder, recursively. Blocks.
pub fn measure(folder: &Path) -> std::io::Result<MediaSize> {
    let mut size = MediaSize::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let info = entry.metadata()?;
        if info.is_dir() {
            let MediaSize { files, bytes } = measure(&entry.path())?;
            size = MediaSize { files: size.files + files, bytes: size.bytes + bytes };
        } else {
            size = MediaSize { files: size.files + 1, bytes: size.bytes + info.len() };
        }
    }
    Ok(size)
}

/// Syncs the file system of this folder. Blocks.
pub fn sync_file_system(folder: &Path) -> std::io::Result<()> {
    match rustix::fs::syncfs(std::fs::File::open(folder)?) {
        Err(error) if std::io::Error::from(error).kind() != ErrorKind::Unsupported => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::*;

    #[test]
    fn copy_is_completed_and_skips_incomplete_files() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("media"), folder.path().join("copy"));
        let write = |name: &str| {
            let path = from.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        };
        write("images/a/feed.jpg");
        write("images/a/.part-x");
        let count = std::cell::Cell::new(0);
        let copy = || copy_media(&from, &to, &|| count.set(count.get() + 1)).unwrap();
        copy();
        assert_eq!(count.get(), 1);
        write("images/b/feed.jpg");
        copy();
        assert_eq!(count.get(), 2, "only new files");
        assert_eq!(std::fs::read(to.join("images/b/feed.jpg")).unwrap(), b"images/b/feed.jpg");
        assert_eq!(measure(&to).unwrap(), MediaSize { files: 2, bytes: 34 });
        assert_eq!(measure(&from).unwrap().files, 3);
        sync_file_system(&to).unwrap();
        copy_media(&folder.path().join("nowhere"), &to, &|| ()).unwrap();
        assert_eq!(local_folder("file:data/media"), Some("data/media".into()));
        assert_eq!(local_folder("s3://bucket"), None);
    }
}
