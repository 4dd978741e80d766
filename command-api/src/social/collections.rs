//! Collections of saved posts: created, renamed and deleted by their owner.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Response;
use events::{
    CollectionCreated, CollectionDeleted, CollectionEvent, CollectionId, CollectionRenamed, Event, Personal,
    Recorded, SocialEvent, Subject, UserId,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::execute::Fold;
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

/// Collections of one user; a decision reads all of them.
const COLLECTIONS_LIMIT: usize = 100;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionRejected {
    NotFound,
    TooMany,
}

impl From<CollectionRejected> for Problem {
    fn from(rejected: CollectionRejected) -> Self {
        match rejected {
            CollectionRejected::NotFound => no_collection(),
            CollectionRejected::TooMany => Self::conflict(
                "too-many-collections",
                format!("You have {COLLECTIONS_LIMIT} collections: delete one first"),
            ),
        }
    }
}

/// Also the answer for a collection of another user, so that its existence is not revealed.
pub(crate) fn no_collection() -> Problem {
    Problem::not_found("There is no such collection")
}

/// The collections of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Collections {
    /// The names; none if the owner is erased.
    existing: BTreeMap<CollectionId, Option<String>>,
    deleted: BTreeSet<CollectionId>,
}

impl Collections {
    #[cfg(test)]
    pub(crate) fn of_one(collection: CollectionId) -> Self {
        Self { existing: BTreeMap::from([(collection, None)]), deleted: BTreeSet::new() }
    }

    pub(crate) fn has(&self, collection: CollectionId) -> bool {
        self.existing.contains_key(&collection)
    }
}

impl Fold for Collections {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Social(SocialEvent::Collection(CollectionEvent::CollectionCreated(event))) => {
                self.existing.insert(event.collection, event.name.open().cloned());
            }
            Event::Social(SocialEvent::Collection(CollectionEvent::CollectionRenamed(event))) => {
                self.existing.insert(event.collection, event.name.open().cloned());
            }
            Event::Social(SocialEvent::Collection(CollectionEvent::CollectionDeleted(event))) => {
                self.existing.remove(&event.collection);
                self.deleted.insert(event.collection);
            }
            Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }
}

fn create(
    state: &Collections,
    user: UserId,
    collection: CollectionId,
    name: &str,
) -> Result<Option<Event>, CollectionRejected> {
    // Only a replay can name a collection that existed before.
    if state.has(collection) || state.deleted.contains(&collection) {
        return Ok(None);
    }
    if state.existing.len() >= COLLECTIONS_LIMIT {
        return Err(CollectionRejected::TooMany);
    }
    Ok(Some(CollectionCreated { user, collection, name: Personal::Open(name.to_owned()) }.into()))
}

fn rename(
    state: &Collections,
    user: UserId,
    collection: CollectionId,
    name: &str,
) -> Result<Option<Event>, CollectionRejected> {
    match state.existing.get(&collection) {
        None => Err(CollectionRejected::NotFound),
        Some(now) if now.as_deref() == Some(name) => Ok(None),
        Some(_) => {
            Ok(Some(CollectionRenamed { user, collection, name: Personal::Open(name.to_owned()) }.into()))
        }
    }
}

fn delete(
    state: &Collections,
    user: UserId,
    collection: CollectionId,
) -> Result<Option<Event>, CollectionRejected> {
    if state.deleted.contains(&collection) {
        return Ok(None);
    }
    if !state.has(collection) {
        return Err(CollectionRejected::NotFound);
    }
    Ok(Some(CollectionDeleted { user, collection }.into()))
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(create_collection))
        .routes(routes!(rename_collection, delete_collection))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CollectionName {
    /// A single line of text.
    #[schema(min_length = 1, max_length = 100, example = "Lakes")]
    name: String,
}

impl CollectionName {
    fn checked(&self) -> Result<String, Problem> {
        let mut fields = Fields::default();
        let name = fields.take("name", text::required_line(&self.name, text::COLLECTION_LIMIT));
        fields.finish()?;
        Ok(name)
    }
}

/// Create a collection
///
/// A collection holds saved posts. It is visible to its owner only.
#[utoipa::path(
    post, path = "/v1/me/collections", tag = "saves", request_body = CollectionName, security(("token" = [])),
    params(CommandHeaders), responses((status = 201, body = CreatedCollection), (status = 202, body = CreatedCollection), Problems)
)]
async fn create_collection(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(body): Json<CollectionName>,
) -> Result<Response, Problem> {
    let name = body.checked()?;
    let user = session.user;
    let context = context.with_actor(user).with_payload([name.as_bytes()]);
    let id = CollectionId::new(context.new_id(commands.log.keys(), "collection"));
    let decide = |state: &Collections| create(state, user, id, &name);
    let outcome = commands.execute(&context, Subject::Collection(user), &[], decide).await?;
    let location = format!("/v1/me/collections/{id}");
    let body = |receipt| CreatedCollection { receipt, id: id.to_string(), name };
    Ok(commands.created(prefer, outcome, &location, body).await)
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedCollection {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the collection.
    id: String,
    name: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct RenamedCollection {
    #[serde(flatten)]
    receipt: Receipt,
    name: String,
}

/// Rename a collection
#[utoipa::path(
    patch, path = "/v1/me/collections/{collection}", tag = "saves", request_body = CollectionName,
    security(("token" = [])),
    params(("collection" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = RenamedCollection), (status = 202, body = RenamedCollection), Problems)
)]
async fn rename_collection(
    State(commands): State<Commands>,
    session: Session,
    Path(collection): Path<CollectionId>,
    context: Context,
    prefer: Prefer,
    Json(body): Json<CollectionName>,
) -> Result<Response, Problem> {
    let name = body.checked()?;
    let user = session.user;
    let context = context.with_actor(user).with_payload([name.as_bytes()]);
    let decide = |state: &Collections| rename(state, user, collection, &name);
    let outcome = commands.execute(&context, Subject::Collection(user), &[], decide).await?;
    let body = |receipt| RenamedCollection { receipt, name };
    Ok(commands.receipt_with(prefer, outcome, body).await)
}

/// Delete a collection
///
/// The posts in it stay saved, without a collection.
#[utoipa::path(
    delete, path = "/v1/me/collections/{collection}", tag = "saves", security(("token" = [])),
    params(("collection" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_collection(
    State(commands): State<Commands>,
    session: Session,
    Path(collection): Path<CollectionId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Collections| delete(state, user, collection);
    let outcome = commands.execute(&context.with_actor(user), Subject::Collection(user), &[], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const LAKES: CollectionId = CollectionId::new(Uuid::from_u128(0xc7));
    const HILLS: CollectionId = CollectionId::new(Uuid::from_u128(0xc8));

    fn state(existing: &[(CollectionId, &str)], deleted: &[CollectionId]) -> Collections {
        Collections {
            existing: existing.iter().map(|(id, name)| (*id, Some((*name).to_owned()))).collect(),
            deleted: deleted.iter().copied().collect(),
        }
    }

    fn named(name: &str) -> Personal<String> {
        Personal::Open(name.into())
    }

    #[test]
    fn collection_is_created_once_and_below_the_limit() {
        let created = CollectionCreated { user: ANN, collection: LAKES, name: named("Lakes") };
        assert_eq!(create(&state(&[], &[HILLS]), ANN, LAKES, "Lakes"), Ok(Some(created.into())));
        assert_eq!(create(&state(&[(LAKES, "Lakes")], &[]), ANN, LAKES, "Lakes"), Ok(None));
        assert_eq!(create(&state(&[], &[LAKES]), ANN, LAKES, "Lakes"), Ok(None), "not after its deletion");
        let ids = (1..).map(|n| CollectionId::new(Uuid::from_u128(0x1000 + n)));
        let mut full: Vec<(CollectionId, &str)> = ids.take(COLLECTIONS_LIMIT).map(|id| (id, "x")).collect();
        assert_eq!(create(&state(&full, &[]), ANN, LAKES, "Lakes"), Err(CollectionRejected::TooMany));
        full.pop();
        assert!(create(&state(&full, &[]), ANN, LAKES, "Lakes").unwrap().is_some());
    }

    #[test]
    fn collection_is_renamed_to_another_name() {
        let renamed = CollectionRenamed { user: ANN, collection: LAKES, name: named("Water") };
        let existing = state(&[(LAKES, "Lakes")], &[HILLS]);
        assert_eq!(rename(&existing, ANN, LAKES, "Water"), Ok(Some(renamed.into())));
        assert_eq!(rename(&existing, ANN, LAKES, "Lakes"), Ok(None));
        assert_eq!(rename(&existing, ANN, HILLS, "Water"), Err(CollectionRejected::NotFound));
    }

    #[test]
    fn collection_is_deleted_once() {
        let deleted = CollectionDeleted { user: ANN, collection: LAKES };
        let existing = state(&[(LAKES, "Lakes")], &[HILLS]);
        assert_eq!(delete(&existing, ANN, LAKES), Ok(Some(deleted.into())));
        assert_eq!(delete(&existing, ANN, HILLS), Ok(None));
        assert_eq!(delete(&state(&[], &[]), ANN, LAKES), Err(CollectionRejected::NotFound));
    }
}
