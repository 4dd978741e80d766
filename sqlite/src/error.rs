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
