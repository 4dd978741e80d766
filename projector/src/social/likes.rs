//! Likes of posts, their counts and the notifications of them. Likes are the most frequent events, so each one writes
//! one document and patches its post; it only reads markers, which rarely exist. Part of the projection
//! [`Posts`](super::Posts), which commits both views together.

use events::{LikeEvent, PostId, PostLiked, PostUnliked, Recorded, UserId};
use serde_json::json;
use views::markers::Marker;
use views::social::likes::{BY_POST, BY_USER, Like, OF_OWNER, VIEW, key};
use views::social::notifications::{Role, hidden_from};
use views::social::posts::{self, Post};
use views::{Patch, PatchEach, StoreError, View, Writes};

use super::posts::MARKERS;
use crate::accounts::markers;
use crate::engine::projection::{position, time};

pub(super) fn reads(event: &LikeEvent) -> Vec<(&'static View, String)> {
    match event {
        LikeEvent::PostLiked(event) => vec![
            markers::account_key(MARKERS, event.user),
            markers::account_key(MARKERS, event.post_author),
            markers::post_key(MARKERS, event.post),
        ],
        LikeEvent::PostUnliked(event) => vec![markers::account_key(MARKERS, event.user)],
    }
}

pub(super) fn project(event: &LikeEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    match event {
        LikeEvent::PostLiked(event) => like(event, recorded, writes),
        LikeEvent::PostUnliked(event) => unlike(event, recorded, writes),
    }
}

/// Ignores a like that is appended after the deletion of its post or the erasure of its user or author.
fn like(event: &PostLiked, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let by = markers::account(MARKERS, event.user, writes)?;
    let author = markers::account(MARKERS, event.post_author, writes)?;
    let is_void = by == Some(Marker::Erased)
        || author == Some(Marker::Erased)
        || markers::post(MARKERS, event.post, writes)?.is_some();
    if is_void {
        return Ok(());
    }
    let (post, position) = (event.post.to_string(), position(recorded));
    let notifies = event.user != event.post_author;
    // The user was deactivated concurrently: the like counts when they are active again.
    let is_hidden = by == Some(Marker::Hidden);
    let counted =
        if is_hidden { Patch::default() } else { Patch::default().inc("likes", 1).set("liked", position) };
    let head = if is_hidden { Role::StaleHeader } else { Role::Header };
    let patch = if notifies { counted.set("head", json!(head)).set("told", position) } else { counted };
    writes.patch::<Post>(post.clone(), patch);
    let owner = notifies.then(|| event.post_author.to_string());
    let role = if is_hidden { Role::HiddenActivity } else { Role::Activity };
    let user = event.user.to_string();
    writes.insert(&Like { post, user, owner, notifies, role, liked: time(recorded), position })
}

/// Readers find out which like is the newest now.
fn unlike(event: &PostUnliked, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let post = event.post.to_string();
    let by = markers::account(MARKERS, event.user, writes)?;
    if by.is_none() {
        let notifies = event.user != event.post_author;
        writes.patch::<Post>(post.clone(), counted(-1, notifies, position(recorded)));
    }
    writes.delete::<Like>(key(&post, &event.user.to_string()));
    Ok(())
}

/// Patches the count of a post. The activity of its header may be deleted or older than another one.
fn counted(by: i64, notifies: bool, at: i64) -> Patch {
    let patch = Patch::default().inc("likes", by).set("liked", at);
    if notifies { patch.set("head", json!(Role::StaleHeader)) } else { patch }
}

pub(super) fn delete_likes_of_post(post: PostId, writes: &mut Writes) {
    for role in [Role::Activity, Role::HiddenActivity] {
        writes.delete_where::<Like>(&BY_POST, vec![json!(post), json!(role)]);
    }
}

/// The author is not notified of likes while the post is removed.
pub(super) fn set_hidden(post: PostId, author: UserId, hidden: bool, writes: &mut Writes) {
    let author = author.to_string();
    let owner = if hidden { hidden_from(&author) } else { author.clone() };
    for role in [Role::Activity, Role::HiddenActivity] {
        writes.patch_each(PatchEach {
            over: &VIEW,
            index: &BY_POST,
            equals: vec![json!(post), json!(role)],
            into: &VIEW,
            key: None,
            patch: Patch::default().set("owner", owner.clone()),
        });
    }
    // Authors are never notified of their own likes.
    writes.patch::<Like>(key(&post.to_string(), &author), Patch::default().set("owner", json!(null)));
    writes.add_unknown_weight();
}

/// Likes of deactivated and suspended users neither count nor notify.
pub(super) fn hide(user: UserId, at: i64, writes: &mut Writes) {
    change_role(user, at, (Role::Activity, Role::HiddenActivity), -1, writes);
}

pub(super) fn show(user: UserId, at: i64, writes: &mut Writes) {
    change_role(user, at, (Role::HiddenActivity, Role::Activity), 1, writes);
}

/// Deletes all likes by the user and all likes of their posts.
pub(super) fn erase(user: UserId, at: i64, writes: &mut Writes) {
    hide(user, at, writes);
    for notifies in [true, false] {
        let equals = vec![json!(user), json!(notifies), json!(Role::HiddenActivity)];
        writes.delete_where::<Like>(&BY_USER, equals);
    }
    for role in [Role::Activity, Role::HiddenActivity] {
        for owner in [user.to_string(), hidden_from(&user.to_string())] {
            writes.delete_where::<Like>(&OF_OWNER, vec![json!(owner), json!(role)]);
        }
    }
}

fn change_role(user: UserId, at: i64, (from, to): (Role, Role), by: i64, writes: &mut Writes) {
    for notifies in [true, false] {
        let each = |into, key, patch| PatchEach {
            over: &VIEW,
            index: &BY_USER,
            equals: vec![json!(user), json!(notifies), json!(from)],
            into,
            key,
            patch,
        };
        writes.patch_each(each(&posts::VIEW, Some("post"), counted(by, notifies, at)));
        writes.patch_each(each(&VIEW, None, Patch::default().set("role", json!(to))));
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Content, ContentRemoved, ContentRestored, Deactivated, Erased, Event, Personal, PostDeleted,
        Reactivated,
    };
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::social::Posts;
    use crate::testing::{ANN, BOB, Built, POST, built, post_published};

    const CAT: UserId = UserId::new(Uuid::from_u128(0xc));

    fn liked(user: UserId) -> Event {
        PostLiked { post: POST, user, post_author: ANN }.into()
    }

    fn unliked(user: UserId) -> Event {
        PostUnliked { post: POST, user, post_author: ANN }.into()
    }

    async fn likers(built: &Built, role: Role) -> Vec<String> {
        let query = Query::new(&VIEW, &BY_POST, vec![json!(POST), json!(role)], 10);
        let page = built.store.page_of::<Like>(query).await.unwrap();
        page.documents.into_iter().map(|like| like.user).collect()
    }

    async fn post(built: &Built) -> Post {
        built.store.get(&POST.to_string()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn like_is_listed_and_counted_until_unlike() {
        let built = built(&Posts, [post_published(POST, ANN), liked(ANN), liked(BOB), unliked(ANN)]).await;
        assert_eq!(likers(&built, Role::Activity).await, [BOB.to_string()]);
        let Post { likes, liked, last_notified_position, likes_header, .. } = post(&built).await;
        assert_eq!((likes, liked, last_notified_position), (1, 4, 3));
        assert_eq!(likes_header, Some(Role::Header));
    }

    #[tokio::test]
    async fn own_like_does_not_notify() {
        let built = built(&Posts, [post_published(POST, ANN), liked(ANN)]).await;
        let query = Query::new(&VIEW, &OF_OWNER, vec![json!(ANN), json!(Role::Activity)], 10);
        assert_eq!(built.store.page_of::<Like>(query).await.unwrap().documents, []);
        assert_eq!((post(&built).await.likes, post(&built).await.likes_header), (1, None));
    }

    #[tokio::test]
    async fn likes_of_a_deactivated_user_neither_count_nor_notify() {
        let went = [post_published(POST, ANN), liked(BOB), Deactivated { user: BOB }.into()];
        let built_away = built(&Posts, went.clone()).await;
        assert_eq!(likers(&built_away, Role::Activity).await, Vec::<String>::new());
        assert_eq!(likers(&built_away, Role::HiddenActivity).await, [BOB.to_string()]);
        let away = post(&built_away).await;
        assert_eq!((away.likes, away.liked, away.likes_header), (0, 3, Some(Role::StaleHeader)));
        let back = built(&Posts, went.into_iter().chain([Reactivated { user: BOB }.into()])).await;
        assert_eq!(
            (likers(&back, Role::Activity).await, post(&back).await.likes),
            (vec![BOB.to_string()], 1)
        );
        // An own like notifies nobody.
        let left = [post_published(POST, ANN), liked(ANN), Deactivated { user: ANN }.into()];
        assert_eq!(post(&built(&Posts, left.clone()).await).await.likes, 0);
        let returned = built(&Posts, left.into_iter().chain([Reactivated { user: ANN }.into()])).await;
        assert_eq!(likers(&returned, Role::Activity).await, [ANN.to_string()]);
        let returned = post(&returned).await;
        assert_eq!((returned.likes, returned.likes_header), (1, None));
    }

    #[tokio::test]
    async fn likes_of_an_erased_user_are_deleted_and_not_counted() {
        let erased = Event::from(Erased { user: BOB });
        let history = [post_published(POST, ANN), liked(BOB), liked(CAT)];
        for before in [vec![], vec![Deactivated { user: BOB }.into()]] {
            let history = history.clone().into_iter().chain(before).chain([erased.clone()]);
            let built = built(&Posts, history).await;
            assert_eq!(
                (likers(&built, Role::Activity).await, post(&built).await.likes),
                (vec![CAT.to_string()], 1)
            );
            assert_eq!(likers(&built, Role::HiddenActivity).await, Vec::<String>::new());
        }
    }

    /// Commands read accounts without a lock.
    #[tokio::test]
    async fn likes_concurrent_with_deactivation_or_erasure_are_hidden_or_ignored() {
        let published = || post_published(POST, ANN);
        let (left, erased) = (Event::from(Deactivated { user: BOB }), Event::from(Erased { user: BOB }));
        let late = built(&Posts, [published(), left.clone(), liked(BOB)]).await;
        assert_eq!((post(&late).await.likes, post(&late).await.last_notified_position), (0, 3));
        let back = Reactivated { user: BOB }.into();
        let back = built(&Posts, [published(), left.clone(), liked(BOB), back]).await;
        assert_eq!(post(&back).await.likes, 1);
        let let_go = built(&Posts, [published(), liked(BOB), left, unliked(BOB)]).await;
        assert_eq!((post(&let_go).await.likes, let_go.count(&VIEW).await), (0, 0));
        let gone = built(&Posts, [published(), liked(BOB), erased.clone(), unliked(BOB), liked(BOB)]).await;
        assert_eq!((post(&gone).await.likes, gone.count(&VIEW).await), (0, 0));
    }

    #[tokio::test]
    async fn a_removed_post_keeps_its_likes_and_hides_them_from_its_author() {
        let content = Content::Post { post: POST };
        let removed = ContentRemoved { content, author: ANN, reason: Personal::Open("spam".into()) };
        let mut history = vec![post_published(POST, ANN), liked(ANN), liked(BOB), removed.into()];
        let owned = async |built: &Built| {
            let query = Query::new(&VIEW, &OF_OWNER, vec![json!(ANN), json!(Role::Activity)], 10);
            built.store.page_of::<Like>(query).await.unwrap().documents.len()
        };
        let hidden = built(&Posts, history.clone()).await;
        assert_eq!(
            (post(&hidden).await.removed, post(&hidden).await.likes, owned(&hidden).await),
            (true, 2, 0)
        );
        let erased = built(&Posts, history.clone().into_iter().chain([Erased { user: ANN }.into()])).await;
        assert_eq!(erased.count(&VIEW).await, 0);
        history.push(ContentRestored { content, author: ANN }.into());
        let restored = built(&Posts, history).await;
        assert_eq!((post(&restored).await.removed, owned(&restored).await), (false, 1));
        let own: Like = restored.store.get(&key(&POST.to_string(), &ANN.to_string())).await.unwrap().unwrap();
        assert_eq!(own.owner, None);
    }

    #[tokio::test]
    async fn likes_are_deleted_with_their_post_and_its_author() {
        for gone in [PostDeleted { post: POST, author: ANN }.into(), Event::from(Erased { user: ANN })] {
            let built = built(&Posts, [post_published(POST, ANN), liked(ANN), liked(BOB), gone]).await;
            assert_eq!(built.count(&VIEW).await, 0);
        }
    }
}
