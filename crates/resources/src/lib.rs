//! JSON resources of the API that answers to commands and to queries share: a command that makes a post answers the same
//! `Post` as the query that reads it.

mod images;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use images::{Image, ImageSource, StoryImage};

/// A user in short, beside what they published.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = User)]
pub struct Person {
    pub id: String,
    pub username: String,
    pub firstname: String,
    pub lastname: String,
    /// URL of a square picture of 320 pixels.
    pub photo: Option<String>,
}

/// What a user may do beyond what every user may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Publishes music.
    Artist,
    /// Removes what others published, and suspends users.
    Moderator,
    /// Grants roles, and does all that moderators may.
    Admin,
}

/// A post.
#[derive(Debug, Serialize, ToSchema)]
pub struct Post {
    pub id: String,
    pub author: Person,
    /// Null where none was given.
    pub caption: Option<String>,
    /// The caption is not the first one.
    pub edited: bool,
    pub images: Vec<Image>,
    pub published_at: DateTime<Utc>,
    pub likes: i64,
    pub comments: i64,
    /// Flags of the user who asks; null without log-in.
    pub viewer: Option<PostViewer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PostViewer {
    pub liked: bool,
    pub saved: bool,
}

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
pub struct Comment {
    pub id: String,
    pub author: Person,
    pub text: String,
    /// Id of the comment that this one answers.
    pub reply_to: Option<String>,
    /// How many comments answer this one.
    pub replies: i64,
    pub commented_at: DateTime<Utc>,
}

/// A story.
#[derive(Debug, Serialize, ToSchema)]
pub struct Story {
    pub id: String,
    pub image: StoryImage,
    pub published_at: DateTime<Utc>,
    /// It is hidden from then on.
    pub expires_at: DateTime<Utc>,
    /// How many people have viewed it, where 10,000 means that many or more; null for everyone but its author.
    pub views: Option<u64>,
    /// Flags of the user who asks; null without log-in.
    pub viewer: Option<StoryViewer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StoryViewer {
    /// Always true for the author's own stories.
    pub viewed: bool,
}
