//! Roles and suspensions. A change of either ends all sessions of the account, so that the permissions of a session never
//! change while it is active.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use events::{
    Event, LogError, Personal, Reinstated, Role, RoleGranted, RoleRevoked, Subject, Suspended, UserId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{Account, AccountStatus, no_user};
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::Outcome;
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt};
use crate::pipeline::text::{self, Fields};

/// Longest reason for a suspension or a removal, in characters.
pub(crate) const REASON_LIMIT: usize = 500;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleRejected {
    NotAllowed,
    NoUser,
    /// Users cannot revoke their own roles or suspend themselves.
    Oneself,
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

/// The issuer of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authority {
    /// The operator of the deployment.
    Operator,
    Person {
        user: UserId,
        roles: HashSet<Role>,
    },
}

impl Authority {
    pub(crate) fn has(&self, role: Role) -> bool {
        match self {
            Self::Operator => true,
            Self::Person { roles, .. } => roles.contains(&role),
        }
    }

    fn is(&self, user: UserId) -> bool {
        matches!(self, Self::Person { user: own, .. } if *own == user)
    }
}

fn may_grant(account: &Account, by: &Authority) -> Result<(), RoleRejected> {
    if !by.has(Role::Admin) {
        return Err(RoleRejected::NotAllowed);
    }
    if account.exists() { Ok(()) } else { Err(RoleRejected::NoUser) }
}

fn grant(account: &Account, by: &Authority, user: UserId, role: Role) -> Result<Option<Event>, RoleRejected> {
    may_grant(account, by)?;
    Ok((!account.roles.contains(&role)).then(|| RoleGranted { user, role }.into()))
}

fn revoke(
    account: &Account,
    by: &Authority,
    user: UserId,
    role: Role,
) -> Result<Option<Event>, RoleRejected> {
    may_grant(account, by)?;
    if by.is(user) {
        return Err(RoleRejected::Oneself);
    }
    Ok(account.roles.contains(&role).then(|| RoleRevoked { user, role }.into()))
}

/// Moderators and admins suspend users. Only an admin suspends a moderator; an admin must lose the role first.
fn may_lock(account: &Account, by: &Authority, user: UserId) -> Result<(), RoleRejected> {
    let above = account.roles.contains(&Role::Admin)
        || (account.roles.contains(&Role::Moderator) && !by.has(Role::Admin));
    if !(by.has(Role::Moderator) || by.has(Role::Admin)) {
        return Err(RoleRejected::NotAllowed);
    }
    if !account.exists() {
        return Err(RoleRejected::NoUser);
    }
    if by.is(user) {
        return Err(RoleRejected::Oneself);
    }
    if above { Err(RoleRejected::NotAllowed) } else { Ok(()) }
}

fn suspend(account: &Account, by: &Authority, event: &Suspended) -> Result<Option<Event>, RoleRejected> {
    may_lock(account, by, event.user)?;
    Ok((account.status != AccountStatus::Suspended).then(|| event.clone().into()))
}

fn reinstate(account: &Account, by: &Authority, user: UserId) -> Result<Option<Event>, RoleRejected> {
    may_lock(account, by, user)?;
    Ok((account.status == AccountStatus::Suspended).then(|| Reinstated { user }.into()))
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// A user with their current roles.
    pub(crate) async fn authority(&self, user: UserId) -> Result<Authority, LogError> {
        Ok(Authority::Person { user, roles: self.account(user).await?.roles })
    }

    async fn set_role(
        &self,
        context: &Context,
        by: &Authority,
        user: UserId,
        role: Role,
        granted: bool,
    ) -> Result<Outcome, CommandError<RoleRejected>> {
        let decide = |account: &Account| match granted {
            true => grant(account, by, user, role),
            false => revoke(account, by, user, role),
        };
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    /// Grants or revokes a role as the operator, by username or address. Returns whether that changed anything; none if
    /// there is no such account.
    pub async fn set_role_as_operator(
        &self,
        login: &str,
        role: Role,
        granted: bool,
    ) -> Result<Option<bool>, CommandError<RoleRejected>> {
        let found = self.find_login(login).await?;
        let Some((user, _)) = self.owner(found).await? else { return Ok(None) };
        let context = Context::system(self.clock.now());
        let outcome = self.set_role(&context, &Authority::Operator, user, role, granted).await?;
        Ok(Some(outcome.changed))
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(grant_role, revoke_role))
        .routes(routes!(suspend_user, reinstate_user))
}

#[derive(Debug, Serialize, ToSchema)]
struct RoleReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// Whether the user has the role now.
    granted: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct SuspensionReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// Whether the user is suspended now.
    suspended: bool,
}

/// Grant a role
///
/// For admins. All sessions of the user end; the role takes effect at the next log-in.
#[utoipa::path(
    put, path = "/v1/users/{user}/roles/{role}", tag = "roles", security(("token" = [])),
    params(
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("role" = resources::Role, Path),
        CommandHeaders
    ),
    responses((status = 200, body = RoleReceipt), (status = 202, body = RoleReceipt), Problems)
)]
async fn grant_role(
    State(commands): State<Commands>,
    session: Session,
    Path((user, role)): Path<(UserId, Role)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let actor = session.user;
    let by = commands.authority(actor).await.map_err(log_problem)?;
    let outcome = commands.set_role(&context.with_actor(actor), &by, user, role, true).await?;
    Ok(commands.receipt_with(prefer, outcome, |receipt| RoleReceipt { receipt, granted: true }).await)
}

/// Revoke a role
///
/// For admins. All sessions of the user end.
#[utoipa::path(
    delete, path = "/v1/users/{user}/roles/{role}", tag = "roles", security(("token" = [])),
    params(
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("role" = resources::Role, Path),
        CommandHeaders
    ),
    responses((status = 200, body = RoleReceipt), (status = 202, body = RoleReceipt), Problems)
)]
async fn revoke_role(
    State(commands): State<Commands>,
    session: Session,
    Path((user, role)): Path<(UserId, Role)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let actor = session.user;
    let by = commands.authority(actor).await.map_err(log_problem)?;
    let outcome = commands.set_role(&context.with_actor(actor), &by, user, role, false).await?;
    Ok(commands.receipt_with(prefer, outcome, |receipt| RoleReceipt { receipt, granted: false }).await)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Suspension {
    /// The reason, for the record.
    #[schema(min_length = 1, max_length = 500, example = "Spam")]
    reason: String,
}

/// Suspend a user
///
/// For moderators and admins. All sessions of the user end, and log-ins are refused until the user is reinstated.
#[utoipa::path(
    put, path = "/v1/users/{user}/suspension", tag = "roles", request_body = Suspension, security(("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = SuspensionReceipt), (status = 202, body = SuspensionReceipt), Problems)
)]
async fn suspend_user(
    State(commands): State<Commands>,
    session: Session,
    Path(user): Path<UserId>,
    context: Context,
    prefer: Prefer,
    Json(Suspension { reason }): Json<Suspension>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let reason = fields.take("reason", text::required(&reason, REASON_LIMIT));
    fields.finish()?;
    let actor = session.user;
    let by = commands.authority(actor).await.map_err(log_problem)?;
    let context = context.with_actor(actor).with_payload([reason.as_bytes()]);
    let event = Suspended { user, reason: Personal::Open(reason) };
    let decide = |account: &Account| suspend(account, &by, &event);
    let outcome = commands.execute(&context, Subject::Account(user), &[], decide).await?;
    Ok(commands.receipt_with(prefer, outcome, |receipt| SuspensionReceipt { receipt, suspended: true }).await)
}

/// Reinstate a suspended user
///
/// For moderators and admins.
#[utoipa::path(
    delete, path = "/v1/users/{user}/suspension", tag = "roles", security(("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = SuspensionReceipt), (status = 202, body = SuspensionReceipt), Problems)
)]
async fn reinstate_user(
    State(commands): State<Commands>,
    session: Session,
    Path(user): Path<UserId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let actor = session.user;
    let by = commands.authority(actor).await.map_err(log_problem)?;
    let decide = |account: &Account| reinstate(account, &by, user);
    let outcome = commands.execute(&context.with_actor(actor), Subject::Account(user), &[], decide).await?;
    Ok(commands
        .receipt_with(prefer, outcome, |receipt| SuspensionReceipt { receipt, suspended: false })
        .await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));

    fn with(roles: &[Role]) -> Account {
        Account {
            status: AccountStatus::Active,
            roles: roles.iter().copied().collect(),
            ..Account::default()
        }
    }

    fn bob(roles: &[Role]) -> Authority {
        Authority::Person { user: BOB, roles: roles.iter().copied().collect() }
    }

    #[test]
    fn admins_and_the_operator_grant_and_revoke_roles() {
        let granted = Ok(Some(RoleGranted { user: ANN, role: Role::Artist }.into()));
        let revoked = Ok(Some(RoleRevoked { user: ANN, role: Role::Artist }.into()));
        for by in [bob(&[Role::Admin]), Authority::Operator] {
            assert_eq!(grant(&with(&[]), &by, ANN, Role::Artist), granted);
            assert_eq!(grant(&with(&[Role::Artist]), &by, ANN, Role::Artist), Ok(None));
            assert_eq!(revoke(&with(&[Role::Artist]), &by, ANN, Role::Artist), revoked);
            assert_eq!(revoke(&with(&[]), &by, ANN, Role::Artist), Ok(None));
            assert_eq!(grant(&Account::default(), &by, ANN, Role::Artist), Err(RoleRejected::NoUser));
        }
        for by in [bob(&[]), bob(&[Role::Artist, Role::Moderator])] {
            assert_eq!(grant(&with(&[]), &by, ANN, Role::Artist), Err(RoleRejected::NotAllowed));
            assert_eq!(revoke(&with(&[Role::Artist]), &by, ANN, Role::Artist), Err(RoleRejected::NotAllowed));
        }
        let oneself = revoke(&with(&[Role::Admin]), &bob(&[Role::Admin]), BOB, Role::Admin);
        assert_eq!(oneself, Err(RoleRejected::Oneself));
    }

    #[test]
    fn users_of_the_same_rank_cannot_be_suspended() {
        let event = Suspended { user: ANN, reason: Personal::Open("spam".into()) };
        let suspended: Result<_, _> = Ok(Some(event.clone().into()));
        let refused = Err(RoleRejected::NotAllowed);
        for (theirs, own, expected) in [
            (&[][..], &[][..], &refused),
            (&[], &[Role::Artist], &refused),
            (&[], &[Role::Moderator], &suspended),
            (&[], &[Role::Admin], &suspended),
            (&[Role::Moderator], &[Role::Moderator], &refused),
            (&[Role::Moderator], &[Role::Admin], &suspended),
            (&[Role::Admin], &[Role::Admin], &refused),
        ] {
            assert_eq!(suspend(&with(theirs), &bob(own), &event), *expected, "{theirs:?} {own:?}");
        }
        let oneself = Suspended { user: BOB, ..event.clone() };
        assert_eq!(suspend(&with(&[]), &bob(&[Role::Moderator]), &oneself), Err(RoleRejected::Oneself));
        let by = bob(&[Role::Moderator]);
        let locked = Account { status: AccountStatus::Suspended, ..with(&[]) };
        assert_eq!(suspend(&locked, &by, &event), Ok(None));
        assert_eq!(reinstate(&locked, &by, ANN), Ok(Some(Reinstated { user: ANN }.into())));
        assert_eq!(reinstate(&with(&[]), &by, ANN), Ok(None));
        assert_eq!(suspend(&Account::default(), &by, &event), Err(RoleRejected::NoUser));
    }
}
