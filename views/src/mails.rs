//! The state of each mail, for operators: parked mails with their reasons. It holds no addresses and no content.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "mails", indexes: &[&BY_STATE], layout: Layout::Clustered, personal: &[] };

/// Mails in one state, latest change first.
pub const BY_STATE: Index =
    Index { name: "by_state", equals: &["state"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The event that caused the mail.
    pub event: String,
    pub template: String,
    pub user: String,
    pub state: State,
    pub attempts: i64,
    /// Why the mail was given up.
    #[serde(default)]
    pub reason: Option<String>,
    /// Time of the last change of state; milliseconds since 1970.
    pub changed: i64,
    /// Position of the last event about it.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Reserved for a send. If this state lasts, the mail may have been sent.
    Reserved,
    Sent,
    /// Waiting for a retry.
    Failed,
    /// Parked: no further attempts.
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
