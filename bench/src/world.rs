//! Random events of a simple dataset: people, posts, likes and follows, and how they are appended to the log.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta};
use events::{
    App, Draft, Event, EventId, Followed, Image, MediaId, NewPerson, Personal, Position, PostId, PostLiked,
    PostPublished, PostText, SealedLog, SignedUp, SocialEvent, UserId,
};
use futures::{StreamExt, TryStreamExt, stream};
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use crate::baseline;

/// Concurrent appends.
const IN_FLIGHT: usize = 128;
/// A post is liked only if it is at least this many events old, since concurrent appends may overtake each other.
const SETTLED: usize = 1000;
/// Events of a history per person: each has some posts, followers and likes.
const EVENTS_PER_PERSON: usize = 50;
/// Posts and likes among 100 events of a history; the rest are follows.
const POSTS_IN_100: u32 = 5;
const LIKES_IN_100: u32 = 70;

const CAPTIONS: &[&str] = &[
    "First light over the harbour, before anybody was up",
    "We walked until the road ended and then some more",
    "Grandmother's recipe, third attempt. Getting there!",
    "Nobody told us about the stairs",
];

/// Generates events, deterministically by seed.
pub(crate) struct World {
    rng: StdRng,
    /// The number of ids created so far.
    ids: u64,
    pub(crate) people: Vec<UserId>,
    /// Posts and their authors, in publication order.
    pub(crate) posts: Vec<(PostId, UserId)>,
    likes: HashSet<(PostId, UserId)>,
    follows: HashSet<(UserId, UserId)>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            ids: 0,
            people: Vec::new(),
            posts: Vec::new(),
            likes: HashSet::new(),
            follows: HashSet::new(),
        }
    }

    pub(crate) fn sign_up(&mut self, people: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(people);
        for n in 0..people {
            let user = UserId::new(self.id());
            let mut claim = || Uuid::from_u128(self.rng.random()).simple().to_string().parse();
            let (Ok(username), Ok(email)) = (claim(), claim()) else { continue };
            let person = NewPerson {
                username: format!("person{n}"),
                email: format!("person{n}@example.org"),
                password_hash: String::new(),
                firstname: "Ann".into(),
                lastname: "Lee".into(),
            };
            self.people.push(user);
            events.push(
                SignedUp { user, username, email, app: App::Chorus, person: Personal::Open(person) }.into(),
            );
        }
        events
    }

    pub(crate) fn publish(&mut self, posts: usize) -> Vec<Event> {
        (0..posts).filter_map(|_| self.post()).collect()
    }

    /// Ids are time-ordered like those of Chorus, one millisecond apart.
    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128((u128::from(1_700_000_000_000 + self.ids) << 80) | (self.rng.random::<u128>() >> 48))
    }

    fn post(&mut self) -> Option<Event> {
        let author = *self.people.choose(&mut self.rng)?;
        let (post, media) = (PostId::new(self.id()), MediaId::new(self.id()));
        let caption = CAPTIONS.choose(&mut self.rng).map(|&caption| caption.to_owned());
        let text = Personal::Open(PostText { caption, ..PostText::default() });
        self.posts.push((post, author));
        Some(
            PostPublished { post, author, images: vec![Image { media, width: 1080, height: 1350 }], text }
                .into(),
        )
    }

    /// This many random likes by each of these people.
    pub(crate) fn likes_by(&mut self, people: &[UserId], each: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for &user in people {
            for _ in 0..each {
                let Some(&(post, post_author)) = self.posts.choose(&mut self.rng) else { continue };
                if self.likes.insert((post, user)) {
                    events.push(PostLiked { post, user, post_author }.into());
                }
            }
        }
        events
    }

    /// This many events: mostly likes, some follows, a few posts.
    pub(crate) fn history(&mut self, length: usize) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::with_capacity(length);
        // The number of posts at each of the last events.
        let mut settled = std::collections::VecDeque::from(vec![self.posts.len(); SETTLED]);
        while events.len() < length {
            let event = match self.rng.random_range(0..100) {
                n if n < POSTS_IN_100 => self.post(),
                n if n < POSTS_IN_100 + LIKES_IN_100 => self.like(settled.front().copied().unwrap_or(0)),
                _ => self.follow(),
            };
            let Some(event) = event else { continue };
            events.push(event);
            settled.push_back(self.posts.len());
            settled.pop_front();
        }
        events
    }

    fn like(&mut self, among: usize) -> Option<Event> {
        let &(post, post_author) = self.posts[..among].choose(&mut self.rng)?;
        let user = *self.people.choose(&mut self.rng)?;
        self.likes.insert((post, user)).then(|| PostLiked { post, user, post_author }.into())
    }

    fn follow(&mut self) -> Option<Event> {
        let (follower, followee) = (*self.people.choose(&mut self.rng)?, *self.people.choose(&mut self.rng)?);
        let is_new = follower != followee && self.follows.insert((follower, followee));
        is_new.then(|| Followed { follower, followee }.into())
    }
}

/// Appends a history of this length, and the sign-ups and the first post that it needs.
pub(crate) async fn append_history(log: &SealedLog, length: usize) -> Result<World> {
    let mut world = World::new(3);
    append(log, world.sign_up((length / EVENTS_PER_PERSON).max(10))).await?;
    append(log, world.publish(1)).await?;
    append(log, world.history(length)).await?;
    Ok(world)
}

/// Appends events that are each the first of their subject, approximately in order.
pub(crate) async fn append(log: &SealedLog, events: Vec<Event>) -> Result<()> {
    let log = Arc::new(log.clone());
    let appends = stream::iter(events.into_iter().zip(0..)).map(|(event, n)| {
        let log = Arc::clone(&log);
        async move {
            let draft = Draft {
                id: EventId::new(Uuid::from_u128(rand::random())),
                time: DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds(n),
                actor: None,
                correlation: Uuid::from_u128(rand::random()),
                causation: None,
                traceparent: None,
                event,
            };
            log.append(draft, Position::START).await.context("appending")
        }
    });
    appends.buffered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await
}

/// The writes of events to the views of posts, likes and follows.
pub(crate) fn plain_writes(events: &[Event]) -> Vec<baseline::Write> {
    let writes = events.iter().zip(1..).filter_map(|(event, position)| match event {
        Event::Social(SocialEvent::Post(events::PostEvent::PostPublished(event))) => {
            Some(baseline::Write::Post(baseline::Post {
                post: event.post.to_string(),
                author: event.author.to_string(),
                images: event
                    .images
                    .iter()
                    .map(|image| baseline::Image {
                        media: image.media.to_string(),
                        width: image.width,
                        height: image.height,
                        alt: String::new(),
                    })
                    .collect(),
                caption: event.text.open().and_then(|text| text.caption.clone()),
                edited: false,
                published: position,
                position,
                likes: 0,
                comments: 0,
            }))
        }
        Event::Social(SocialEvent::Like(events::LikeEvent::PostLiked(event))) => {
            let (post, user) = (event.post.to_string(), event.user.to_string());
            let owner = (event.user != event.post_author).then(|| event.post_author.to_string());
            Some(baseline::Write::Like { post, user, owner, liked: position, position })
        }
        Event::Social(SocialEvent::Follow(events::FollowEvent::Followed(event))) => {
            let (follower, followee) = (event.follower.to_string(), event.followee.to_string());
            Some(baseline::Write::Follow { follower, followee, since: position, position })
        }
        _ => None,
    });
    writes.collect()
}
