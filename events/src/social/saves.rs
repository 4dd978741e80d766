use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{CollectionId, Personal, PostId, Subject, UserId};

event_enum! {
    /// `save.<user>.<post>`: a saved post and its collection.
    SaveEvent {
        PostSaved = "save.saved.v1",
        PostUnsaved = "save.unsaved.v1",
    }
}

event_enum! {
    /// `collection.<user>`: the collections of a user's saved posts. One subject for all, since their number is
    /// limited.
    CollectionEvent {
        CollectionCreated = "collection.created.v1",
        CollectionRenamed = "collection.renamed.v1",
        CollectionDeleted = "collection.deleted.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostSaved {
    pub user: UserId,
    pub post: PostId,
    pub post_author: UserId,
    /// None if the save is in no collection.
    pub collection: Option<CollectionId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostUnsaved {
    pub user: UserId,
    pub post: PostId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionCreated {
    pub user: UserId,
    pub collection: CollectionId,
    pub name: Personal<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRenamed {
    pub user: UserId,
    pub collection: CollectionId,
    pub name: Personal<String>,
}

/// The posts in it stay saved, in no collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionDeleted {
    pub user: UserId,
    pub collection: CollectionId,
}

impl SaveEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::PostSaved(event) => Subject::Save(event.user, event.post),
            Self::PostUnsaved(event) => Subject::Save(event.user, event.post),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::PostSaved(_) | Self::PostUnsaved(_) => None,
        }
    }
}

impl CollectionEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::CollectionCreated(event) => Subject::Collection(event.user),
            Self::CollectionRenamed(event) => Subject::Collection(event.user),
            Self::CollectionDeleted(event) => Subject::Collection(event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::CollectionCreated(event) => Some((event.user, &mut event.name)),
            Self::CollectionRenamed(event) => Some((event.user, &mut event.name)),
            Self::CollectionDeleted(_) => None,
        }
    }
}
