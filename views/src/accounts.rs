//! Views of accounts.

pub mod account;
pub mod profiles;
pub mod search;
pub mod sessions;

use crate::View;

pub const VIEWS: &[&View] = &[&account::VIEW, &profiles::VIEW, &search::VIEW, &sessions::VIEW];
