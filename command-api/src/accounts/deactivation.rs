//! Deactivation and reactivation of an account by its owner, and its erasure.

use axum::extract::State;
use axum::response::Response;
use events::{Deactivated, Erased, Event, Reactivated, Subject, UserId};
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
use crate::accounts::account::{Account, AccountStatus, no_account};
use crate::accounts::claims::ClaimKind;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::Outcome;
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeactivationRejected {
    NoAccount,
    /// Only a moderator can end a suspension.
    Suspended,
}

impl From<DeactivationRejected> for Problem {
    fn from(rejected: DeactivationRejected) -> Self {
        match rejected {
            DeactivationRejected::NoAccount => no_account(),
            DeactivationRejected::Suspended => Self::forbidden("This account is suspended"),
        }
    }
}

fn deactivate(account: &Account, user: UserId) -> Result<Option<Event>, DeactivationRejected> {
    match account.status {
        AccountStatus::Active => Ok(Some(Deactivated { user }.into())),
        AccountStatus::Deactivated => Ok(None),
        AccountStatus::Suspended => Err(DeactivationRejected::Suspended),
        AccountStatus::None | AccountStatus::Erased => Err(DeactivationRejected::NoAccount),
    }
}

fn reactivate(account: &Account, user: UserId) -> Result<Option<Event>, DeactivationRejected> {
    match account.status {
        AccountStatus::Deactivated => Ok(Some(Reactivated { user }.into())),
        AccountStatus::Active => Ok(None),
        AccountStatus::Suspended => Err(DeactivationRejected::Suspended),
        AccountStatus::None | AccountStatus::Erased => Err(DeactivationRejected::NoAccount),
    }
}

fn erase(account: &Account, user: UserId) -> Result<Option<Event>, DeactivationRejected> {
    match account.status {
        AccountStatus::Active | AccountStatus::Deactivated | AccountStatus::Suspended => {
            Ok(Some(Erased { user }.into()))
        }
        AccountStatus::Erased => Ok(None),
        AccountStatus::None => Err(DeactivationRejected::NoAccount),
    }
}

// ----------------------------------------------------------------- commands

impl Commands {
    pub async fn deactivate(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Outcome, CommandError<DeactivationRejected>> {
        let decide = |account: &Account| deactivate(account, user);
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    pub(crate) async fn reactivate(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Outcome, CommandError<DeactivationRejected>> {
        let decide = |account: &Account| reactivate(account, user);
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    /// Erases a user (crypto-shredding). Their address is free at once, their username after 30 days. Their personal data
    /// becomes unreadable when their key is destroyed: now, or as soon as the key vault can be reached.
    pub async fn erase(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Outcome, CommandError<DeactivationRejected>> {
        let account = self.account(user).await?;
        let decide = |account: &Account| erase(account, user);
        let outcome = self.execute(context, Subject::Account(user), &[], decide).await?;
        for (kind, held) in [(ClaimKind::Username, account.username), (ClaimKind::Email, account.email)] {
            if let Some(claim) = held {
                self.release(context, kind, claim, user).await;
            }
        }
        // The projector destroys the keys of erased users too.
        if let Err(error) = self.log.keys().destroy(user).await {
            tracing::warn!(error = with_causes(&error), %user, "the key of an erased user is destroyed later");
        }
        Ok(outcome)
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(deactivate_account))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Deactivation {
    #[schema(format = "password", max_length = 128, example = "correct horse battery")]
    current_password: String,
}

/// Deactivate the account
///
/// The user's profile and content are hidden and all sessions end. The next log-in reactivates the account.
#[utoipa::path(
    post, path = "/v1/me/deactivation", tag = "accounts", request_body = Deactivation, security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn deactivate_account(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    Json(Deactivation { current_password }): Json<Deactivation>,
) -> Result<Response, Problem> {
    let user = session.user;
    // A replay has no active session, or must still end it.
    let context = context.with_actor(user).without_idempotency_key();
    commands.confirm_password(user, from, current_password).await?;
    let outcome = commands.deactivate(&context, user).await?;
    commands.end_sessions(&context, user, None).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::account::testing::{ANN, signed_up};

    fn status(status: AccountStatus) -> Account {
        Account { status, ..signed_up() }
    }

    #[test]
    fn account_is_deactivated_and_reactivated_once() {
        assert_eq!(
            deactivate(&status(AccountStatus::Active), ANN),
            Ok(Some(Deactivated { user: ANN }.into()))
        );
        assert_eq!(deactivate(&status(AccountStatus::Deactivated), ANN), Ok(None));
        assert_eq!(
            reactivate(&status(AccountStatus::Deactivated), ANN),
            Ok(Some(Reactivated { user: ANN }.into()))
        );
        assert_eq!(reactivate(&status(AccountStatus::Active), ANN), Ok(None));
    }

    #[test]
    fn suspended_account_is_neither_deactivated_nor_reactivated() {
        let suspended = status(AccountStatus::Suspended);
        assert_eq!(deactivate(&suspended, ANN), Err(DeactivationRejected::Suspended));
        assert_eq!(reactivate(&suspended, ANN), Err(DeactivationRejected::Suspended));
    }

    #[test]
    fn existing_account_is_erased_once() {
        for from in [AccountStatus::Active, AccountStatus::Deactivated, AccountStatus::Suspended] {
            assert_eq!(erase(&status(from), ANN), Ok(Some(Erased { user: ANN }.into())));
        }
        assert_eq!(erase(&status(AccountStatus::Erased), ANN), Ok(None));
        assert_eq!(erase(&Account::default(), ANN), Err(DeactivationRejected::NoAccount));
        assert_eq!(deactivate(&status(AccountStatus::Erased), ANN), Err(DeactivationRejected::NoAccount));
    }
}
