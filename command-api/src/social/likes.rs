//! Likes of posts.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::Response;
use events::{
    AccountsEvent, Event, LikeEvent, PostId, PostLiked, PostUnliked, Recorded, SocialEvent, Subject, UserId,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt};
use crate::social::posts::{SeenPost, no_post};

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LikeRejected {
    NoPost,
}

impl From<LikeRejected> for Problem {
    fn from(rejected: LikeRejected) -> Self {
        match rejected {
            LikeRejected::NoPost => no_post(),
        }
    }
}

/// The post, and whether this user likes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Like {
    post: SeenPost,
    /// Author of the post when it was liked.
    liked: Option<UserId>,
}

impl Fold for Like {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Social(SocialEvent::Like(LikeEvent::PostLiked(event))) => {
                self.liked = Some(event.post_author);
            }
            Event::Social(SocialEvent::Like(LikeEvent::PostUnliked(_))) => self.liked = None,
            Event::Social(SocialEvent::Post(_) | SocialEvent::Moderation(_))
            | Event::Accounts(AccountsEvent::Account(_)) => self.post.apply(recorded),
            Event::Social(
                SocialEvent::Comment(_)
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

fn like(state: &Like, post: PostId, user: UserId) -> Result<Option<Event>, LikeRejected> {
    let post_author = state.post.author().ok_or(LikeRejected::NoPost)?;
    Ok(state.liked.is_none().then(|| PostLiked { post, user, post_author }.into()))
}

/// Has no effect if the post is not liked. The post need not be visible.
fn unlike(state: &Like, post: PostId, user: UserId) -> Option<Event> {
    state.liked.map(|post_author| PostUnliked { post, user, post_author }.into())
}

/// For clients with one button for both.
fn toggle(state: &Like, post: PostId, user: UserId) -> Result<Option<Event>, LikeRejected> {
    state.post.author().ok_or(LikeRejected::NoPost)?;
    if state.liked.is_some() { Ok(unlike(state, post, user)) } else { like(state, post, user) }
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// Likes a post, or removes the like if there is one. Returns whether the post is liked now.
    pub async fn toggle_like(
        &self,
        context: &Context,
        post: PostId,
        user: UserId,
    ) -> Result<(bool, Outcome), CommandError<LikeRejected>> {
        // The decision may run several times; the last run counts.
        let likes = AtomicBool::new(false);
        let decide = |state: &Like| {
            likes.store(state.liked.is_none(), Ordering::Relaxed);
            toggle(state, post, user)
        };
        let outcome =
            self.execute_new(context, Subject::Like(post, user), &SeenPost::subjects(post), decide).await?;
        Ok((likes.load(Ordering::Relaxed), outcome))
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(like_post, unlike_post))
}

#[derive(Debug, Serialize, ToSchema)]
struct LikeReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// Whether the caller likes the post.
    liked: bool,
}

/// Like a post
#[utoipa::path(
    put, path = "/v1/posts/{post}/like", tag = "likes", security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = LikeReceipt), (status = 202, body = LikeReceipt), Problems)
)]
async fn like_post(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Like| like(state, post, user);
    let subjects = (Subject::Like(post, user), SeenPost::subjects(post));
    let outcome = commands.execute_new(&context.with_actor(user), subjects.0, &subjects.1, decide).await?;
    let body = |receipt| LikeReceipt { receipt, liked: true };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

/// Remove a like
#[utoipa::path(
    delete, path = "/v1/posts/{post}/like", tag = "likes", security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = LikeReceipt), (status = 202, body = LikeReceipt), Problems)
)]
async fn unlike_post(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Like| Ok::<_, LikeRejected>(unlike(state, post, user));
    let outcome = commands.execute(&context.with_actor(user), Subject::Like(post, user), &[], decide).await?;
    let body = |receipt| LikeReceipt { receipt, liked: false };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::accounts::account::AccountStatus;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const POST: PostId = PostId::new(Uuid::from_u128(0x90));

    fn state(post: SeenPost, liked: bool) -> Like {
        Like { post, liked: liked.then_some(ANN) }
    }

    fn published() -> SeenPost {
        SeenPost::of(ANN, AccountStatus::Active)
    }

    #[test]
    fn post_is_liked_once() {
        let liked = PostLiked { post: POST, user: BOB, post_author: ANN };
        assert_eq!(like(&state(published(), false), POST, BOB), Ok(Some(liked.into())));
        assert_eq!(like(&state(published(), true), POST, BOB), Ok(None));
    }

    #[test]
    fn invisible_post_cannot_be_liked() {
        for unseen in SeenPost::unseen(ANN) {
            assert_eq!(
                like(&state(unseen.clone(), false), POST, BOB),
                Err(LikeRejected::NoPost),
                "{unseen:?}"
            );
            assert_eq!(toggle(&state(unseen, true), POST, BOB), Err(LikeRejected::NoPost));
        }
    }

    #[test]
    fn like_is_removed_once_even_if_the_post_is_invisible() {
        let unliked: Event = PostUnliked { post: POST, user: BOB, post_author: ANN }.into();
        assert_eq!(unlike(&state(published(), true), POST, BOB), Some(unliked.clone()));
        for unseen in SeenPost::unseen(ANN) {
            assert_eq!(unlike(&state(unseen, true), POST, BOB), Some(unliked.clone()));
        }
        assert_eq!(unlike(&state(published(), false), POST, BOB), None);
    }
}
