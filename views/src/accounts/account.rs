//! The private part of an account, visible to its owner only.

use serde::{Deserialize, Serialize};

use crate::{Document, Layout, View};

pub const VIEW: View =
    View { name: "accounts", indexes: &[], layout: Layout::Clustered, personal: &["email"] };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each flag has its own events")]
pub struct Account {
    pub user: String,
    pub email: String,
    pub email_verified: bool,
    pub artist: bool,
    pub moderator: bool,
    pub admin: bool,
}

impl Document for Account {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.user.clone()
    }
}
