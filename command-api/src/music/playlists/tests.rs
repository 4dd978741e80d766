use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;

const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
const CAT: UserId = UserId::new(Uuid::from_u128(0xc));
const LIST: PlaylistId = PlaylistId::new(Uuid::from_u128(0x91));

fn details(name: &str) -> PlaylistDetails {
    PlaylistDetails { name: name.into(), description: "Long".into() }
}

/// A playlist of Ann with the collaborator Bob.
fn playlist(public: bool) -> Playlist {
    let list = List::of(ANN, public, details("Road"), BTreeSet::from([BOB]));
    Playlist { list: list.into(), owner: AccountStatus::Active }
}

#[test]
fn owner_edits_details_and_collaborators_edit_entries() {
    for (user, edits, owns) in [
        (ANN, Ok(()), Ok(())),
        (BOB, Ok(()), Err(PlaylistRejected::NotYours)),
        (CAT, Err(PlaylistRejected::NotYours), Err(PlaylistRejected::NotYours)),
    ] {
        let state = playlist(true);
        assert_eq!(state.edited_by(user).map(drop), edits);
        assert_eq!(state.owned_by(user).map(drop), owns);
    }
    assert_eq!(playlist(false).edited_by(CAT).map(drop), Err(PlaylistRejected::NotFound));
    assert_eq!(Playlist::default().edited_by(ANN).map(drop), Err(PlaylistRejected::NotFound));
}

#[test]
fn playlist_of_an_inactive_owner_is_not_found() {
    for owner in crate::accounts::account::testing::UNSEEN {
        let state = Playlist { owner, ..playlist(true) };
        assert_eq!(state.edited_by(BOB).map(drop), Err(PlaylistRejected::NotFound));
    }
}

#[test]
fn deleted_playlist_conflicts_for_members_and_is_not_found_by_others() {
    let mut state = playlist(true);
    assert!(delete(&state, LIST, ANN).unwrap().is_some());
    Arc::make_mut(&mut state.list).deleted = true;
    assert_eq!(delete(&state, LIST, ANN), Ok(None));
    assert_eq!(delete(&state, LIST, CAT), Err(PlaylistRejected::NotFound));
    assert_eq!(state.edited_by(BOB).map(drop), Err(PlaylistRejected::Deleted));
    assert_eq!(publish(&state, LIST, ANN, false), Err(PlaylistRejected::Deleted));
}

#[test]
fn details_that_are_not_given_stay() {
    let state = playlist(false);
    let changed =
        PlaylistDetailsChanged { playlist: LIST, owner: ANN, details: Personal::Open(details("Sea")) };
    assert_eq!(describe(&state, LIST, ANN, Some("Sea"), None), Ok(Some(changed.into())));
    assert_eq!(describe(&state, LIST, ANN, Some("Road"), Some("Long")), Ok(None));
    assert_eq!(publish(&state, LIST, ANN, false), Ok(None));
    let public = PlaylistVisibilityChanged { playlist: LIST, public: true };
    assert_eq!(publish(&state, LIST, ANN, true), Ok(Some(public.into())));
}

#[test]
fn collaborators_are_active_users_and_leave_by_themselves() {
    let state = playlist(false);
    let add = |user, status| admit(&state, LIST, ANN, (user, status));
    let added = CollaboratorAdded { playlist: LIST, user: CAT };
    assert_eq!(add(CAT, AccountStatus::Active), Ok(Some(added.into())));
    assert_eq!(add(CAT, AccountStatus::Deactivated), Err(PlaylistRejected::NoUser));
    assert_eq!((add(BOB, AccountStatus::Active), add(ANN, AccountStatus::Active)), (Ok(None), Ok(None)));
    let removed = Event::from(CollaboratorRemoved { playlist: LIST, user: BOB });
    for by in [ANN, BOB] {
        assert_eq!(dismiss(&state, LIST, by, BOB), Ok(Some(removed.clone())));
    }
    assert_eq!(dismiss(&state, LIST, ANN, CAT), Ok(None));
    let other = dismiss(&playlist(true), LIST, CAT, BOB);
    assert_eq!(other, Err(PlaylistRejected::NotYours));
    let mut full = playlist(false);
    let users = (0..COLLABORATORS_LIMIT as u128).map(|n| UserId::new(Uuid::from_u128(0x1000 + n)));
    Arc::make_mut(&mut full.list).collaborators = users.collect();
    let one_more = admit(&full, LIST, ANN, (CAT, AccountStatus::Active));
    assert_eq!(one_more, Err(PlaylistRejected::TooManyCollaborators));
}
