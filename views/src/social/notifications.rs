//! What people are told of that others did: each act once, and the groups they are told in ("Ann and 12 others said
//! something under your photo"). Likes are told in the same way, by the views of [likes](crate::social::likes) and
//! [posts](crate::social::posts): there are more of them than of all else, so each is written once. All documents have an owner, the one who is told, and a role that says what they are:
//!
//! - an [`Act`] is what one person did once. Acts are what is counted as unread, and listed one by one. A like is
//!   one as well.
//! - a [`Voice`] is a person in a group to which they may add more than once: their newest comment there. Where somebody
//!   acts only once (a like, a follow), the act itself is the voice.
//! - a [`Head`] stands for a group and orders it; for its likes, a post does. While it is [settled](Role::Head) the act of
//!   its position is there and the group's newest; otherwise that one may have been taken back, and the group's newest is
//!   older.
//! - a [`Mark`] says how far the owner has read.
//!
//! Acts and voices of people who are away stay, under roles of their own, so that they are neither counted nor shown.

use serde::{Deserialize, Serialize};

use crate::social::posts::Post;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "notifications",
    indexes: &[&OF_OWNER, &OF_GROUP, &BY_ACTOR, &UNDER_POST, &UNDER_AUTHOR],
    layout: Layout::AsPut,
};

/// What one person has in one role, the newest first.
pub const OF_OWNER: Index = Index {
    name: "of_owner",
    equals: &["owner", "role"],
    order: "position",
    direction: Direction::Descending,
};
/// What a group consists of, the newest first.
pub const OF_GROUP: Index = Index {
    name: "of_group",
    equals: &["group", "role"],
    order: "position",
    direction: Direction::Descending,
};
/// What one person did.
pub const BY_ACTOR: Index = Index {
    name: "by_actor",
    equals: &["actor", "role"],
    order: "position",
    direction: Direction::Descending,
};
/// All that comes of comments under a post, so that it goes with the post.
pub const UNDER_POST: Index = Index {
    name: "under_post",
    equals: &["under_post"],
    order: "position",
    direction: Direction::Descending,
};

/// All that comes of replies under the posts of one author who is not told of them, so that it goes with the author.
pub const UNDER_AUTHOR: Index = Index {
    name: "under_author",
    equals: &["under_author"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Act,
    ActAway,
    ActRemoved,
    Voice,
    VoiceAway,
    Head,
    HeadUnsettled,
    Mark,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Like,
    Comment,
    Reply,
    Follow,
    FollowRequest,
    /// A moderator removed something of the owner's.
    ContentRemoved,
}

impl Kind {
    /// The role under which the people of a group are found, each once.
    pub const fn voices(self) -> Role {
        match self {
            Self::Like | Self::Follow | Self::FollowRequest | Self::ContentRemoved => Role::Act,
            Self::Comment | Self::Reply => Role::Voice,
        }
    }
}

/// One thing that one person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Its key: of the subject that it happened to.
    pub act: String,
    pub owner: String,
    /// [`Role::Act`], [`Role::ActAway`]; or [`Role::ActRemoved`] while a moderator has removed what was said, whoever comes or
    /// goes.
    pub role: Role,
    pub kind: Kind,
    pub actor: String,
    pub post: Option<String>,
    pub comment: Option<String>,
    /// Why, of a removal; none of all else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The group, where the act is a voice of it; otherwise the key of its voice.
    pub group: String,
    /// The key of its head.
    pub head: String,
    pub under_post: Option<String>,
    /// The author of the post, where that is not the owner.
    pub under_author: Option<String>,
    /// Milliseconds since 1970.
    pub at: i64,
    pub position: i64,
}

/// Somebody in a group of comments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voice {
    pub owner: String,
    /// [`Role::Voice`], or [`Role::VoiceAway`].
    pub role: Role,
    pub actor: String,
    /// Their newest here.
    pub comment: Option<String>,
    pub group: String,
    pub under_post: Option<String>,
    /// The author of the post, where that is not the owner.
    pub under_author: Option<String>,
    /// Milliseconds since 1970.
    pub at: i64,
    pub position: i64,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The group it stands for; what is in one is found by `group`.
    pub stands_for: String,
    pub owner: String,
    /// [`Role::Head`], or [`Role::HeadUnsettled`].
    pub role: Role,
    pub kind: Kind,
    pub post: Option<String>,
    pub under_post: Option<String>,
    /// The author of the post, where that is not the owner.
    pub under_author: Option<String>,
    /// Of the newest act that there has been. No act that is there is newer.
    pub position: i64,
}

impl Head {
    /// A post as the head of its likes; none before the first that its author is told of.
    pub fn of_likes(post: &Post) -> Option<Self> {
        Some(Self {
            stands_for: likes_of(&post.post),
            owner: post.author.clone(),
            role: post.head?,
            kind: Kind::Like,
            post: Some(post.post.clone()),
            under_post: None,
            under_author: None,
            position: post.told,
        })
    }
}

/// How far somebody has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub owner: String,
    /// [`Role::Mark`].
    pub role: Role,
    /// Everything up to here.
    pub position: i64,
}

/// The key of the group of all likes of a post.
pub fn likes_of(post: &str) -> String {
    format!("like.{post}")
}

/// The key of the group of all that was said under somebody's post.
pub fn comments_under(post: &str) -> String {
    format!("comment.{post}")
}

/// The key of the group of all that was answered to somebody under a post.
pub fn replies_to(owner: &str, post: &str) -> String {
    format!("reply.{post}.{owner}")
}

/// The key of the group that a removal is alone in.
pub fn removal_of(content: &str) -> String {
    format!("content_removed.{content}")
}

/// The owner, in place of the real one, of what is hidden from its owner for a time: nobody has such an id.
pub fn hidden_from(owner: &str) -> String {
    format!("hidden.{owner}")
}

/// The owner, also of what is hidden.
pub fn owner_of(owner: &str) -> &str {
    owner.strip_prefix("hidden.").unwrap_or(owner)
}

/// The actor of removals: owners are not told which moderator it was.
pub const MODERATION: &str = "moderation";

/// The key of the group of all that follow somebody.
pub fn followers_of(owner: &str) -> String {
    format!("follow.{owner}")
}

/// The key of the group of all that ask to follow somebody.
pub fn requests_to(owner: &str) -> String {
    format!("follow_request.{owner}")
}

/// The key of a group's head.
pub fn head_of(group: &str) -> String {
    format!("head.{group}")
}

/// The key of what somebody says in a group.
pub fn voice_in(group: &str, actor: &str) -> String {
    format!("{group}.{actor}")
}

/// The key of how far somebody has read.
pub fn mark_of(owner: &str) -> String {
    format!("mark.{owner}")
}

impl Document for Act {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.act.clone()
    }
}

impl Document for Voice {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        voice_in(&self.group, &self.actor)
    }
}

impl Document for Head {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        head_of(&self.stands_for)
    }
}

impl Document for Mark {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        mark_of(&self.owner)
    }
}
