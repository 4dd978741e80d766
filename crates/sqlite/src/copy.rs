//! Copies of database files that other processes use.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::Error;
use crate::database::{LOCK_WAIT, OWNER_ONLY};

/// Opens an existing file, for commands that run with or without the server.
///
/// # Errors
/// [`Error::Unavailable`] if the file does not exist.
pub fn open_existing(path: &Path) -> Result<Connection, Error> {
    let failed = |e| Error::from_sqlite(&path.display().to_string(), e);
    // Not read-only: SQLite could not read a WAL without its index.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCK_WAIT).map_err(failed)?;
    Ok(connection)
}

/// Writes a compact copy of the file to a new file with mode 0600. The copy contains no deleted data. Readers and
/// writers of the original continue.
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

/// Checks the whole file.
///
/// # Errors
/// [`Error::Corrupt`] with the problems that SQLite finds.
pub fn check_integrity(path: &Path) -> Result<(), Error> {
    let name = path.display().to_string();
    let connection = open_existing(path)?;
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|e| Error::from_sqlite(&name, e))?;
    if found == "ok" { Ok(()) } else { Err(Error::corrupt(&name, found)) }
}
