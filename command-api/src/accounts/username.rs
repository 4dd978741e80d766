//! Changes of the username.

use axum::extract::State;
use axum::response::Response;
use events::{Event, Personal, Subject, UserId, UsernameChanged};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Json;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::Account;
use crate::accounts::claims::{ClaimKind, ClaimRejected};
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::Outcome;
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt};
use crate::pipeline::text::{self, Fields};

// ---------------------------------------------------------------- decisions

fn change_username(account: &Account, event: &UsernameChanged) -> Result<Option<Event>, ClaimRejected> {
    if !account.exists() {
        return Err(ClaimRejected::NoAccount);
    }
    if account.abandoned.contains(&event.username) && account.username != Some(event.username) {
        return Err(ClaimRejected::Lost);
    }
    Ok(Some(event.clone().into()))
}

// ----------------------------------------------------------------- commands

impl Commands {
    pub async fn rename(
        &self,
        context: &Context,
        user: UserId,
        spelling: String,
    ) -> Result<Outcome, CommandError<ClaimRejected>> {
        let username = self.log.keys().claim_hash(&spelling);
        let account = self.account(user).await?;
        let old = account.username;
        // An account that already has a reserved name may change its spelling.
        if old != Some(username) && self.reserved_usernames.contains(&spelling) {
            return Err(CommandError::Rejected(ClaimRejected::UsernameReserved));
        }
        self.claim(context, ClaimKind::Username, username, user).await?;
        let event = UsernameChanged { user, username, spelling: Personal::Open(spelling) };
        let outcome = self
            .execute(context, Subject::Account(user), &[], |account| change_username(account, &event))
            .await?;
        // The claim is kept if only the spelling changes.
        if let Some(old) = old.filter(|old| *old != username) {
            self.release(context, ClaimKind::Username, old, user).await;
        }
        Ok(outcome)
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(set_username))
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Username {
    #[schema(min_length = 3, max_length = 30, pattern = "^[A-Za-z0-9][A-Za-z0-9_.]*$", example = "ann")]
    username: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct UsernameReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    username: String,
}

/// Change the username
///
/// The previous username stays reserved for the user for 30 days.
#[utoipa::path(
    put, path = "/v1/me/username", tag = "accounts", request_body = Username, security(("token" = [])),
    params(CommandHeaders),
    responses((status = 200, body = UsernameReceipt), (status = 202, body = UsernameReceipt), Problems)
)]
async fn set_username(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(Username { username }): Json<Username>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let username = fields.take("username", text::username(&username));
    fields.finish()?;
    let user = session.user;
    let context = context.with_actor(user).with_payload([username.as_bytes()]);
    let outcome = commands.rename(&context, user, username.clone()).await?;
    let body = |receipt| UsernameReceipt { receipt, username };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::account::testing::{ANN, hash, signed_up};

    #[test]
    fn late_username_change_is_rejected_if_the_claim_was_taken_over() {
        let rename = |account: &Account, username| {
            change_username(account, &UsernameChanged { user: ANN, username, spelling: Personal::Erased })
                .map(drop)
        };
        assert_eq!(rename(&signed_up(), hash(5)), Ok(()));
        assert_eq!(rename(&signed_up(), hash(1)), Ok(()), "another spelling of the same name");
        let late = Account { abandoned: [hash(5)].into(), ..signed_up() };
        assert_eq!(rename(&late, hash(5)), Err(ClaimRejected::Lost));
        assert_eq!(rename(&Account::default(), hash(5)), Err(ClaimRejected::NoAccount));
    }
}
