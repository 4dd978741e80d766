use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Position, Subject, UserId};

event_enum! {
    /// `notifications.<user>`: the read position in a user's notifications.
    NotificationsEvent {
        NotificationsRead = "notifications.read.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotificationsRead {
    pub user: UserId,
    /// Everything up to this position has been read.
    pub up_to: Position,
}

impl NotificationsEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::NotificationsRead(event) => Subject::Notifications(event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::NotificationsRead(_) => None,
        }
    }
}
