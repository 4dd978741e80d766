//! Saved posts, and the collections they are in.

use axum::extract::State;
use axum::response::Response;
use events::{
    AccountsEvent, CollectionId, Event, PostId, PostSaved, PostUnsaved, Recorded, SaveEvent, SocialEvent,
    Subject, UserId,
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
use crate::pipeline::execute::Fold;
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::social::collections::{Collections, no_collection};
use crate::social::posts::{SeenPost, no_post};

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveRejected {
    NoPost,
    NoCollection,
}

impl From<SaveRejected> for Problem {
    fn from(rejected: SaveRejected) -> Self {
        match rejected {
            SaveRejected::NoPost => no_post(),
            SaveRejected::NoCollection => no_collection(),
        }
    }
}

/// The post, the collections of the user, and whether they have saved the post.
#[derive(Debug, Clone, Default, PartialEq)]
struct Save {
    post: SeenPost,
    collections: Collections,
    saved: Option<Saved>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Saved {
    collection: Option<CollectionId>,
}

impl Fold for Save {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Social(SocialEvent::Save(SaveEvent::PostSaved(event))) => {
                self.saved = Some(Saved { collection: event.collection });
            }
            Event::Social(SocialEvent::Save(SaveEvent::PostUnsaved(_))) => self.saved = None,
            Event::Social(SocialEvent::Collection(_)) => self.collections.apply(recorded),
            Event::Social(SocialEvent::Post(_) | SocialEvent::Moderation(_))
            | Event::Accounts(AccountsEvent::Account(_)) => self.post.apply(recorded),
            Event::Social(
                SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_),
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

/// A saved post stays in its collection.
fn save(state: &Save, user: UserId, post: PostId) -> Result<Option<Event>, SaveRejected> {
    let post_author = state.post.author().ok_or(SaveRejected::NoPost)?;
    Ok(state.saved.is_none().then(|| PostSaved { user, post, post_author, collection: None }.into()))
}

/// Also moves the post from another collection.
fn save_in(
    state: &Save,
    user: UserId,
    post: PostId,
    collection: CollectionId,
) -> Result<Option<Event>, SaveRejected> {
    if !state.collections.has(collection) {
        return Err(SaveRejected::NoCollection);
    }
    let post_author = state.post.author().ok_or(SaveRejected::NoPost)?;
    let is_there = state.saved.is_some_and(|saved| saved.collection == Some(collection));
    let collection = Some(collection);
    Ok((!is_there).then(|| PostSaved { user, post, post_author, collection }.into()))
}

/// The post stays saved, without a collection.
fn take_out(
    state: &Save,
    user: UserId,
    post: PostId,
    collection: CollectionId,
) -> Result<Option<Event>, SaveRejected> {
    if !state.collections.has(collection) {
        return Err(SaveRejected::NoCollection);
    }
    if state.saved != Some(Saved { collection: Some(collection) }) {
        return Ok(None);
    }
    // An invisible post is in no list, and moving it must not bring it back.
    let post_author = state.post.author().ok_or(SaveRejected::NoPost)?;
    Ok(Some(PostSaved { user, post, post_author, collection: None }.into()))
}

/// Has no effect if the post is not saved. The post need not be visible.
fn unsave(state: &Save, user: UserId, post: PostId) -> Option<Event> {
    state.saved.map(|_| PostUnsaved { user, post }.into())
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(save_post, unsave_post))
        .routes(routes!(add_to_collection, remove_from_collection))
}

#[derive(Debug, Serialize, ToSchema)]
struct SaveReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// Whether the caller has saved the post.
    saved: bool,
}

/// Save a post
///
/// Saved posts are visible to the caller only. A post that is already saved stays in its collection.
#[utoipa::path(
    put, path = "/v1/posts/{post}/save", tag = "saves", security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = SaveReceipt), (status = 202, body = SaveReceipt), Problems)
)]
async fn save_post(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Save| save(state, user, post);
    let subjects = (Subject::Save(user, post), SeenPost::subjects(post));
    let outcome = commands.execute_new(&context.with_actor(user), subjects.0, &subjects.1, decide).await?;
    let body = |receipt| SaveReceipt { receipt, saved: true };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

/// Unsave a post
///
/// Also removes the post from its collection.
#[utoipa::path(
    delete, path = "/v1/posts/{post}/save", tag = "saves", security(("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = SaveReceipt), (status = 202, body = SaveReceipt), Problems)
)]
async fn unsave_post(
    State(commands): State<Commands>,
    session: Session,
    Path(post): Path<PostId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Save| Ok::<_, SaveRejected>(unsave(state, user, post));
    let outcome = commands.execute(&context.with_actor(user), Subject::Save(user, post), &[], decide).await?;
    let body = |receipt| SaveReceipt { receipt, saved: false };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

/// Add a post to a collection
///
/// Saves the post, or moves it from another collection: a post is in at most one collection.
#[utoipa::path(
    put, path = "/v1/me/collections/{collection}/posts/{post}", tag = "saves", security(("token" = [])),
    params(
        ("collection" = String, Path, pattern = "^[0-9a-f]{32}$"), ("post" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses((status = 200, body = SaveReceipt), (status = 202, body = SaveReceipt), Problems)
)]
async fn add_to_collection(
    State(commands): State<Commands>,
    session: Session,
    Path((collection, post)): Path<(CollectionId, PostId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Save| save_in(state, user, post, collection);
    let [seen, moderation] = SeenPost::subjects(post);
    let subjects = (Subject::Save(user, post), [seen, moderation, Subject::Collection(user)]);
    let outcome = commands.execute(&context.with_actor(user), subjects.0, &subjects.1, decide).await?;
    let body = |receipt| SaveReceipt { receipt, saved: true };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

/// Remove a post from a collection
///
/// The post stays saved, without a collection.
#[utoipa::path(
    delete, path = "/v1/me/collections/{collection}/posts/{post}", tag = "saves", security(("token" = [])),
    params(
        ("collection" = String, Path, pattern = "^[0-9a-f]{32}$"), ("post" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn remove_from_collection(
    State(commands): State<Commands>,
    session: Session,
    Path((collection, post)): Path<(CollectionId, PostId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Save| take_out(state, user, post, collection);
    let [seen, moderation] = SeenPost::subjects(post);
    let subjects = (Subject::Save(user, post), [seen, moderation, Subject::Collection(user)]);
    let outcome = commands.execute(&context.with_actor(user), subjects.0, &subjects.1, decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::accounts::account::AccountStatus;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const POST: PostId = PostId::new(Uuid::from_u128(0x90));
    const LAKES: CollectionId = CollectionId::new(Uuid::from_u128(0xc7));
    const HILLS: CollectionId = CollectionId::new(Uuid::from_u128(0xc8));

    /// A post by Ann, and its save by Bob, whose only collection is `LAKES`.
    fn state(saved: Option<Saved>) -> Save {
        Save {
            post: SeenPost::of(ANN, AccountStatus::Active),
            collections: Collections::of_one(LAKES),
            saved,
        }
    }

    fn kept(collection: Option<CollectionId>) -> Saved {
        Saved { collection }
    }

    fn saved(collection: Option<CollectionId>) -> Event {
        PostSaved { user: BOB, post: POST, post_author: ANN, collection }.into()
    }

    #[test]
    fn post_is_saved_once_and_stays_in_its_collection() {
        assert_eq!(save(&state(None), BOB, POST), Ok(Some(saved(None))));
        assert_eq!(save(&state(Some(kept(None))), BOB, POST), Ok(None));
        assert_eq!(save(&state(Some(kept(Some(LAKES)))), BOB, POST), Ok(None));
    }

    #[test]
    fn post_is_saved_in_a_collection_or_moved_there() {
        for before in [None, Some(kept(None)), Some(kept(Some(HILLS)))] {
            assert_eq!(save_in(&state(before), BOB, POST, LAKES), Ok(Some(saved(Some(LAKES)))));
        }
        assert_eq!(save_in(&state(Some(kept(Some(LAKES)))), BOB, POST, LAKES), Ok(None));
        assert_eq!(save_in(&state(None), BOB, POST, HILLS), Err(SaveRejected::NoCollection));
    }

    #[test]
    fn post_removed_from_a_collection_stays_saved() {
        assert_eq!(take_out(&state(Some(kept(Some(LAKES)))), BOB, POST, LAKES), Ok(Some(saved(None))));
        for elsewhere in [None, Some(kept(None)), Some(kept(Some(HILLS)))] {
            assert_eq!(take_out(&state(elsewhere), BOB, POST, LAKES), Ok(None));
        }
        assert_eq!(take_out(&state(None), BOB, POST, HILLS), Err(SaveRejected::NoCollection));
    }

    #[test]
    fn invisible_post_cannot_be_saved_but_can_be_unsaved() {
        let unsaved: Event = PostUnsaved { user: BOB, post: POST }.into();
        for unseen in SeenPost::unseen(ANN) {
            let not_saved = Save { post: unseen.clone(), ..state(None) };
            assert_eq!(save(&not_saved, BOB, POST), Err(SaveRejected::NoPost), "{unseen:?}");
            assert_eq!(save_in(&not_saved, BOB, POST, LAKES), Err(SaveRejected::NoPost));
            let saved = Save { post: unseen, ..state(Some(kept(Some(LAKES)))) };
            assert_eq!(take_out(&saved, BOB, POST, LAKES), Err(SaveRejected::NoPost));
            assert_eq!(
                (unsave(&saved, BOB, POST), unsave(&not_saved, BOB, POST)),
                (Some(unsaved.clone()), None)
            );
        }
    }
}
