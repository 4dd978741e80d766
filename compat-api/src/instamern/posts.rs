//! Posts, their likes and their comments.

use axum::body::HttpBody;
use axum::extract::{Request, State};
use bytes::Bytes;
use command_api::pipeline::context::Context;
use command_api::social::posts::{NewPost, PostRejected, form, image, is_form, text_field, unreadable};
use events::{CommentId, PostId, PostPublished, UserId};
use http::StatusCode;
use media::ImageVariant;
use query_api::store_problem;
use serde_json::{Value, json};
use views::social::comments::{BY_POST, Comment, VIEW};
use views::{Query, ViewStoreExt};
use web::compat::{Fields, PathText, Refusal, Success, time};
use web::problem::Problem;

use super::caller::ActiveCaller;
use super::{Answer, rules};
use crate::Apps;

/// Fields of a post that cannot be changed, each with the app's message.
const IMMUTABLE_FIELDS: [(&str, &str); 3] = [
    ("photo", "You cannot change the post photo."),
    ("postedBy", "You cannot change post owner."),
    ("postedAt", "You cannot change post's date."),
];

/// Comments per read.
const COMMENTS_PAGE: usize = 500;

/// A form with one picture.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) picture: Option<Bytes>,
    caption: Option<String>,
}

impl Upload {
    /// Reads the picture from this field. A request that is not a form has none.
    pub(super) async fn read(request: Request, field: &str) -> Result<Self, Refusal> {
        if !is_form(request.headers()) || request.body().is_end_stream() {
            return Ok(Self::default());
        }
        let mut form = form(request, &()).await?;
        let mut upload = Self::default();
        while let Some(part) = form.next_field().await.map_err(|error| unreadable(&error))? {
            let name = part.name().unwrap_or_default().to_owned();
            let is_file = part.file_name().is_some();
            if is_file {
                let picture = image(part, field).await?.filter(|picture| !picture.is_empty());
                let Some(picture) = picture else { continue };
                if name != field || upload.picture.replace(picture).is_some() {
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, "Unexpected field"));
                }
            } else if name == "caption" && upload.caption.is_none() {
                upload.caption = Some(text_field(part, "caption").await?);
            }
        }
        Ok(upload)
    }
}

/// The refusal when a picture cannot be stored, with the app's message.
pub(super) fn not_stored<E: Into<Problem>>(message: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| {
        let outage = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::UNPROCESSABLE_ENTITY, message);
        Refusal::rename(error.into(), &[outage])
    }
}

pub(super) async fn upload(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    context: Context,
    request: Request,
) -> Answer {
    let author = caller.user;
    let _slot = apps.commands.begin_upload(author).map_err(Problem::from)?;
    let Upload { picture, caption } = Upload::read(request, "post").await?;
    let picture = picture.ok_or_else(|| Refusal::forbidden("No post photo found to upload."))?;
    let caption = caption.map(|caption| rules::caption(&caption)).transpose()?;
    let context = context.without_idempotency_key().with_actor(author);
    let new = NewPost { images: vec![picture], alt: Vec::new(), caption: caption.clone() };
    let published = apps.commands.publish(&context, author, new).await;
    let (PostPublished { post, images, .. }, outcome) =
        published.map_err(not_stored("Post couldn't uploaded."))?;
    let photo = images
        .first()
        .map(|image| ImageVariant::COVER.url(apps.queries.public_url(), &image.media.to_string()));
    let mut shown = json!({
        "_id": post, "id": post, "photo": photo, "postedBy": author, "likes": [], "postedAt": time(context.now),
    });
    if let Some(caption) = caption {
        shown["caption"] = caption.into();
    }
    let body = Success::saying("Your post has been uploaded successfully.").with(json!({ "post": shown }));
    Ok(apps.answer(StatusCode::CREATED, &[outcome], body).await)
}

/// The id of a post in a path, or the app's message if there is no such post.
fn post_id(id: &str, missing: &'static str) -> Result<PostId, Refusal> {
    id.parse().map_err(|_| Refusal::not_found(missing))
}

fn missing<E: Into<Problem>>(message: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::rename(error.into(), &[(StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, message)])
}

pub(super) async fn like(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    PathText(id): PathText,
    context: Context,
) -> Answer {
    const MISSING: &str = "Not found posts to like.";
    let (post, user) = (post_id(&id, MISSING)?, caller.user);
    let toggled =
        apps.commands.toggle_like(&context.without_idempotency_key().with_actor(user), post, user).await;
    let (likes, outcome) = toggled.map_err(missing(MISSING))?;
    let body = Success::saying(if likes { "Liked!" } else { "Unliked." });
    Ok(apps.answer(StatusCode::OK, &[outcome], body).await)
}

pub(super) async fn comment(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    PathText(id): PathText,
    context: Context,
    fields: Fields,
) -> Answer {
    const MISSING: &str = "Not found any posts to comment.";
    let text = rules::comment(&fields)?;
    let (post, author) = (post_id(&id, MISSING)?, caller.user);
    let commented = apps
        .commands
        .comment(&context.without_idempotency_key().with_actor(author), post, author, None, text)
        .await;
    let (_, outcome) = commented.map_err(missing(MISSING))?;
    Ok(apps.answer(StatusCode::CREATED, &[outcome], Success::saying("Commented!")).await)
}

/// The app's comments have no ids: the caller's first comment on the post is deleted.
pub(super) async fn delete_comment(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    PathText(id): PathText,
    context: Context,
) -> Answer {
    const MISSING: &str = "Not found any posts to delete.";
    let (post, author) = (post_id(&id, MISSING)?, caller.user);
    let found = first_comment(&apps, author, post).await?;
    let comment = found.ok_or_else(|| Refusal::not_found(MISSING))?;
    let context = context.without_idempotency_key().with_actor(author);
    let deleted = apps.commands.delete_comment(&context, post, comment, author).await;
    let outcome = deleted.map_err(missing(MISSING))?;
    Ok(apps.answer_nothing(&[outcome]).await)
}

async fn first_comment(apps: &Apps, author: UserId, post: PostId) -> Result<Option<CommentId>, Refusal> {
    let author = author.to_string();
    let mut after = None;
    loop {
        let query = Query::new(&VIEW, &BY_POST, vec![json!(post), json!(true)], COMMENTS_PAGE).after(after);
        let page = apps.queries.store().page_of::<Comment>(query).await.map_err(store_problem)?;
        if let Some(own) = page.documents.into_iter().find(|comment| comment.author == author) {
            return own.comment.parse().map(Some).map_err(|error| Problem::internal(error).into());
        }
        after = page.next;
        if after.is_none() {
            return Ok(None);
        }
    }
}

/// Why a caption was not edited.
enum EditRejected {
    Post(PostRejected),
    Caption(Refusal),
}

impl From<PostRejected> for EditRejected {
    fn from(rejected: PostRejected) -> Self {
        Self::Post(rejected)
    }
}

pub(super) async fn update(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    PathText(id): PathText,
    context: Context,
    fields: Fields,
) -> Answer {
    const MISSING: &str = "Not faound post to update.";
    if let Some((_, message)) = IMMUTABLE_FIELDS.iter().find(|(field, _)| fields.says(field)) {
        return Err(Refusal::forbidden(*message));
    }
    let (post, editor) = (post_id(&id, MISSING)?, caller.user);
    let accept = || {
        let unset = || Refusal::forbidden("Please set a new caption for the post.");
        let caption = fields.filled("caption").ok_or_else(unset).map_err(EditRejected::Caption)?;
        rules::caption(&caption).map_err(EditRejected::Caption)
    };
    let context = context.without_idempotency_key().with_actor(editor);
    let edited = apps.commands.edit_caption(&context, post, editor, accept).await;
    let outcome = edited.map_err(|failure| match failure.into_rejection::<PostRejected>() {
        Ok(EditRejected::Caption(refusal)) => refusal,
        Ok(EditRejected::Post(PostRejected::NotYours)) => {
            Refusal::forbidden("You cannot update some else's post.")
        }
        Ok(EditRejected::Post(PostRejected::NotFound)) => Refusal::not_found(MISSING),
        Err(failure) => Refusal::Problem(failure.into()),
    })?;
    let body = Success::saying("Your post has been updated successfully.").with(Value::Null);
    Ok(apps.answer(StatusCode::OK, &[outcome], body).await)
}

pub(super) async fn delete(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    PathText(id): PathText,
    context: Context,
) -> Answer {
    const MISSING: &str = "Not found post to delete.";
    let (post, who) = (post_id(&id, MISSING)?, caller.user);
    let context = context.without_idempotency_key().with_actor(who);
    let deleted = apps.commands.delete_post(&context, post, who).await;
    let outcome = deleted.map_err(|failure| {
        let foreign = "You cannot delete someone else's post.";
        Refusal::rename(
            failure.into(),
            &[
                (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, MISSING),
                (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN, foreign),
            ],
        )
    })?;
    // A post that was deleted before is not found.
    if !outcome.changed {
        return Err(Refusal::not_found(MISSING));
    }
    Ok(apps.answer_nothing(&[outcome]).await)
}
