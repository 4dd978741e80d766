//! The expected state as a naive fold of the log, and the actual state as the views show it. Tests compare both.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use events::{
    AccountEvent, AccountsEvent, CollectionEvent, CommentEvent, CommentId, Event, Filter, FollowEvent,
    LikeEvent, MailsEvent, Position, PostEvent, PostId, ProfileEvent, Recorded, SaveEvent, SealedLog,
    SessionEvent, SocialEvent, StoryEvent, StoryId, StoryViewEvent, Subject, UserId,
};
use serde_json::{Value, json};
use views::social::comments::{Comment, Tally};
use views::social::follows::{Circle, FOLLOWERS, FOLLOWINGS, Follow};
use views::social::likes::Like;
use views::social::notifications::{Activity, Kind, Role};
use views::{Document, Index, Query, ViewStore, ViewStoreExt};

/// The visible state.
#[derive(Debug, Default, PartialEq)]
pub struct World {
    pub people: BTreeMap<String, Person>,
    pub posts: BTreeMap<String, Post>,
    /// Follower and followee; both exist, active or not.
    pub follows: BTreeSet<(String, String)>,
    pub notifications: BTreeSet<Notification>,
    /// Active sessions and their users.
    pub sessions: BTreeMap<String, String>,
    pub stories: BTreeMap<String, Story>,
    /// User and post of each save, with its collection.
    pub saves: BTreeMap<(String, String), Option<String>>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Story {
    pub author: String,
    pub viewers: BTreeSet<String>,
}

/// A notification of one user about the activity of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notification {
    pub owner: String,
    pub kind: Kind,
    pub actor: String,
    pub post: Option<String>,
    pub comment: Option<String>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Person {
    pub username: String,
    pub bio: String,
    pub posts: i64,
    /// Neither deactivated nor suspended.
    pub active: bool,
    /// Active followers and followings, as listed.
    pub followers: BTreeSet<String>,
    pub followings: BTreeSet<String>,
    /// Followers and followings, as counted.
    pub counted: (i64, i64),
}

#[derive(Debug, Default, PartialEq)]
pub struct Post {
    pub author: String,
    pub caption: Option<String>,
    pub likes: BTreeSet<String>,
    /// Author and text by comment id.
    pub comments: BTreeMap<String, (String, String)>,
    /// Likes and comments, as counted.
    pub counted: (i64, i64),
}

/// Every event of a log, in order.
pub async fn all_events(log: &SealedLog) -> Result<Vec<Recorded>> {
    let head = log.raw().head().await?;
    let mut follow = log.raw().follow(Filter::everything(), Position::START);
    let mut events = Vec::new();
    let mut passed = Position::START;
    while passed < head {
        let batch = follow.next_batch(1000).await.context("the log ends too early")??;
        passed = batch.passed;
        anyhow::ensure!(batch.unreadable.is_empty(), "{:?}", batch.unreadable);
        for stored in batch.events {
            events.push(Recorded::sealed(stored)?);
        }
    }
    let failed = log.unseal(&mut events).await?;
    anyhow::ensure!(failed.is_empty(), "{failed:?}");
    Ok(events)
}

impl World {
    /// The state as a fold of the log.
    pub fn of_log(events: &[Recorded]) -> Self {
        let mut world = Self::default();
        for recorded in events {
            world.apply(&recorded.event);
        }
        let count = |number: usize| i64::try_from(number).expect("a count");
        let active: BTreeSet<String> =
            world.people.iter().filter(|(_, person)| person.active).map(|(id, _)| id.clone()).collect();
        // Deactivated and suspended users are neither shown nor counted.
        for post in world.posts.values_mut() {
            post.likes.retain(|user| active.contains(user));
            post.comments.retain(|_, (author, _)| active.contains(author));
            post.counted = (count(post.likes.len()), count(post.comments.len()));
        }
        for story in world.stories.values_mut() {
            story.viewers.retain(|viewer| active.contains(viewer));
        }
        world.notifications.retain(|n| active.contains(&n.actor));
        for (id, person) in &mut world.people {
            let of =
                |mine: &String, other: &String| (mine == id && active.contains(other)).then(|| other.clone());
            person.followers = world.follows.iter().filter_map(|(other, mine)| of(mine, other)).collect();
            person.followings = world.follows.iter().filter_map(|(mine, other)| of(mine, other)).collect();
            person.counted = (count(person.followers.len()), count(person.followings.len()));
        }
        let posts = &world.posts;
        world.saves.retain(|(_, post), _| posts.get(post).is_some_and(|post| active.contains(&post.author)));
        world
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Accounts(AccountsEvent::Account(AccountEvent::SignedUp(event))) => {
                // The data of users who are erased later cannot be read.
                let username = event.person.open().map(|person| person.username.clone()).unwrap_or_default();
                let person = Person { username, active: true, ..Person::default() };
                self.people.insert(event.user.to_string(), person);
            }
            Event::Accounts(AccountsEvent::Account(AccountEvent::UsernameChanged(event))) => {
                self.person(event.user).username = event.spelling.open().cloned().unwrap_or_default();
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::ProfileEdited(event))) => {
                let details = event.details.open().cloned().unwrap_or_default();
                self.person(event.user).bio = details.bio;
            }
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                let text = event.text.open().cloned().unwrap_or_default();
                let post =
                    Post { author: event.author.to_string(), caption: text.caption, ..Post::default() };
                self.posts.insert(event.post.to_string(), post);
                self.person(event.author).posts += 1;
            }
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(event))) => {
                self.post(event.post).expect("an edited post").caption = event.caption.open().cloned();
            }
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                self.posts.remove(&event.post.to_string()).expect("a deleted post");
                self.notifications.retain(|n| n.post != Some(event.post.to_string()));
                self.person(event.author).posts -= 1;
            }
            // A like decided while its post was deleted is in the log but not shown.
            Event::Social(SocialEvent::Like(LikeEvent::PostLiked(event))) => {
                let is_there = self.people.contains_key(&event.user.to_string());
                if let Some(post) = self.post(event.post).filter(|_| is_there) {
                    assert!(post.likes.insert(event.user.to_string()), "liked twice");
                    self.notify(event.post_author, Kind::Like, event.user, Some(event.post), None);
                }
            }
            Event::Social(SocialEvent::Like(LikeEvent::PostUnliked(event))) => {
                let is_there = self.people.contains_key(&event.user.to_string());
                if let Some(post) = self.post(event.post).filter(|_| is_there) {
                    assert!(post.likes.remove(&event.user.to_string()), "unliked without a like");
                    let (actor, post) = (event.user.to_string(), Some(event.post.to_string()));
                    self.notifications.retain(|n| n.kind != Kind::Like || n.actor != actor || n.post != post);
                }
            }
            Event::Social(SocialEvent::Comment(event)) => self.comment(event),
            Event::Social(SocialEvent::Follow(event)) => self.follow(event),
            Event::Social(SocialEvent::Save(event)) => self.save(event),
            Event::Social(SocialEvent::Collection(CollectionEvent::CollectionDeleted(event))) => {
                let (user, deleted) = (event.user.to_string(), event.collection.to_string());
                for ((of, _), collection) in &mut self.saves {
                    collection.take_if(|collection| *of == user && *collection == deleted);
                }
            }
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionStarted(event))) => {
                self.sessions.insert(event.session.to_string(), event.user.to_string());
            }
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionEnded(event))) => {
                let ended = self.sessions.remove(&event.session.to_string());
                assert!(ended.is_some(), "a session ended twice");
            }
            Event::Accounts(AccountsEvent::Account(event)) => {
                self.change_status(event);
                if let Some(kept) = event.ends_sessions_but() {
                    let (user, kept) = (event.user().to_string(), kept.map(|kept| kept.to_string()));
                    self.sessions.retain(|session, of| *of != user || Some(session) == kept.as_ref());
                }
            }
            Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(event))) => {
                let story = Story { author: event.author.to_string(), ..Story::default() };
                self.stories.insert(event.story.to_string(), story);
            }
            Event::Social(SocialEvent::Story(StoryEvent::StoryDeleted(event))) => {
                self.end(event.author, event.story);
            }
            Event::Social(SocialEvent::Story(StoryEvent::StoryExpired(event))) => {
                self.end(event.author, event.story);
            }
            Event::Social(SocialEvent::StoryView(StoryViewEvent::StoryViewed(event))) => {
                let is_there = self.people.contains_key(&event.viewer.to_string());
                if let Some(story) = self.stories.get_mut(&event.story.to_string()).filter(|_| is_there) {
                    assert!(story.viewers.insert(event.viewer.to_string()), "viewed twice");
                }
            }
            Event::Accounts(
                AccountsEvent::Session(SessionEvent::SessionSeen(_))
                | AccountsEvent::Profile(_)
                | AccountsEvent::Username(_)
                | AccountsEvent::Email(_),
            )
            | Event::Social(
                SocialEvent::Notifications(_) | SocialEvent::Collection(_) | SocialEvent::Moderation(_),
            )
            | Event::Music(_)
            | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_))
            | Event::Operations(_) => {}
        }
    }

    /// A follow decided while one of its users was erased is not shown.
    fn follow(&mut self, event: &FollowEvent) {
        let Subject::Follow(of, whom) = event.subject() else { return };
        let (follower, followee) = (of.to_string(), whom.to_string());
        let both = self.people.contains_key(&follower) && self.people.contains_key(&followee);
        match event {
            FollowEvent::Followed(_) | FollowEvent::FollowAccepted(_) if both => {
                assert!(self.follows.insert((follower, followee)), "followed twice");
                if matches!(event, FollowEvent::Followed(_)) {
                    self.notify(whom, Kind::Follow, of, None, None);
                }
            }
            FollowEvent::Unfollowed(event) if !event.only_requested => {
                self.notifications
                    .retain(|n| n.kind != Kind::Follow || n.actor != follower || n.owner != followee);
                assert_eq!(self.follows.remove(&(follower, followee)), both, "no follow to end");
            }
            _ => {}
        }
    }

    fn change_status(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deactivated(_) | AccountEvent::Suspended(_) => {
                self.person(event.user()).active = false;
            }
            AccountEvent::Reactivated(_) | AccountEvent::Reinstated(_) => {
                self.person(event.user()).active = true;
            }
            AccountEvent::Erased(event) => {
                let gone = event.user.to_string();
                self.people.remove(&gone);
                self.follows.retain(|(follower, followee)| *follower != gone && *followee != gone);
                let posts = self.posts.extract_if(.., |_, post| post.author == gone);
                let deleted: BTreeSet<String> = posts.map(|(id, _)| id).collect();
                let is_deleted = |post: &Option<String>| post.as_ref().is_some_and(|id| deleted.contains(id));
                self.notifications.retain(|n| n.actor != gone && n.owner != gone && !is_deleted(&n.post));
                for post in self.posts.values_mut() {
                    post.likes.remove(&gone);
                    post.comments.retain(|_, (author, _)| *author != gone);
                }
                self.stories.retain(|_, story| story.author != gone);
                for story in self.stories.values_mut() {
                    story.viewers.remove(&gone);
                }
                self.saves.retain(|(user, post), _| *user != gone && !deleted.contains(post));
            }
            _ => {}
        }
    }

    /// Saves and unsaves alternate; a saved post may be moved to another collection.
    fn save(&mut self, event: &SaveEvent) {
        let Subject::Save(user, post) = event.subject() else { return };
        let save = (user.to_string(), post.to_string());
        match event {
            SaveEvent::PostSaved(event) => {
                let collection = event.collection.map(|id| id.to_string());
                let before = self.saves.insert(save, collection.clone());
                assert_ne!(before, Some(collection), "saved twice");
            }
            SaveEvent::PostUnsaved(_) => {
                assert!(self.saves.remove(&save).is_some(), "unsaved without a save");
            }
        }
    }

    fn comment(&mut self, event: &CommentEvent) {
        match event {
            CommentEvent::Commented(event) => {
                let text = event.text.open().cloned().unwrap_or_default();
                let is_there = self.people.contains_key(&event.author.to_string());
                if let Some(post) = self.post(event.post).filter(|_| is_there) {
                    let twice =
                        post.comments.insert(event.comment.to_string(), (event.author.to_string(), text));
                    assert_eq!(twice, None, "commented twice");
                    let (author, post, comment) = (event.author, Some(event.post), Some(event.comment));
                    if let Some(answered) = event.reply_to_author {
                        self.notify(answered, Kind::Reply, author, post, comment);
                    }
                    if event.reply_to_author != Some(event.post_author) {
                        self.notify(event.post_author, Kind::Comment, author, post, comment);
                    }
                }
            }
            CommentEvent::CommentDeleted(event) => {
                let is_there = self.people.contains_key(&event.author.to_string());
                if let Some(post) = self.post(event.post).filter(|_| is_there) {
                    post.comments.remove(&event.comment.to_string()).expect("a deleted comment");
                    self.notifications.retain(|n| n.comment != Some(event.comment.to_string()));
                }
            }
        }
    }

    fn notify(
        &mut self,
        owner: UserId,
        kind: Kind,
        actor: UserId,
        post: Option<PostId>,
        comment: Option<CommentId>,
    ) {
        if owner != actor {
            let (post, comment) = (post.map(|id| id.to_string()), comment.map(|id| id.to_string()));
            let (owner, actor) = (owner.to_string(), actor.to_string());
            let is_new = self.notifications.insert(Notification { owner, kind, actor, post, comment });
            assert!(is_new, "notified twice");
        }
    }

    fn person(&mut self, user: UserId) -> &mut Person {
        self.people.get_mut(&user.to_string()).expect("a user who has signed up")
    }

    /// Stories of erased users are gone before they expire.
    fn end(&mut self, author: UserId, story: StoryId) {
        let ended = self.stories.remove(&story.to_string());
        assert_eq!(ended.is_some(), self.people.contains_key(&author.to_string()), "a story that ends once");
    }

    fn post(&mut self, post: PostId) -> Option<&mut Post> {
        self.posts.get_mut(&post.to_string())
    }

    /// The state as the views show it, for the people of another world.
    pub async fn of_views(store: &dyn ViewStore, like: &Self) -> Result<Self> {
        let mut world = Self::default();
        for id in like.people.keys() {
            let Some(profile) = store.get::<views::accounts::profiles::Profile>(id).await? else { continue };
            let views::accounts::profiles::Profile { username, bio, posts, status, .. } = profile;
            let active = status == views::accounts::profiles::AccountStatus::Active;
            let mut person = Person { username, bio, posts, active, ..Person::default() };
            follows_of(store, id, &mut world.follows, &mut person).await?;
            world.people.insert(id.clone(), person);
            let index = &views::accounts::sessions::BY_USER;
            for session in
                all::<views::accounts::sessions::Session>(store, index, vec![json!(id), json!(false)]).await?
            {
                world.sessions.insert(session.session, session.user);
            }
        }
        for post in
            all::<views::social::posts::Post>(store, &views::social::posts::NEWEST, Vec::new()).await?
        {
            let mut shown = Post { author: post.author, caption: post.caption, ..Post::default() };
            let id = post.post;
            let equals = vec![json!(id), json!(Role::Activity)];
            for like in all::<Like>(store, &views::social::likes::BY_POST, equals).await? {
                shown.likes.insert(like.user);
            }
            let (index, equals) = (&views::social::comments::BY_POST, vec![json!(id), json!(true)]);
            for comment in all::<Comment>(store, index, equals).await? {
                shown.comments.insert(comment.comment, (comment.author, comment.text));
            }
            let tally = store.get::<Tally>(&views::social::comments::tally_of(&id)).await?;
            shown.counted = (post.likes, tally.map_or(0, |tally| tally.comments));
            world.posts.insert(id, shown);
        }
        for story in
            all::<views::social::stories::Story>(store, &views::social::stories::NEWEST, Vec::new()).await?
        {
            let index = &views::social::story_views::BY_STORY;
            let equals = vec![json!(story.story), json!(true)];
            let views = all::<views::social::story_views::StoryView>(store, index, equals).await?;
            let viewers = views.into_iter().map(|view| view.viewer).collect();
            world.stories.insert(story.story, Story { author: story.author, viewers });
        }
        for id in like.people.keys() {
            let activities = || vec![json!(id), json!(Role::Activity)];
            for like in all::<Like>(store, &views::social::likes::OF_OWNER, activities()).await? {
                if world.posts.contains_key(&like.post) {
                    let (owner, post) =
                        (like.owner.context("a like without an owner to notify")?, Some(like.post));
                    world.notifications.insert(Notification {
                        owner,
                        kind: Kind::Like,
                        actor: like.user,
                        post,
                        comment: None,
                    });
                }
            }
            let index = &views::social::notifications::OF_OWNER;
            for activity in all::<Activity>(store, index, activities()).await? {
                // Activity on a post that was deleted at the same time is not shown.
                if activity.post.as_ref().is_none_or(|post| world.posts.contains_key(post)) {
                    let Activity { owner, kind, actor, post, comment, .. } = activity;
                    world.notifications.insert(Notification { owner, kind, actor, post, comment });
                }
            }
            let equals = vec![json!(id), json!(true)];
            for save in
                all::<views::social::saves::Save>(store, &views::social::saves::OF_USER, equals).await?
            {
                // Nor are saves of it.
                if world.posts.contains_key(&save.post) {
                    world.saves.insert((save.user, save.post), save.collection);
                }
            }
        }
        Ok(world)
    }
}

/// A user's follows from the lists of both sides, and their counts.
async fn follows_of(
    store: &dyn ViewStore,
    id: &String,
    follows: &mut BTreeSet<(String, String)>,
    person: &mut Person,
) -> Result<()> {
    for active in [true, false] {
        let equals = || vec![json!(id), json!(true), json!(active)];
        for follow in all::<Follow>(store, &FOLLOWERS, equals()).await? {
            if active {
                person.followers.insert(follow.follower.clone());
            }
            follows.insert((follow.follower, follow.followee));
        }
        for follow in all::<Follow>(store, &FOLLOWINGS, equals()).await? {
            if active {
                person.followings.insert(follow.followee.clone());
            }
            follows.insert((follow.follower, follow.followee));
        }
    }
    let circle: Circle = store.get(id).await?.context("a user without follow counts")?;
    anyhow::ensure!(circle.active == person.active, "{id}: two views disagree on the account status");
    person.counted = (circle.followers, circle.followings);
    Ok(())
}

async fn all<T: Document>(
    store: &dyn ViewStore,
    index: &'static Index,
    equals: Vec<Value>,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let query = Query::new(T::VIEW, index, equals.clone(), 100).after(after);
        let page = store.page_of::<T>(query).await?;
        found.extend(page.documents);
        match page.next {
            None => return Ok(found),
            next => after = next,
        }
    }
}
