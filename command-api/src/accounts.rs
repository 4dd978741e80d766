//! Accounts: sign-up, names and addresses, passwords, sessions, profiles, roles.

pub(crate) mod account;
pub(crate) mod claims;
pub(crate) mod deactivation;
pub(crate) mod emails;
pub(crate) mod passwords;
pub(crate) mod profiles;
pub(crate) mod reserved_names;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod sign_up;
pub(crate) mod username;

use utoipa_axum::router::OpenApiRouter;

use crate::Commands;

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .merge(sign_up::routes())
        .merge(username::routes())
        .merge(sessions::routes())
        .merge(passwords::routes())
        .merge(emails::routes())
        .merge(deactivation::routes())
        .merge(roles::routes())
        .merge(profiles::routes())
}
