//! The graph as the bare server holds it.

use std::collections::HashMap;

use anyhow::Result;
use events::{CommentEvent, Event, SocialEvent, UserId};
use views::ViewStoreExt;
use views::accounts::profiles::Profile;

use crate::bare::{Author, Comment, Entry, Filling, Follow, Like, Merged, Post, Write};
use crate::column::{Column, FAN_OUT_LIMIT};
use crate::world;

/// Documents read from the views at once.
const READ_AT_ONCE: usize = 1000;

/// What the events of the graph come to, by these authors.
pub(super) fn filling(events: &[Event], authors: Vec<Author>) -> Filling {
    let mut filling = Filling { authors, comments: comments(events), ..Filling::default() };
    for write in world::plain(events) {
        match write {
            Write::Post(post) => filling.posts.push(post),
            Write::Like { post, user, position, .. } => filling.likes.push(Like { post, user, position }),
            Write::Follow { follower, followee, position, .. } => {
                filling.follows.push(Follow { follower, followee, accepted: true, position });
            }
            // No event of the graph is a log-in.
            Write::Session { .. } => {}
        }
    }
    count(&mut filling);
    put_into_homes(&mut filling);
    filling
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

/// Lets each post know its likes and comments.
fn count(filling: &mut Filling) {
    let mut counts: HashMap<&str, (i64, i64)> = HashMap::new();
    for like in &filling.likes {
        counts.entry(&like.post).or_default().0 += 1;
    }
    for comment in &filling.comments {
        counts.entry(&comment.post).or_default().1 += 1;
    }
    for post in &mut filling.posts {
        (post.likes, post.comments) = counts.get(&*post.post).copied().unwrap_or_default();
    }
}

/// Each post in the homes of its author's followers, or its author among those who are merged there.
fn put_into_homes(filling: &mut Filling) {
    let mut followers: HashMap<&str, Vec<&str>> = HashMap::new();
    for follow in &filling.follows {
        followers.entry(&follow.followee).or_default().push(&follow.follower);
    }
    let (wide, fed): (HashMap<_, _>, HashMap<_, _>) =
        followers.into_iter().partition(|(_, followers)| followers.len() > FAN_OUT_LIMIT);
    let merged = wide.into_iter().flat_map(|(author, owners)| {
        owners.into_iter().map(|owner| Merged { owner: owner.to_owned(), author: author.to_owned() })
    });
    filling.merged = merged.collect();
    let homes = filling.posts.iter().flat_map(|Post { post, author, position, .. }| {
        fed.get(author.as_str()).into_iter().flatten().map(|&owner| Entry {
            owner: owner.to_owned(),
            author: author.clone(),
            post: post.clone(),
            position: *position,
        })
    });
    filling.homes = homes.collect();
}

/// People as the views of Chorus hold them.
pub(super) async fn people_as_shown(column: &Column, people: &[UserId]) -> Result<Vec<Author>> {
    let store = column.chorus.views().await?;
    let mut authors = Vec::new();
    for some in people.chunks(READ_AT_ONCE) {
        let keys: Vec<String> = some.iter().map(ToString::to_string).collect();
        let profiles = store.get_all::<Profile>(&keys).await?;
        authors.extend(profiles.into_iter().flatten().map(Author::from));
    }
    Ok(authors)
}
