//! The play queue of each user, shared by their devices.

use serde::{Deserialize, Serialize};

use crate::{Document, Layout, View};

pub const VIEW: View = View {
    name: "play_queues",
    indexes: &[],
    layout: Layout::Clustered,
    personal: &["songs", "current", "place", "device"],
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayQueue {
    pub user: String,
    pub songs: Vec<String>,
    /// Index of the current song; none if nothing plays.
    pub current: Option<u32>,
    /// Milliseconds from the start of the current song.
    pub place: i64,
    pub device: String,
    /// Milliseconds since 1970.
    pub saved: i64,
    pub position: i64,
}

impl Document for PlayQueue {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.user.clone()
    }
}
