use mongodb::error::{Error, ErrorKind};

use crate::StoreError;

/// Server errors that mean "not now": a primary that steps down or starts, a shutdown, an interruption, a time limit,
/// a write conflict. Source: <https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>.
const PASSING: &[i32] = &[
    6, 7, 24, 50, 63, 89, 91, 112, 133, 134, 150, 189, 202, 251, 262, 9001, 10107, 11600, 11602, 13388,
    13435, 13436, 234, 317, 14031,
];

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
    match error.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. } => true,
        ErrorKind::Command(command) => PASSING.contains(&command.code),
        _ => false,
    }
}
