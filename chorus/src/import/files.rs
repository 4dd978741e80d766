//! The audio files of a folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Serialize;
use walkdir::{DirEntry, WalkDir};

use super::pictures::Pictures;

/// Extensions of audio files. Those of formats that Chorus does not accept are among them, so that the report names them.
const EXTENSIONS: &[&str] = &[
    "aac", "aif", "aiff", "ape", "dsf", "flac", "m4a", "m4b", "mp3", "mp4", "mpc", "oga", "ogg", "opus",
    "tta", "wav", "wma", "wv",
];
/// Folders within folders.
const DEPTH_LIMIT: usize = 100;

/// An audio file, as it was when the folder was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Absolute.
    pub(super) path: PathBuf,
    /// `path` as text.
    pub(super) name: String,
    pub(super) version: Version,
}

/// Changes when a file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(super) struct Version {
    /// Bytes.
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: u64,
}

impl Version {
    pub(super) fn of(file: &Path) -> std::io::Result<Self> {
        let info = std::fs::metadata(file)?;
        let since = info.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { size: info.len(), modified: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) })
    }
}

/// A file or folder that is not imported, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Refused {
    pub(super) file: String,
    pub(super) reason: String,
}

#[derive(Debug, Default)]
pub(super) struct Folder {
    /// In the order of their names.
    pub(super) audio: Vec<Found>,
    /// Files and folders that cannot be read.
    pub(super) unreadable: Vec<Refused>,
    /// Files that are no audio.
    pub(super) others: u64,
    /// Those of them that may be covers.
    pub(super) pictures: Pictures,
}

/// Lists a folder and everything below it, without what is hidden. Symbolic links are followed.
pub(super) fn list(root: &Path) -> Folder {
    let mut folder = Folder::default();
    let mut entries =
        WalkDir::new(root).follow_links(true).max_depth(DEPTH_LIMIT).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        match entry {
            Err(error) => folder.unreadable.push(unreadable(&error)),
            Ok(entry) if entry.depth() == 0 => {}
            Ok(entry) => {
                let is_folder = entry.file_type().is_dir();
                let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !is_hidden && (is_folder || is_audio(&entry)) {
                    match found(&entry) {
                        Ok(_) if is_folder => continue,
                        Ok(found) => folder.audio.push(found),
                        Err(reason) => folder.unreadable.push(refused(entry.path(), reason)),
                    }
                } else {
                    folder.others += u64::from(!is_folder);
                    if !is_hidden {
                        folder.pictures.add(entry.path());
                    }
                }
                if is_folder {
                    entries.skip_current_dir();
                }
            }
        }
    }
    folder
}

fn found(entry: &DirEntry) -> Result<Found, String> {
    let name = entry.path().to_str().ok_or("the name is not UTF-8")?.to_owned();
    let version = Version::of(entry.path()).map_err(|error| error.to_string())?;
    Ok(Found { path: entry.path().to_owned(), name, version })
}

fn is_audio(entry: &DirEntry) -> bool {
    let extension = entry.path().extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    entry.file_type().is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&&*extension))
}

fn unreadable(error: &walkdir::Error) -> Refused {
    let reason = match (error.loop_ancestor(), error.io_error()) {
        (Some(folder), _) => format!("a symbolic link that leads back to {}", folder.display()),
        (None, Some(error)) => error.to_string(),
        (None, None) => error.to_string(),
    };
    refused(error.path().unwrap_or(Path::new("")), reason)
}

pub(super) fn refused(file: &Path, reason: impl Into<String>) -> Refused {
    Refused { file: file.to_string_lossy().into_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn folder_is_listed_without_loops_hidden_and_unreadable_entries() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |name: &OsStr| std::fs::write(root.join(name), "x").unwrap();
        std::fs::create_dir_all(root.join("disc/.hidden")).unwrap();
        for name in ["b.mp3", "a.FLAC", "disc/c.ogg", "disc/.hidden/d.mp3", "._a.flac", "cover.jpg"] {
            write(OsStr::new(name));
        }
        write(OsStr::from_bytes(b"\xff.mp3"));
        symlink(root, root.join("disc/loop")).unwrap();
        symlink(root.join("missing"), root.join("broken.mp3")).unwrap();
        let Folder { audio, unreadable, others, pictures } = list(root);
        let names: Vec<_> = audio.iter().map(|found| found.path.strip_prefix(root).unwrap()).collect();
        assert_eq!(names, [Path::new("a.FLAC"), Path::new("b.mp3"), Path::new("disc/c.ogg")]);
        assert_eq!(others, 2, "the cover and a hidden file");
        assert_eq!(pictures.beside(&root.join("b.mp3")).of_album, [root.join("cover.jpg")]);
        let reasons: Vec<_> = unreadable.iter().map(|refused| refused.reason.as_str()).collect();
        assert_eq!(reasons.len(), 3, "{unreadable:?}");
        assert!(reasons.iter().any(|reason| reason.contains("leads back")), "{reasons:?}");
        assert!(reasons.iter().any(|reason| reason.contains("not UTF-8")), "{reasons:?}");
    }
}
