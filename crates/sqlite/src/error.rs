use rusqlite::ErrorCode;
use thiserror::Error as ThisError;

/// Why a database did not do what it was asked, told apart by what a caller can do about it.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The file cannot be used now (locked, disk full, I/O error): the same call may succeed later.
    #[error("the database {path} is unavailable")]
    Unavailable {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file failed while the work was committed (I/O error): it may or may not have been. What the work comes to when it
    /// is done again tells.
    #[error("the database {path} failed while it was written to")]
    OutcomeUnknown {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What stands in the file cannot be read as what it should be: no retry helps.
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

    /// Of a commit. If its last write fails, or the sync after it, what was committed may be found in the write-ahead log
    /// when the file is opened again.
    pub(crate) fn of_commit(path: &str, error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) => Self::outcome_unknown(path, error),
            _ => Self::from_sqlite(path, error),
        }
    }

    /// SQLite tells an outage from damage by its primary result code; whatever it does not tell (a statement
    /// that does not fit the schema) will not mend itself either.
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
    fn a_commit_has_an_unknown_outcome_only_after_an_io_error() {
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
