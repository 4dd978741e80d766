//! Notes of who is not there, for projections that must know it where they take an event in: see [`views::absences`].

use events::{AccountEvent, PostId, UserId};
use serde_json::json;
use views::absences::{Absence, Note, of_account, of_post};
use views::{StoreError, View, Writes};

use super::profiles::{Presence, presence_after};

/// Where the note about somebody is, to be looked at.
pub(crate) fn at_account(view: &'static View, user: UserId) -> (&'static View, String) {
    (view, of_account(&user.to_string()))
}

/// Where the note about a post is, to be looked at.
pub(crate) fn at_post(view: &'static View, post: PostId) -> (&'static View, String) {
    (view, of_post(&post.to_string()))
}

/// What is noted of somebody; nothing of who is active.
pub(crate) fn account(
    view: &'static View,
    user: UserId,
    writes: &Writes,
) -> Result<Option<Absence>, StoreError> {
    absence(&at_account(view, user), writes)
}

/// What is noted of a post; nothing of one that is there.
pub(crate) fn post(
    view: &'static View,
    post: PostId,
    writes: &Writes,
) -> Result<Option<Absence>, StoreError> {
    absence(&at_post(view, post), writes)
}

fn absence((view, key): &(&'static View, String), writes: &Writes) -> Result<Option<Absence>, StoreError> {
    Ok(writes.seen_in::<Note>(view, key)?.map(|note| note.absence))
}

/// Keeps the note about an account as an event leaves it. Answers what becomes of what the person did, if anything.
pub(crate) fn note_account(
    view: &'static View,
    event: &AccountEvent,
    writes: &mut Writes,
) -> Option<Presence> {
    let presence = presence_after(event)?;
    let (view, key) = at_account(view, event.user());
    match presence {
        Presence::Away => put(view, key, Absence::Hidden, writes),
        Presence::Erased => put(view, key, Absence::Erased, writes),
        Presence::Back => writes.delete_raw(view, key),
    }
    Some(presence)
}

pub(crate) fn note_deleted_post(view: &'static View, post: PostId, writes: &mut Writes) {
    let (view, key) = at_post(view, post);
    put(view, key, Absence::Deleted, writes);
}

fn put(view: &'static View, key: String, absence: Absence, writes: &mut Writes) {
    let note = [("absence".to_owned(), json!(absence))].into_iter().collect();
    writes.put_raw(view, key, note);
}
