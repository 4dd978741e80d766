//! The world as a naive fold of the log sees it, and as the views show it: after whatever has happened, both must be
//! the same.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use events::{
    AccountEvent, CommentEvent, Event, Filter, FollowEvent, LikeEvent, Position, PostEvent, ProfileEvent,
    Recorded, SealedLog, SessionEvent, StoryEvent, StoryViewEvent,
};
use serde_json::{Value, json};
use views::{Document, Index, Query, ViewStore, ViewStoreExt};

/// What can be seen.
#[derive(Debug, Default, PartialEq)]
pub struct World {
    pub people: BTreeMap<String, Person>,
    pub posts: BTreeMap<String, Post>,
    /// Follower, followee.
    pub follows: BTreeSet<(String, String)>,
    /// Sessions that run, and whose they are.
    pub sessions: BTreeMap<String, String>,
    pub stories: BTreeMap<String, Story>,
}

#[derive(Debug, Default, PartialEq)]
pub struct Story {
    pub author: String,
    pub viewers: BTreeSet<String>,
    /// As they stand on the story.
    pub counted: i64,
}

#[derive(Debug, Default, PartialEq)]
pub struct Person {
    pub username: String,
    pub bio: String,
    pub posts: i64,
    pub followers: i64,
    pub followings: i64,
}

#[derive(Debug, Default, PartialEq)]
pub struct Post {
    pub author: String,
    pub caption: Option<String>,
    pub likes: BTreeSet<String>,
    /// Author and text, by the comment's id.
    pub comments: BTreeMap<String, (String, String)>,
    /// As they stand on the post.
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
        for stored in batch.events {
            events.push(Recorded::sealed(stored)?);
        }
    }
    let failed = log.unseal(&mut events).await?;
    anyhow::ensure!(failed.is_empty(), "{failed:?}");
    Ok(events)
}

impl World {
    /// What the log says.
    pub fn of_log(events: &[Recorded]) -> Self {
        let mut world = Self::default();
        for recorded in events {
            world.apply(&recorded.event);
        }
        for post in world.posts.values_mut() {
            let count = |number: usize| i64::try_from(number).expect("a count");
            post.counted = (count(post.likes.len()), count(post.comments.len()));
        }
        world
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Account(AccountEvent::SignedUp(event)) => {
                let person = event.person.open().expect("an open person");
                let person = Person { username: person.username.clone(), ..Person::default() };
                self.people.insert(event.user.to_string(), person);
            }
            Event::Account(AccountEvent::UsernameChanged(event)) => {
                self.person(event.user).username.clone_from(event.spelling.open().expect("an open name"));
            }
            Event::Profile(ProfileEvent::ProfileEdited(event)) => {
                self.person(event.user).bio.clone_from(&event.details.open().expect("open details").bio);
            }
            Event::Post(PostEvent::PostPublished(event)) => {
                let text = event.text.open().expect("an open text").clone();
                let post =
                    Post { author: event.author.to_string(), caption: text.caption, ..Post::default() };
                self.posts.insert(event.post.to_string(), post);
                self.person(event.author).posts += 1;
            }
            Event::Post(PostEvent::CaptionEdited(event)) => {
                self.post(event.post).expect("an edited post").caption = event.caption.open().cloned();
            }
            Event::Post(PostEvent::PostDeleted(event)) => {
                self.posts.remove(&event.post.to_string()).expect("a deleted post");
                self.person(event.author).posts -= 1;
            }
            // What was decided while its post was deleted stands in the log and shows nowhere.
            Event::Like(LikeEvent::PostLiked(event)) => {
                if let Some(post) = self.post(event.post) {
                    assert!(post.likes.insert(event.user.to_string()), "liked twice");
                }
            }
            Event::Like(LikeEvent::PostUnliked(event)) => {
                if let Some(post) = self.post(event.post) {
                    assert!(post.likes.remove(&event.user.to_string()), "unliked without a like");
                }
            }
            Event::Comment(CommentEvent::Commented(event)) => {
                let text = event.text.open().expect("an open text").clone();
                if let Some(post) = self.post(event.post) {
                    let twice =
                        post.comments.insert(event.comment.to_string(), (event.author.to_string(), text));
                    assert_eq!(twice, None, "commented twice");
                }
            }
            Event::Comment(CommentEvent::CommentDeleted(event)) => {
                if let Some(post) = self.post(event.post) {
                    post.comments.remove(&event.comment.to_string()).expect("a deleted comment");
                }
            }
            Event::Follow(FollowEvent::Followed(event)) => {
                let (follower, followee) = (event.follower, event.followee);
                assert!(self.follows.insert((follower.to_string(), followee.to_string())), "followed twice");
                self.person(follower).followings += 1;
                self.person(followee).followers += 1;
            }
            Event::Follow(FollowEvent::Unfollowed(event)) => {
                let (follower, followee) = (event.follower, event.followee);
                assert!(
                    self.follows.remove(&(follower.to_string(), followee.to_string())),
                    "no follow to end"
                );
                self.person(follower).followings -= 1;
                self.person(followee).followers -= 1;
            }
            Event::Session(SessionEvent::SessionStarted(event)) => {
                self.sessions.insert(event.session.to_string(), event.user.to_string());
            }
            Event::Session(SessionEvent::SessionEnded(event)) => {
                let ended = self.sessions.remove(&event.session.to_string());
                assert!(ended.is_some(), "a session ended twice");
            }
            Event::Account(event) => {
                if let Some(kept) = event.ends_sessions_but() {
                    let (user, kept) = (event.user().to_string(), kept.map(|kept| kept.to_string()));
                    self.sessions.retain(|session, of| *of != user || Some(session) == kept.as_ref());
                }
            }
            Event::Story(StoryEvent::StoryPublished(event)) => {
                let story = Story { author: event.author.to_string(), ..Story::default() };
                self.stories.insert(event.story.to_string(), story);
            }
            Event::Story(StoryEvent::StoryDeleted(event)) => self.end(event.story),
            Event::Story(StoryEvent::StoryExpired(event)) => self.end(event.story),
            Event::StoryView(StoryViewEvent::StoryViewed(event)) => {
                if let Some(story) = self.stories.get_mut(&event.story.to_string()) {
                    assert!(story.viewers.insert(event.viewer.to_string()), "viewed twice");
                    story.counted += 1;
                }
            }
            Event::Session(SessionEvent::SessionSeen(_))
            | Event::Profile(_)
            | Event::Follow(_)
            | Event::Notifications(_)
            | Event::Save(_)
            | Event::Collection(_)
            | Event::Mail(_)
            | Event::Mailbox(_)
            | Event::Username(_)
            | Event::Email(_) => {}
        }
    }

    fn person(&mut self, user: events::UserId) -> &mut Person {
        self.people.get_mut(&user.to_string()).expect("somebody who has signed up")
    }

    fn end(&mut self, story: events::StoryId) {
        self.stories.remove(&story.to_string()).expect("a story that ends once");
    }

    fn post(&mut self, post: events::PostId) -> Option<&mut Post> {
        self.posts.get_mut(&post.to_string())
    }

    /// What the views say, of the people in another world.
    pub async fn of_views(store: &dyn ViewStore, like: &Self) -> Result<Self> {
        let mut world = Self::default();
        for id in like.people.keys() {
            let Some(profile) = store.get::<views::profiles::Profile>(id).await? else { continue };
            let views::profiles::Profile { username, bio, posts, followers, followings, .. } = profile;
            world.people.insert(id.clone(), Person { username, bio, posts, followers, followings });
            let index = &views::follows::FOLLOWERS;
            for follow in all::<views::follows::Follow>(store, index, vec![json!(id), json!(true)]).await? {
                world.follows.insert((follow.follower, follow.followee));
            }
            let index = &views::sessions::BY_USER;
            for session in
                all::<views::sessions::Session>(store, index, vec![json!(id), json!(false)]).await?
            {
                world.sessions.insert(session.session, session.user);
            }
        }
        for post in all::<views::posts::Post>(store, &views::posts::NEWEST, Vec::new()).await? {
            let mut shown = Post { author: post.author, caption: post.caption, ..Post::default() };
            let id = post.post;
            for like in all::<views::likes::Like>(store, &views::likes::BY_POST, vec![json!(id)]).await? {
                shown.likes.insert(like.user);
            }
            let index = &views::comments::BY_POST;
            for comment in all::<views::comments::Comment>(store, index, vec![json!(id)]).await? {
                shown.comments.insert(comment.comment, (comment.author, comment.text));
            }
            shown.counted = (post.likes, post.comments);
            world.posts.insert(id, shown);
        }
        for story in all::<views::stories::Story>(store, &views::stories::NEWEST, Vec::new()).await? {
            let index = &views::story_views::BY_STORY;
            let views = all::<views::story_views::StoryView>(store, index, vec![json!(story.story)]).await?;
            let viewers = views.into_iter().map(|view| view.viewer).collect();
            world.stories.insert(story.story, Story { author: story.author, viewers, counted: story.views });
        }
        Ok(world)
    }
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
