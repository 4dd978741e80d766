//! Copies of database files, made while other processes use them.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::Error;
use crate::database::{LOCK_WAIT, OWNER_ONLY};

/// Opens a file that must be there, for a command that runs beside the server or without it.
///
/// # Errors
/// [`Error::Unavailable`] if there is no such file.
pub fn open_existing(path: &Path) -> Result<Connection, Error> {
    let failed = |e| Error::from_sqlite(&path.display().to_string(), e);
    // Not read-only: SQLite could not read a write-ahead log whose index is missing.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCK_WAIT).map_err(failed)?;
    Ok(connection)
}

/// Writes a compact copy of the file's present state to a new file that only its owner can read. Nothing deleted is in it.
/// Readers and writers of the original go on.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let name = to.display().to_string();
    let made = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(to);
    made.map_err(|e| Error::unavailable(&name, e))?;
    let source = open_existing(from)?;
    let target = to.to_str().ok_or_else(|| Error::unavailable(&name, "its name is not UTF-8"))?;
    source
        .execute("VACUUM INTO ?1", [target])
        .map_err(|e| Error::from_sqlite(&from.display().to_string(), e))?;
    Ok(())
}

/// Looks through the whole file.
///
/// # Errors
/// [`Error::Corrupt`] with what SQLite finds wrong.
pub fn check_integrity(path: &Path) -> Result<(), Error> {
    let name = path.display().to_string();
    let connection = open_existing(path)?;
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|e| Error::from_sqlite(&name, e))?;
    if found == "ok" { Ok(()) } else { Err(Error::corrupt(&name, found)) }
}
