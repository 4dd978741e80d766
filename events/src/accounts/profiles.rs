use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Image, Personal, Subject, UserId};

event_enum! {
    /// `profile.<user>`: the public profile of a user.
    ProfileEvent {
        ProfileEdited = "profile.edited.v1",
        PhotoChanged = "profile.photo_changed.v1",
        PhotoRemoved = "profile.photo_removed.v1",
        PrivacyChanged = "profile.privacy_changed.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileEdited {
    pub user: UserId,
    pub details: Personal<ProfileDetails>,
}

/// All details of a profile after the edit.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileDetails {
    pub firstname: String,
    pub lastname: String,
    pub bio: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhotoChanged {
    pub user: UserId,
    pub photo: Image,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhotoRemoved {
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivacyChanged {
    pub user: UserId,
    /// Follow requests to a private profile must be accepted.
    pub private: bool,
}

impl ProfileEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::ProfileEdited(event) => Subject::Profile(event.user),
            Self::PhotoChanged(event) => Subject::Profile(event.user),
            Self::PhotoRemoved(event) => Subject::Profile(event.user),
            Self::PrivacyChanged(event) => Subject::Profile(event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::ProfileEdited(event) => Some((event.user, &mut event.details)),
            Self::PhotoChanged(_) | Self::PhotoRemoved(_) | Self::PrivacyChanged(_) => None,
        }
    }
}
