//! Markers of hidden or erased users and of deleted posts, for projections that check them per event: see
//! [`views::markers`].

use events::{AccountEvent, PostId, UserId};
use serde_json::json;
use views::markers::{self as stored, Marker, MarkerDocument};
use views::{StoreError, View, Writes};

use super::profiles::{VisibilityChange, visibility_change_after};

/// The key of an account's marker, to preload it.
pub(crate) fn account_key(view: &'static View, user: UserId) -> (&'static View, String) {
    (view, stored::account_key(&user.to_string()))
}

/// The key of a post's marker, to preload it.
pub(crate) fn post_key(view: &'static View, post: PostId) -> (&'static View, String) {
    (view, stored::post_key(&post.to_string()))
}

/// The marker of an account; none if it is active.
pub(crate) fn account(
    view: &'static View,
    user: UserId,
    writes: &Writes,
) -> Result<Option<Marker>, StoreError> {
    read(&account_key(view, user), writes)
}

/// The marker of a post; none if it exists.
pub(crate) fn post(view: &'static View, post: PostId, writes: &Writes) -> Result<Option<Marker>, StoreError> {
    read(&post_key(view, post), writes)
}

fn read((view, key): &(&'static View, String), writes: &Writes) -> Result<Option<Marker>, StoreError> {
    Ok(writes.get_in::<MarkerDocument>(view, key)?.map(|document| document.marker))
}

/// Whether the account is erased.
pub(crate) fn is_erased(view: &'static View, user: UserId, writes: &Writes) -> Result<bool, StoreError> {
    Ok(account(view, user, writes)? == Some(Marker::Erased))
}

/// Marks only erasures, for projections that show the content of hidden accounts unchanged.
pub(crate) fn mark_erased(view: &'static View, user: UserId, writes: &mut Writes) {
    let (view, key) = account_key(view, user);
    put(view, key, Marker::Erased, writes);
}

/// Updates the marker of an account after an event. Returns the change of visibility, if any.
pub(crate) fn mark_account(
    view: &'static View,
    event: &AccountEvent,
    writes: &mut Writes,
) -> Option<VisibilityChange> {
    let change = visibility_change_after(event)?;
    let (view, key) = account_key(view, event.user());
    match change {
        VisibilityChange::Hidden => put(view, key, Marker::Hidden, writes),
        VisibilityChange::Erased => put(view, key, Marker::Erased, writes),
        VisibilityChange::Shown => writes.delete_raw(view, key),
    }
    Some(change)
}

pub(crate) fn mark_post_deleted(view: &'static View, post: PostId, writes: &mut Writes) {
    let (view, key) = post_key(view, post);
    put(view, key, Marker::Deleted, writes);
}

fn put(view: &'static View, key: String, marker: Marker, writes: &mut Writes) {
    let document = [("absence".to_owned(), json!(marker))].into_iter().collect();
    writes.put_raw(view, key, document);
}
