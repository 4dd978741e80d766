//! The one table from what a decision refuses, and from what keeps a command from its end, to what HTTP says.

use std::time::Duration;

use events::LogError;
use http::StatusCode;
use media::MediaError;
use web::problem::{FieldProblem, Problem};

use crate::accounts::account::LinkRejected;
use crate::accounts::claims::ClaimRejected;
use crate::accounts::departures::DepartureRejected;
use crate::accounts::emails::EmailRejected;
use crate::accounts::passwords::{PasswordRejected, PasswordsBusy};
use crate::accounts::profiles::ProfileRejected;
use crate::accounts::roles::RoleRejected;
use crate::accounts::sessions::SessionRejected;
use crate::images::{ImageRejected, MEGAPIXELS, MEMORY, PROFILE_LIMIT, SIDE_LIMIT};
use crate::pipeline::execute::Failure;
use crate::social::collections::CollectionRejected;
use crate::social::comments::CommentRejected;
use crate::social::follows::FollowRejected;
use crate::social::likes::LikeRejected;
use crate::social::moderation::ModerationRejected;
use crate::social::posts::PostRejected;
use crate::social::saves::SaveRejected;
use crate::social::stories::StoryRejected;

/// After which an account that has too many uploads at once may try the next.
const UPLOAD_WAIT: Duration = Duration::from_secs(2);

pub(crate) fn log_problem(error: LogError) -> Problem {
    match error {
        LogError::Unavailable(_) => Problem::unavailable("The event log", error),
        LogError::Corrupt { .. } => Problem::internal(error),
    }
}

pub(crate) fn media_problem(error: MediaError) -> Problem {
    match error {
        MediaError::Unavailable(_) => Problem::unavailable("The media store", error),
        MediaError::BeyondEnd(_) => Problem::internal(error),
    }
}

impl<R: Into<Problem>> From<Failure<R>> for Problem {
    fn from(failure: Failure<R>) -> Self {
        match failure {
            Failure::Rejected(rejection) => rejection.into(),
            Failure::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "This Idempotency-Key was used before for something else: take a new one",
            ),
            Failure::OutcomeUnknown(cause) => Self::outcome_unknown(cause),
            Failure::Contended => Self::unavailable("This", "others kept changing the same subject"),
            Failure::Log(error) => log_problem(error),
        }
    }
}

impl From<PasswordsBusy> for Problem {
    fn from(busy: PasswordsBusy) -> Self {
        Self::unavailable("Log-in", busy)
    }
}

impl From<ClaimRejected> for Problem {
    fn from(rejected: ClaimRejected) -> Self {
        match rejected {
            ClaimRejected::UsernameTaken => Self::conflict("username-taken", "This username is taken"),
            ClaimRejected::UsernameReserved => {
                Self::invalid(vec![FieldProblem::new("username", "is reserved: choose another one")])
            }
            ClaimRejected::EmailTaken => Self::conflict("email-taken", "This email address is taken"),
            ClaimRejected::Lost => {
                Self::conflict("claim-lost", "This took too long and was given up: try again")
            }
            ClaimRejected::NoAccount => no_account(),
        }
    }
}

impl From<LinkRejected> for Problem {
    fn from(_: LinkRejected) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-link", "This link has expired or was used: ask for a new one")
    }
}

impl From<PasswordRejected> for Problem {
    fn from(rejected: PasswordRejected) -> Self {
        match rejected {
            PasswordRejected::NoAccount => no_account(),
            PasswordRejected::WrongPassword => {
                Self::invalid(vec![FieldProblem::new("current_password", "is not your present password")])
            }
        }
    }
}

impl From<EmailRejected> for Problem {
    fn from(rejected: EmailRejected) -> Self {
        match rejected {
            EmailRejected::NoAccount => no_account(),
            EmailRejected::Same => Self::conflict("same-email", "This is your address already"),
            EmailRejected::Link(rejected) => rejected.into(),
            EmailRejected::Claim(rejected) => rejected.into(),
        }
    }
}

impl From<RoleRejected> for Problem {
    fn from(rejected: RoleRejected) -> Self {
        match rejected {
            RoleRejected::NotAllowed => Self::forbidden("Your roles do not allow this"),
            RoleRejected::NoUser => no_user(),
            RoleRejected::Oneself => {
                Self::conflict("oneself", "You cannot do this to yourself: another admin can")
            }
        }
    }
}

impl From<ModerationRejected> for Problem {
    fn from(rejected: ModerationRejected) -> Self {
        match rejected {
            ModerationRejected::NotAllowed => Self::forbidden("Your roles do not allow this"),
            ModerationRejected::NotFound => Self::not_found("There is no such content"),
            ModerationRejected::TooLate => Self::conflict(
                "removal-final",
                "This was removed more than 30 days ago and cannot be restored",
            ),
        }
    }
}

impl From<DepartureRejected> for Problem {
    fn from(rejected: DepartureRejected) -> Self {
        match rejected {
            DepartureRejected::NoAccount => no_account(),
            DepartureRejected::Suspended => Self::forbidden("This account is suspended"),
        }
    }
}

impl From<SessionRejected> for Problem {
    fn from(rejected: SessionRejected) -> Self {
        match rejected {
            SessionRejected::WrongLogin => Self::unauthenticated("The username or the password is wrong"),
            SessionRejected::Suspended => Self::forbidden("This account is suspended"),
            SessionRejected::NoSession => Self::not_found("There is no such session"),
            SessionRejected::Ended => Self::unauthenticated(
                "The session that this request began has ended: log in under a new Idempotency-Key",
            ),
        }
    }
}

impl From<ProfileRejected> for Problem {
    fn from(rejected: ProfileRejected) -> Self {
        match rejected {
            ProfileRejected::NoAccount => no_account(),
        }
    }
}

impl From<PostRejected> for Problem {
    fn from(rejected: PostRejected) -> Self {
        match rejected {
            PostRejected::NotFound => no_post(),
            PostRejected::NotYours => Self::forbidden("This post is somebody else's"),
        }
    }
}

impl From<LikeRejected> for Problem {
    fn from(rejected: LikeRejected) -> Self {
        match rejected {
            LikeRejected::NoPost => no_post(),
        }
    }
}

impl From<CommentRejected> for Problem {
    fn from(rejected: CommentRejected) -> Self {
        match rejected {
            CommentRejected::NoPost => no_post(),
            CommentRejected::NotFound => Self::not_found("There is no such comment"),
            CommentRejected::NotYours => {
                Self::forbidden("This comment is somebody else's, under somebody else's post")
            }
            CommentRejected::NoParent => {
                Self::not_found("There is no such comment to answer under this post")
            }
            CommentRejected::ParentIsReply => {
                Self::conflict("nested-reply", "A reply cannot be answered: answer the comment it belongs to")
            }
        }
    }
}

impl From<FollowRejected> for Problem {
    fn from(rejected: FollowRejected) -> Self {
        match rejected {
            FollowRejected::Oneself => Self::conflict("follows-oneself", "You cannot follow yourself"),
            FollowRejected::NoUser => no_user(),
        }
    }
}

impl From<StoryRejected> for Problem {
    fn from(rejected: StoryRejected) -> Self {
        match rejected {
            StoryRejected::NotFound => Self::not_found("There is no such story"),
            StoryRejected::NotYours => Self::forbidden("This story is somebody else's"),
        }
    }
}

impl From<SaveRejected> for Problem {
    fn from(rejected: SaveRejected) -> Self {
        match rejected {
            SaveRejected::NoPost => no_post(),
            SaveRejected::NoCollection => no_collection(),
        }
    }
}

impl From<CollectionRejected> for Problem {
    fn from(rejected: CollectionRejected) -> Self {
        match rejected {
            CollectionRejected::NotFound => no_collection(),
            CollectionRejected::TooMany => Self::conflict(
                "too-many-collections",
                format!(
                    "You have {} collections: delete one first",
                    crate::social::collections::COLLECTIONS_LIMIT
                ),
            ),
        }
    }
}

impl From<ImageRejected> for Problem {
    fn from(rejected: ImageRejected) -> Self {
        match &rejected {
            ImageRejected::NoImage(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "not-an-image",
                "This file is no image that can be read: JPEG, PNG, WebP and GIF are",
            ),
            ImageRejected::TooManyPixels => image_too_large(format!(
                "This image has too many pixels: at most {MEGAPIXELS} megapixels are taken"
            )),
            ImageRejected::SideTooLong => image_too_large(format!(
                "This image is too long: at most {SIDE_LIMIT} pixels are taken along a side"
            )),
            ImageRejected::TooMuchMemory => image_too_large(format!(
                "This image needs too much memory to be read: at most {} MB are given to one",
                MEMORY >> 20
            )),
            ImageRejected::ProfileTooLarge => image_too_large(format!(
                "This image has too large a colour profile: at most {} MB are taken",
                PROFILE_LIMIT >> 20
            )),
            ImageRejected::TooManyUploads => {
                Self::too_many("You have too many uploads at once: wait for one to end", UPLOAD_WAIT)
            }
            ImageRejected::Busy => return Self::unavailable("Room for another image", rejected),
            ImageRejected::Failed(_) => return Self::internal(rejected),
        }
        .because(rejected)
    }
}

fn image_too_large(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "image-too-large", detail)
}

fn no_post() -> Problem {
    Problem::not_found("There is no such post")
}

/// Also somebody else's, of which nobody is told that it is there.
fn no_collection() -> Problem {
    Problem::not_found("There is no such collection")
}

fn no_user() -> Problem {
    Problem::not_found("There is no such user")
}

/// A token outlives its account only between two of its requests.
fn no_account() -> Problem {
    Problem::unauthenticated("This account is gone")
}
