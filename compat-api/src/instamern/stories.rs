//! Stories: uploading one, and all of them by author.

use axum::extract::{Request, State};
use command_api::pipeline::context::Context;
use command_api::social::stories::NewStory;
use events::UserId;
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use media::ImageVariant;
use query_api::reading::answer::{Conditions, answer};
use query_api::social::stories::by_author;
use query_api::store_problem;
use resources::Person;
use serde::Serialize;
use serde_json::json;
use views::accounts::profiles;
use views::social::follows;
use views::social::stories::{NEWEST, Story, VIEW};
use views::{Query, ViewStoreExt};
use web::compat::{Refusal, Success};
use web::problem::Problem;

use super::Answer;
use super::caller::ActiveCaller;
use super::posts::{Upload, not_stored};
use crate::Apps;

/// Maximum number of stories in an answer, the newest ones; and number of stories per read.
const STORIES_LIMIT: usize = 5000;
const AT_ONCE: usize = 1000;
/// Users whose stories are read concurrently.
const USERS_AT_ONCE: usize = 16;

/// The stories of a user, oldest first.
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

/// A story, as embedded in its author.
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

impl Apps {
    fn story_url(&self, story: &Story) -> String {
        self.queries.image_url(&story.media, ImageVariant::STORY)
    }

    /// The stories that are visible to all users, grouped by author, oldest first.
    async fn all_stories(&self) -> Result<Vec<Group>, Problem> {
        let mut stories: Vec<Story> = Vec::new();
        let mut after = None;
        loop {
            let query = Query::new(&VIEW, &NEWEST, Vec::new(), AT_ONCE).after(after);
            let page = self.queries.store().page_of::<Story>(query).await.map_err(store_problem)?;
            stories.extend(page.documents);
            after = page.next;
            if after.is_none() || stories.len() >= STORIES_LIMIT {
                break;
            }
        }
        stories.reverse();
        let groups = by_author(self.queries.visible_stories(stories, None).await?);
        let group = |(author, stories): (Person, Vec<Story>)| Group {
            author: author.id,
            stories: stories
                .into_iter()
                .map(|story| GroupedStory { photo: self.story_url(&story), story_id: story.story })
                .collect(),
        };
        Ok(groups.into_iter().map(group).collect())
    }

    /// The stories of each of these users that are visible to the viewer, oldest first.
    pub(super) async fn stories_of_users(
        &self,
        users: impl Iterator<Item = String>,
        viewer: Option<UserId>,
    ) -> Result<Vec<Vec<UserStory>>, Problem> {
        let users: Vec<String> = users.collect();
        let found: Vec<Vec<Story>> = stream::iter(users)
            .map(|author| self.queries.newest_of(author))
            .buffered(USERS_AT_ONCE)
            .try_collect()
            .await?;
        let shown = found.into_iter().map(async |stories| {
            let visible = self.queries.visible_stories(stories, viewer).await?;
            let shown = visible.into_iter().map(|(_, story)| UserStory {
                photo: self.story_url(&story),
                key: story.story,
                storied_by: story.author,
            });
            Ok::<_, Problem>(shown.collect())
        });
        futures::future::try_join_all(shown).await
    }
}

pub(super) async fn all(State(apps): State<Apps>, conditions: Conditions) -> Answer {
    let views = [VIEW.name, profiles::VIEW.name, follows::VIEW.name];
    let caught_up = apps.queries.catch_up(&conditions, &views).await;
    let stories = apps.all_stories().await?;
    let count = stories.len();
    Ok(answer(&conditions, caught_up, &Success::of(Groups { stories }).counting(count))?)
}

pub(super) async fn upload(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    context: Context,
    request: Request,
) -> Answer {
    let author = caller.user;
    let _slot = apps.commands.begin_upload(author).map_err(Problem::from)?;
    let upload = Upload::read(request, "story").await?;
    let image = upload.picture.ok_or_else(|| Refusal::forbidden("Couldn't any story to share."))?;
    let context = context.without_idempotency_key().with_actor(author);
    let new = NewStory { image, alt: String::new() };
    let published = apps.commands.publish_story(&context, author, new, ImageVariant::OF_FRAMED_STORY).await;
    let (story, outcome) = published.map_err(not_stored("Couldn't storied."))?;
    let photo = ImageVariant::STORY.url(apps.queries.public_url(), &story.image.media.to_string());
    let story = json!({ "_id": story.story, "photo": photo, "storiedBy": author });
    let body = Success::saying("Story has been uploaded.").with(json!({ "story": story }));
    Ok(apps.answer(StatusCode::CREATED, &[outcome], body).await)
}
