//! Stories.

use axum::extract::{Request, State};
use http::StatusCode;
use media::ImageVariant;
use serde_json::json;
use web::compat::{Refusal, Success};
use web::problem::Problem;

use super::super::Desk;
use super::Answer;
use super::caller::ActiveCaller;
use super::posts::{Upload, not_stored};
use crate::pipeline::context::Context;
use crate::social::stories::NewStory;

pub(super) async fn upload(
    State(desk): State<Desk>,
    ActiveCaller(caller): ActiveCaller,
    context: Context,
    request: Request,
) -> Answer {
    let author = caller.user;
    let _slot = desk.commands.begin_upload(author).map_err(Problem::from)?;
    let upload = Upload::read(request, "story").await?;
    let image = upload.picture.ok_or_else(|| Refusal::forbidden("Couldn't any story to share."))?;
    let context = context.without_idempotency_key().with_actor(author);
    let new = NewStory { image, alt: String::new() };
    let published = desk.commands.publish_story(&context, author, new, ImageVariant::OF_FRAMED_STORY).await;
    let (story, done) = published.map_err(not_stored("Couldn't storied."))?;
    let photo = ImageVariant::STORY.url(&desk.public_url, &story.image.media.to_string());
    let story = json!({ "_id": story.story, "photo": photo, "storiedBy": author });
    let said = Success::saying("Story has been uploaded.").with(json!({ "story": story }));
    Ok(desk.answer(StatusCode::CREATED, &[done], said).await)
}
