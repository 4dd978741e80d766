//! Accounts: sign-up, names and addresses, passwords, sessions, profiles, roles.

pub(crate) mod account;
pub(crate) mod claims;
pub(crate) mod departures;
pub(crate) mod emails;
pub(crate) mod passwords;
pub(crate) mod profiles;
pub(crate) mod reserved_names;
pub(crate) mod roles;
pub(crate) mod sessions;

use utoipa_axum::router::OpenApiRouter;

use crate::Commands;

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .merge(account::routes())
        .merge(sessions::routes())
        .merge(passwords::routes())
        .merge(emails::routes())
        .merge(departures::routes())
        .merge(roles::routes())
        .merge(profiles::routes())
}
