//! Follows: follow, or request to follow a private user, and unfollow.

use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use axum::response::Response;
use events::{
    AccountsEvent, Event, FollowEvent, FollowRequested, Followed, ProfileEvent, Recorded, SocialEvent,
    Subject, Unfollowed, UserId,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{AccountStatus, no_user};
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt};

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowRejected {
    Oneself,
    NoUser,
}

impl From<FollowRejected> for Problem {
    fn from(rejected: FollowRejected) -> Self {
        match rejected {
            FollowRejected::Oneself => Self::conflict("follows-oneself", "You cannot follow yourself"),
            FollowRejected::NoUser => no_user(),
        }
    }
}

/// The followee, and the current state of the follow.
#[derive(Debug, Clone, Default, PartialEq)]
struct Follow {
    followee: AccountStatus,
    private: bool,
    step: Step,
}

/// How far a follow has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Step {
    #[default]
    None,
    Requested,
    Follows,
}

impl Fold for Follow {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Social(SocialEvent::Follow(FollowEvent::Followed(_) | FollowEvent::FollowAccepted(_))) => {
                self.step = Step::Follows;
            }
            Event::Social(SocialEvent::Follow(FollowEvent::FollowRequested(_))) => {
                self.step = Step::Requested;
            }
            Event::Social(SocialEvent::Follow(FollowEvent::Unfollowed(_))) => self.step = Step::None,
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PrivacyChanged(event))) => {
                self.private = event.private;
            }
            Event::Accounts(AccountsEvent::Account(_)) => self.followee.apply(recorded),
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }
}

fn follow(state: &Follow, follower: UserId, followee: UserId) -> Result<Option<Event>, FollowRejected> {
    if follower == followee {
        return Err(FollowRejected::Oneself);
    }
    if state.followee != AccountStatus::Active {
        return Err(FollowRejected::NoUser);
    }
    Ok(match state.step {
        Step::None if state.private => Some(FollowRequested { follower, followee }.into()),
        Step::None => Some(Followed { follower, followee }.into()),
        Step::Requested | Step::Follows => None,
    })
}

/// Has no effect if there is neither a follow nor a request. The followee need not exist any more.
fn unfollow(state: &Follow, follower: UserId, followee: UserId) -> Option<Event> {
    match state.step {
        Step::None => None,
        Step::Requested => Some(Unfollowed { follower, followee, only_requested: true }.into()),
        Step::Follows => Some(Unfollowed { follower, followee, only_requested: false }.into()),
    }
}

/// The step after an event of a follow.
fn step_after(event: &Event) -> Step {
    match event {
        Event::Social(SocialEvent::Follow(FollowEvent::FollowRequested(_))) => Step::Requested,
        Event::Social(SocialEvent::Follow(FollowEvent::Followed(_) | FollowEvent::FollowAccepted(_))) => {
            Step::Follows
        }
        _ => Step::None,
    }
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// Follows a user, or asks to if they are private. A replay returns the step that the first request took.
    pub async fn follow(
        &self,
        context: &Context,
        follower: UserId,
        followee: UserId,
    ) -> Result<(Step, Outcome), CommandError<FollowRejected>> {
        let subject = Subject::Follow(follower, followee);
        // The decision may run several times; the last run counts.
        let step = Mutex::new(Step::Follows);
        let decide = |state: &Follow| {
            let event = follow(state, follower, followee)?;
            *step.lock().unwrap_or_else(PoisonError::into_inner) =
                event.as_ref().map_or(state.step, step_after);
            Ok(event)
        };
        let others = [Subject::Account(followee), Subject::Profile(followee)];
        let outcome = self.execute_new(context, subject, &others, decide).await?;
        let step = step.into_inner().unwrap_or_else(PoisonError::into_inner);
        if outcome.replayed
            && let Some((event, _)) = self.replayed_event(context, subject).await?
        {
            return Ok((step_after(&event), outcome));
        }
        Ok((step, outcome))
    }

    pub async fn unfollow(
        &self,
        context: &Context,
        follower: UserId,
        followee: UserId,
    ) -> Result<Outcome, CommandError<FollowRejected>> {
        let decide = |state: &Follow| Ok(unfollow(state, follower, followee));
        self.execute(context, Subject::Follow(follower, followee), &[], decide).await
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(follow_user, unfollow_user))
}

#[derive(Debug, Serialize, ToSchema)]
struct FollowReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// Whether the caller follows the user.
    follows: bool,
    /// Whether the caller has requested to follow the user, whose profile is private.
    requested: bool,
}

impl FollowReceipt {
    fn new(receipt: Receipt, step: Step) -> Self {
        Self { receipt, follows: step == Step::Follows, requested: step == Step::Requested }
    }
}

/// Follow a user
///
/// A user with a private profile must accept the request first.
#[utoipa::path(
    put, path = "/v1/users/{user}/follow", tag = "follows", security(("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = FollowReceipt), (status = 202, body = FollowReceipt), Problems)
)]
async fn follow_user(
    State(commands): State<Commands>,
    session: Session,
    Path(followee): Path<UserId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let follower = session.user;
    let (step, outcome) = commands.follow(&context.with_actor(follower), follower, followee).await?;
    let body = |receipt| FollowReceipt::new(receipt, step);
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

/// Unfollow a user
///
/// Also withdraws a follow request.
#[utoipa::path(
    delete, path = "/v1/users/{user}/follow", tag = "follows", security(("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = FollowReceipt), (status = 202, body = FollowReceipt), Problems)
)]
async fn unfollow_user(
    State(commands): State<Commands>,
    session: Session,
    Path(followee): Path<UserId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let follower = session.user;
    let outcome = commands.unfollow(&context.with_actor(follower), follower, followee).await?;
    let body = |receipt| FollowReceipt::new(receipt, Step::None);
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::accounts::account::testing::UNSEEN;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));

    fn state(followee: AccountStatus, private: bool, step: Step) -> Follow {
        Follow { followee, private, step }
    }

    #[test]
    fn user_is_followed_once() {
        let followed = Followed { follower: BOB, followee: ANN };
        assert_eq!(
            follow(&state(AccountStatus::Active, false, Step::None), BOB, ANN),
            Ok(Some(followed.into()))
        );
        assert_eq!(follow(&state(AccountStatus::Active, false, Step::Follows), BOB, ANN), Ok(None));
    }

    #[test]
    fn private_user_gets_one_request() {
        let requested = FollowRequested { follower: BOB, followee: ANN };
        assert_eq!(
            follow(&state(AccountStatus::Active, true, Step::None), BOB, ANN),
            Ok(Some(requested.into()))
        );
        assert_eq!(follow(&state(AccountStatus::Active, true, Step::Requested), BOB, ANN), Ok(None));
        assert_eq!(follow(&state(AccountStatus::Active, true, Step::Follows), BOB, ANN), Ok(None));
    }

    #[test]
    fn following_oneself_or_an_inactive_user_is_rejected() {
        assert_eq!(
            follow(&state(AccountStatus::Active, false, Step::None), ANN, ANN),
            Err(FollowRejected::Oneself)
        );
        for status in UNSEEN {
            assert_eq!(follow(&state(status, false, Step::None), BOB, ANN), Err(FollowRejected::NoUser));
        }
    }

    #[test]
    fn follow_or_request_is_withdrawn_once() {
        let unfollowed =
            |only_requested| Some(Unfollowed { follower: BOB, followee: ANN, only_requested }.into());
        assert_eq!(
            unfollow(&state(AccountStatus::Active, false, Step::Follows), BOB, ANN),
            unfollowed(false)
        );
        assert_eq!(
            unfollow(&state(AccountStatus::Erased, false, Step::Requested), BOB, ANN),
            unfollowed(true)
        );
        assert_eq!(unfollow(&state(AccountStatus::Active, false, Step::None), BOB, ANN), None);
    }
}
