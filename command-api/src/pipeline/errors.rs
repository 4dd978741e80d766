//! Errors of commands, and their mapping to HTTP. It is independent of features: each rejection and its mapping are defined
//! next to the decision.

use std::error::Error;

use events::LogError;
use http::StatusCode;
use media::MediaError;
use web::compat::Refusal;
use web::limits::TooManyAttempts;
use web::problem::Problem;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a command failed. A command without rejections has `CommandError<Infallible>`.
#[derive(Debug)]
pub enum CommandError<R> {
    /// The decision rejected the command.
    Rejected(R),
    /// The `Idempotency-Key` was used before for another command.
    KeyReused,
    /// Every attempt met a concurrent append to the same subject.
    Contended,
    /// The event may have been appended or not.
    OutcomeUnknown(Cause),
    Log(LogError),
    Media(MediaError),
    /// This process has no capacity left for a part of the command.
    Busy {
        /// The part, as the client reads it.
        what: &'static str,
        cause: Cause,
    },
    RateLimited(TooManyAttempts),
    /// A defect of this program.
    Defect(Cause),
}

impl<R> CommandError<R> {
    pub(crate) fn defect(cause: impl Into<Cause>) -> Self {
        Self::Defect(cause.into())
    }

    /// Separates the rejection from the other errors, which pass unchanged to the command that this one is a part of.
    pub fn into_rejection<S>(self) -> Result<R, CommandError<S>> {
        Err(match self {
            Self::Rejected(rejection) => return Ok(rejection),
            Self::KeyReused => CommandError::KeyReused,
            Self::Contended => CommandError::Contended,
            Self::OutcomeUnknown(cause) => CommandError::OutcomeUnknown(cause),
            Self::Log(error) => CommandError::Log(error),
            Self::Media(error) => CommandError::Media(error),
            Self::Busy { what, cause } => CommandError::Busy { what, cause },
            Self::RateLimited(exceeded) => CommandError::RateLimited(exceeded),
            Self::Defect(cause) => CommandError::Defect(cause),
        })
    }

    /// The error of a command that this one is a part of, whose rejection wraps this one's.
    pub(crate) fn map_rejection<S>(self, wrap: impl FnOnce(R) -> S) -> CommandError<S> {
        match self.into_rejection() {
            Ok(rejection) => CommandError::Rejected(wrap(rejection)),
            Err(error) => error,
        }
    }
}

impl<R> From<LogError> for CommandError<R> {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl<R> From<MediaError> for CommandError<R> {
    fn from(error: MediaError) -> Self {
        Self::Media(error)
    }
}

impl<R> From<TooManyAttempts> for CommandError<R> {
    fn from(exceeded: TooManyAttempts) -> Self {
        Self::RateLimited(exceeded)
    }
}

impl<R: Into<Problem>> From<CommandError<R>> for Refusal {
    fn from(error: CommandError<R>) -> Self {
        Self::Problem(error.into())
    }
}

impl<R: Into<Problem>> From<CommandError<R>> for Problem {
    fn from(error: CommandError<R>) -> Self {
        match error {
            CommandError::Rejected(rejection) => rejection.into(),
            CommandError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "This Idempotency-Key was used for another request: use a new one",
            ),
            CommandError::OutcomeUnknown(cause) => Self::outcome_unknown(cause),
            CommandError::Contended => {
                let detail = "Other requests keep changing the same thing: try again a little later";
                Self::overloaded(detail, "concurrent appends to the same subject")
            }
            CommandError::Log(error) => log_problem(error),
            CommandError::Media(error) => media_problem(error),
            CommandError::Busy { what, cause } => Self::overloaded(
                format!("{what} is overloaded at the moment: try again a little later"),
                cause,
            ),
            CommandError::RateLimited(exceeded) => exceeded.into(),
            CommandError::Defect(cause) => Self::internal(cause),
        }
    }
}

pub fn log_problem(error: LogError) -> Problem {
    match error {
        LogError::Unavailable(_) => Problem::unavailable("The event log", error),
        LogError::Corrupt { .. } => Problem::internal(error),
    }
}

fn media_problem(error: MediaError) -> Problem {
    match error {
        MediaError::Unavailable(_) => Problem::unavailable("The media store", error),
        MediaError::BeyondEnd(_) => Problem::internal(error),
    }
}
