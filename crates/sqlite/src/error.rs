use rusqlite::ErrorCode;
use thiserror::Error as ThisError;

/// Why a database operation failed, by what the caller can do about it.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The file is not usable now (locked, disk full, I/O error): the same call may succeed later.
    #[error("the database {path} is unavailable")]
    Unavailable {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The commit failed (I/O error): it may or may not have happened. Repeating the work reveals it.
    #[error("the database {path} failed during a commit")]
    OutcomeUnknown {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The content of the file is invalid: retries do not help.
    #[error("the database {path} is corrupt or not of this program")]
    Corrupt {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn unavailable(
        path: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn corrupt(path: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Corrupt { path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn outcome_unknown(
        path: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::OutcomeUnknown { path: path.to_owned(), source: source.into() }
    }

    /// For commits: if the last write or the sync fails, the commit may still be in the WAL when the file is opened
    /// again.
    pub(crate) fn of_commit(path: &str, error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) => Self::outcome_unknown(path, error),
            _ => Self::from_sqlite(path, error),
        }
    }

    /// SQLite distinguishes outages from corruption by its primary result code; other errors (such as a statement
    /// that does not match the schema) are permanent.
    pub fn from_sqlite(path: &str, error: rusqlite::Error) -> Self {
        let outage = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::OutOfMemory
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::FileLockingProtocolFailed
            )
        );
        if outage { Self::unavailable(path, error) } else { Self::corrupt(path, error) }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn commit_outcome_is_unknown_only_after_an_io_error() {
        let of_commit =
            |code| Error::of_commit("a.db", rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE] {
            assert!(matches!(of_commit(code), Error::OutcomeUnknown { .. }), "{code}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY, ffi::SQLITE_READONLY] {
            assert!(matches!(of_commit(code), Error::Unavailable { .. }), "{code}");
        }
    }
}
