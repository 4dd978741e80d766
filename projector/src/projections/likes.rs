//! Who likes which post, how many do, and what its author is told of it: a like is the hottest of all events, so that each
//! is one document and one change of its post, neither of which looks at anything. Part of the projection of
//! [posts](super::Posts), which commits the two together.

use events::{LikeEvent, PostId, PostLiked, PostUnliked, Recorded, UserId};
use serde_json::json;
use views::likes::{BY_POST, BY_USER, Like, OF_OWNER, VIEW, key};
use views::notifications::Role;
use views::posts::{self, BY_AUTHOR, Post};
use views::{DeleteEach, KeyPart, Patch, PatchEach, StoreError, Writes};

use super::{position, time};

/// A like or unlike that was decided while its post was deleted finds no post to count it on.
pub(super) fn project(event: &LikeEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    match event {
        LikeEvent::PostLiked(event) => like(event, recorded, writes),
        LikeEvent::PostUnliked(event) => {
            unlike(event, recorded, writes);
            Ok(())
        }
    }
}

fn like(event: &PostLiked, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let (post, position) = (event.post.to_string(), position(recorded));
    let owner = (event.user != event.post_author).then(|| event.post_author.to_string());
    let counted = Patch::default().inc("likes", 1).set("liked", position);
    let patch =
        if owner.is_some() { counted.set("head", json!(Role::Head)).set("told", position) } else { counted };
    writes.patch::<Post>(post.clone(), patch);
    let (user, tells) = (event.user.to_string(), owner.is_some().then_some(true));
    writes.insert(&Like { post, user, owner, tells, role: Role::Act, liked: time(recorded), position })
}

/// Which like is the newest now, whoever asks finds out.
fn unlike(event: &PostUnliked, recorded: &Recorded, writes: &mut Writes) {
    let post = event.post.to_string();
    let counted = Patch::default().inc("likes", -1).set("liked", position(recorded));
    let patch = if event.user == event.post_author {
        counted
    } else {
        counted.set("head", json!(Role::HeadUnsettled))
    };
    writes.patch::<Post>(post.clone(), patch);
    writes.delete::<Like>(key(&post, &event.user.to_string()));
}

pub(super) fn forget_post(post: PostId, writes: &mut Writes) {
    for role in [Role::Act, Role::ActAway] {
        writes.delete_where::<Like>(&BY_POST, vec![json!(post), json!(role)]);
    }
}

/// While somebody is away, nobody is told of what they like; it is counted all the same.
pub(super) fn go(user: UserId, writes: &mut Writes) {
    change_role(user, Role::Act, Role::ActAway, writes);
}

pub(super) fn come_back(user: UserId, writes: &mut Writes) {
    change_role(user, Role::ActAway, Role::Act, writes);
}

/// Before the posts of who is erased are deleted: no like of them is left. What they liked themselves stays counted.
pub(super) fn forget_author(user: UserId, writes: &mut Writes) {
    for role in [Role::Act, Role::ActAway] {
        writes.delete_where::<Like>(&OF_OWNER, vec![json!(user), json!(role)]);
    }
    writes.delete_each(DeleteEach {
        over: &posts::VIEW,
        index: &BY_AUTHOR,
        equals: vec![json!(user)],
        from: &VIEW,
        key: vec![KeyPart::Field("post"), KeyPart::Text(user.to_string())],
    });
}

fn change_role(user: UserId, from: Role, to: Role, writes: &mut Writes) {
    let each = |into, key, patch| PatchEach {
        over: &VIEW,
        index: &BY_USER,
        equals: vec![json!(user), json!(true), json!(from)],
        into,
        key,
        patch,
    };
    let unsettled = Patch::default().set("head", json!(Role::HeadUnsettled));
    writes.patch_each(each(&posts::VIEW, Some("post"), unsettled));
    writes.patch_each(each(&VIEW, None, Patch::default().set("role", json!(to))));
}

#[cfg(test)]
mod tests {
    use events::{Deactivated, Erased, Event, PostDeleted, Reactivated};
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::projections::Posts;
    use crate::projections::testing::{ANN, BOB, Built, POST, built, post_published};

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
    async fn who_is_away_likes_what_they_liked_but_tells_nobody() {
        let went = [post_published(POST, ANN), liked(BOB), Deactivated { user: BOB }.into()];
        let built_away = built(&Posts, went.clone()).await;
        assert_eq!(likers(&built_away, Role::Act).await, Vec::<String>::new());
        assert_eq!(likers(&built_away, Role::ActAway).await, [BOB.to_string()]);
        let away = post(&built_away).await;
        assert_eq!((away.likes, away.head), (1, Some(Role::HeadUnsettled)));
        let back = built(&Posts, went.into_iter().chain([Reactivated { user: BOB }.into()])).await;
        assert_eq!(likers(&back, Role::Act).await, [BOB.to_string()]);
        // One's own like stands for nothing that anybody is told.
        let left = [post_published(POST, ANN), liked(ANN), Deactivated { user: ANN }.into()];
        let returned = built(&Posts, left.into_iter().chain([Reactivated { user: ANN }.into()])).await;
        assert_eq!(
            (likers(&returned, Role::Act).await, post(&returned).await.head),
            (vec![ANN.to_string()], None)
        );
    }

    #[tokio::test]
    async fn likes_go_with_their_post_and_with_its_author() {
        for gone in [PostDeleted { post: POST, author: ANN }.into(), Event::from(Erased { user: ANN })] {
            let built = built(&Posts, [post_published(POST, ANN), liked(ANN), liked(BOB), gone]).await;
            assert_eq!(built.store.sizes().await.unwrap()["likes"].documents, 0);
        }
    }
}
