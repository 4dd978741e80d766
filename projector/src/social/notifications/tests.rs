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
/// Ann's, then Bob's.
const POSTS: [(PostId, UserId); 2] = [(POST, ANN), (PostId::new(Uuid::from_u128(0x91)), BOB)];

/// A group as it is told: what, of which post, and who, each with the position of their newest act, the newest first.
type Group = (K, Option<String>, Vec<(String, i64)>);

/// What somebody is told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// Positions of single acts, the newest first.
    acts: Vec<i64>,
    /// The one with the newest act first.
    groups: Vec<Group>,
}

/// All views that tell somebody something.
struct Views {
    notifications: Built,
    likes: Built,
}

/// As the views have it; the head of every group must keep what it promises.
async fn told(views: &Views, owner: UserId) -> Told {
    let mut told = Told::default();
    for role in [Role::Head, Role::HeadUnsettled] {
        let heads = comments_and_follows(views, owner, role).await.into_iter();
        for (head, voices) in heads.chain(likes(views, owner, role).await) {
            let newest = voices.first().map(|(_, position)| *position);
            assert!(newest <= Some(head.position), "{head:?} {voices:?}");
            assert!(role == Role::HeadUnsettled || newest == Some(head.position), "{head:?} {voices:?}");
            if !voices.is_empty() {
                told.groups.push((head.kind, head.post, voices));
            }
        }
    }
    told.groups.sort_by_key(|(.., voices)| Reverse(voices[0].1));
    let acts = vec![json!(owner), json!(Role::Act)];
    let of_owner = Query::new(&VIEW, &OF_OWNER, acts.clone(), 1000);
    let acts_here = views.notifications.store.page_of::<Act>(of_owner).await.unwrap().documents;
    let of_owner = Query::new(&likes::VIEW, &likes::OF_OWNER, acts, 1000);
    let likes = views.likes.store.page_of::<Like>(of_owner).await.unwrap().documents;
    let likes = likes.iter().map(|like| like.position);
    told.acts = acts_here.iter().map(|act| act.position).chain(likes).collect();
    told.acts.sort_unstable_by_key(|position| Reverse(*position));
    told
}

async fn comments_and_follows(views: &Views, owner: UserId, role: Role) -> Vec<(Head, Vec<(String, i64)>)> {
    let store = &views.notifications.store;
    let heads = Query::new(&VIEW, &OF_OWNER, vec![json!(owner), json!(role)], 1000);
    let mut found = Vec::new();
    for head in store.page_of::<Head>(heads).await.unwrap().documents {
        let equals = vec![json!(head.stands_for), json!(head.kind.voices())];
        let voices = store.page(&Query::new(&VIEW, &OF_GROUP, equals, 1000)).await.unwrap().documents;
        let voices = voices
            .iter()
            .map(|voice| voice.read::<serde_json::Value>().unwrap())
            .map(|voice| (voice["actor"].as_str().unwrap().to_owned(), voice["position"].as_i64().unwrap()));
        found.push((head, voices.collect()));
    }
    found
}

async fn likes(views: &Views, owner: UserId, role: Role) -> Vec<(Head, Vec<(String, i64)>)> {
    let store = &views.likes.store;
    let posts = Query::new(&posts::VIEW, &posts::TOLD, vec![json!(owner), json!(role)], 1000);
    let mut found = Vec::new();
    for post in store.page_of::<Post>(posts).await.unwrap().documents {
        let equals = vec![json!(post.post), json!(Role::Act)];
        let likes = Query::new(&likes::VIEW, &likes::BY_POST, equals, 1000);
        let likes = store.page_of::<Like>(likes).await.unwrap().documents.into_iter();
        let voices = likes.filter(|like| like.user != post.author).map(|like| (like.user, like.position));
        found.push((Head::of_likes(&post).unwrap(), voices.collect()));
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

/// The views after a history, each event taken in by itself.
async fn after(history: impl IntoIterator<Item = Event>) -> Views {
    let history: Vec<Event> = history.into_iter().collect();
    Views { notifications: built(&Notifications, history.clone()).await, likes: built(&Posts, history).await }
}

#[tokio::test]
async fn likes_of_one_post_are_told_together_and_taken_back_one_by_one() {
    let published = post_published(POST, ANN);
    let history = [published.clone(), liked(BOB), liked(ANN), liked(CAT)];
    let post = Some(POST.to_string());
    let views = after(history.clone()).await;
    let group = (K::Like, post.clone(), people(&[(CAT, 4), (BOB, 2)]));
    assert_eq!(told(&views, ANN).await, Told { acts: vec![4, 2], groups: vec![group] }, "but not one's own");
    let views = after(history.into_iter().chain([unliked(CAT)])).await;
    let group = (K::Like, post.clone(), people(&[(BOB, 2)]));
    assert_eq!(told(&views, ANN).await, Told { acts: vec![2], groups: vec![group] });
    // Liked again is told again, once.
    let views = after([published, liked(BOB), unliked(BOB), liked(BOB)]).await;
    let group = (K::Like, post, people(&[(BOB, 4)]));
    assert_eq!(told(&views, ANN).await, Told { acts: vec![4], groups: vec![group] });
}

#[tokio::test]
async fn a_reply_is_told_to_whom_it_answers_and_to_the_posts_author_and_to_nobody_twice() {
    let here = POSTS[0];
    let post = Some(POST.to_string());
    let by_cat = commented(2, here, CAT, Some((1, BOB)));
    let views = after([commented(1, here, BOB, None), by_cat]).await;
    let group = (K::Comment, post.clone(), people(&[(CAT, 2), (BOB, 1)]));
    assert_eq!(told(&views, ANN).await, Told { acts: vec![2, 1], groups: vec![group] });
    let group = (K::Reply, post.clone(), people(&[(CAT, 2)]));
    assert_eq!(told(&views, BOB).await, Told { acts: vec![2], groups: vec![group] });
    // Who is both is told of a reply; who answers themselves tells the post's author alone.
    let to_ann = [commented(1, here, ANN, None), commented(2, here, BOB, Some((1, ANN)))];
    let views = after(to_ann).await;
    let group = (K::Reply, post, people(&[(BOB, 2)]));
    assert_eq!(told(&views, ANN).await, Told { acts: vec![2], groups: vec![group] });
    let to_oneself = [commented(1, here, BOB, None), commented(2, here, BOB, Some((1, BOB)))];
    let views = after(to_oneself).await;
    assert_eq!((told(&views, BOB).await, told(&views, ANN).await.acts), (Told::default(), vec![2, 1]));
}

#[tokio::test]
async fn a_request_is_told_until_it_is_answered_or_taken_back() {
    let (follower, followee) = (BOB, ANN);
    let requested: Event = FollowRequested { follower, followee }.into();
    let views = after([requested.clone()]).await;
    let group = (K::FollowRequest, None, people(&[(BOB, 1)]));
    assert_eq!(told(&views, ANN).await, Told { acts: vec![1], groups: vec![group] });
    for answer in [
        FollowAccepted { follower, followee }.into(),
        Event::from(Unfollowed { follower, followee, only_requested: true }),
    ] {
        let views = after([requested.clone(), answer]).await;
        assert_eq!(told(&views, ANN).await, Told::default());
    }
}

#[tokio::test]
async fn how_far_somebody_has_read_is_kept() {
    let read = |up_to| NotificationsRead { user: ANN, up_to: Position(up_to) }.into();
    let view = built(&Notifications, [read(1), read(3)]).await;
    let mark: Mark = view.store.get(&view::mark_of(&ANN.to_string())).await.unwrap().unwrap();
    assert_eq!(mark.position, 3);
}

#[tokio::test]
async fn who_is_erased_is_told_nothing_and_tells_nothing() {
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
        assert_eq!(told(&views, user).await, Told::default());
    }
    // What is left is the head of the group that she alone had spoken in.
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

/// An act as a naive fold keeps it.
#[derive(Debug, Clone)]
struct Naive {
    owner: UserId,
    kind: K,
    actor: UserId,
    post: Option<PostId>,
    position: i64,
}

/// A comment that stands under a post.
#[derive(Debug, Clone, Copy)]
struct There {
    n: usize,
    post: usize,
    author: UserId,
    answers: Option<UserId>,
}

/// The world as it is, and what has happened in it: only what could.
#[derive(Debug)]
struct World {
    history: Vec<Event>,
    acts: BTreeMap<String, Naive>,
    comments: Vec<There>,
    follows: BTreeSet<(UserId, UserId)>,
    likes: BTreeSet<(usize, UserId)>,
    away: BTreeSet<UserId>,
    erased: BTreeSet<UserId>,
    deleted: BTreeSet<usize>,
}

impl World {
    /// With both posts.
    fn new() -> Self {
        Self {
            history: POSTS.map(|(post, author)| post_published(post, author)).into(),
            acts: BTreeMap::new(),
            comments: Vec::new(),
            follows: BTreeSet::new(),
            likes: BTreeSet::new(),
            away: BTreeSet::new(),
            erased: BTreeSet::new(),
            deleted: BTreeSet::new(),
        }
    }

    fn acts(&self, user: UserId) -> bool {
        !self.away.contains(&user) && !self.erased.contains(&user)
    }

    fn has(&self, post: usize) -> bool {
        !self.deleted.contains(&post) && !self.erased.contains(&POSTS[post].1)
    }

    fn tell(&mut self, key: String, owner: UserId, kind: K, actor: UserId, post: Option<usize>) {
        if owner != actor {
            let position = i64::try_from(self.history.len()).unwrap();
            self.acts
                .insert(key, Naive { owner, kind, actor, post: post.map(|post| POSTS[post].0), position });
        }
    }

    /// What cannot be, does not happen.
    fn apply(&mut self, step: Step) {
        match step {
            Step::Like { user, post } => self.like(user, post),
            Step::Unlike { user, post } => self.unlike(user, post),
            Step::Comment { user, post, answers } => {
                if self.acts(PEOPLE[user]) && self.has(post) {
                    self.comment(PEOPLE[user], post, answers);
                }
            }
            Step::DeleteComment(place) => self.delete_comment(place),
            Step::Follow(a, b) => self.follow(a, b),
            Step::Unfollow(a, b) => self.unfollow(a, b),
            Step::DeletePost(post) => self.delete_post(post),
            Step::Leave(user) => {
                if self.acts(PEOPLE[user]) {
                    self.away.insert(PEOPLE[user]);
                    self.history.push(Deactivated { user: PEOPLE[user] }.into());
                }
            }
            Step::Return(user) => {
                if self.away.remove(&PEOPLE[user]) {
                    self.history.push(Reactivated { user: PEOPLE[user] }.into());
                }
            }
            Step::Erase(user) => self.erase(PEOPLE[user]),
        }
    }

    fn like(&mut self, user: usize, post: usize) {
        if self.acts(PEOPLE[user]) && self.has(post) && self.likes.insert((post, PEOPLE[user])) {
            let (id, post_author) = POSTS[post];
            self.history.push(PostLiked { post: id, user: PEOPLE[user], post_author }.into());
            self.tell(format!("like {post} {user}"), post_author, K::Like, PEOPLE[user], Some(post));
        }
    }

    fn unlike(&mut self, user: usize, post: usize) {
        if self.acts(PEOPLE[user]) && self.likes.remove(&(post, PEOPLE[user])) {
            let (id, post_author) = POSTS[post];
            self.history.push(PostUnliked { post: id, user: PEOPLE[user], post_author }.into());
            self.acts.remove(&format!("like {post} {user}"));
        }
    }

    fn delete_comment(&mut self, place: usize) {
        if place < self.comments.len() {
            let There { n, post, author, answers } = self.comments.remove(place);
            let (id, post_author) = POSTS[post];
            let (comment, reply_to_author) = (comment(n), answers);
            self.history
                .push(CommentDeleted { post: id, comment, author, post_author, reply_to_author }.into());
            self.acts.retain(|key, _| *key != format!("comment {n}") && *key != format!("reply {n}"));
        }
    }

    fn follow(&mut self, a: usize, b: usize) {
        let (follower, followee) = (PEOPLE[a], PEOPLE[b]);
        let both_are_there = a != b && self.acts(follower) && self.acts(followee);
        if both_are_there && self.follows.insert((follower, followee)) {
            self.history.push(Followed { follower, followee }.into());
            self.tell(format!("follow {a} {b}"), followee, K::Follow, follower, None);
        }
    }

    fn unfollow(&mut self, a: usize, b: usize) {
        let (follower, followee) = (PEOPLE[a], PEOPLE[b]);
        if self.acts(follower) && self.follows.remove(&(follower, followee)) {
            self.history.push(Unfollowed { follower, followee, only_requested: false }.into());
            self.acts.remove(&format!("follow {a} {b}"));
        }
    }

    fn delete_post(&mut self, post: usize) {
        if self.has(post) {
            let (id, author) = POSTS[post];
            self.deleted.insert(post);
            self.history.push(PostDeleted { post: id, author }.into());
            self.acts.retain(|_, act| act.post != Some(id));
            self.comments.retain(|there| there.post != post);
        }
    }

    fn erase(&mut self, user: UserId) {
        if self.erased.insert(user) {
            self.away.remove(&user);
            self.history.push(Erased { user }.into());
            let own = |post: PostId| POSTS.contains(&(post, user));
            self.acts.retain(|_, act| act.actor != user && act.owner != user && !act.post.is_some_and(own));
        }
    }

    fn comment(&mut self, author: UserId, post: usize, answers: Option<usize>) {
        let parent = answers.and_then(|place| self.comments.get(place)).copied();
        let parent = parent.filter(|parent| parent.post == post && parent.answers.is_none());
        let n = self.history.len();
        let answered = parent.map(|parent| parent.author);
        self.history.push(commented(n, POSTS[post], author, parent.map(|parent| (parent.n, parent.author))));
        self.comments.push(There { n, post, author, answers: answered });
        if let Some(answered) = answered {
            self.tell(format!("reply {n}"), answered, K::Reply, author, Some(post));
        }
        if answered != Some(POSTS[post].1) {
            self.tell(format!("comment {n}"), POSTS[post].1, K::Comment, author, Some(post));
        }
    }

    fn told(&self, owner: UserId) -> Told {
        let shown = self.acts.values().filter(|act| act.owner == owner && !self.away.contains(&act.actor));
        let mut acts: Vec<i64> = shown.clone().map(|act| act.position).collect();
        acts.sort_unstable_by_key(|position| Reverse(*position));
        let mut groups: BTreeMap<(K, Option<String>), BTreeMap<String, i64>> = BTreeMap::new();
        for act in shown {
            let group = groups.entry((act.kind, act.post.map(|post| post.to_string()))).or_default();
            let newest = group.entry(act.actor.to_string()).or_default();
            *newest = act.position.max(*newest);
        }
        let newest_first = |people: BTreeMap<String, i64>| {
            let mut people: Vec<(String, i64)> = people.into_iter().collect();
            people.sort_by_key(|(_, position)| Reverse(*position));
            people
        };
        let mut groups: Vec<Group> =
            groups.into_iter().map(|((kind, post), people)| (kind, post, newest_first(people))).collect();
        groups.sort_by_key(|(.., people)| Reverse(people[0].1));
        Told { acts, groups }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn after_any_history_everybody_is_told_what_a_naive_fold_of_it_says(
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
            // Who is erased asks no more.
            for user in PEOPLE.into_iter().filter(|user| !world.erased.contains(user)) {
                assert_eq!(told(&views, user).await, world.told(user), "{:#?}", world.history);
            }
        });
    }
}

#[tokio::test]
async fn the_author_of_a_removed_post_is_notified_of_that_and_of_nothing_else_about_it() {
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
    let acts = async |built: &Built| {
        let query = Query::new(&VIEW, &OF_OWNER, vec![json!(ANN), json!(Role::Act)], 10);
        let acts = built.store.page_of::<Act>(query).await.unwrap().documents;
        acts.into_iter().map(|act| (act.kind, act.reason)).collect::<Vec<_>>()
    };
    let removed = built(&Notifications, history.clone()).await;
    assert_eq!(acts(&removed).await, [(K::ContentRemoved, Some("spam".into())), (K::Follow, None)]);
    // Whoever goes and comes back meanwhile changes nothing of that.
    history.extend([Deactivated { user: BOB }.into(), Reactivated { user: BOB }.into()]);
    assert_eq!(acts(&built(&Notifications, history.clone()).await).await.len(), 2);
    history.push(Deactivated { user: CAT }.into());
    let erased = history.iter().cloned().chain([Erased { user: ANN }.into()]);
    assert_eq!(acts(&built(&Notifications, erased).await).await, []);
    history.push(ContentRestored { content, author: ANN }.into());
    assert_eq!(acts(&built(&Notifications, history).await).await, [(K::Follow, None), (K::Comment, None)]);
}

#[tokio::test]
async fn a_removed_comment_is_told_again_when_it_is_restored() {
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
    // Positions of Ann's acts, and the newest comment of Bob's that stands for them.
    for (then, acts, voice) in [
        (vec![], &[2, 1][..], Some(2)),
        (vec![&removed], &[1], Some(1)),
        (vec![&removed, &restored], &[2, 1], Some(2)),
        (vec![&removed, &left, &back], &[1], Some(1)),
        (vec![&removed, &left, &restored], &[], None),
        (vec![&removed, &left, &restored, &back], &[2, 1], Some(2)),
    ] {
        let history = [comment(1), comment(2)].into_iter().chain(then.iter().copied().cloned());
        let built = built(&Notifications, history).await;
        let query = Query::new(&VIEW, &OF_OWNER, vec![json!(ANN), json!(Role::Act)], 10);
        let found = built.store.page_of::<Act>(query).await.unwrap().documents;
        assert_eq!(found.iter().map(|act| act.position).collect::<Vec<_>>(), acts, "{then:?}");
        let voices = vec![json!(view::comments_under(&POST.to_string())), json!(Role::Voice)];
        let voices = built.store.page_of::<Voice>(Query::new(&VIEW, &OF_GROUP, voices, 10)).await.unwrap();
        let newest = voices.documents.first().map(|voice| voice.position);
        assert_eq!(newest, voice, "{then:?}");
    }
}
