//! Exclusive use of files: a second process with the same files is rejected.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// An exclusive lock on a file among processes that ask for it; other processes can use the file. The operating
/// system releases it when the process ends.
#[derive(Debug)]
pub struct ExclusiveUse {
    // Locked while it is open.
    _lock: File,
}

#[derive(Debug, Error)]
pub enum NotExclusive {
    #[error(
        "{file} is in use by another `chorus serve`{process}: stop that one first, or give this one another folder \
         (CHORUS_DATA)"
    )]
    InUse { file: String, process: String },
    #[error("{file} cannot be locked")]
    Io {
        file: String,
        #[source]
        source: std::io::Error,
    },
}

impl ExclusiveUse {
    /// Locks `<file>.lock`. The file remains afterwards and means nothing by itself.
    pub fn of(file: &Path) -> Result<Self, NotExclusive> {
        let mut path = file.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |source| NotExclusive::Io { file: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // The process id is only for humans.
                let mut process = String::new();
                let read = lock.read_to_string(&mut process).is_ok();
                let known = read && !process.trim().is_empty();
                let process = if known { format!(" (process {})", process.trim()) } else { String::new() };
                return Err(NotExclusive::InUse { file: file.display().to_string(), process });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut note = || {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        note().map_err(failed)?;
        Ok(Self { _lock: lock })
    }

    /// Locks the files that these settings name; settings other than `sqlite:<file>` name servers, which support many
    /// processes.
    pub fn of_settings(settings: &[&str]) -> Result<Vec<Self>, NotExclusive> {
        let files = settings.iter().filter_map(|setting| setting.strip_prefix("sqlite:"));
        files.map(|file| Self::of(Path::new(file))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_process_is_rejected_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.db");
        let setting = format!("sqlite:{}", file.display());
        let first = ExclusiveUse::of_settings(&[&setting, "mongodb://host/db"]).unwrap();
        assert_eq!(first.len(), 1);
        let refused = ExclusiveUse::of(&file).unwrap_err().to_string();
        let process = format!("(process {})", std::process::id());
        assert!(refused.contains("events.db is in use") && refused.contains(&process), "{refused}");
        assert!(ExclusiveUse::of(&folder.path().join("views.db")).is_ok());
        drop(first);
        // The lock file remains.
        assert!(ExclusiveUse::of(&file).is_ok());
    }
}
