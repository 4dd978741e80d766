//! Events of accounts: sign-up, names and addresses, roles, sessions, profiles.

mod account;
mod profiles;
mod sessions;

pub use account::*;
pub use profiles::*;
pub use sessions::*;
