//! JSON resources that answers to commands and to queries share: the command that creates a post answers with the same `Post`
//! as the query that reads it.

mod images;
mod music;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use images::{Image, ImageSource, StoryImage};
pub use music::{
    Album, AlbumKind, AlbumReference, Artist, ArtistViewer, AudioFormat, Cover, Credit, CreditRole, Genre,
    MusicViewer, ReplayGain, Song, SongVisibility, stream_url,
};

/// A user, as embedded in other resources.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = User)]
pub struct Person {
    pub id: String,
    pub username: String,
    pub firstname: String,
    pub lastname: String,
    /// URL of the profile photo, a square of 320 × 320 pixels; null if there is none.
    pub photo: Option<String>,
}

/// A role with additional permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Can publish music.
    Artist,
    /// Can remove content of other users and suspend users.
    Moderator,
    /// Can grant roles, and has all permissions of a moderator.
    Admin,
}

/// A post.
#[derive(Debug, Serialize, ToSchema)]
pub struct Post {
    pub id: String,
    pub author: Person,
    /// Null if the post has no caption.
    pub caption: Option<String>,
    /// Whether the caption was edited.
    pub edited: bool,
    pub images: Vec<Image>,
    pub published_at: DateTime<Utc>,
    pub likes: i64,
    pub comments: i64,
    /// The caller's relation to the post; null without log-in.
    pub viewer: Option<PostViewer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PostViewer {
    /// Whether the caller likes the post.
    pub liked: bool,
    /// Whether the caller has saved the post.
    pub saved: bool,
}

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Comment {
    pub id: String,
    pub author: Person,
    pub text: String,
    /// Id of the comment that this one replies to; null if it is not a reply.
    pub reply_to: Option<String>,
    /// Number of replies to this comment.
    pub replies: i64,
    pub commented_at: DateTime<Utc>,
}

/// A story.
#[derive(Debug, Serialize, ToSchema)]
pub struct Story {
    pub id: String,
    pub image: StoryImage,
    pub published_at: DateTime<Utc>,
    /// The story is hidden from this time on.
    pub expires_at: DateTime<Utc>,
    /// Number of viewers; 10,000 means 10,000 or more. Null unless the caller is the author.
    pub views: Option<u64>,
    /// The caller's relation to the story; null without log-in.
    pub viewer: Option<StoryViewer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StoryViewer {
    /// Whether the caller has viewed the story. Always true for the caller's own stories.
    pub viewed: bool,
}
