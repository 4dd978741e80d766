//! Home feeds. A post is fanned out to the home of each follower of its author, unless the author has too many
//! followers; then the reader merges it. docs/design/queries-and-feeds.md explains why the combination is exact.

use events::{
    AccountEvent, AccountsEvent, Event, FollowEvent, Kind, PostDeleted, PostEvent, PostPublished, Recorded,
    SocialEvent, UserId,
};
use serde_json::{Map, Value, json};
use views::social::feeds::{
    AUTHORS, Author, BY_AUTHOR, BY_OWNER, Entry, HOME, OF_AUTHOR, PROJECTION, PUBLISHED, Published, SOURCES,
    Source, TO_MERGE, entry_key, source_key,
};
use views::{Copy, DeleteEach, FanOut, KeyPart, StoreError, View, Writes};

use crate::engine::projection::position;
use crate::{OnFailure, Projection};

/// A new follower gets at least this many of an author's newest posts into their home, and at most twice as many;
/// older posts are merged on read. It covers the usual pages and fits into one commit.
const BACKFILL: i64 = 100;
/// Hysteresis: fan-out resumes when the followers drop to this many tenths of the limit. Otherwise one user who
/// follows and unfollows at the limit would rewrite all sources of the author each time.
const NARROW_TENTHS: i64 = 9;

#[derive(Debug, Clone, Copy)]
pub struct Feeds {
    fan_out_limit: i64,
    backfill: i64,
}

impl Feeds {
    /// Posts of authors with more followers than the limit are not fanned out.
    pub fn new(fan_out_limit: u32) -> Self {
        Self { fan_out_limit: fan_out_limit.into(), backfill: BACKFILL }
    }

    /// Sets the number of posts that a new follower's home is backfilled with; at least 1.
    #[must_use]
    pub fn backfilling(self, backfill: u32) -> Self {
        Self { backfill: i64::from(backfill).max(1), ..self }
    }
}

impl Projection for Feeds {
    fn name(&self) -> &'static str {
        PROJECTION
    }

    fn views(&self) -> Vec<&'static str> {
        vec![AUTHORS.name, HOME.name, PUBLISHED.name, SOURCES.name]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Account, Kind::Follow, Kind::Post]
    }

    fn on_failure(&self) -> OnFailure {
        // A parked event is also missing in `posts` and `follows`, and one damaged caption must not stop all homes.
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let author = match &recorded.event {
            Event::Social(SocialEvent::Follow(FollowEvent::Followed(event))) => event.followee,
            Event::Social(SocialEvent::Follow(FollowEvent::FollowAccepted(event))) => event.followee,
            Event::Social(SocialEvent::Follow(FollowEvent::Unfollowed(event))) => event.followee,
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => event.author,
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => event.author,
            Event::Social(
                SocialEvent::Follow(FollowEvent::FollowRequested(_))
                | SocialEvent::Post(PostEvent::CaptionEdited(_)),
            ) => {
                return Vec::new();
            }
            Event::Social(
                SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => return Vec::new(),
        };
        vec![(&AUTHORS, author.to_string())]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let at = position(recorded);
        match &recorded.event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                self.publish(event, at, writes)?;
            }
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => delete(event, writes)?,
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(_))) => {}
            Event::Social(SocialEvent::Follow(FollowEvent::Followed(event))) => {
                self.follow(event.follower, event.followee, at, writes)?;
            }
            Event::Social(SocialEvent::Follow(FollowEvent::FollowAccepted(event))) => {
                self.follow(event.follower, event.followee, at, writes)?;
            }
            Event::Social(SocialEvent::Follow(FollowEvent::Unfollowed(event))) if !event.only_requested => {
                self.unfollow(event.follower, event.followee, at, writes)?;
            }
            Event::Social(SocialEvent::Follow(
                FollowEvent::FollowRequested(_) | FollowEvent::Unfollowed(_),
            )) => {}
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => erase(event.user, writes),
            // Readers check whether an author is visible: entries must survive a deactivation.
            Event::Accounts(AccountsEvent::Account(_)) => {}
            Event::Social(
                SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

impl Feeds {
    /// Adds a post to the posts of its author, which do not depend on homes, and fans it out to the homes of the
    /// followers.
    fn publish(&self, event: &PostPublished, at: i64, writes: &mut Writes) -> Result<(), StoreError> {
        let mut author = seen_author(writes, event.author)?;
        author.published += 1;
        if author.published % self.backfill == 0 {
            author.milestone_before = author.milestone;
            author.milestone = at;
        }
        let (id, post) = (author.author.clone(), event.post.to_string());
        writes.put(&Published { author: id.clone(), post: post.clone(), position: at })?;
        writes.put(&Entry { owner: id.clone(), author: id.clone(), post: post.clone(), position: at })?;
        if !author.wide && author.followers > 0 {
            add_weight(writes, author.followers);
            writes.fan_out(FanOut {
                over: &SOURCES,
                index: &BY_AUTHOR,
                equals: vec![json!(id)],
                limit: None,
                into: &HOME,
                key: vec![KeyPart::Field("owner"), KeyPart::Text(post.clone())],
                document: fields([("author", json!(id)), ("post", json!(post)), ("position", json!(at))]),
                copies: vec![Copy { from: "owner", to: "owner" }],
            });
        }
        writes.put(&author)
    }

    fn follow(
        &self,
        owner: UserId,
        followee: UserId,
        at: i64,
        writes: &mut Writes,
    ) -> Result<(), StoreError> {
        let mut author = seen_author(writes, followee)?;
        author.followers += 1;
        let merged_below = if author.wide { Source::ALL } else { author.milestone_before };
        writes.put(&Source { owner: owner.to_string(), author: author.author.clone(), merged_below })?;
        self.follow_count(&mut author, at, writes);
        if !author.wide && author.published > 0 {
            self.backfill(owner, &author, writes);
        }
        writes.put(&author)
    }

    fn unfollow(
        &self,
        owner: UserId,
        followee: UserId,
        at: i64,
        writes: &mut Writes,
    ) -> Result<(), StoreError> {
        let mut author = seen_author(writes, followee)?;
        author.followers -= 1;
        let owner = owner.to_string();
        writes.delete::<Source>(source_key(&owner, &author.author));
        add_weight(writes, author.published);
        writes.delete_each(DeleteEach {
            over: &PUBLISHED,
            index: &OF_AUTHOR,
            equals: vec![json!(author.author)],
            from: &HOME,
            key: vec![KeyPart::Text(owner), KeyPart::Field("post")],
        });
        self.follow_count(&mut author, at, writes);
        writes.put(&author)
    }

    /// Copies the newest posts of an author into the home of a new follower: all posts since the milestone below
    /// which posts are merged.
    fn backfill(&self, owner: UserId, author: &Author, writes: &mut Writes) {
        let posts = author.published.min(2 * self.backfill);
        add_weight(writes, posts);
        writes.fan_out(FanOut {
            over: &PUBLISHED,
            index: &OF_AUTHOR,
            equals: vec![json!(author.author)],
            limit: usize::try_from(posts).ok(),
            into: &HOME,
            key: vec![KeyPart::Text(owner.to_string()), KeyPart::Field("post")],
            document: fields([("owner", json!(owner)), ("author", json!(author.author))]),
            copies: vec![Copy { from: "post", to: "post" }, Copy { from: "position", to: "position" }],
        });
    }

    /// Switches an author between fan-out and merging, according to the number of followers.
    fn follow_count(&self, author: &mut Author, at: i64, writes: &mut Writes) {
        if !author.wide && author.followers > self.fan_out_limit {
            author.wide = true;
            merge_below(author, Source::ALL, writes);
        } else if author.wide && author.followers <= self.fan_out_limit * NARROW_TENTHS / 10 {
            author.wide = false;
            // Earlier posts may be missing in homes; later posts will be fanned out.
            merge_below(author, at, writes);
        }
    }
}

fn seen_author(writes: &Writes, user: UserId) -> Result<Author, StoreError> {
    let user = user.to_string();
    let seen = writes.get::<Author>(&user)?;
    Ok(seen.unwrap_or_else(|| Author { author: user, ..Author::default() }))
}

fn delete(event: &PostDeleted, writes: &mut Writes) -> Result<(), StoreError> {
    let author = seen_author(writes, event.author)?;
    let post = event.post.to_string();
    writes.delete::<Entry>(entry_key(&author.author, &post));
    writes.delete::<Published>(post.clone());
    // With too many followers the post is in few homes, and readers skip posts that no longer exist.
    if !author.wide && author.followers > 0 {
        add_weight(writes, author.followers);
        writes.delete_each(DeleteEach {
            over: &SOURCES,
            index: &BY_AUTHOR,
            equals: vec![json!(author.author)],
            from: &HOME,
            key: vec![KeyPart::Field("owner"), KeyPart::Text(post)],
        });
    }
    Ok(())
}

/// Sets the position below which the author's posts are merged, in every home that the author feeds.
fn merge_below(author: &Author, merged_below: i64, writes: &mut Writes) {
    add_weight(writes, author.followers);
    writes.fan_out(FanOut {
        over: &SOURCES,
        index: &BY_AUTHOR,
        equals: vec![json!(author.author)],
        limit: None,
        into: &SOURCES,
        key: vec![KeyPart::Field("owner"), KeyPart::Text(author.author.clone())],
        document: fields([("author", json!(author.author)), ("merged_below", json!(merged_below))]),
        copies: vec![Copy { from: "owner", to: "owner" }],
    });
}

/// Deletes the user's own home and the index of their posts. Entries in other homes only hold ids of deleted posts,
/// which readers skip.
fn erase(user: UserId, writes: &mut Writes) {
    writes.delete_where::<Entry>(&BY_OWNER, vec![json!(user)]);
    writes.delete_where::<Published>(&OF_AUTHOR, vec![json!(user)]);
    writes.delete_where::<Source>(&TO_MERGE, vec![json!(user)]);
}

fn add_weight(writes: &mut Writes, documents: i64) {
    writes.add_weight(usize::try_from(documents).unwrap_or(0));
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use events::{Erased, FollowAccepted, FollowRequested, Followed, PostId, Unfollowed};
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, built, post_published};

    /// A follower who only adds to the count.
    fn fan(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(0xf000 + n))
    }

    fn published(n: u128) -> Event {
        post_published(PostId::new(Uuid::from_u128(n)), ANN)
    }

    fn deleted(n: u128) -> Event {
        PostDeleted { post: PostId::new(Uuid::from_u128(n)), author: ANN }.into()
    }

    fn followed(follower: UserId) -> Event {
        Followed { follower, followee: ANN }.into()
    }

    fn unfollowed(follower: UserId) -> Event {
        Unfollowed { follower, followee: ANN, only_requested: false }.into()
    }

    /// The positions in a user's home, newest first, and the position below which Ann's posts are merged there.
    async fn home(built: &Built, owner: UserId) -> (Vec<i64>, Option<i64>) {
        let query = Query::new(&HOME, &BY_OWNER, vec![json!(owner)], 1000);
        let entries = built.store.page_of::<Entry>(query).await.unwrap().documents;
        let source = built.store.get::<Source>(&source_key(&owner.to_string(), &ANN.to_string())).await;
        let merged_below = source.unwrap().map(|source| source.merged_below);
        (entries.into_iter().map(|entry| entry.position).collect(), merged_below)
    }

    #[tokio::test]
    async fn post_is_in_the_homes_of_its_author_and_followers() {
        let history = [published(1), followed(BOB), published(2), published(3), deleted(2)];
        let view = built(&Feeds::new(10), history.clone()).await;
        assert_eq!(home(&view, ANN).await, (vec![4, 1], None));
        assert_eq!(home(&view, BOB).await, (vec![4, 1], Some(0)));
        let view = built(&Feeds::new(10), history.into_iter().chain([unfollowed(BOB), published(4)])).await;
        assert_eq!(home(&view, BOB).await, (vec![], None));
    }

    #[tokio::test]
    async fn follow_request_feeds_the_home_only_after_acceptance() {
        let (follower, followee) = (BOB, ANN);
        let mut history = vec![published(1), FollowRequested { follower, followee }.into(), published(2)];
        assert_eq!(home(&built(&Feeds::new(10), history.clone()).await, BOB).await, (vec![], None));
        let mut refused = history.clone();
        refused.push(Unfollowed { follower, followee, only_requested: true }.into());
        let author = built(&Feeds::new(10), refused).await.store.get::<Author>(&ANN.to_string()).await;
        assert_eq!(author.unwrap().unwrap().followers, 0);
        history.push(FollowAccepted { follower, followee }.into());
        assert_eq!(home(&built(&Feeds::new(10), history).await, BOB).await, (vec![3, 1], Some(0)));
    }

    #[tokio::test]
    async fn posts_are_merged_above_the_fan_out_limit_until_followers_drop_well_below_it() {
        let mut history = vec![followed(BOB), published(1)];
        history.extend((0..10).map(|n| followed(fan(n))));
        history.push(published(2));
        let view = built(&Feeds::new(10), history.clone()).await;
        assert_eq!(home(&view, BOB).await, (vec![2], Some(Source::ALL)));
        assert_eq!(home(&view, fan(9)).await, (vec![], Some(Source::ALL)));
        assert_eq!(home(&view, ANN).await, (vec![13, 2], None));
        // Hysteresis: after eleven followers, ten are still too many, and nine are not.
        history.extend([unfollowed(fan(0)), published(3)]);
        let view = built(&Feeds::new(10), history.clone()).await;
        assert_eq!(home(&view, BOB).await, (vec![2], Some(Source::ALL)));
        history.extend([unfollowed(fan(1)), published(4)]);
        let view = built(&Feeds::new(10), history.clone()).await;
        assert_eq!(home(&view, BOB).await, (vec![17, 2], Some(16)));
        assert_eq!(home(&view, fan(9)).await, (vec![17], Some(16)));
    }

    #[tokio::test]
    async fn new_follower_gets_the_newest_posts_and_merges_older_ones() {
        let posts = 2 * u128::try_from(BACKFILL).unwrap() + 7;
        let history = (1..=posts).map(published).chain([followed(BOB)]);
        let view = built(&Feeds::new(10), history).await;
        let (entries, merged_below) = home(&view, BOB).await;
        assert_eq!(merged_below, Some(BACKFILL));
        let whole: Vec<i64> = (BACKFILL..=2 * BACKFILL + 7).rev().collect();
        assert_eq!(entries[..whole.len()], whole, "all posts that are not merged");
    }

    #[tokio::test]
    async fn home_of_an_erased_user_is_deleted() {
        let history =
            [followed(BOB), Followed { follower: ANN, followee: BOB }.into(), published(1), published(2)];
        let erased = Erased { user: ANN }.into();
        let view = built(&Feeds::new(10), history.into_iter().chain([erased])).await;
        assert_eq!(home(&view, ANN).await.0, Vec::<i64>::new());
        let query = Query::new(&PUBLISHED, &OF_AUTHOR, vec![json!(ANN)], 10);
        assert_eq!(view.store.page_of::<Published>(query).await.unwrap().documents, []);
        let query = Query::new(&SOURCES, &TO_MERGE, vec![json!(ANN)], 10);
        assert_eq!(view.store.page_of::<Source>(query).await.unwrap().documents, []);
    }
}
