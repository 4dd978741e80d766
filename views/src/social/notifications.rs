//! Notifications: single activities of other users, and groups of them ("Ann and 12 others commented on your post").
//! Likes are the most frequent ones and are written once, in the views [likes](crate::social::likes) and
//! [posts](crate::social::posts). Every document has an owner, who is notified, and a role:
//!
//! - an [`Activity`] is one action of one user. Activities are counted as unread and listed individually. A like is
//!   one, too.
//! - a [`GroupMember`] is a user in a group that allows several activities per user: it holds their newest comment.
//!   Where a user has one activity only (like, follow), the activity is the member.
//! - a [`GroupHeader`] represents a group and its order; for likes, the post does. A [`Role::Header`] has the
//!   position of the group's newest activity. A [`Role::StaleHeader`] may be too high: its newest activity may be
//!   deleted or hidden.
//! - a [`ReadCursor`] says how far the owner has read.
//!
//! Activities and members of hidden users are kept under separate roles, so that they are neither counted nor shown.

use serde::{Deserialize, Serialize};

use crate::social::posts::Post;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "notifications",
    indexes: &[&OF_OWNER, &OF_GROUP, &BY_ACTOR, &UNDER_POST, &UNDER_AUTHOR],
    layout: Layout::Heap,
    personal: &["reason"],
};

/// Documents of one owner in one role, newest first.
pub const OF_OWNER: Index = Index {
    name: "of_owner",
    equals: &["owner", "role"],
    order: "position",
    direction: Direction::Descending,
};
/// Members of a group, newest first.
pub const OF_GROUP: Index = Index {
    name: "of_group",
    equals: &["group", "role"],
    order: "position",
    direction: Direction::Descending,
};
/// Activities of one user.
pub const BY_ACTOR: Index = Index {
    name: "by_actor",
    equals: &["actor", "role"],
    order: "position",
    direction: Direction::Descending,
};
/// Everything that comments under a post created, to delete it with the post.
pub const UNDER_POST: Index = Index {
    name: "under_post",
    equals: &["under_post"],
    order: "position",
    direction: Direction::Descending,
};

/// Everything that replies under an author's posts created for other owners, to delete it with the author.
pub const UNDER_AUTHOR: Index = Index {
    name: "under_author",
    equals: &["under_author"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    #[serde(rename = "act")]
    Activity,
    #[serde(rename = "act_away")]
    HiddenActivity,
    #[serde(rename = "act_removed")]
    RemovedActivity,
    #[serde(rename = "voice")]
    Member,
    #[serde(rename = "voice_away")]
    HiddenMember,
    #[serde(rename = "head")]
    Header,
    #[serde(rename = "head_unsettled")]
    StaleHeader,
    #[serde(rename = "mark")]
    ReadCursor,
}

/// The kind of activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Like,
    Comment,
    Reply,
    Follow,
    FollowRequest,
    /// A moderator removed content of the owner.
    ContentRemoved,
}

impl Kind {
    /// The role of a group's members.
    pub const fn member_role(self) -> Role {
        match self {
            Self::Like | Self::Follow | Self::FollowRequest | Self::ContentRemoved => Role::Activity,
            Self::Comment | Self::Reply => Role::Member,
        }
    }
}

/// One action of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Its key, derived from its subject.
    #[serde(rename = "act")]
    pub activity: String,
    pub owner: String,
    /// [`Role::Activity`], [`Role::HiddenActivity`], or [`Role::RemovedActivity`] while a moderator has removed the
    /// comment, whatever the status of its author.
    pub role: Role,
    pub kind: Kind,
    pub actor: String,
    pub post: Option<String>,
    pub comment: Option<String>,
    /// The reason of a removal; none otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The group if the activity is a member of it; otherwise the key of its member.
    pub group: String,
    /// The key of its header.
    #[serde(rename = "head")]
    pub header: String,
    pub under_post: Option<String>,
    /// The author of the post if that is not the owner.
    pub under_author: Option<String>,
    /// Milliseconds since 1970.
    pub at: i64,
    pub position: i64,
}

/// A user in a group of comments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    pub owner: String,
    /// [`Role::Member`], or [`Role::HiddenMember`].
    pub role: Role,
    pub actor: String,
    /// The user's newest comment in the group.
    pub comment: Option<String>,
    pub group: String,
    pub under_post: Option<String>,
    /// The author of the post if that is not the owner.
    pub under_author: Option<String>,
    /// Milliseconds since 1970.
    pub at: i64,
    pub position: i64,
}

/// The header of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupHeader {
    /// The group it represents. Stored apart from `group`, which finds the members.
    #[serde(rename = "stands_for")]
    pub group: String,
    pub owner: String,
    /// [`Role::Header`], or [`Role::StaleHeader`].
    pub role: Role,
    pub kind: Kind,
    pub post: Option<String>,
    pub under_post: Option<String>,
    /// The author of the post if that is not the owner.
    pub under_author: Option<String>,
    /// Position of the newest activity so far. No existing activity is newer.
    pub position: i64,
}

impl GroupHeader {
    /// A post as the header of its likes; none before the first like that notifies its author.
    pub fn of_likes(post: &Post) -> Option<Self> {
        Some(Self {
            group: likes_of(&post.post),
            owner: post.author.clone(),
            role: post.likes_header?,
            kind: Kind::Like,
            post: Some(post.post.clone()),
            under_post: None,
            under_author: None,
            position: post.last_notified_position,
        })
    }
}

/// How far a user has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCursor {
    pub owner: String,
    /// [`Role::ReadCursor`].
    pub role: Role,
    /// Everything up to this position.
    pub position: i64,
}

/// The key of the group of likes of a post.
pub fn likes_of(post: &str) -> String {
    format!("like.{post}")
}

/// The key of the group of comments under a post.
pub fn comments_under(post: &str) -> String {
    format!("comment.{post}")
}

/// The key of the group of replies to a user under a post.
pub fn replies_to(owner: &str, post: &str) -> String {
    format!("reply.{post}.{owner}")
}

/// The key of the group of a removal, its only member.
pub fn removal_of(content: &str) -> String {
    format!("content_removed.{content}")
}

/// A placeholder owner for documents that are hidden from their owner. It is not the id of any user.
pub fn hidden_from(owner: &str) -> String {
    format!("hidden.{owner}")
}

/// The real owner, also of hidden documents.
pub fn owner_of(owner: &str) -> &str {
    owner.strip_prefix("hidden.").unwrap_or(owner)
}

/// The actor of removals: it does not reveal the moderator.
pub const MODERATION: &str = "moderation";

/// The key of the group of a user's followers.
pub fn followers_of(owner: &str) -> String {
    format!("follow.{owner}")
}

/// The key of the group of a user's follow requests.
pub fn requests_to(owner: &str) -> String {
    format!("follow_request.{owner}")
}

/// The key of a group's header.
pub fn header_key(group: &str) -> String {
    format!("head.{group}")
}

/// The key of a user's member in a group.
pub fn member_key(group: &str, actor: &str) -> String {
    format!("{group}.{actor}")
}

/// The key of a user's read cursor.
pub fn read_cursor_key(owner: &str) -> String {
    format!("mark.{owner}")
}

impl Document for Activity {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.activity.clone()
    }
}

impl Document for GroupMember {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        member_key(&self.group, &self.actor)
    }
}

impl Document for GroupHeader {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        header_key(&self.group)
    }
}

impl Document for ReadCursor {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        read_cursor_key(&self.owner)
    }
}
