use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use events::{
    CommentDeleted, CommentId, Commented, Content, ContentRemoved, ContentRestored, Deactivated, Erased,
    FollowAccepted, FollowRequested, Followed, NotificationsRead, Personal, Position, PostDeleted, PostLiked,
    PostUnliked, Reactivated, Unfollowed,
};
use proptest::prelude::*;
use uuid::Uuid;
use views::social::likes::{self, Like};
use views::social::notifications::Kind as K;
use views::social::posts::{self, Post};
use views::{Query, ViewStoreExt};

use super::*;
use crate::social::Posts;
use crate::testing::{ANN, BOB, Built, POST, built, built_in_batches, post_published};

const CAT: UserId = UserId::new(Uuid::from_u128(0xc));
const PEOPLE: [UserId; 3] = [ANN, BOB, CAT];
/// Ann's post, then Bob's.
const POSTS: [(PostId, UserId); 2] = [(POST, ANN), (PostId::new(Uuid::from_u128(0x91)), BOB)];

/// A group: kind, post, and actors with the position of their newest activity, newest first.
type Group = (K, Option<String>, Vec<(String, i64)>);

/// The notifications of a user.
#[derive(Debug, Default, PartialEq)]
struct Listed {
    /// Positions of single activities, newest first.
    activities: Vec<i64>,
    /// Ordered by the newest activity, descending.
    groups: Vec<Group>,
}

/// All views with notifications.
struct Views {
    notifications: Built,
    likes: Built,
}

/// Reads the notifications from the views, and checks the invariants of the group headers.
async fn listed(views: &Views, owner: UserId) -> Listed {
    let mut listed = Listed::default();
    for role in [Role::Header, Role::StaleHeader] {
        let headers = comments_and_follows(views, owner, role).await.into_iter();
        for (header, members) in headers.chain(likes(views, owner, role).await) {
            let newest = members.first().map(|(_, position)| *position);
            assert!(newest <= Some(header.position), "{header:?} {members:?}");
            assert!(role == Role::StaleHeader || newest == Some(header.position), "{header:?} {members:?}");
            if !members.is_empty() {
                listed.groups.push((header.kind, header.post, members));
            }
        }
    }
    listed.groups.sort_by_key(|(.., members)| Reverse(members[0].1));
    let activities = vec![json!(owner), json!(Role::Activity)];
    let of_owner = Query::new(&VIEW, &OF_OWNER, activities.clone(), 1000);
    let own = views.notifications.store.page_of::<Activity>(of_owner).await.unwrap().documents;
    let of_owner = Query::new(&likes::VIEW, &likes::OF_OWNER, activities, 1000);
    let likes = views.likes.store.page_of::<Like>(of_owner).await.unwrap().documents;
    let likes = likes.iter().map(|like| like.position);
    listed.activities = own.iter().map(|activity| activity.position).chain(likes).collect();
    listed.activities.sort_unstable_by_key(|position| Reverse(*position));
    listed
}

async fn comments_and_follows(
    views: &Views,
    owner: UserId,
    role: Role,
) -> Vec<(GroupHeader, Vec<(String, i64)>)> {
    let store = &views.notifications.store;
    let headers = Query::new(&VIEW, &OF_OWNER, vec![json!(owner), json!(role)], 1000);
    let mut found = Vec::new();
    for header in store.page_of::<GroupHeader>(headers).await.unwrap().documents {
        let equals = vec![json!(header.group), json!(header.kind.member_role())];
        let members = store.page(&Query::new(&VIEW, &OF_GROUP, equals, 1000)).await.unwrap().documents;
        let members = members.iter().map(|member| member.read::<serde_json::Value>().unwrap());
        let members = members.map(|member| {
            (member["actor"].as_str().unwrap().to_owned(), member["position"].as_i64().unwrap())
        });
        found.push((header, members.collect()));
    }
    found
}

async fn likes(views: &Views, owner: UserId, role: Role) -> Vec<(GroupHeader, Vec<(String, i64)>)> {
    let store = &views.likes.store;
    let posts = Query::new(&posts::VIEW, &posts::BY_NEWEST_LIKE, vec![json!(owner), json!(role)], 1000);
    let mut found = Vec::new();
    for post in store.page_of::<Post>(posts).await.unwrap().documents {
        let equals = vec![json!(post.post), json!(Role::Activity)];
        let likes = Query::new(&likes::VIEW, &likes::BY_POST, equals, 1000);
        let likes = store.page_of::<Like>(likes).await.unwrap().documents.into_iter();
        let members = likes.filter(|like| like.user != post.author).map(|like| (like.user, like.position));
        found.push((GroupHeader::of_likes(&post).unwrap(), members.collect()));
    }
    found
}

fn liked(user: UserId) -> Event {
    PostLiked { post: POST, user, post_author: ANN }.into()
}

fn unliked(user: UserId) -> Event {
    PostUnliked { post: POST, user, post_author: ANN }.into()
}

fn commented(
    n: usize,
    (post, post_author): (PostId, UserId),
    author: UserId,
    reply_to: Option<(usize, UserId)>,
) -> Event {
    Commented {
        post,
        comment: comment(n),
        author,
        post_author,
        reply_to: reply_to.map(|(n, _)| comment(n)),
        reply_to_author: reply_to.map(|(_, author)| author),
        text: Personal::Open("Lovely".into()),
    }
    .into()
}

fn comment(n: usize) -> CommentId {
    CommentId::new(Uuid::from_u128(n as u128 + 1))
}

fn people(users: &[(UserId, i64)]) -> Vec<(String, i64)> {
    users.iter().map(|(user, position)| (user.to_string(), *position)).collect()
}

/// The views after a history, built with one event per batch.
async fn after(history: impl IntoIterator<Item = Event>) -> Views {
    let history: Vec<Event> = history.into_iter().collect();
    Views { notifications: built(&Notifications, history.clone()).await, likes: built(&Posts, history).await }
}

#[tokio::test]
async fn likes_of_one_post_form_one_group_and_are_removed_individually() {
    let published = post_published(POST, ANN);
    let history = [published.clone(), liked(BOB), liked(ANN), liked(CAT)];
    let post = Some(POST.to_string());
    let views = after(history.clone()).await;
    let group = (K::Like, post.clone(), people(&[(CAT, 4), (BOB, 2)]));
    let expected = Listed { activities: vec![4, 2], groups: vec![group] };
    assert_eq!(listed(&views, ANN).await, expected, "without Ann's own like");
    let views = after(history.into_iter().chain([unliked(CAT)])).await;
    let group = (K::Like, post.clone(), people(&[(BOB, 2)]));
    assert_eq!(listed(&views, ANN).await, Listed { activities: vec![2], groups: vec![group] });
    // A repeated like notifies once.
    let views = after([published, liked(BOB), unliked(BOB), liked(BOB)]).await;
    let group = (K::Like, post, people(&[(BOB, 4)]));
    assert_eq!(listed(&views, ANN).await, Listed { activities: vec![4], groups: vec![group] });
}

#[tokio::test]
async fn reply_notifies_the_parent_author_and_the_post_author_once_each() {
    let here = POSTS[0];
    let post = Some(POST.to_string());
    let by_cat = commented(2, here, CAT, Some((1, BOB)));
    let views = after([commented(1, here, BOB, None), by_cat]).await;
    let group = (K::Comment, post.clone(), people(&[(CAT, 2), (BOB, 1)]));
    assert_eq!(listed(&views, ANN).await, Listed { activities: vec![2, 1], groups: vec![group] });
    let group = (K::Reply, post.clone(), people(&[(CAT, 2)]));
    assert_eq!(listed(&views, BOB).await, Listed { activities: vec![2], groups: vec![group] });
    // A reply to the post's author is only a reply; a reply to oneself only notifies the post's author.
    let to_ann = [commented(1, here, ANN, None), commented(2, here, BOB, Some((1, ANN)))];
    let views = after(to_ann).await;
    let group = (K::Reply, post, people(&[(BOB, 2)]));
    assert_eq!(listed(&views, ANN).await, Listed { activities: vec![2], groups: vec![group] });
    let to_oneself = [commented(1, here, BOB, None), commented(2, here, BOB, Some((1, BOB)))];
    let views = after(to_oneself).await;
    assert_eq!(listed(&views, BOB).await, Listed::default());
    assert_eq!(listed(&views, ANN).await.activities, [2, 1]);
}

#[tokio::test]
async fn follow_request_notifies_until_it_is_answered_or_withdrawn() {
    let (follower, followee) = (BOB, ANN);
    let requested: Event = FollowRequested { follower, followee }.into();
    let views = after([requested.clone()]).await;
    let group = (K::FollowRequest, None, people(&[(BOB, 1)]));
    assert_eq!(listed(&views, ANN).await, Listed { activities: vec![1], groups: vec![group] });
    for answer in [
        FollowAccepted { follower, followee }.into(),
        Event::from(Unfollowed { follower, followee, only_requested: true }),
    ] {
        let views = after([requested.clone(), answer]).await;
        assert_eq!(listed(&views, ANN).await, Listed::default());
    }
}

#[tokio::test]
async fn read_cursor_is_kept() {
    let read = |up_to| NotificationsRead { user: ANN, up_to: Position(up_to) }.into();
    let view = built(&Notifications, [read(1), read(3)]).await;
    let cursor: ReadCursor = view.store.get(&view::read_cursor_key(&ANN.to_string())).await.unwrap().unwrap();
    assert_eq!(cursor.position, 3);
}

#[tokio::test]
async fn erased_user_neither_receives_nor_causes_notifications() {
    let (follower, followee) = (BOB, ANN);
    let read = NotificationsRead { user: ANN, up_to: Position(1) };
    let history = [
        post_published(POST, ANN),
        liked(BOB),
        commented(1, POSTS[0], BOB, None),
        Followed { follower, followee }.into(),
        read.into(),
        commented(2, POSTS[1], ANN, None),
    ];
    let views = after(history.into_iter().chain([Erased { user: ANN }.into()])).await;
    for user in PEOPLE {
        assert_eq!(listed(&views, user).await, Listed::default());
    }
    // The header of the group in which Ann was the only member remains.
    assert_eq!(views.notifications.count(&VIEW).await, 1);
}

// ---------------------------------------------------------- random histories

#[derive(Debug, Clone, Copy)]
enum Step {
    Like { user: usize, post: usize },
    Unlike { user: usize, post: usize },
    Comment { user: usize, post: usize, answers: Option<usize> },
    DeleteComment(usize),
    Follow(usize, usize),
    Unfollow(usize, usize),
    DeletePost(usize),
    Leave(usize),
    Return(usize),
    Erase(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (user, post) = (0..PEOPLE.len(), 0..POSTS.len());
    prop_oneof![
        6 => (user.clone(), post.clone()).prop_map(|(user, post)| Step::Like { user, post }),
        3 => (user.clone(), post.clone()).prop_map(|(user, post)| Step::Unlike { user, post }),
        6 => (user.clone(), post.clone(), prop::option::of(0..8_usize))
            .prop_map(|(user, post, answers)| Step::Comment { user, post, answers }),
        4 => (0..8_usize).prop_map(Step::DeleteComment),
        3 => (user.clone(), user.clone()).prop_map(|(a, b)| Step::Follow(a, b)),
        2 => (user.clone(), user.clone()).prop_map(|(a, b)| Step::Unfollow(a, b)),
        1 => post.prop_map(Step::DeletePost),
        2 => user.clone().prop_map(Step::Leave),
        2 => user.clone().prop_map(Step::Return),
        1 => user.prop_map(Step::Erase),
    ]
}

/// An activity in the naive fold.
#[derive(Debug, Clone)]
struct ExpectedActivity {
    owner: UserId,
    kind: K,
    actor: UserId,
    post: Option<PostId>,
    position: i64,
}

/// An existing comment.
#[derive(Debug, Clone, Copy)]
struct LiveComment {
    n: usize,
    post: usize,
    author: UserId,
    answers: Option<UserId>,
}

/// The state of the model, and the history of valid events.
#[derive(Debug)]
struct World {
    history: Vec<Event>,
    activities: BTreeMap<String, ExpectedActivity>,
    comments: Vec<LiveComment>,
    follows: BTreeSet<(UserId, UserId)>,
    likes: BTreeSet<(usize, UserId)>,
    hidden: BTreeSet<UserId>,
    erased: BTreeSet<UserId>,
    deleted: BTreeSet<usize>,
}

impl World {
    /// With both posts.
    fn new() -> Self {
        Self {
            history: POSTS.map(|(post, author)| post_published(post, author)).into(),
            activities: BTreeMap::new(),
            comments: Vec::new(),
            follows: BTreeSet::new(),
            likes: BTreeSet::new(),
            hidden: BTreeSet::new(),
            erased: BTreeSet::new(),
            deleted: BTreeSet::new(),
        }
    }

    fn is_active(&self, user: UserId) -> bool {
        !self.hidden.contains(&user) && !self.erased.contains(&user)
    }

    fn has(&self, post: usize) -> bool {
        !self.deleted.contains(&post) && !self.erased.contains(&POSTS[post].1)
    }

    fn notify(&mut self, key: String, owner: UserId, kind: K, actor: UserId, post: Option<usize>) {
        if owner != actor {
            let position = i64::try_from(self.history.len()).unwrap();
            let post = post.map(|post| POSTS[post].0);
            self.activities.insert(key, ExpectedActivity { owner, kind, actor, post, position });
        }
    }

    /// Skips invalid steps.
    fn apply(&mut self, step: Step) {
        match step {
            Step::Like { user, post } => self.like(user, post),
            Step::Unlike { user, post } => self.unlike(user, post),
            Step::Comment { user, post, answers } => {
                if self.is_active(PEOPLE[user]) && self.has(post) {
                    self.comment(PEOPLE[user], post, answers);
                }
            }
            Step::DeleteComment(place) => self.delete_comment(place),
            Step::Follow(a, b) => self.follow(a, b),
            Step::Unfollow(a, b) => self.unfollow(a, b),
            Step::DeletePost(post) => self.delete_post(post),
            Step::Leave(user) => {
                if self.is_active(PEOPLE[user]) {
                    self.hidden.insert(PEOPLE[user]);
                    self.history.push(Deactivated { user: PEOPLE[user] }.into());
                }
            }
            Step::Return(user) => {
                if self.hidden.remove(&PEOPLE[user]) {
                    self.history.push(Reactivated { user: PEOPLE[user] }.into());
                }
            }
            Step::Erase(user) => self.erase(PEOPLE[user]),
        }
    }

    fn like(&mut self, user: usize, post: usize) {
        if self.is_active(PEOPLE[user]) && self.has(post) && self.likes.insert((post, PEOPLE[user])) {
            let (id, post_author) = POSTS[post];
            self.history.push(PostLiked { post: id, user: PEOPLE[user], post_author }.into());
            self.notify(format!("like {post} {user}"), post_author, K::Like, PEOPLE[user], Some(post));
        }
    }

    fn unlike(&mut self, user: usize, post: usize) {
        if self.is_active(PEOPLE[user]) && self.likes.remove(&(post, PEOPLE[user])) {
            let (id, post_author) = POSTS[post];
            self.history.push(PostUnliked { post: id, user: PEOPLE[user], post_author }.into());
            self.activities.remove(&format!("like {post} {user}"));
        }
    }

    fn delete_comment(&mut self, place: usize) {
        if place < self.comments.len() {
            let LiveComment { n, post, author, answers } = self.comments.remove(place);
            let (id, post_author) = POSTS[post];
            let (comment, reply_to_author) = (comment(n), answers);
            self.history
                .push(CommentDeleted { post: id, comment, author, post_author, reply_to_author }.into());
            self.activities.retain(|key, _| *key != format!("comment {n}") && *key != format!("reply {n}"));
        }
    }

    fn follow(&mut self, a: usize, b: usize) {
        let (follower, followee) = (PEOPLE[a], PEOPLE[b]);
        let both_are_there = a != b && self.is_active(follower) && self.is_active(followee);
        if both_are_there && self.follows.insert((follower, followee)) {
            self.history.push(Followed { follower, followee }.into());
            self.notify(format!("follow {a} {b}"), followee, K::Follow, follower, None);
        }
    }

    fn unfollow(&mut self, a: usize, b: usize) {
        let (follower, followee) = (PEOPLE[a], PEOPLE[b]);
        if self.is_active(follower) && self.follows.remove(&(follower, followee)) {
            self.history.push(Unfollowed { follower, followee, only_requested: false }.into());
            self.activities.remove(&format!("follow {a} {b}"));
        }
    }

    fn delete_post(&mut self, post: usize) {
        if self.has(post) {
            let (id, author) = POSTS[post];
            self.deleted.insert(post);
            self.history.push(PostDeleted { post: id, author }.into());
            self.activities.retain(|_, activity| activity.post != Some(id));
            self.comments.retain(|there| there.post != post);
        }
    }

    fn erase(&mut self, user: UserId) {
        if self.erased.insert(user) {
            self.hidden.remove(&user);
            self.history.push(Erased { user }.into());
            let own = |post: PostId| POSTS.contains(&(post, user));
            self.activities.retain(|_, activity| {
                activity.actor != user && activity.owner != user && !activity.post.is_some_and(own)
            });
        }
    }

    fn comment(&mut self, author: UserId, post: usize, answers: Option<usize>) {
        let parent = answers.and_then(|place| self.comments.get(place)).copied();
        let parent = parent.filter(|parent| parent.post == post && parent.answers.is_none());
        let n = self.history.len();
        let answered = parent.map(|parent| parent.author);
        self.history.push(commented(n, POSTS[post], author, parent.map(|parent| (parent.n, parent.author))));
        self.comments.push(LiveComment { n, post, author, answers: answered });
        if let Some(answered) = answered {
            self.notify(format!("reply {n}"), answered, K::Reply, author, Some(post));
        }
        if answered != Some(POSTS[post].1) {
            self.notify(format!("comment {n}"), POSTS[post].1, K::Comment, author, Some(post));
        }
    }

    fn listed(&self, owner: UserId) -> Listed {
        let owned = self.activities.values().filter(|activity| activity.owner == owner);
        let shown = owned.filter(|activity| !self.hidden.contains(&activity.actor));
        let mut activities: Vec<i64> = shown.clone().map(|activity| activity.position).collect();
        activities.sort_unstable_by_key(|position| Reverse(*position));
        let mut groups: BTreeMap<(K, Option<String>), BTreeMap<String, i64>> = BTreeMap::new();
        for activity in shown {
            let post = activity.post.map(|post| post.to_string());
            let group = groups.entry((activity.kind, post)).or_default();
            let newest = group.entry(activity.actor.to_string()).or_default();
            *newest = activity.position.max(*newest);
        }
        let newest_first = |people: BTreeMap<String, i64>| {
            let mut people: Vec<(String, i64)> = people.into_iter().collect();
            people.sort_by_key(|(_, position)| Reverse(*position));
            people
        };
        let mut groups: Vec<Group> =
            groups.into_iter().map(|((kind, post), people)| (kind, post, newest_first(people))).collect();
        groups.sort_by_key(|(.., people)| Reverse(people[0].1));
        Listed { activities, groups }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn notifications_equal_a_naive_fold_of_any_history(
        steps in prop::collection::vec(step(), 1..60), batch in prop_oneof![Just(1_usize), 2..60_usize],
    ) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let views = Views {
                notifications: built_in_batches(&Notifications, &world.history, batch).await,
                likes: built_in_batches(&Posts, &world.history, batch).await,
            };
            // Erased users read no notifications.
            for user in PEOPLE.into_iter().filter(|user| !world.erased.contains(user)) {
                assert_eq!(listed(&views, user).await, world.listed(user), "{:#?}", world.history);
            }
        });
    }
}

#[tokio::test]
async fn author_of_a_removed_post_is_notified_only_of_the_removal() {
    let comment = |n: u128, author| -> Event {
        Commented {
            post: POST,
            comment: CommentId::new(Uuid::from_u128(n)),
            author,
            post_author: ANN,
            reply_to: None,
            reply_to_author: None,
            text: Personal::Open("Lovely".into()),
        }
        .into()
    };
    let content = Content::Post { post: POST };
    let removal = ContentRemoved { content, author: ANN, reason: Personal::Open("spam".into()) };
    let follows = Followed { follower: BOB, followee: ANN }.into();
    let mut history = vec![comment(1, BOB), comment(2, CAT), follows, removal.into()];
    let activities = async |built: &Built| {
        let query = Query::new(&VIEW, &OF_OWNER, vec![json!(ANN), json!(Role::Activity)], 10);
        let activities = built.store.page_of::<Activity>(query).await.unwrap().documents;
        activities.into_iter().map(|activity| (activity.kind, activity.reason)).collect::<Vec<_>>()
    };
    let removed = built(&Notifications, history.clone()).await;
    assert_eq!(activities(&removed).await, [(K::ContentRemoved, Some("spam".into())), (K::Follow, None)]);
    // Deactivations and reactivations meanwhile change nothing.
    history.extend([Deactivated { user: BOB }.into(), Reactivated { user: BOB }.into()]);
    assert_eq!(activities(&built(&Notifications, history.clone()).await).await.len(), 2);
    history.push(Deactivated { user: CAT }.into());
    let erased = history.iter().cloned().chain([Erased { user: ANN }.into()]);
    assert_eq!(activities(&built(&Notifications, erased).await).await, []);
    history.push(ContentRestored { content, author: ANN }.into());
    let restored = built(&Notifications, history).await;
    assert_eq!(activities(&restored).await, [(K::Follow, None), (K::Comment, None)]);
}

#[tokio::test]
async fn notification_of_a_removed_comment_returns_with_its_restoration() {
    let comment = |n: u128| -> Event {
        Commented {
            post: POST,
            comment: CommentId::new(Uuid::from_u128(n)),
            author: BOB,
            post_author: ANN,
            reply_to: None,
            reply_to_author: None,
            text: Personal::Open("Lovely".into()),
        }
        .into()
    };
    let content = Content::Comment { post: POST, comment: CommentId::new(Uuid::from_u128(2)) };
    let removed =
        Event::from(ContentRemoved { content, author: BOB, reason: Personal::Open("abuse".into()) });
    let restored = Event::from(ContentRestored { content, author: BOB });
    let (left, back) = (Event::from(Deactivated { user: BOB }), Event::from(Reactivated { user: BOB }));
    // Positions of Ann's activities, and Bob's newest comment as group member.
    for (then, activities, member) in [
        (vec![], &[2, 1][..], Some(2)),
        (vec![&removed], &[1], Some(1)),
        (vec![&removed, &restored], &[2, 1], Some(2)),
        (vec![&removed, &left, &back], &[1], Some(1)),
        (vec![&removed, &left, &restored], &[], None),
        (vec![&removed, &left, &restored, &back], &[2, 1], Some(2)),
    ] {
        let history = [comment(1), comment(2)].into_iter().chain(then.iter().copied().cloned());
        let built = built(&Notifications, history).await;
        let query = Query::new(&VIEW, &OF_OWNER, vec![json!(ANN), json!(Role::Activity)], 10);
        let found = built.store.page_of::<Activity>(query).await.unwrap().documents;
        let positions: Vec<i64> = found.iter().map(|activity| activity.position).collect();
        assert_eq!(positions, activities, "{then:?}");
        let members = vec![json!(view::comments_under(&POST.to_string())), json!(Role::Member)];
        let members = Query::new(&VIEW, &OF_GROUP, members, 10);
        let members = built.store.page_of::<GroupMember>(members).await.unwrap();
        let newest = members.documents.first().map(|member| member.position);
        assert_eq!(newest, member, "{then:?}");
    }
}
