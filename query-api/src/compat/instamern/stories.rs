//! Stories, together by who shows them.

use axum::extract::State;
use serde::Serialize;
use service::compat::Success;

use super::Answer;
use crate::Queries;
use crate::answer::{Conditions, answer};

/// Somebody's stories, the oldest first.
#[derive(Debug, Serialize)]
struct Group {
    #[serde(rename = "_id")]
    author: String,
    stories: Vec<GroupedStory>,
}

#[derive(Debug, Serialize)]
struct GroupedStory {
    photo: String,
    #[serde(rename = "storyId")]
    story_id: String,
}

/// In the answer with its author.
#[derive(Debug, Clone, Serialize)]
pub(super) struct UserStory {
    #[serde(rename = "_id")]
    key: String,
    photo: String,
    #[serde(rename = "storiedBy")]
    storied_by: String,
}

#[derive(Serialize)]
struct Groups {
    stories: Vec<Group>,
}

pub(super) async fn all(State(queries): State<Queries>, conditions: Conditions) -> Answer {
    let caught_up = queries.catch_up(&conditions, &[]).await;
    let stories: Vec<Group> = Vec::new();
    let count = stories.len();
    Ok(answer(&conditions, caught_up, &Success::of(Groups { stories }).counting(count))?)
}
