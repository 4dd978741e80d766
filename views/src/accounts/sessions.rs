//! Sessions: which are valid, and what their owner sees of them.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "sessions",
    indexes: &[&BY_USER, &BY_DEVICE],
    layout: Layout::Clustered,
    personal: &["device", "device_family", "address"],
};

/// Active or ended sessions of one user, newest first.
pub const BY_USER: Index = Index {
    name: "by_user",
    equals: &["user", "ended"],
    order: "position",
    direction: Direction::Descending,
};

/// Sessions of one user with one device, active or ended, newest first.
pub const BY_DEVICE: Index = Index {
    name: "by_device",
    equals: &["user", "device_family"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub session: String,
    pub user: String,
    /// Milliseconds since 1970.
    pub started: i64,
    /// Time of last use, with limited precision; milliseconds since 1970.
    #[serde(default)]
    pub seen: i64,
    /// Milliseconds since 1970.
    pub expires: i64,
    pub device: String,
    /// The device without version numbers, which stays the same through updates.
    #[serde(default)]
    pub device_family: String,
    pub address: String,
    pub ended: bool,
    pub position: i64,
}

impl Document for Session {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.session.clone()
    }
}
