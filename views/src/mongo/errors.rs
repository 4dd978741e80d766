use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::StoreError;

/// Temporary server errors: stepdown or startup of a primary, shutdown, interruption, time limit, write conflict.
/// Source: <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>.
const PASSING: &[i32] = &[
    6,
    7,
    24,
    TIME_LIMIT,
    63,
    89,
    91,
    112,
    133,
    134,
    150,
    189,
    202,
    251,
    262,
    9001,
    10107,
    11600,
    INTERRUPTED,
    11602,
    13388,
    13435,
    13436,
    234,
    317,
    14031,
];

const TIME_LIMIT: i32 = 50;
const INTERRUPTED: i32 = 11601;
const DUPLICATE_KEY: i32 = 11000;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        if is_passing(&error) { Self::unavailable(error) } else { Self::corrupt(error) }
    }
}

fn is_passing(error: &Error) -> bool {
    if ["RetryableWriteError", "TransientTransactionError", "SystemOverloadedError"]
        .iter()
        .any(|label| error.contains_label(label))
    {
        return true;
    }
    if code(error).is_some_and(|code| PASSING.contains(&code)) {
        return true;
    }
    matches!(
        error.kind.as_ref(),
        ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
    )
}

/// Whether the session of the operation was ended by another client.
pub(super) fn is_interrupted(error: &Error) -> bool {
    code(error) == Some(INTERRUPTED)
}

/// Whether the server reached the requested time limit.
pub(super) fn is_time_limit(error: &Error) -> bool {
    code(error) == Some(TIME_LIMIT)
}

/// Whether a document with this key already exists.
pub(super) fn is_duplicate(error: &Error) -> bool {
    code(error) == Some(DUPLICATE_KEY)
}

fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        _ => None,
    }
}
