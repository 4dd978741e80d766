//! Posts: published with images, edited and deleted by their author.

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::response::Response;
use bytes::Bytes;
use events::{
    CaptionEdited, Content, Event, Image, LogError, ModerationEvent, Personal, PostDeleted, PostEvent,
    PostId, PostPublished, PostText, Recorded, SocialEvent, Subject, UserId,
};
use futures::future::try_join_all;
use http::{HeaderMap, StatusCode, header};
use media::ImageVariant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path, body_too_large, too_large};
use web::problem::{FieldCode, FieldProblem, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::AccountStatus;
use crate::images::{ImageRejected, Picture};
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

/// Largest picture in bytes.
pub const IMAGE_LIMIT: usize = 20 * 1024 * 1024;
/// Pictures of one post.
const IMAGES_LIMIT: usize = 10;
/// Largest upload in bytes: a few large pictures, or ten ordinary ones.
const UPLOAD_LIMIT: usize = 60 * 1024 * 1024;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostRejected {
    NotFound,
    NotYours,
}

impl From<PostRejected> for Problem {
    fn from(rejected: PostRejected) -> Self {
        match rejected {
            PostRejected::NotFound => no_post(),
            PostRejected::NotYours => Self::forbidden("This post belongs to another user"),
        }
    }
}

/// Why a post was not published.
#[derive(Debug)]
pub enum PublishRejected {
    Post(PostRejected),
    Image {
        /// The field of the form.
        field: String,
        rejected: ImageRejected,
    },
}

impl From<PublishRejected> for Problem {
    fn from(rejected: PublishRejected) -> Self {
        match rejected {
            PublishRejected::Post(rejected) => rejected.into(),
            PublishRejected::Image { field, rejected } => rejected.into_field_problem(field),
        }
    }
}

impl From<CommandError<PostRejected>> for CommandError<PublishRejected> {
    fn from(error: CommandError<PostRejected>) -> Self {
        error.map_rejection(PublishRejected::Post)
    }
}

pub(crate) fn no_post() -> Problem {
    Problem::not_found("There is no such post")
}

/// The state of a post that decisions need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Post {
    #[default]
    None,
    Published {
        author: UserId,
        caption: Option<String>,
    },
    Deleted,
}

impl Post {
    /// The author, if the post exists.
    pub(crate) fn author(&self) -> Option<UserId> {
        match self {
            Self::Published { author, .. } => Some(*author),
            Self::None | Self::Deleted => None,
        }
    }
}

impl Fold for Post {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Social(SocialEvent::Post(event)) = &recorded.event else { return };
        *self = match event {
            PostEvent::PostPublished(event) => {
                let caption = event.text.open().and_then(|text| text.caption.clone());
                Self::Published { author: event.author, caption }
            }
            PostEvent::CaptionEdited(event) => {
                Self::Published { author: event.author, caption: event.caption.open().cloned() }
            }
            PostEvent::PostDeleted(_) => Self::Deleted,
        };
    }
}

/// The state of a post that decisions of other users need: likes, comments, saves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeenPost {
    post: Post,
    author: AccountStatus,
    /// Removed by a moderator.
    removed: bool,
}

impl SeenPost {
    /// The author, if the post is visible.
    pub(crate) fn author(&self) -> Option<UserId> {
        self.post.author().filter(|_| self.author == AccountStatus::Active && !self.removed)
    }

    /// The subjects to load, besides the author's account.
    pub(crate) const fn subjects(post: PostId) -> [Subject; 2] {
        [Subject::Post(post), Subject::Moderation(Content::Post { post })]
    }

    #[cfg(test)]
    pub(crate) const fn of(author: UserId, status: AccountStatus) -> Self {
        Self { post: Post::Published { author, caption: None }, author: status, removed: false }
    }

    /// Invisible posts, of active and of inactive authors.
    #[cfg(test)]
    pub(crate) fn unseen(author: UserId) -> Vec<Self> {
        let active = Self::of(author, AccountStatus::Active);
        let gone = [Post::None, Post::Deleted].map(|post| Self { post, ..active.clone() });
        let gone = gone.into_iter().chain([Self { removed: true, ..active }]);
        crate::accounts::account::testing::UNSEEN
            .into_iter()
            .map(|status| Self::of(author, status))
            .chain(gone)
            .collect()
    }
}

impl Fold for SeenPost {
    fn apply(&mut self, recorded: &Recorded) {
        self.post.apply(recorded);
        self.author.apply(recorded);
        if let Some(removed) = post_removed_after(recorded) {
            self.removed = removed;
        }
    }

    fn further_subject(&self) -> Option<Subject> {
        self.post.author().map(Subject::Account)
    }
}

/// Whether a post is removed after an event; none if the event is about something else.
fn post_removed_after(recorded: &Recorded) -> Option<bool> {
    let Event::Social(SocialEvent::Moderation(event)) = &recorded.event else { return None };
    if !matches!(event.content(), Content::Post { .. }) {
        return None;
    }
    Some(matches!(event, ModerationEvent::ContentRemoved(_)))
}

/// The state of a post that its author's decisions need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OwnPost {
    post: Post,
    removed: bool,
}

impl OwnPost {
    /// The post as its author may change it. A removed post is not found by its author either.
    const fn changeable(&self) -> &Post {
        if self.removed { &Post::None } else { &self.post }
    }
}

impl Fold for OwnPost {
    fn apply(&mut self, recorded: &Recorded) {
        self.post.apply(recorded);
        if let Some(removed) = post_removed_after(recorded) {
            self.removed = removed;
        }
    }
}

fn publish(post: &Post, event: &PostPublished) -> Result<Option<Event>, PostRejected> {
    match post {
        Post::None => Ok(Some(event.clone().into())),
        // Only a replay can name a post that exists.
        Post::Published { author, .. } if *author == event.author => Ok(None),
        Post::Published { .. } | Post::Deleted => Err(PostRejected::NotFound),
    }
}

fn edit_caption(post: &Post, id: PostId, editor: UserId, new: &str) -> Result<Option<Event>, PostRejected> {
    match post {
        Post::Published { author, .. } if *author != editor => Err(PostRejected::NotYours),
        // A missing caption equals an empty one, and a caption of an earlier version may have other line ends.
        Post::Published { caption, .. } if text::tidy(caption.as_deref().unwrap_or_default()) == new => {
            Ok(None)
        }
        Post::Published { author, .. } => Ok(Some(
            CaptionEdited { post: id, author: *author, caption: Personal::Open(new.to_owned()) }.into(),
        )),
        Post::None | Post::Deleted => Err(PostRejected::NotFound),
    }
}

fn delete(post: &Post, id: PostId, who: UserId) -> Result<Option<Event>, PostRejected> {
    match post {
        Post::Published { author, .. } if *author != who => Err(PostRejected::NotYours),
        Post::Published { author, .. } => Ok(Some(PostDeleted { post: id, author: *author }.into())),
        Post::Deleted => Ok(None),
        Post::None => Err(PostRejected::NotFound),
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    let upload = OpenApiRouter::new().routes(routes!(create_post)).layer(DefaultBodyLimit::max(UPLOAD_LIMIT));
    OpenApiRouter::new().routes(routes!(edit_post, delete_post)).merge(upload)
}

/// A new post, as `multipart/form-data`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described; `NewPost` reads it")]
struct PostForm {
    /// One to ten pictures, in order: JPEG, PNG, WebP or GIF, at most 20 MB each.
    #[schema(value_type = Vec<String>, format = "binary", min_items = 1, max_items = 10)]
    image: Vec<Vec<u8>>,
    /// Descriptions of the pictures, in the same order.
    #[schema(value_type = Vec<String>, required = false, max_items = 10)]
    alt: Option<Vec<String>>,
    #[schema(value_type = String, required = false, max_length = 2200)]
    caption: Option<String>,
}

/// An upload whose fields have been checked.
#[derive(Default)]
pub struct NewPost {
    pub images: Vec<Bytes>,
    pub alt: Vec<String>,
    pub caption: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for NewPost {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let mut form = form(request, state).await?;
        let mut new = Self::default();
        let mut fields = Fields::default();
        while let Some(field) = form.next_field().await.map_err(|e| unreadable(&e))? {
            match field.name() {
                Some("image") => {
                    let place = format!("image[{}]", new.images.len());
                    let Some(image) = image(field, &place).await? else { continue };
                    if new.images.len() == IMAGES_LIMIT {
                        return Err(Problem::malformed(
                            place,
                            FieldCode::TooMany,
                            format!("at most {IMAGES_LIMIT} images are accepted"),
                        ));
                    }
                    new.images.push(image);
                }
                Some("alt") => {
                    let place = format!("alt[{}]", new.alt.len());
                    if new.alt.len() == IMAGES_LIMIT {
                        return Err(Problem::malformed(
                            place,
                            FieldCode::TooMany,
                            "there are more of them than images",
                        ));
                    }
                    let alt = text_field(field, &place).await?;
                    new.alt.push(fields.take(&place, text::line(&alt, text::ALT_LIMIT)));
                }
                Some("caption") if new.caption.is_none() => {
                    let caption = text_field(field, "caption").await?;
                    new.caption = Some(fields.take("caption", text::free(&caption, text::CAPTION_LIMIT)));
                }
                Some("caption") => {
                    return Err(Problem::malformed("caption", FieldCode::Duplicate, "may be given once"));
                }
                other => {
                    let name = other.unwrap_or("a field without a name").to_owned();
                    return Err(Problem::malformed(
                        name,
                        FieldCode::Unknown,
                        "is unknown: the fields are image, alt and caption",
                    ));
                }
            }
        }
        fields.finish()?;
        if new.images.is_empty() {
            return Err(Problem::malformed("image", FieldCode::Required, "a post needs at least one"));
        }
        if new.alt.len() > new.images.len() {
            let more = FieldProblem::new("alt", FieldCode::TooMany, "there are more of them than images");
            return Err(Problem::invalid(vec![more]));
        }
        Ok(new)
    }
}

/// Whether the content type of a request is `multipart/form-data`.
pub fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("multipart/form-data")
}

/// The form in the body of a request.
pub async fn form<S: Send + Sync>(request: Request, state: &S) -> Result<Multipart, Problem> {
    if !is_form(request.headers()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-multipart",
            "The body must be multipart/form-data",
        ));
    }
    let no_boundary = |_| {
        Problem::malformed(
            "content-type",
            FieldCode::InvalidFormat,
            "multipart/form-data must name its boundary",
        )
    };
    Multipart::from_request(request, state).await.map_err(no_boundary)
}

/// The picture in a field; none for an empty file input, which browsers send without a name and without bytes.
pub async fn image(mut field: Field<'_>, place: &str) -> Result<Option<Bytes>, Problem> {
    let is_named = field.file_name().is_some_and(|name| !name.is_empty());
    let mut content = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|e| unreadable(&e))? {
        if content.len() + chunk.len() > IMAGE_LIMIT {
            return Err(too_large(place, format!("{place} is larger than {} MB", IMAGE_LIMIT >> 20)));
        }
        content.extend_from_slice(&chunk);
    }
    Ok((is_named || !content.is_empty()).then(|| content.into()))
}

/// The content of a text field, with a limit above the limits of all fields.
pub async fn text_field(mut field: Field<'_>, place: &str) -> Result<String, Problem> {
    const LIMIT: usize = 64 * 1024;
    let mut content = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|e| unreadable(&e))? {
        if content.len() + chunk.len() > LIMIT {
            return Err(too_large(place, format!("{place} is too long")));
        }
        content.extend_from_slice(&chunk);
    }
    String::from_utf8(content)
        .map_err(|_| Problem::malformed(place, FieldCode::InvalidFormat, "must be text in UTF-8"))
}

pub fn unreadable(error: &MultipartError) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return body_too_large();
    }
    Problem::malformed(
        "body",
        FieldCode::InvalidFormat,
        format!("not the multipart/form-data it says it is: {}", error.body_text()),
    )
}

impl Commands {
    pub async fn publish(
        &self,
        context: &Context,
        author: UserId,
        new: NewPost,
    ) -> Result<(PostPublished, Outcome), CommandError<PublishRejected>> {
        let post = PostId::new(context.new_id(self.log.keys(), "post"));
        if let Some(published) = self.published_before(context, post).await? {
            return Ok(published);
        }
        let NewPost { images: originals, alt, caption } = new;
        let processing = originals.into_iter().enumerate().map(async |(place, original)| {
            let processed = self.images.process(author, original, ImageVariant::OF_POST).await;
            let rejected = |rejected| PublishRejected::Image { field: format!("image[{place}]"), rejected };
            processed.map_err(|error| CommandError::Rejected(rejected(error)))
        });
        let processed = try_join_all(processing).await?;
        // None is stored unless all of them are pictures.
        let stored = processed.into_iter().map(|one| self.keep_picture::<PublishRejected>(context, one));
        let stored = try_join_all(stored).await?;
        let (images, placeholders) =
            stored.into_iter().map(|Picture { image, placeholder }| (image, placeholder)).unzip();
        let text = Personal::Open(PostText { caption, alt, placeholders });
        let event = PostPublished { post, author, images, text };
        let outcome =
            self.execute_new(context, Subject::Post(post), &[], |state| publish(state, &event)).await?;
        // A concurrent copy of the request was faster: its images are the post's.
        if outcome.replayed
            && let Some(published) = self.published_before(context, post).await?
        {
            return Ok(published);
        }
        Ok((event, outcome))
    }

    async fn published_before(
        &self,
        context: &Context,
        post: PostId,
    ) -> Result<Option<(PostPublished, Outcome)>, CommandError<PostRejected>> {
        let before = self.replayed_event(context, Subject::Post(post)).await?;
        Ok(before.and_then(|(event, outcome)| match event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => Some((event, outcome)),
            _ => None,
        }))
    }
}

impl Commands {
    /// Edits a caption, with the text that `accept` returns. It is called only if the editor may edit the post.
    pub async fn edit_caption<R: From<PostRejected>>(
        &self,
        context: &Context,
        post: PostId,
        editor: UserId,
        accept: impl Fn() -> Result<String, R>,
    ) -> Result<Outcome, CommandError<R>> {
        let decide = |state: &OwnPost| {
            edit_caption(state.changeable(), post, editor, "")?;
            Ok(edit_caption(state.changeable(), post, editor, &accept()?)?)
        };
        let [target, moderation] = SeenPost::subjects(post);
        self.execute(context, target, &[moderation], decide).await
    }

    pub async fn delete_post(
        &self,
        context: &Context,
        post: PostId,
        who: UserId,
    ) -> Result<Outcome, CommandError<PostRejected>> {
        let decide = |state: &OwnPost| delete(state.changeable(), post, who);
        let [target, moderation] = SeenPost::subjects(post);
        self.execute(context, target, &[moderation], decide).await
    }
}

/// Publish a post
///
/// A post has one to ten pictures and an optional caption.
#[utoipa::path(
    post, path = "/v1/posts", tag = "posts", security(("token" = [])),
    request_body(content = PostForm, content_type = "multipart/form-data"),
    params(CommandHeaders),
    responses((status = 201, body = CreatedPost), (status = 202, body = CreatedPost), Problems)
)]
async fn create_post(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    request: Request,
) -> Result<Response, Problem> {
    let author = session.user;
    let _slot = commands.begin_upload(author)?;
    let new = NewPost::from_request(request, &()).await?;
    let caption = new.caption.as_deref().unwrap_or("\0").as_bytes();
    let payload =
        new.images.iter().map(AsRef::as_ref).chain([caption]).chain(new.alt.iter().map(String::as_bytes));
    let context = context.with_actor(author).with_payload(payload);
    let (published, outcome) = commands.publish(&context, author, new).await?;
    let post = commands.new_post(published, outcome).await.map_err(log_problem)?;
    let location = format!("/v1/posts/{}", post.id);
    let body = |receipt| CreatedPost { receipt, id: post.id.clone(), post };
    Ok(commands.created(prefer, outcome, &location, body).await)
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedPost {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the post.
    id: String,
    /// The post as it was published.
    post: resources::Post,
}

impl Commands {
    /// The resource that a query returns for this post before any like or comment.
    async fn new_post(&self, event: PostPublished, outcome: Outcome) -> Result<resources::Post, LogError> {
        let PostPublished { post, author, images, text } = event;
        let PostText { caption, alt, placeholders } = text.into_open().unwrap_or_default();
        let author = self.person(author).await?;
        let (mut alt, mut placeholders) = (alt.into_iter(), placeholders.into_iter());
        let image = |Image { media, width, height }| {
            let alt = alt.next().unwrap_or_default();
            let url = &self.public_url;
            resources::Image::new(url, &media.to_string(), (width, height), alt, placeholders.next())
        };
        Ok(resources::Post {
            id: post.to_string(),
            author,
            caption,
            edited: false,
            images: images.into_iter().map(image).collect(),
            published_at: outcome.time,
            likes: 0,
            comments: 0,
            viewer: Some(resources::PostViewer { liked: false, saved: false }),
        })
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PostChange {
    #[schema(max_length = 2200, example = "Dawn over the lake")]
    caption: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct EditedPost {
    #[serde(flatten)]
    receipt: Receipt,
    /// The caption as it is stored.
    caption: String,
}

/// Edit the caption of a post
#[utoipa::path(
    patch, path = "/v1/posts/{post}", tag = "posts", request_body = PostChange, security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = EditedPost), (status = 202, body = EditedPost), Problems)
)]
async fn edit_post(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
    Json(change): Json<PostChange>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let caption = fields.take("caption", text::free(&change.caption, text::CAPTION_LIMIT));
    fields.finish()?;
    let editor = session.user;
    let context = context.with_actor(editor).with_payload([caption.as_bytes()]);
    let accept = || Ok::<_, PostRejected>(caption.clone());
    let outcome = commands.edit_caption(&context, post, editor, accept).await?;
    let body = |receipt| EditedPost { receipt, caption };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

/// Delete a post
#[utoipa::path(
    delete, path = "/v1/posts/{post}", tag = "posts", security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_post(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let who = session.user;
    let outcome = commands.delete_post(&context.with_actor(who), post, who).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const POST: PostId = PostId::new(Uuid::from_u128(0x90));

    fn published() -> Post {
        Post::Published { author: ANN, caption: Some("Dawn".into()) }
    }

    fn post_published(author: UserId) -> PostPublished {
        PostPublished { post: POST, author, images: Vec::new(), text: Personal::Open(PostText::default()) }
    }

    #[test]
    fn post_is_published_once() {
        assert_eq!(publish(&Post::None, &post_published(ANN)), Ok(Some(post_published(ANN).into())));
        assert_eq!(publish(&published(), &post_published(ANN)), Ok(None));
        assert_eq!(publish(&published(), &post_published(BOB)), Err(PostRejected::NotFound));
        assert_eq!(publish(&Post::Deleted, &post_published(ANN)), Err(PostRejected::NotFound));
    }

    #[test]
    fn only_the_author_edits_a_post() {
        let edited = CaptionEdited { post: POST, author: ANN, caption: Personal::Open("Dusk".into()) };
        assert_eq!(edit_caption(&published(), POST, ANN, "Dusk"), Ok(Some(edited.into())));
        assert_eq!(edit_caption(&published(), POST, ANN, "Dawn"), Ok(None));
        let of_before = Post::Published { author: ANN, caption: Some("two\r\nlines".into()) };
        assert_eq!(edit_caption(&of_before, POST, ANN, "two\nlines"), Ok(None));
        let without = Post::Published { author: ANN, caption: None };
        assert_eq!(edit_caption(&without, POST, ANN, ""), Ok(None));
        assert_eq!(edit_caption(&published(), POST, BOB, "Dusk"), Err(PostRejected::NotYours));
        assert_eq!(edit_caption(&Post::Deleted, POST, ANN, "Dusk"), Err(PostRejected::NotFound));
        assert_eq!(edit_caption(&Post::None, POST, ANN, "Dusk"), Err(PostRejected::NotFound));
    }

    #[test]
    fn only_the_author_deletes_a_post_and_only_once() {
        assert_eq!(delete(&published(), POST, ANN), Ok(Some(PostDeleted { post: POST, author: ANN }.into())));
        assert_eq!(delete(&published(), POST, BOB), Err(PostRejected::NotYours));
        assert_eq!(delete(&Post::Deleted, POST, ANN), Ok(None));
        assert_eq!(delete(&Post::None, POST, ANN), Err(PostRejected::NotFound));
    }

    /// Pieces of a form, in any order.
    fn any_form() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => Just(b"--x\r\n".to_vec()),
            1 => Just(b"--x--\r\n".to_vec()),
            4 => "Content-Disposition: form-data; name=\"(image|alt|caption|other|\\PC{0,3})\"(; filename=\"[a-z./\\\\]{0,9}\")?\r\n".prop_map(String::into_bytes),
            1 => "[A-Za-z-]{1,20}: [ -~]{0,20}\r\n".prop_map(String::into_bytes),
            4 => Just(b"\r\n".to_vec()),
            2 => "\\PC{0,20}\r\n".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_form_is_a_post_or_refused_by_field(body in any_form()) {
            let request = Request::post("/").header(header::CONTENT_TYPE, "multipart/form-data; boundary=x");
            let request = request.body(axum::body::Body::from(body)).unwrap();
            // The body is complete, so nothing waits.
            match NewPost::from_request(request, &()).now_or_never().unwrap() {
                Ok(post) => {
                    prop_assert!((1..=IMAGES_LIMIT).contains(&post.images.len()));
                    prop_assert!(post.alt.len() <= post.images.len());
                }
                Err(problem) => {
                    prop_assert!(problem.status.is_client_error(), "{problem}");
                    prop_assert!(!problem.fields.is_empty(), "{problem}");
                }
            }
        }
    }
}
