//! The dataset as documents of the baseline server.

use std::collections::HashMap;

use anyhow::Result;
use events::{CommentEvent, Event, SocialEvent, UserId};
use views::ViewStoreExt;
use views::accounts::profiles::Profile;

use crate::baseline::{Author, Comment, Entry, Follow, Like, Merged, Post, SeedData, Write};
use crate::deployment::{Deployment, FAN_OUT_LIMIT};
use crate::world;

/// Documents read from the views at once.
const READ_AT_ONCE: usize = 1000;

/// The documents of the dataset's events.
pub(super) fn seed_data(events: &[Event], authors: Vec<Author>) -> SeedData {
    let mut seed_data = SeedData { authors, comments: comments(events), ..SeedData::default() };
    for write in world::plain_writes(events) {
        match write {
            Write::Post(post) => seed_data.posts.push(post),
            Write::Like { post, user, position, .. } => seed_data.likes.push(Like { post, user, position }),
            Write::Follow { follower, followee, position, .. } => {
                seed_data.follows.push(Follow { follower, followee, accepted: true, position });
            }
            // The dataset has no log-ins.
            Write::Session { .. } => {}
        }
    }
    count(&mut seed_data);
    fan_out(&mut seed_data);
    seed_data
}

fn comments(events: &[Event]) -> Vec<Comment> {
    let comments = events.iter().zip(1..).filter_map(|(event, position)| match event {
        Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => Some(Comment {
            comment: event.comment.to_string(),
            post: event.post.to_string(),
            author: event.author.to_string(),
            text: event.text.open().cloned().unwrap_or_default(),
            position,
        }),
        _ => None,
    });
    comments.collect()
}

/// Sets the counts of likes and comments of each post.
fn count(seed_data: &mut SeedData) {
    let mut counts: HashMap<&str, (i64, i64)> = HashMap::new();
    for like in &seed_data.likes {
        counts.entry(&like.post).or_default().0 += 1;
    }
    for comment in &seed_data.comments {
        counts.entry(&comment.post).or_default().1 += 1;
    }
    for post in &mut seed_data.posts {
        (post.likes, post.comments) = counts.get(&*post.post).copied().unwrap_or_default();
    }
}

/// Puts each post into its followers' home feeds, or its author among those who are merged on read.
fn fan_out(seed_data: &mut SeedData) {
    let mut followers: HashMap<&str, Vec<&str>> = HashMap::new();
    for follow in &seed_data.follows {
        followers.entry(&follow.followee).or_default().push(&follow.follower);
    }
    let (wide, fed): (HashMap<_, _>, HashMap<_, _>) =
        followers.into_iter().partition(|(_, followers)| followers.len() > FAN_OUT_LIMIT);
    let merged = wide.into_iter().flat_map(|(author, owners)| {
        owners.into_iter().map(|owner| Merged { owner: owner.to_owned(), author: author.to_owned() })
    });
    seed_data.merged = merged.collect();
    let homes = seed_data.posts.iter().flat_map(|Post { post, author, position, .. }| {
        fed.get(author.as_str()).into_iter().flatten().map(|&owner| Entry {
            owner: owner.to_owned(),
            author: author.clone(),
            post: post.clone(),
            position: *position,
        })
    });
    seed_data.homes = homes.collect();
}

/// Authors from the views of Chorus.
pub(super) async fn stored_authors(deployment: &Deployment, people: &[UserId]) -> Result<Vec<Author>> {
    let store = deployment.chorus.views().await?;
    let mut authors = Vec::new();
    for some in people.chunks(READ_AT_ONCE) {
        let keys: Vec<String> = some.iter().map(ToString::to_string).collect();
        let profiles = store.get_all::<Profile>(&keys).await?;
        authors.extend(profiles.into_iter().flatten().map(Author::from));
    }
    Ok(authors)
}
