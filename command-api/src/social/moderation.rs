//! Removal and restoration of content by moderators and admins. Unlike deleted content, removed content is kept and can be
//! restored for 30 days.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{
    AccountsEvent, CommentEvent, CommentId, Content, ContentRemoved, ContentRestored, Event, ModerationEvent,
    Personal, PostEvent, PostId, REMOVAL_REVERSIBLE, Recorded, Role, SocialEvent, StoryEvent, StoryId,
    Subject, UserId,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::AccountStatus;
use crate::accounts::roles::{Authority, REASON_LIMIT};
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModerationRejected {
    NotAllowed,
    NotFound,
    /// It was removed so long ago that its files may be deleted.
    TooLate,
}

impl From<ModerationRejected> for Problem {
    fn from(rejected: ModerationRejected) -> Self {
        match rejected {
            ModerationRejected::NotAllowed => Self::forbidden("Your roles do not allow this"),
            ModerationRejected::NotFound => Self::not_found("There is no such content"),
            ModerationRejected::TooLate => Self::conflict(
                "removal-final",
                "This was removed more than 30 days ago and cannot be restored",
            ),
        }
    }
}

/// The state of content that moderation decisions need.
#[derive(Debug, Clone, Default, PartialEq)]
struct Moderated {
    /// None if there is no such content.
    published_by: Option<UserId>,
    account: AccountStatus,
    removed: Option<DateTime<Utc>>,
}

impl Moderated {
    /// The author, if the content exists, even if they are deactivated or suspended.
    fn author(&self) -> Option<UserId> {
        self.published_by.filter(|_| self.account != AccountStatus::Erased)
    }
}

impl Fold for Moderated {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                self.published_by = Some(event.author);
            }
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(_))) => {}
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(_))) => self.published_by = None,
            Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(event))) => {
                self.published_by = Some(event.author);
            }
            Event::Social(SocialEvent::Story(StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_))) => {
                self.published_by = None;
            }
            Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => {
                self.published_by = Some(event.author);
            }
            Event::Social(SocialEvent::Comment(CommentEvent::CommentDeleted(_))) => self.published_by = None,
            Event::Accounts(AccountsEvent::Account(_)) => self.account.apply(recorded),
            Event::Social(SocialEvent::Moderation(ModerationEvent::ContentRemoved(_))) => {
                self.removed = Some(recorded.envelope.time);
            }
            Event::Social(SocialEvent::Moderation(ModerationEvent::ContentRestored(_))) => {
                self.removed = None;
            }
            Event::Social(
                SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::StoryView(_)
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

    fn further_subject(&self) -> Option<Subject> {
        self.published_by.map(Subject::Account)
    }
}

/// The author, if the command comes from a moderator or an admin and the content exists.
fn may_moderate(state: &Moderated, by: &Authority) -> Result<UserId, ModerationRejected> {
    if !(by.has(Role::Moderator) || by.has(Role::Admin)) {
        return Err(ModerationRejected::NotAllowed);
    }
    state.author().ok_or(ModerationRejected::NotFound)
}

/// Has no effect on removed content: the first reason stays.
fn remove(
    state: &Moderated,
    by: &Authority,
    content: Content,
    reason: &str,
) -> Result<Option<Event>, ModerationRejected> {
    let author = may_moderate(state, by)?;
    let reason = Personal::Open(reason.to_owned());
    Ok(state.removed.is_none().then(|| ContentRemoved { content, author, reason }.into()))
}

fn restore(
    state: &Moderated,
    by: &Authority,
    content: Content,
    now: DateTime<Utc>,
) -> Result<Option<Event>, ModerationRejected> {
    let author = may_moderate(state, by)?;
    match state.removed {
        None => Ok(None),
        Some(removed) if now - removed >= REMOVAL_REVERSIBLE => Err(ModerationRejected::TooLate),
        Some(_) => Ok(Some(ContentRestored { content, author }.into())),
    }
}

// ----------------------------------------------------------------- commands

impl Commands {
    async fn remove_content(
        &self,
        context: Context,
        session: Session,
        content: Content,
        reason: String,
    ) -> Result<Outcome, CommandError<ModerationRejected>> {
        let actor = session.user;
        let by = self.authority(actor).await?;
        let context = context.with_actor(actor).with_payload([reason.as_bytes()]);
        let decide = |state: &Moderated| remove(state, &by, content, &reason);
        self.execute(&context, Subject::Moderation(content), &[content.subject()], decide).await
    }

    async fn restore_content(
        &self,
        context: Context,
        session: Session,
        content: Content,
    ) -> Result<Outcome, CommandError<ModerationRejected>> {
        let actor = session.user;
        let by = self.authority(actor).await?;
        let context = context.with_actor(actor);
        let decide = |state: &Moderated| restore(state, &by, content, context.now);
        self.execute(&context, Subject::Moderation(content), &[content.subject()], decide).await
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(remove_post, restore_post))
        .routes(routes!(remove_comment, restore_comment))
        .routes(routes!(remove_story, restore_story))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Removal {
    /// The reason. It is shown to the author.
    #[schema(min_length = 1, max_length = 500, example = "Shows a private address")]
    reason: String,
}

impl Removal {
    fn check(self) -> Result<String, Problem> {
        let mut fields = Fields::default();
        let reason = fields.take("reason", text::required(&self.reason, REASON_LIMIT));
        fields.finish()?;
        Ok(reason)
    }
}

/// Remove a post
///
/// For moderators and admins. The post is hidden from all users, and its author is notified with the reason. It can be
/// restored for 30 days; then its pictures are deleted.
#[utoipa::path(
    put, path = "/v1/posts/{post}/removal", tag = "moderation", request_body = Removal, security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn remove_post(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
    Json(removal): Json<Removal>,
) -> Result<Response, Problem> {
    let outcome = commands.remove_content(context, session, Content::Post { post }, removal.check()?).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Restore a removed post
///
/// For moderators and admins, within 30 days of its removal.
#[utoipa::path(
    delete, path = "/v1/posts/{post}/removal", tag = "moderation", security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn restore_post(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let outcome = commands.restore_content(context, session, Content::Post { post }).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Remove a comment
///
/// For moderators and admins. The comment is hidden from all users, and its author is notified with the reason. It can be
/// restored for 30 days. Replies to it stay.
#[utoipa::path(
    put, path = "/v1/posts/{post}/comments/{comment}/removal", tag = "moderation", request_body = Removal,
    security(("token" = [])),
    params(
        ("post" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("comment" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn remove_comment(
    State(commands): State<Commands>,
    session: Session,
    Path((post, comment)): Path<(PostId, CommentId)>,
    context: Context,
    prefer: Prefer,
    Json(removal): Json<Removal>,
) -> Result<Response, Problem> {
    let content = Content::Comment { post, comment };
    let outcome = commands.remove_content(context, session, content, removal.check()?).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Restore a removed comment
///
/// For moderators and admins, within 30 days of its removal.
#[utoipa::path(
    delete, path = "/v1/posts/{post}/comments/{comment}/removal", tag = "moderation", security(("token" = [])),
    params(
        ("post" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("comment" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn restore_comment(
    State(commands): State<Commands>,
    session: Session,
    Path((post, comment)): Path<(PostId, CommentId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let outcome = commands.restore_content(context, session, Content::Comment { post, comment }).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Remove a story
///
/// For moderators and admins. The story is hidden from all users, and its author is notified with the reason. It can be
/// restored until it expires.
#[utoipa::path(
    put, path = "/v1/users/{user}/stories/{story}/removal", tag = "moderation", request_body = Removal,
    security(("token" = [])),
    params(
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("story" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn remove_story(
    State(commands): State<Commands>,
    session: Session,
    Path((author, story)): Path<(UserId, StoryId)>,
    context: Context,
    prefer: Prefer,
    Json(removal): Json<Removal>,
) -> Result<Response, Problem> {
    let content = Content::Story { author, story };
    let outcome = commands.remove_content(context, session, content, removal.check()?).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Restore a removed story
///
/// For moderators and admins, until the story expires.
#[utoipa::path(
    delete, path = "/v1/users/{user}/stories/{story}/removal", tag = "moderation", security(("token" = [])),
    params(
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("story" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn restore_story(
    State(commands): State<Commands>,
    session: Session,
    Path((author, story)): Path<(UserId, StoryId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let outcome = commands.restore_content(context, session, Content::Story { author, story }).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::accounts::account::testing::ANN;

    const CONTENT: Content = Content::Post { post: PostId::new(Uuid::from_u128(0x90)) };

    fn by(roles: &[Role]) -> Authority {
        let user = UserId::new(Uuid::from_u128(0xb));
        Authority::Person { user, roles: roles.iter().copied().collect() }
    }

    fn published() -> Moderated {
        Moderated { published_by: Some(ANN), account: AccountStatus::Active, removed: None }
    }

    fn removed() -> Event {
        let reason = Personal::Open("spam".to_owned());
        ContentRemoved { content: CONTENT, author: ANN, reason }.into()
    }

    #[test]
    fn content_is_removed_by_moderators_and_admins_once() {
        for role in [Role::Moderator, Role::Admin] {
            assert_eq!(remove(&published(), &by(&[role]), CONTENT, "spam"), Ok(Some(removed())));
        }
        for roles in [&[][..], &[Role::Artist]] {
            let refused = Err(ModerationRejected::NotAllowed);
            assert_eq!(remove(&published(), &by(roles), CONTENT, "spam"), refused);
            assert_eq!(restore(&published(), &by(roles), CONTENT, DateTime::UNIX_EPOCH), refused);
        }
        let again = Moderated { removed: Some(DateTime::UNIX_EPOCH), ..published() };
        assert_eq!(remove(&again, &by(&[Role::Moderator]), CONTENT, "abuse"), Ok(None));
    }

    #[test]
    fn deleted_content_is_not_found_but_content_of_hidden_users_is() {
        let moderator = by(&[Role::Moderator]);
        for missing in [
            Moderated { published_by: None, ..published() },
            Moderated::default(),
            Moderated { account: AccountStatus::Erased, ..published() },
        ] {
            let missing = Moderated { removed: Some(DateTime::UNIX_EPOCH), ..missing };
            let refused = Err(ModerationRejected::NotFound);
            assert_eq!(remove(&missing, &moderator, CONTENT, "spam"), refused);
            assert_eq!(restore(&missing, &moderator, CONTENT, DateTime::UNIX_EPOCH), refused);
        }
        for account in [AccountStatus::Deactivated, AccountStatus::Suspended] {
            let hidden = Moderated { account, ..published() };
            assert_eq!(remove(&hidden, &moderator, CONTENT, "spam"), Ok(Some(removed())));
        }
    }

    #[test]
    fn content_is_restored_within_30_days() {
        let moderator = by(&[Role::Moderator]);
        let at = DateTime::UNIX_EPOCH;
        let state = Moderated { removed: Some(at), ..published() };
        let restored = Ok(Some(ContentRestored { content: CONTENT, author: ANN }.into()));
        let last = at + TimeDelta::days(30) - TimeDelta::seconds(1);
        assert_eq!(restore(&state, &moderator, CONTENT, last), restored);
        let too_late = Err(ModerationRejected::TooLate);
        assert_eq!(restore(&state, &moderator, CONTENT, at + TimeDelta::days(30)), too_late);
        assert_eq!(restore(&published(), &moderator, CONTENT, at), Ok(None));
    }
}
