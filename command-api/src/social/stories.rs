//! Stories: images that are shown for a day. They are published and deleted by their author and viewed by others; the
//! projector expires them.

use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use events::{
    AccountsEvent, Content, Event, FollowEvent, ModerationEvent, Personal, ProfileEvent, Recorded,
    STORY_LIFETIME, SocialEvent, StoryDeleted, StoryEvent, StoryId, StoryPublished, StoryText,
    StoryViewEvent, StoryViewed, Subject, UserId,
};
use media::ImageVariant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Path;
use web::problem::{FieldCode, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::AccountStatus;
use crate::images::{ImageRejected, Picture};
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};
use crate::social::posts::{self, IMAGE_LIMIT};

/// Largest upload in bytes: one picture and the overhead of the form.
const UPLOAD_LIMIT: usize = IMAGE_LIMIT + 1024 * 1024;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoryRejected {
    NotFound,
    NotYours,
}

impl From<StoryRejected> for Problem {
    fn from(rejected: StoryRejected) -> Self {
        match rejected {
            StoryRejected::NotFound => Self::not_found("There is no such story"),
            StoryRejected::NotYours => Self::forbidden("This story belongs to another user"),
        }
    }
}

/// Why a story was not published.
#[derive(Debug)]
pub enum PublishRejected {
    Story(StoryRejected),
    Image(ImageRejected),
}

impl From<PublishRejected> for Problem {
    fn from(rejected: PublishRejected) -> Self {
        match rejected {
            PublishRejected::Story(rejected) => rejected.into(),
            PublishRejected::Image(rejected) => rejected.into_field_problem("image"),
        }
    }
}

impl From<CommandError<StoryRejected>> for CommandError<PublishRejected> {
    fn from(error: CommandError<StoryRejected>) -> Self {
        error.map_rejection(PublishRejected::Story)
    }
}

impl From<CommandError<ImageRejected>> for CommandError<PublishRejected> {
    fn from(error: CommandError<ImageRejected>) -> Self {
        error.map_rejection(PublishRejected::Image)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Story {
    #[default]
    None,
    Published {
        at: DateTime<Utc>,
    },
    /// Deleted or expired.
    Over,
}

impl Story {
    /// False once the story has expired, even if its expiry is not in the log yet.
    fn is_shown(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Published { at } => now < at + STORY_LIFETIME,
            Self::None | Self::Over => false,
        }
    }
}

impl Fold for Story {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Social(SocialEvent::Story(event)) = &recorded.event else { return };
        *self = match event {
            StoryEvent::StoryPublished(_) => Self::Published { at: recorded.envelope.time },
            StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_) => Self::Over,
        };
    }
}

/// A story, whether a user has viewed it, and whether they may.
#[derive(Debug, Clone, Default, PartialEq)]
struct Viewing {
    story: ModeratedStory,
    author: AccountStatus,
    /// Only accepted followers of the author see the story.
    private: bool,
    follows: bool,
    viewed: bool,
}

impl Fold for Viewing {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Social(SocialEvent::Story(_) | SocialEvent::Moderation(_)) => {
                self.story.apply(recorded);
            }
            Event::Social(SocialEvent::StoryView(StoryViewEvent::StoryViewed(_))) => self.viewed = true,
            Event::Accounts(AccountsEvent::Account(_)) => self.author.apply(recorded),
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PrivacyChanged(event))) => {
                self.private = event.private;
            }
            Event::Social(SocialEvent::Follow(FollowEvent::Followed(_) | FollowEvent::FollowAccepted(_))) => {
                self.follows = true;
            }
            Event::Social(SocialEvent::Follow(
                FollowEvent::FollowRequested(_) | FollowEvent::Unfollowed(_),
            )) => {
                self.follows = false;
            }
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }
}

/// A story, and whether a moderator has removed it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ModeratedStory {
    story: Story,
    removed: bool,
}

impl ModeratedStory {
    /// The story as all users see it, including its author. A removed story is not found.
    const fn visible(self) -> Story {
        if self.removed { Story::None } else { self.story }
    }
}

impl Fold for ModeratedStory {
    fn apply(&mut self, recorded: &Recorded) {
        self.story.apply(recorded);
        if let Event::Social(SocialEvent::Moderation(event)) = &recorded.event {
            self.removed = matches!(event, ModerationEvent::ContentRemoved(_));
        }
    }
}

fn publish(story: Story, event: &StoryPublished) -> Result<Option<Event>, StoryRejected> {
    match story {
        Story::None => Ok(Some(event.clone().into())),
        // Only a replay can name a story that exists.
        Story::Published { .. } => Ok(None),
        Story::Over => Err(StoryRejected::NotFound),
    }
}

/// An expired story can be deleted until its expiry is in the log.
fn delete(story: Story, author: UserId, id: StoryId, who: UserId) -> Result<Option<Event>, StoryRejected> {
    match story {
        Story::None => Err(StoryRejected::NotFound),
        Story::Published { .. } | Story::Over if author != who => Err(StoryRejected::NotYours),
        Story::Published { .. } => Ok(Some(StoryDeleted { author, story: id }.into())),
        Story::Over => Ok(None),
    }
}

/// Has no effect for the author.
fn view(
    state: &Viewing,
    author: UserId,
    story: StoryId,
    viewer: UserId,
    now: DateTime<Utc>,
) -> Result<Option<Event>, StoryRejected> {
    let may_see =
        state.author == AccountStatus::Active && (!state.private || state.follows || viewer == author);
    if !may_see || !state.story.visible().is_shown(now) {
        return Err(StoryRejected::NotFound);
    }
    Ok((viewer != author && !state.viewed).then(|| StoryViewed { story, viewer, author }.into()))
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    let upload =
        OpenApiRouter::new().routes(routes!(create_story)).layer(DefaultBodyLimit::max(UPLOAD_LIMIT));
    OpenApiRouter::new().routes(routes!(delete_story)).routes(routes!(view_story)).merge(upload)
}

/// A new story, as `multipart/form-data`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described; `NewStory` reads it")]
struct StoryForm {
    /// The picture: JPEG, PNG, WebP or GIF, at most 20 MB.
    #[schema(value_type = String, format = "binary")]
    image: Vec<u8>,
    /// Description of the picture.
    #[schema(value_type = String, required = false, max_length = 500)]
    alt: Option<String>,
}

/// An upload whose fields have been checked.
#[derive(Debug)]
pub struct NewStory {
    pub image: Bytes,
    pub alt: String,
}

impl<S: Send + Sync> FromRequest<S> for NewStory {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let mut form = posts::form(request, state).await?;
        let (mut image, mut alt) = (None, None);
        let mut fields = Fields::default();
        while let Some(field) = form.next_field().await.map_err(|e| posts::unreadable(&e))? {
            match field.name() {
                Some("image") => {
                    let Some(content) = posts::image(field, "image").await? else { continue };
                    if image.replace(content).is_some() {
                        return Err(Problem::malformed("image", FieldCode::Duplicate, "may be given once"));
                    }
                }
                Some("alt") if alt.is_none() => {
                    let content = posts::text_field(field, "alt").await?;
                    alt = Some(fields.take("alt", text::line(&content, text::ALT_LIMIT)));
                }
                Some("alt") => {
                    return Err(Problem::malformed("alt", FieldCode::Duplicate, "may be given once"));
                }
                other => {
                    let name = other.unwrap_or("a field without a name").to_owned();
                    return Err(Problem::malformed(
                        name,
                        FieldCode::Unknown,
                        "is unknown: the fields are image and alt",
                    ));
                }
            }
        }
        fields.finish()?;
        let image =
            image.ok_or_else(|| Problem::malformed("image", FieldCode::Required, "a story needs one"))?;
        Ok(Self { image, alt: alt.unwrap_or_default() })
    }
}

impl Commands {
    /// Publishes a story. A replay returns the story that the first request published.
    pub async fn publish_story(
        &self,
        context: &Context,
        author: UserId,
        new: NewStory,
        variants: &'static [ImageVariant],
    ) -> Result<(StoryPublished, Outcome), CommandError<PublishRejected>> {
        let story = StoryId::new(context.new_id(self.log.keys(), "story"));
        let subject = Subject::Story(author, story);
        if let Some(published) = self.story_published_before(context, subject).await? {
            return Ok(published);
        }
        let Picture { image, placeholder } = self.store_picture(context, author, new.image, variants).await?;
        let text = Personal::Open(StoryText { alt: new.alt, placeholder });
        let event = StoryPublished { author, story, image, text };
        let decide = |state: &Story| publish(*state, &event);
        let outcome = self.execute_new(context, subject, &[], decide).await?;
        // A concurrent copy of the request was faster: its image is the story's.
        if outcome.replayed
            && let Some(published) = self.story_published_before(context, subject).await?
        {
            return Ok(published);
        }
        Ok((event, outcome))
    }

    async fn story_published_before(
        &self,
        context: &Context,
        subject: Subject,
    ) -> Result<Option<(StoryPublished, Outcome)>, CommandError<StoryRejected>> {
        let before = self.replayed_event(context, subject).await?;
        Ok(before.and_then(|(event, outcome)| match event {
            Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(event))) => Some((event, outcome)),
            _ => None,
        }))
    }
}

/// Publish a story
///
/// The story is visible for 24 hours: to all users, or only to accepted followers if the author's profile is private.
#[utoipa::path(
    post, path = "/v1/stories", tag = "stories", security(("token" = [])),
    request_body(content = StoryForm, content_type = "multipart/form-data"),
    params(CommandHeaders),
    responses((status = 201, body = CreatedStory), (status = 202, body = CreatedStory), Problems)
)]
async fn create_story(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    request: Request,
) -> Result<Response, Problem> {
    let author = session.user;
    let _slot = commands.begin_upload(author)?;
    let new = NewStory::from_request(request, &()).await?;
    let context = context.with_actor(author).with_payload([new.image.as_ref(), new.alt.as_bytes()]);
    let (published, outcome) = commands.publish_story(&context, author, new, ImageVariant::OF_STORY).await?;
    let story = commands.new_story(published, outcome);
    let location = format!("/v1/users/{author}/stories/{}", story.id);
    let body = |receipt| CreatedStory { receipt, id: story.id.clone(), story };
    Ok(commands.created(prefer, outcome, &location, body).await)
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedStory {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the story.
    id: String,
    /// The story as it was published.
    story: resources::Story,
}

impl Commands {
    /// The resource that a query returns to the author for this story before the first view.
    fn new_story(&self, event: StoryPublished, outcome: Outcome) -> resources::Story {
        let StoryPublished { story, image: events::Image { media, width, height }, text, .. } = event;
        let StoryText { alt, placeholder } = text.into_open().unwrap_or_default();
        let (media, size) = (media.to_string(), (width, height));
        resources::Story {
            id: story.to_string(),
            image: resources::StoryImage::new(&self.public_url, &media, size, alt, placeholder),
            published_at: outcome.time,
            expires_at: outcome.time + STORY_LIFETIME,
            views: Some(0),
            viewer: Some(resources::StoryViewer { viewed: true }),
        }
    }
}

/// Delete a story
#[utoipa::path(
    delete, path = "/v1/users/{user}/stories/{story}", tag = "stories", security(("token" = [])),
    params(
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("story" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_story(
    State(commands): State<Commands>,
    session: Session,
    Path((author, story)): Path<(UserId, StoryId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let who = session.user;
    let moderation = Subject::Moderation(Content::Story { author, story });
    let decide = |state: &ModeratedStory| delete(state.visible(), author, story, who);
    let outcome = commands
        .execute(&context.with_actor(who), Subject::Story(author, story), &[moderation], decide)
        .await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Mark a story as viewed
///
/// The author of the story can list its viewers; each viewer counts once. The author's own views do not count.
#[utoipa::path(
    put, path = "/v1/users/{user}/stories/{story}/view", tag = "stories", security(("token" = [])),
    params(
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("story" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn view_story(
    State(commands): State<Commands>,
    session: Session,
    Path((author, story)): Path<(UserId, StoryId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let (viewer, now) = (session.user, context.now);
    let others = [
        Subject::Story(author, story),
        Subject::Account(author),
        Subject::Profile(author),
        Subject::Follow(viewer, author),
        Subject::Moderation(Content::Story { author, story }),
    ];
    let decide = |state: &Viewing| view(state, author, story, viewer, now);
    let target = Subject::StoryView(story, viewer);
    let outcome = commands.execute_new(&context.with_actor(viewer), target, &others, decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use events::{
        FollowAccepted, FollowRequested, Followed, Image, MediaId, PrivacyChanged, StoryExpired, Unfollowed,
    };
    use futures::FutureExt;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::accounts::account::testing::UNSEEN;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const STORY: StoryId = StoryId::new(Uuid::from_u128(0x57));
    const NOON: DateTime<Utc> = DateTime::UNIX_EPOCH;

    const PUBLISHED: Story = Story::Published { at: NOON };

    fn story_published() -> StoryPublished {
        let image = Image { media: MediaId::new(Uuid::from_u128(7)), width: 10, height: 20 };
        StoryPublished { author: ANN, story: STORY, image, text: Personal::Open(StoryText::default()) }
    }

    impl From<Story> for ModeratedStory {
        fn from(story: Story) -> Self {
            Self { story, removed: false }
        }
    }

    fn viewing() -> Viewing {
        Viewing { story: PUBLISHED.into(), author: AccountStatus::Active, ..Viewing::default() }
    }

    fn viewed() -> Event {
        StoryViewed { story: STORY, viewer: BOB, author: ANN }.into()
    }

    /// Folds events that are an hour apart.
    fn folded<S: Fold>(history: impl IntoIterator<Item = Event>) -> S {
        let mut state = S::default();
        for (event, hour) in history.into_iter().zip(0..) {
            let envelope = events::Envelope {
                id: events::EventId::new(Uuid::nil()),
                event_type: event.wire_name().into(),
                source: "test".into(),
                time: NOON + TimeDelta::hours(hour),
                subject: event.subject(),
                actor: None,
                correlation: Uuid::nil(),
                causation: None,
                traceparent: None,
            };
            state.apply(&Recorded { position: events::Position(1), envelope, event });
        }
        state
    }

    #[test]
    fn story_is_published_once() {
        assert_eq!(publish(Story::None, &story_published()), Ok(Some(story_published().into())));
        assert_eq!(publish(PUBLISHED, &story_published()), Ok(None));
        assert_eq!(publish(Story::Over, &story_published()), Err(StoryRejected::NotFound));
    }

    #[test]
    fn only_the_author_deletes_a_story_and_only_once() {
        let deleted = StoryDeleted { author: ANN, story: STORY };
        assert_eq!(delete(PUBLISHED, ANN, STORY, ANN), Ok(Some(deleted.into())));
        assert_eq!(delete(Story::Over, ANN, STORY, ANN), Ok(None));
        assert_eq!(delete(Story::None, ANN, STORY, ANN), Err(StoryRejected::NotFound));
        for story in [PUBLISHED, Story::Over] {
            assert_eq!(delete(story, ANN, STORY, BOB), Err(StoryRejected::NotYours));
        }
    }

    #[test]
    fn story_is_viewed_once_and_never_by_its_author() {
        let now = NOON + TimeDelta::hours(1);
        assert_eq!(view(&viewing(), ANN, STORY, BOB, now), Ok(Some(viewed())));
        let again = Viewing { viewed: true, ..viewing() };
        assert_eq!(view(&again, ANN, STORY, BOB, now), Ok(None));
        assert_eq!(view(&viewing(), ANN, STORY, ANN, now), Ok(None));
    }

    #[test]
    fn story_can_be_viewed_for_exactly_a_day() {
        let at = |age: TimeDelta| view(&viewing(), ANN, STORY, BOB, NOON + age);
        assert_eq!(at(TimeDelta::hours(24) - TimeDelta::seconds(1)), Ok(Some(viewed())));
        assert_eq!(at(TimeDelta::hours(24)), Err(StoryRejected::NotFound));
        for story in [Story::None, Story::Over] {
            let state = Viewing { story: story.into(), ..viewing() };
            assert_eq!(view(&state, ANN, STORY, BOB, NOON), Err(StoryRejected::NotFound));
        }
    }

    #[test]
    fn invisible_story_cannot_be_viewed() {
        for author in UNSEEN {
            let state = Viewing { author, ..viewing() };
            assert_eq!(view(&state, ANN, STORY, BOB, NOON), Err(StoryRejected::NotFound), "{author:?}");
        }
        let removed = Viewing { story: ModeratedStory { story: PUBLISHED, removed: true }, ..viewing() };
        assert_eq!(view(&removed, ANN, STORY, BOB, NOON), Err(StoryRejected::NotFound));
        let own = ModeratedStory { story: PUBLISHED, removed: true };
        assert_eq!(delete(own.visible(), ANN, STORY, ANN), Err(StoryRejected::NotFound));
        let private = Viewing { private: true, ..viewing() };
        assert_eq!(view(&private, ANN, STORY, BOB, NOON), Err(StoryRejected::NotFound));
        assert_eq!(view(&private, ANN, STORY, ANN, NOON), Ok(None));
        let followed = Viewing { follows: true, ..private };
        assert_eq!(view(&followed, ANN, STORY, BOB, NOON), Ok(Some(viewed())));
    }

    #[test]
    fn state_is_folded_from_the_last_events() {
        assert_eq!(folded::<Story>([story_published().into()]), PUBLISHED);
        let expired = StoryExpired { author: ANN, story: STORY };
        assert_eq!(folded::<Story>([story_published().into(), expired.into()]), Story::Over);
        let deleted = StoryDeleted { author: ANN, story: STORY };
        assert_eq!(folded::<Story>([story_published().into(), deleted.into()]), Story::Over);

        let (follower, followee) = (BOB, ANN);
        let follows = |history: Vec<Event>| folded::<Viewing>(history).follows;
        assert!(follows(vec![Followed { follower, followee }.into()]));
        let requested = Event::from(FollowRequested { follower, followee });
        assert!(!follows(vec![requested.clone()]));
        assert!(follows(vec![requested, FollowAccepted { follower, followee }.into()]));
        let unfollowed = Unfollowed { follower, followee, only_requested: false };
        assert!(!follows(vec![Followed { follower, followee }.into(), unfollowed.into()]));
        let state: Viewing = folded([PrivacyChanged { user: ANN, private: true }.into(), viewed()]);
        assert_eq!((state.private, state.viewed), (true, true));
    }

    /// Pieces of a form, in any order.
    fn any_form() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => Just(b"--x\r\n".to_vec()),
            1 => Just(b"--x--\r\n".to_vec()),
            4 => "Content-Disposition: form-data; name=\"(image|alt|other|\\PC{0,3})\"\r\n".prop_map(String::into_bytes),
            4 => Just(b"\r\n".to_vec()),
            2 => "\\PC{0,20}\r\n".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..20),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_form_is_a_story_or_refused_by_field(body in any_form()) {
            let request = Request::post("/").header(http::header::CONTENT_TYPE, "multipart/form-data; boundary=x");
            let request = request.body(axum::body::Body::from(body)).unwrap();
            // The body is complete, so nothing waits.
            match NewStory::from_request(request, &()).now_or_never().unwrap() {
                Ok(story) => prop_assert!(story.alt.chars().count() <= text::ALT_LIMIT),
                Err(problem) => {
                    prop_assert!(problem.status.is_client_error(), "{problem}");
                    prop_assert!(!problem.fields.is_empty(), "{problem}");
                }
            }
        }
    }
}
