//! Going for a while, and for good: an account put to rest by its owner and woken again, or erased.

use axum::extract::State;
use axum::response::Response;
use events::{Deactivated, Erased, Event, Reactivated, Subject, UserId};
use http::StatusCode;
use serde::Deserialize;
use service::telemetry::with_causes;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Json;
use web::http::ClientAddress;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{Account, Standing};
use crate::accounts::claims::ClaimKind;
use crate::pipeline::context::Context;
use crate::pipeline::execute::{Done, Failure};
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::rejections::log_problem;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DepartureRejected {
    NoAccount,
    /// Only a moderator ends it.
    Suspended,
}

fn deactivate(account: &Account, user: UserId) -> Result<Option<Event>, DepartureRejected> {
    match account.standing {
        Standing::Active => Ok(Some(Deactivated { user }.into())),
        Standing::Deactivated => Ok(None),
        Standing::Suspended => Err(DepartureRejected::Suspended),
        Standing::None | Standing::Erased => Err(DepartureRejected::NoAccount),
    }
}

fn reactivate(account: &Account, user: UserId) -> Result<Option<Event>, DepartureRejected> {
    match account.standing {
        Standing::Deactivated => Ok(Some(Reactivated { user }.into())),
        Standing::Active => Ok(None),
        Standing::Suspended => Err(DepartureRejected::Suspended),
        Standing::None | Standing::Erased => Err(DepartureRejected::NoAccount),
    }
}

fn erase(account: &Account, user: UserId) -> Result<Option<Event>, DepartureRejected> {
    match account.standing {
        Standing::Active | Standing::Deactivated | Standing::Suspended => Ok(Some(Erased { user }.into())),
        Standing::Erased => Ok(None),
        Standing::None => Err(DepartureRejected::NoAccount),
    }
}

// ----------------------------------------------------------------- commands

impl Commands {
    pub(crate) async fn deactivate(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Done, Failure<DepartureRejected>> {
        let decide = |account: &Account| deactivate(account, user);
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    pub(crate) async fn reactivate(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Done, Failure<DepartureRejected>> {
        let decide = |account: &Account| reactivate(account, user);
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    /// Erases somebody: their address is free again, their name in 30 days, and what they wrote can be read no more, at once or, if the key vault
    /// cannot be reached, as soon as it can.
    pub(crate) async fn erase(&self, context: &Context, user: UserId) -> Result<Done, Problem> {
        let account: Account = self.look_at(Subject::Account(user)).await.map_err(log_problem)?;
        let decide = |account: &Account| erase(account, user);
        let done = self.execute(context, Subject::Account(user), &[], decide).await?;
        for (kind, held) in [(ClaimKind::Username, account.username), (ClaimKind::Email, account.email)] {
            if let Some(claim) = held {
                self.release(context, kind, claim, user).await;
            }
        }
        // The person is erased by the event; what fails here the projector does.
        if let Err(error) = self.log.keys().destroy(user).await {
            tracing::warn!(error = with_causes(&error), %user, "the key of who is erased is destroyed later");
        }
        Ok(done)
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(post_deactivation))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Deactivation {
    #[schema(format = "password", max_length = 128, example = "my present password")]
    current_password: String,
}

/// Put my account to rest
///
/// Nobody is shown anything of mine any more, and all my sessions end. As soon as I log in again everything is back.
#[utoipa::path(
    post, path = "/v1/me/deactivation", tag = "accounts", request_body = Deactivation, security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn post_deactivation(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    Json(Deactivation { current_password }): Json<Deactivation>,
) -> Result<Response, Problem> {
    let user = session.user;
    // A request that is repeated has no session any more, or has yet to end it.
    let context = context.by(user).unrepeatable();
    commands.confirm_password(user, from, current_password).await?;
    let done = commands.deactivate(&context, user).await?;
    commands.end_sessions(&context, user, None).await?;
    Ok(commands.receipt(prefer, done, StatusCode::OK, None).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::account::testing::{ANN, signed_up};

    fn standing(standing: Standing) -> Account {
        Account { standing, ..signed_up() }
    }

    #[test]
    fn who_is_active_goes_and_comes_back_and_twice_is_as_once() {
        assert_eq!(deactivate(&standing(Standing::Active), ANN), Ok(Some(Deactivated { user: ANN }.into())));
        assert_eq!(deactivate(&standing(Standing::Deactivated), ANN), Ok(None));
        assert_eq!(
            reactivate(&standing(Standing::Deactivated), ANN),
            Ok(Some(Reactivated { user: ANN }.into()))
        );
        assert_eq!(reactivate(&standing(Standing::Active), ANN), Ok(None));
    }

    #[test]
    fn who_is_suspended_neither_goes_nor_comes_back_by_themselves() {
        let suspended = standing(Standing::Suspended);
        assert_eq!(deactivate(&suspended, ANN), Err(DepartureRejected::Suspended));
        assert_eq!(reactivate(&suspended, ANN), Err(DepartureRejected::Suspended));
    }

    #[test]
    fn everybody_who_is_there_is_erased_once() {
        for from in [Standing::Active, Standing::Deactivated, Standing::Suspended] {
            assert_eq!(erase(&standing(from), ANN), Ok(Some(Erased { user: ANN }.into())));
        }
        assert_eq!(erase(&standing(Standing::Erased), ANN), Ok(None));
        assert_eq!(erase(&Account::default(), ANN), Err(DepartureRejected::NoAccount));
        assert_eq!(deactivate(&standing(Standing::Erased), ANN), Err(DepartureRejected::NoAccount));
    }
}
