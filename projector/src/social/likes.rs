//! Who likes which post, how many do, and what its author is told of it: a like is the hottest of all events, so that each
//! is one document and one change of its post; all it looks at is notes of who is not there, which nearly never are. Part
//! of the projection of [posts](super::Posts), which commits the two together.

use events::{LikeEvent, PostId, PostLiked, PostUnliked, Recorded, UserId};
use serde_json::json;
use views::absences::Absence;
use views::social::likes::{BY_POST, BY_USER, Like, OF_OWNER, VIEW, key};
use views::social::notifications::{Role, hidden_from};
use views::social::posts::{self, Post};
use views::{Patch, PatchEach, StoreError, View, Writes};

use super::posts::NOTES;
use crate::accounts::absences;
use crate::engine::projection::{position, time};

pub(super) fn looks_at(event: &LikeEvent) -> Vec<(&'static View, String)> {
    match event {
        LikeEvent::PostLiked(event) => vec![
            absences::at_account(NOTES, event.user),
            absences::at_account(NOTES, event.post_author),
            absences::at_post(NOTES, event.post),
        ],
        LikeEvent::PostUnliked(event) => vec![absences::at_account(NOTES, event.user)],
    }
}

pub(super) fn project(event: &LikeEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    match event {
        LikeEvent::PostLiked(event) => like(event, recorded, writes),
        LikeEvent::PostUnliked(event) => unlike(event, recorded, writes),
    }
}

/// What was decided while its post was deleted, or one of the two was erased, is no like of anybody.
fn like(event: &PostLiked, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let by = absences::account(NOTES, event.user, writes)?;
    let author = absences::account(NOTES, event.post_author, writes)?;
    let is_void = by == Some(Absence::Erased)
        || author == Some(Absence::Erased)
        || absences::post(NOTES, event.post, writes)?.is_some();
    if is_void {
        return Ok(());
    }
    let (post, position) = (event.post.to_string(), position(recorded));
    let tells = event.user != event.post_author;
    // Decided while its user was deactivated: it counts when they come back.
    let is_hidden = by == Some(Absence::Hidden);
    let counted =
        if is_hidden { Patch::default() } else { Patch::default().inc("likes", 1).set("liked", position) };
    let head = if is_hidden { Role::HeadUnsettled } else { Role::Head };
    let patch = if tells { counted.set("head", json!(head)).set("told", position) } else { counted };
    writes.patch::<Post>(post.clone(), patch);
    let owner = tells.then(|| event.post_author.to_string());
    let role = if is_hidden { Role::ActAway } else { Role::Act };
    let user = event.user.to_string();
    writes.insert(&Like { post, user, owner, tells, role, liked: time(recorded), position })
}

/// Which like is the newest now, whoever asks finds out.
fn unlike(event: &PostUnliked, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let post = event.post.to_string();
    let by = absences::account(NOTES, event.user, writes)?;
    if by.is_none() {
        let tells = event.user != event.post_author;
        writes.patch::<Post>(post.clone(), counted(-1, tells, position(recorded)));
    }
    writes.delete::<Like>(key(&post, &event.user.to_string()));
    Ok(())
}

/// A post whose likes have become more or less. The act that its head stood for may be gone, or be older than another.
fn counted(by: i64, tells: bool, at: i64) -> Patch {
    let patch = Patch::default().inc("likes", by).set("liked", at);
    if tells { patch.set("head", json!(Role::HeadUnsettled)) } else { patch }
}

pub(super) fn forget_post(post: PostId, writes: &mut Writes) {
    for role in [Role::Act, Role::ActAway] {
        writes.delete_where::<Like>(&BY_POST, vec![json!(post), json!(role)]);
    }
}

/// While a post is removed its author is not notified of its likes.
pub(super) fn set_hidden(post: PostId, author: UserId, hidden: bool, writes: &mut Writes) {
    let author = author.to_string();
    let owner = if hidden { hidden_from(&author) } else { author.clone() };
    for role in [Role::Act, Role::ActAway] {
        writes.patch_each(PatchEach {
            over: &VIEW,
            index: &BY_POST,
            equals: vec![json!(post), json!(role)],
            into: &VIEW,
            key: None,
            patch: Patch::default().set("owner", owner.clone()),
        });
    }
    // Nobody ever is of their own.
    writes.patch::<Like>(key(&post.to_string(), &author), Patch::default().set("owner", json!(null)));
    writes.weigh_unknown();
}

/// What somebody likes is neither counted nor told while they are deactivated or suspended.
pub(super) fn go(user: UserId, at: i64, writes: &mut Writes) {
    change_role(user, at, (Role::Act, Role::ActAway), -1, writes);
}

pub(super) fn come_back(user: UserId, at: i64, writes: &mut Writes) {
    change_role(user, at, (Role::ActAway, Role::Act), 1, writes);
}

/// Takes away all that somebody likes, and all likes of what they published.
pub(super) fn erase(user: UserId, at: i64, writes: &mut Writes) {
    go(user, at, writes);
    for tells in [true, false] {
        writes.delete_where::<Like>(&BY_USER, vec![json!(user), json!(tells), json!(Role::ActAway)]);
    }
    for role in [Role::Act, Role::ActAway] {
        for owner in [user.to_string(), hidden_from(&user.to_string())] {
            writes.delete_where::<Like>(&OF_OWNER, vec![json!(owner), json!(role)]);
        }
    }
}

fn change_role(user: UserId, at: i64, (from, to): (Role, Role), by: i64, writes: &mut Writes) {
    for tells in [true, false] {
        let each = |into, key, patch| PatchEach {
            over: &VIEW,
            index: &BY_USER,
            equals: vec![json!(user), json!(tells), json!(from)],
            into,
            key,
            patch,
        };
        writes.patch_each(each(&posts::VIEW, Some("post"), counted(by, tells, at)));
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
    async fn a_like_is_there_and_counted_until_it_is_taken_back() {
        let built = built(&Posts, [post_published(POST, ANN), liked(ANN), liked(BOB), unliked(ANN)]).await;
        assert_eq!(likers(&built, Role::Act).await, [BOB.to_string()]);
        let Post { likes, liked, told, head, .. } = post(&built).await;
        assert_eq!((likes, liked, told, head), (1, 4, 3, Some(Role::Head)));
    }

    #[tokio::test]
    async fn nobody_is_told_of_their_own_like() {
        let built = built(&Posts, [post_published(POST, ANN), liked(ANN)]).await;
        let query = Query::new(&VIEW, &OF_OWNER, vec![json!(ANN), json!(Role::Act)], 10);
        assert_eq!(built.store.page_of::<Like>(query).await.unwrap().documents, []);
        assert_eq!((post(&built).await.likes, post(&built).await.head), (1, None));
    }

    #[tokio::test]
    async fn likes_of_who_is_deactivated_are_neither_counted_nor_told_until_they_come_back() {
        let went = [post_published(POST, ANN), liked(BOB), Deactivated { user: BOB }.into()];
        let built_away = built(&Posts, went.clone()).await;
        assert_eq!(likers(&built_away, Role::Act).await, Vec::<String>::new());
        assert_eq!(likers(&built_away, Role::ActAway).await, [BOB.to_string()]);
        let away = post(&built_away).await;
        assert_eq!((away.likes, away.liked, away.head), (0, 3, Some(Role::HeadUnsettled)));
        let back = built(&Posts, went.into_iter().chain([Reactivated { user: BOB }.into()])).await;
        assert_eq!((likers(&back, Role::Act).await, post(&back).await.likes), (vec![BOB.to_string()], 1));
        // One's own like stands for nothing that anybody is told.
        let left = [post_published(POST, ANN), liked(ANN), Deactivated { user: ANN }.into()];
        assert_eq!(post(&built(&Posts, left.clone()).await).await.likes, 0);
        let returned = built(&Posts, left.into_iter().chain([Reactivated { user: ANN }.into()])).await;
        assert_eq!(
            (likers(&returned, Role::Act).await, post(&returned).await.likes, post(&returned).await.head),
            (vec![ANN.to_string()], 1, None)
        );
    }

    #[tokio::test]
    async fn likes_of_who_is_erased_are_neither_there_nor_counted() {
        let erased = Event::from(Erased { user: BOB });
        let history = [post_published(POST, ANN), liked(BOB), liked(CAT)];
        for before in [vec![], vec![Deactivated { user: BOB }.into()]] {
            let history = history.clone().into_iter().chain(before).chain([erased.clone()]);
            let built = built(&Posts, history).await;
            assert_eq!(
                (likers(&built, Role::Act).await, post(&built).await.likes),
                (vec![CAT.to_string()], 1)
            );
            assert_eq!(likers(&built, Role::ActAway).await, Vec::<String>::new());
        }
    }

    /// A command looks at accounts without a lock on them.
    #[tokio::test]
    async fn what_was_decided_in_the_same_instant_as_a_departure_counts_is_undone_with_it() {
        let published = || post_published(POST, ANN);
        let (left, erased) = (Event::from(Deactivated { user: BOB }), Event::from(Erased { user: BOB }));
        let late = built(&Posts, [published(), left.clone(), liked(BOB)]).await;
        assert_eq!((post(&late).await.likes, post(&late).await.told), (0, 3));
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
            let query = Query::new(&VIEW, &OF_OWNER, vec![json!(ANN), json!(Role::Act)], 10);
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
    async fn likes_go_with_their_post_and_with_its_author() {
        for gone in [PostDeleted { post: POST, author: ANN }.into(), Event::from(Erased { user: ANN })] {
            let built = built(&Posts, [post_published(POST, ANN), liked(ANN), liked(BOB), gone]).await;
            assert_eq!(built.count(&VIEW).await, 0);
        }
    }
}
