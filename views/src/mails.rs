//! What became of each mail, for whoever runs the system: which are parked, and why. No address and nothing of what a
//! mail says stands here.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "mails", indexes: &[&BY_STATE], layout: Layout::ByKey };

/// Those in one state, the one that changed last first.
pub const BY_STATE: Index =
    Index { name: "by_state", equals: &["state"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The event that it is a consequence of.
    pub event: String,
    pub template: String,
    pub user: String,
    pub state: State,
    pub attempts: i64,
    /// Why it was given up.
    #[serde(default)]
    pub reason: Option<String>,
    /// When this was last so; milliseconds since 1970.
    pub changed: i64,
    /// Of the last event about it.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// About to be handed over; if it stays so, nobody knows whether it was.
    Reserved,
    Sent,
    /// It will be tried again.
    Failed,
    /// Parked: it will not be tried again.
    GivenUp,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
        }
    }
}

impl Document for Mail {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        format!("{}.{}", self.event, self.template)
    }
}
