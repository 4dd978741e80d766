//! Sessions: which are good, and what their owner sees of them.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "sessions", indexes: &[&BY_USER, &BY_DEVICE], layout: Layout::ByKey };

/// Those of one user that have not ended, the newest first.
pub const BY_USER: Index = Index {
    name: "by_user",
    equals: &["user", "ended"],
    order: "position",
    direction: Direction::Descending,
};

/// Those of one user with one device, whether or not they have ended, the newest first.
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
    /// When it was last used, not to the minute; milliseconds since 1970.
    #[serde(default)]
    pub seen: i64,
    /// Milliseconds since 1970.
    pub expires: i64,
    pub device: String,
    /// The device as it goes on through its updates: without its versions.
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
