//! Comments under posts, and replies to them.

use axum::extract::State;
use axum::response::Response;
use events::{
    AccountsEvent, CommentDeleted, CommentEvent, CommentId, Commented, Content, ContentRemoved,
    ContentRestored, Event, ModerationEvent, Personal, PostId, Recorded, SocialEvent, Subject, UserId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::problem::{FieldCode, FieldProblem, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};
use crate::social::posts::{SeenPost, no_post};

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentRejected {
    NoPost,
    NotFound,
    NotYours,
    NoParent,
    ParentIsReply,
}

impl From<CommentRejected> for Problem {
    fn from(rejected: CommentRejected) -> Self {
        match rejected {
            CommentRejected::NoPost => no_post(),
            CommentRejected::NotFound => Self::not_found("There is no such comment"),
            CommentRejected::NotYours => {
                Self::forbidden("Only the author of a comment or of its post can delete it")
            }
            CommentRejected::NoParent => Self::not_found("There is no such comment under this post"),
            CommentRejected::ParentIsReply => {
                let message = "is a reply: reply to its parent comment instead";
                Self::conflict("nested-reply", "A reply cannot have replies: reply to its parent comment")
                    .in_fields(vec![FieldProblem::new("reply_to", FieldCode::NotAllowed, message)])
            }
        }
    }
}

/// The post, and the comments that a decision concerns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Comments {
    post: SeenPost,
    existing: Vec<ExistingComment>,
    deleted: Vec<CommentId>,
    /// Removed by a moderator.
    removed: Vec<CommentId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ExistingComment {
    comment: CommentId,
    author: UserId,
    post_author: UserId,
    reply_to_author: Option<UserId>,
    is_reply: bool,
}

impl Comments {
    fn find(&self, comment: CommentId) -> Option<&ExistingComment> {
        let found = self.existing.iter().find(|existing| existing.comment == comment);
        found.filter(|found| !self.removed.contains(&found.comment))
    }
}

impl Fold for Comments {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => {
                self.existing.push(ExistingComment {
                    comment: event.comment,
                    author: event.author,
                    post_author: event.post_author,
                    reply_to_author: event.reply_to_author,
                    is_reply: event.reply_to.is_some(),
                });
            }
            Event::Social(SocialEvent::Comment(CommentEvent::CommentDeleted(event))) => {
                self.existing.retain(|existing| existing.comment != event.comment);
                self.deleted.push(event.comment);
            }
            Event::Social(SocialEvent::Moderation(ModerationEvent::ContentRemoved(ContentRemoved {
                content: Content::Comment { comment, .. },
                ..
            }))) => self.removed.push(*comment),
            Event::Social(SocialEvent::Moderation(ModerationEvent::ContentRestored(ContentRestored {
                content: Content::Comment { comment, .. },
                ..
            }))) => self.removed.retain(|removed| removed != comment),
            Event::Social(SocialEvent::Post(_) | SocialEvent::Moderation(_))
            | Event::Accounts(AccountsEvent::Account(_)) => self.post.apply(recorded),
            Event::Social(
                SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
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
        self.post.further_subject()
    }
}

/// The command that writes a comment.
#[derive(Clone)]
struct WriteComment {
    post: PostId,
    comment: CommentId,
    author: UserId,
    reply_to: Option<CommentId>,
    text: String,
}

fn comment(state: &Comments, command: &WriteComment) -> Result<Option<Event>, CommentRejected> {
    let post_author = state.post.author().ok_or(CommentRejected::NoPost)?;
    let parent = match command.reply_to {
        Some(parent) => Some(state.find(parent).ok_or(CommentRejected::NoParent)?),
        None => None,
    };
    if parent.is_some_and(|parent| parent.is_reply) {
        return Err(CommentRejected::ParentIsReply);
    }
    let reply_to_author = parent.map(|parent| parent.author);
    // Only a replay can name a comment that existed before.
    if state.find(command.comment).is_some() || state.deleted.contains(&command.comment) {
        return Ok(None);
    }
    let WriteComment { post, comment, author, reply_to, text } = command.clone();
    let text = Personal::Open(text);
    Ok(Some(Commented { post, comment, author, post_author, reply_to, reply_to_author, text }.into()))
}

/// Allowed for the author of the comment and the author of the post.
fn delete(
    state: &Comments,
    post: PostId,
    comment: CommentId,
    who: UserId,
) -> Result<Option<Event>, CommentRejected> {
    match state.find(comment) {
        Some(found) if found.author == who || found.post_author == who => {
            let ExistingComment { author, post_author, reply_to_author, .. } = *found;
            Ok(Some(CommentDeleted { post, comment, author, post_author, reply_to_author }.into()))
        }
        Some(_) => Err(CommentRejected::NotYours),
        None if state.deleted.contains(&comment) => Ok(None),
        None => Err(CommentRejected::NotFound),
    }
}

// ----------------------------------------------------------------- commands

impl Commands {
    pub async fn comment(
        &self,
        context: &Context,
        post: PostId,
        author: UserId,
        reply_to: Option<CommentId>,
        text: String,
    ) -> Result<(CommentId, Outcome), CommandError<CommentRejected>> {
        let id = CommentId::new(context.new_id(self.log.keys(), "comment"));
        let command = WriteComment { post, comment: id, author, reply_to, text };
        let mut others = SeenPost::subjects(post).to_vec();
        if let Some(comment) = reply_to {
            let parent = Content::Comment { post, comment };
            others.extend([parent.subject(), Subject::Moderation(parent)]);
        }
        let decide = |state: &Comments| comment(state, &command);
        let outcome = self.execute_new(context, Subject::Comment(post, id), &others, decide).await?;
        Ok((id, outcome))
    }

    pub async fn delete_comment(
        &self,
        context: &Context,
        post: PostId,
        id: CommentId,
        who: UserId,
    ) -> Result<Outcome, CommandError<CommentRejected>> {
        let content = Content::Comment { post, comment: id };
        let decide = |state: &Comments| delete(state, post, id, who);
        self.execute(context, content.subject(), &[Subject::Moderation(content)], decide).await
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(create_comment)).routes(routes!(delete_comment))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewComment {
    #[schema(min_length = 1, max_length = 1000, example = "Lovely!")]
    text: String,
    /// Id of the comment to reply to. It must not be a reply itself.
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{32}$")]
    reply_to: Option<CommentId>,
}

/// Comment on a post
///
/// With `reply_to` the new comment is a reply to another comment.
#[utoipa::path(
    post, path = "/v1/posts/{post}/comments", tag = "comments", request_body = NewComment, security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 201, body = CreatedComment), (status = 202, body = CreatedComment), Problems)
)]
async fn create_comment(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
    Json(new): Json<NewComment>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let text = fields.take("text", text::required(&new.text, text::COMMENT_LIMIT));
    fields.finish()?;
    let author = session.user;
    let parent = new.reply_to.map(|parent| parent.to_string());
    let context = context
        .with_actor(author)
        .with_payload([text.as_bytes(), parent.as_deref().unwrap_or("").as_bytes()]);
    let (id, outcome) = commands.comment(&context, post, author, new.reply_to, text.clone()).await?;
    let comment = resources::Comment {
        id: id.to_string(),
        author: commands.person(author).await.map_err(log_problem)?,
        text,
        reply_to: parent,
        replies: 0,
        commented_at: outcome.time,
    };
    let location = format!("/v1/posts/{post}/comments/{id}");
    let body = |receipt| CreatedComment { receipt, id: id.to_string(), comment };
    Ok(commands.created(prefer, outcome, &location, body).await)
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedComment {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the comment.
    id: String,
    /// The comment as it was created.
    comment: resources::Comment,
}

/// Delete a comment
///
/// Allowed for the author of the comment and the author of the post.
#[utoipa::path(
    delete, path = "/v1/posts/{post}/comments/{comment}", tag = "comments", security(("token" = [])),
    params(
        ("post" = String, Path, pattern = "^[0-9a-f]{32}$"), ("comment" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_comment(
    State(commands): State<Commands>,
    session: Session,
    Path((post, id)): Path<(PostId, CommentId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let who = session.user;
    let outcome = commands.delete_comment(&context.with_actor(who), post, id, who).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::accounts::account::AccountStatus;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const CAT: UserId = UserId::new(Uuid::from_u128(0xc));
    const POST: PostId = PostId::new(Uuid::from_u128(0x90));
    const FIRST: CommentId = CommentId::new(Uuid::from_u128(1));
    const SECOND: CommentId = CommentId::new(Uuid::from_u128(2));

    fn existing(comment: CommentId, author: UserId, is_reply: bool) -> ExistingComment {
        let reply_to_author = is_reply.then_some(CAT);
        ExistingComment { comment, author, post_author: ANN, reply_to_author, is_reply }
    }

    fn state(existing: &[ExistingComment]) -> Comments {
        let post = SeenPost::of(ANN, AccountStatus::Active);
        Comments { post, existing: existing.to_vec(), deleted: Vec::new(), removed: Vec::new() }
    }

    fn command(reply_to: Option<CommentId>) -> WriteComment {
        WriteComment { post: POST, comment: SECOND, author: BOB, reply_to, text: "Lovely".into() }
    }

    fn commented(reply_to: Option<CommentId>) -> Event {
        let text = Personal::Open("Lovely".into());
        let reply_to_author = reply_to.map(|_| CAT);
        Commented {
            post: POST,
            comment: SECOND,
            author: BOB,
            post_author: ANN,
            reply_to,
            reply_to_author,
            text,
        }
        .into()
    }

    #[test]
    fn only_a_visible_post_is_commented_on_and_only_once() {
        assert_eq!(comment(&state(&[]), &command(None)), Ok(Some(commented(None))));
        for unseen in SeenPost::unseen(ANN) {
            let state = Comments { post: unseen, ..state(&[existing(FIRST, CAT, false)]) };
            for reply_to in [None, Some(FIRST)] {
                assert_eq!(comment(&state, &command(reply_to)), Err(CommentRejected::NoPost), "{state:?}");
            }
        }
        assert_eq!(comment(&state(&[existing(SECOND, BOB, false)]), &command(None)), Ok(None), "once");
    }

    #[test]
    fn comments_have_replies_but_replies_have_none() {
        let answered = comment(&state(&[existing(FIRST, CAT, false)]), &command(Some(FIRST)));
        assert_eq!(answered, Ok(Some(commented(Some(FIRST)))));
        let nested = comment(&state(&[existing(FIRST, CAT, true)]), &command(Some(FIRST)));
        assert_eq!(nested, Err(CommentRejected::ParentIsReply));
        assert_eq!(comment(&state(&[]), &command(Some(FIRST))), Err(CommentRejected::NoParent));
    }

    #[test]
    fn comment_is_deleted_by_its_author_or_the_author_of_the_post() {
        let deleted = CommentDeleted {
            post: POST,
            comment: FIRST,
            author: BOB,
            post_author: ANN,
            reply_to_author: Some(CAT),
        };
        let with_comment = state(&[existing(FIRST, BOB, true)]);
        for who in [ANN, BOB] {
            assert_eq!(delete(&with_comment, POST, FIRST, who), Ok(Some(deleted.clone().into())));
        }
        assert_eq!(delete(&with_comment, POST, FIRST, CAT), Err(CommentRejected::NotYours));
        assert_eq!(delete(&state(&[]), POST, FIRST, BOB), Err(CommentRejected::NotFound));
        let removed = Comments { removed: vec![FIRST], ..state(&[existing(FIRST, CAT, false)]) };
        assert_eq!(delete(&removed, POST, FIRST, CAT), Err(CommentRejected::NotFound));
        assert_eq!(comment(&removed, &command(Some(FIRST))), Err(CommentRejected::NoParent));
        let after_deletion = Comments { deleted: vec![FIRST], ..state(&[]) };
        assert_eq!(delete(&after_deletion, POST, FIRST, BOB), Ok(None), "only once");
    }
}
