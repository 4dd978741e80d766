//! Notifications of what other users did, except [likes](super::likes). An activity only reads markers. Within a
//! batch, the header of a group is written once.

use events::{
    AccountEvent, AccountsEvent, CommentEvent, CommentId, Content, Event, FollowEvent, Kind, ModerationEvent,
    NotificationsEvent, PostEvent, PostId, Recorded, SocialEvent, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use views::markers::Marker;
use views::social::notifications::{
    self as view, Activity, BY_ACTOR, GroupHeader, GroupMember, OF_GROUP, OF_OWNER, ReadCursor, Role,
    UNDER_AUTHOR, UNDER_POST, VIEW, member_key,
};
use views::{Copy, Document, FanOut, KeyPart, Patch, PatchEach, StoreError, View, Writes};

use crate::accounts::markers;
use crate::accounts::profiles::VisibilityChange;
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection, Search};

#[derive(Debug, Clone, Copy)]
pub struct Notifications;

impl Projection for Notifications {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Comment, Kind::Follow, Kind::Post, Kind::Account, Kind::Notifications, Kind::Moderation]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let account = |user| markers::account_key(&VIEW, user);
        match &recorded.event {
            Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => {
                let mut keys = vec![markers::post_key(&VIEW, event.post), account(event.post_author)];
                keys.push(account(event.author));
                keys.extend(event.reply_to_author.map(account));
                keys
            }
            Event::Social(SocialEvent::Follow(FollowEvent::Followed(event))) => {
                vec![account(event.follower), account(event.followee)]
            }
            Event::Social(SocialEvent::Follow(FollowEvent::FollowRequested(event))) => {
                vec![account(event.follower), account(event.followee)]
            }
            Event::Social(SocialEvent::Notifications(NotificationsEvent::NotificationsRead(event))) => {
                vec![account(event.user)]
            }
            Event::Social(SocialEvent::Moderation(event)) => match event.content() {
                Content::Comment { comment, .. } => {
                    let keys = activity_keys(comment).map(|activity| (&VIEW, activity));
                    keys.into_iter().chain([account(event.author())]).collect()
                }
                Content::Post { .. } | Content::Story { .. } => Vec::new(),
            },
            Event::Social(
                SocialEvent::Comment(CommentEvent::CommentDeleted(_))
                | SocialEvent::Follow(FollowEvent::FollowAccepted(_) | FollowEvent::Unfollowed(_))
                | SocialEvent::Post(_)
                | SocialEvent::Like(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    /// The notifications of comments under a removed post are hidden from their owners.
    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        let Event::Social(SocialEvent::Moderation(event)) = &recorded.event else { return Vec::new() };
        let Content::Post { post } = event.content() else { return Vec::new() };
        vec![Search { view: &VIEW, index: &UNDER_POST, equals: vec![json!(post)] }]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => {
                let post_author = markers::account(&VIEW, event.post_author, writes)?;
                // Ignores a comment that is appended after the deletion of its post or the erasure of the post's
                // author.
                if post_author != Some(Marker::Erased) && markers::post(&VIEW, event.post, writes)?.is_none()
                {
                    let (post, comment, author) = (event.post, event.comment, event.author);
                    let reference = CommentRef { post, comment, author };
                    for notification in reference.notifications(event.post_author, event.reply_to_author) {
                        notification.add(recorded, writes)?;
                    }
                }
            }
            Event::Social(SocialEvent::Comment(CommentEvent::CommentDeleted(event))) => {
                let (post, comment, author) = (event.post, event.comment, event.author);
                let reference = CommentRef { post, comment, author };
                for notification in reference.notifications(event.post_author, event.reply_to_author) {
                    notification.remove(writes);
                }
            }
            Event::Social(SocialEvent::Follow(event)) => follow(event, recorded, writes)?,
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                writes.delete_where::<Activity>(&UNDER_POST, vec![json!(event.post)]);
                markers::mark_post_deleted(&VIEW, event.post, writes);
            }
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_))) => {}
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes),
            Event::Social(SocialEvent::Moderation(event)) => moderation(event, recorded, writes)?,
            Event::Social(SocialEvent::Notifications(NotificationsEvent::NotificationsRead(event))) => {
                if markers::account(&VIEW, event.user, writes)? != Some(Marker::Erased) {
                    let position = i64::try_from(event.up_to.0).unwrap_or(i64::MAX);
                    let owner = event.user.to_string();
                    writes.put(&ReadCursor { owner, role: Role::ReadCursor, position })?;
                }
            }
            Event::Social(
                SocialEvent::Like(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_),
            )
            | Event::Accounts(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

/// A notification of one user about one activity.
struct Notification {
    owner: UserId,
    actor: UserId,
    kind: view::Kind,
    /// The key of the activity.
    activity: String,
    group: String,
    post: Option<String>,
    /// Set where one actor can have several activities in the group.
    comment: Option<String>,
    /// The author of the post if that is not the owner.
    under_author: Option<String>,
}

/// A comment with its post and author.
struct CommentRef {
    post: PostId,
    comment: events::CommentId,
    author: UserId,
}

impl Notification {
    fn of_follow(kind: view::Kind, group: String, follower: UserId, followee: UserId) -> Self {
        let activity = member_key(&group, &follower.to_string());
        let (owner, actor) = (followee, follower);
        Self { owner, actor, kind, activity, group, post: None, comment: None, under_author: None }
    }

    /// Skips own activities, and activities that are appended after the erasure of the actor or the owner.
    fn add(self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let by = markers::account(&VIEW, self.actor, writes)?;
        let to = markers::account(&VIEW, self.owner, writes)?;
        if self.owner == self.actor || by == Some(Marker::Erased) || to == Some(Marker::Erased) {
            return Ok(());
        }
        // The actor was deactivated concurrently: the notification is shown when they are active again.
        let roles = match by {
            Some(_) => (Role::HiddenActivity, Role::HiddenMember, Role::StaleHeader),
            None => (Role::Activity, Role::Member, Role::Header),
        };
        let (at, position) = (time(recorded), position(recorded));
        let under_post = self.under_post();
        let Self { owner, actor, kind, activity, group, post, comment, under_author } = self;
        let (owner, actor) = (owner.to_string(), actor.to_string());
        if comment.is_some() {
            writes.put(&GroupMember {
                owner: owner.clone(),
                role: roles.1,
                actor: actor.clone(),
                comment: comment.clone(),
                group: group.clone(),
                under_post: under_post.clone(),
                under_author: under_author.clone(),
                at,
                position,
            })?;
        }
        writes.insert(&Activity {
            activity,
            owner: owner.clone(),
            role: roles.0,
            kind,
            group: if comment.is_some() { member_key(&group, &actor) } else { group.clone() },
            header: view::header_key(&group),
            actor,
            post: post.clone(),
            comment,
            reason: None,
            under_post: under_post.clone(),
            under_author: under_author.clone(),
            at,
            position,
        })?;
        let role = roles.2;
        writes.put(&GroupHeader { group, owner, role, kind, post, under_post, under_author, position })
    }

    /// Deletes the notification. Readers find out which activity is the group's newest now.
    fn remove(self, writes: &mut Writes) {
        if self.owner == self.actor {
            return;
        }
        writes.patch::<GroupHeader>(view::header_key(&self.group), stale());
        writes.delete::<Activity>(self.activity.clone());
        if self.comment.is_some() {
            self.refresh_member(writes);
        }
    }

    /// Replaces the actor's group member with their newest remaining comment in the group, if any.
    fn refresh_member(self, writes: &mut Writes) {
        let under_post = self.under_post();
        let Self { owner, actor, group, under_author, .. } = self;
        let member = member_key(&group, &actor.to_string());
        writes.delete::<GroupMember>(member.clone());
        for (of, role) in [(Role::Activity, Role::Member), (Role::HiddenActivity, Role::HiddenMember)] {
            let same = json!({
                "owner": owner, "role": role, "actor": actor, "group": group, "under_post": under_post,
                "under_author": under_author,
            });
            writes.fan_out(FanOut {
                over: &VIEW,
                index: &OF_GROUP,
                equals: vec![json!(member), json!(of)],
                limit: Some(1),
                into: &VIEW,
                key: vec![KeyPart::Text(member.clone())],
                document: same.as_object().cloned().unwrap_or_default(),
                copies: ["comment", "at", "position"].map(|field| Copy { from: field, to: field }).into(),
            });
        }
    }

    fn under_post(&self) -> Option<String> {
        self.post.clone().filter(|_| self.comment.is_some())
    }
}

impl CommentRef {
    /// A reply notifies the author of the parent comment. Otherwise a comment notifies the author of the post.
    fn notifications(&self, post_author: UserId, reply_to_author: Option<UserId>) -> Vec<Notification> {
        let (post, comment) = (self.post.to_string(), self.comment.to_string());
        let notification = |owner: UserId, kind, activity, group| Notification {
            owner,
            actor: self.author,
            kind,
            activity,
            group,
            post: Some(post.clone()),
            comment: Some(comment.clone()),
            under_author: (owner != post_author).then(|| post_author.to_string()),
        };
        let mut notifications = Vec::new();
        if let Some(answered) = reply_to_author {
            let group = view::replies_to(&answered.to_string(), &post);
            let key = format!("reply.{comment}");
            notifications.push(notification(answered, view::Kind::Reply, key, group));
        }
        if reply_to_author != Some(post_author) {
            let group = view::comments_under(&post);
            let key = format!("comment.{comment}");
            notifications.push(notification(post_author, view::Kind::Comment, key, group));
        }
        notifications
    }
}

fn follow(event: &FollowEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let of = |kind, follower: UserId, followee: UserId| {
        let owner = followee.to_string();
        let group =
            if kind == view::Kind::Follow { view::followers_of(&owner) } else { view::requests_to(&owner) };
        Notification::of_follow(kind, group, follower, followee)
    };
    match event {
        FollowEvent::Followed(event) => {
            of(view::Kind::Follow, event.follower, event.followee).add(recorded, writes)?;
        }
        FollowEvent::FollowRequested(event) => {
            of(view::Kind::FollowRequest, event.follower, event.followee).add(recorded, writes)?;
        }
        // The owner has answered the request.
        FollowEvent::FollowAccepted(event) => {
            of(view::Kind::FollowRequest, event.follower, event.followee).remove(writes);
        }
        FollowEvent::Unfollowed(event) => {
            let kind = if event.only_requested { view::Kind::FollowRequest } else { view::Kind::Follow };
            of(kind, event.follower, event.followee).remove(writes);
        }
    }
    Ok(())
}

/// The author of removed content is notified with the reason until the content is restored.
fn moderation(event: &ModerationEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let removed = matches!(event, ModerationEvent::ContentRemoved(_));
    match event.content() {
        Content::Post { .. } => set_hidden(removed, writes)?,
        Content::Comment { comment, .. } => set_comment_removed(comment, event.author(), removed, writes)?,
        Content::Story { .. } => {}
    }
    let group = view::removal_of(&event.content().subject().to_string());
    let (event, reason) = match event {
        ModerationEvent::ContentRemoved(event) => match event.reason.open() {
            Some(reason) => (event, reason.clone()),
            // The author is erased.
            None => return Ok(()),
        },
        ModerationEvent::ContentRestored(_) => {
            writes.delete::<GroupHeader>(view::header_key(&group));
            writes.delete::<Activity>(group);
            return Ok(());
        }
    };
    let (post, comment) = match event.content {
        Content::Post { post } => (Some(post.to_string()), None),
        Content::Comment { post, comment } => (Some(post.to_string()), Some(comment.to_string())),
        Content::Story { .. } => (None, None),
    };
    let (owner, kind, position) = (event.author.to_string(), view::Kind::ContentRemoved, position(recorded));
    writes.put(&Activity {
        activity: group.clone(),
        owner: owner.clone(),
        role: Role::Activity,
        kind,
        actor: view::MODERATION.to_owned(),
        post: post.clone(),
        comment,
        reason: Some(reason),
        group: group.clone(),
        header: view::header_key(&group),
        under_post: None,
        under_author: None,
        at: time(recorded),
        position,
    })?;
    let (role, under_post, under_author) = (Role::Header, None, None);
    writes.put(&GroupHeader { group, owner, role, kind, post, under_post, under_author, position })
}

/// The keys of the activities that a comment can have.
fn activity_keys(comment: CommentId) -> [String; 2] {
    [format!("comment.{comment}"), format!("reply.{comment}")]
}

/// Hides the notifications of a removed comment, or shows them again if its author is active.
fn set_comment_removed(
    comment: CommentId,
    author: UserId,
    removed: bool,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let role = match markers::account(&VIEW, author, writes)? {
        _ if removed => Role::RemovedActivity,
        Some(_) => Role::HiddenActivity,
        None => Role::Activity,
    };
    for key in activity_keys(comment) {
        let Some(activity) = writes.get::<Activity>(&key)? else { continue };
        let (owner, group) = (view::owner_of(&activity.owner).parse(), activity.header.strip_prefix("head."));
        let (Ok(owner), Some(group)) = (owner, group) else {
            return Err(StoreError::Corrupt(format!("{key} of {}: no owner or header", VIEW.name).into()));
        };
        writes.patch::<Activity>(key.clone(), Patch::default().set("role", json!(role)));
        writes.patch::<GroupHeader>(activity.header.clone(), stale());
        let notification = Notification {
            owner,
            actor: author,
            kind: activity.kind,
            activity: key,
            group: group.to_owned(),
            post: activity.post,
            comment: activity.comment,
            under_author: activity.under_author,
        };
        notification.refresh_member(writes);
    }
    Ok(())
}

/// Hides everything under a post from its owners, or shows it again. Roles do not change, and keep following
/// deactivations and reactivations meanwhile.
fn set_hidden(hidden: bool, writes: &mut Writes) -> Result<(), StoreError> {
    for found in writes.found::<UnderPost>()? {
        let owner = view::owner_of(&found.owner);
        let owner = if hidden { view::hidden_from(owner) } else { owner.to_owned() };
        if owner != found.owner {
            writes.patch::<UnderPost>(found.key(), Patch::default().set("owner", owner));
        }
        writes.add_weight(1);
    }
    Ok(())
}

/// An activity, a group member or a group header.
#[derive(Serialize, Deserialize)]
struct UnderPost {
    owner: String,
    #[serde(rename = "act")]
    activity: Option<String>,
    #[serde(rename = "stands_for")]
    header_of: Option<String>,
    group: Option<String>,
    actor: Option<String>,
}

impl Document for UnderPost {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        match (&self.activity, &self.header_of) {
            (Some(activity), _) => activity.clone(),
            (None, Some(group)) => view::header_key(group),
            (None, None) => {
                let text = |field: &Option<String>| field.clone().unwrap_or_default();
                member_key(&text(&self.group), &text(&self.actor))
            }
        }
    }
}

fn account(event: &AccountEvent, writes: &mut Writes) {
    let Some(change) = markers::mark_account(&VIEW, event, writes) else { return };
    match change {
        VisibilityChange::Hidden => hide_user(event.user(), writes),
        VisibilityChange::Shown => show_user(event.user(), writes),
        VisibilityChange::Erased => erase_user(event.user(), writes),
    }
    writes.add_unknown_weight();
}

/// Activities of hidden users are neither counted nor shown.
fn hide_user(user: UserId, writes: &mut Writes) {
    mark_headers_stale(user, Role::Activity, writes);
    for (from, to) in [(Role::Activity, Role::HiddenActivity), (Role::Member, Role::HiddenMember)] {
        change_role(user, from, to, writes);
    }
}

fn show_user(user: UserId, writes: &mut Writes) {
    mark_headers_stale(user, Role::HiddenActivity, writes);
    for (from, to) in [(Role::HiddenActivity, Role::Activity), (Role::HiddenMember, Role::Member)] {
        change_role(user, from, to, writes);
    }
}

fn erase_user(user: UserId, writes: &mut Writes) {
    for role in [Role::Activity, Role::HiddenActivity] {
        mark_headers_stale(user, role, writes);
    }
    let acted =
        [Role::Activity, Role::HiddenActivity, Role::RemovedActivity, Role::Member, Role::HiddenMember];
    for role in acted {
        writes.delete_where::<Activity>(&BY_ACTOR, vec![json!(user), json!(role)]);
    }
    let owned = [
        Role::Activity,
        Role::HiddenActivity,
        Role::RemovedActivity,
        Role::Member,
        Role::HiddenMember,
        Role::Header,
        Role::StaleHeader,
        Role::ReadCursor,
    ];
    for owner in [user.to_string(), view::hidden_from(&user.to_string())] {
        for role in owned {
            writes.delete_where::<Activity>(&OF_OWNER, vec![json!(owner), json!(role)]);
        }
    }
    writes.delete_where::<Activity>(&UNDER_AUTHOR, vec![json!(user)]);
}

fn mark_headers_stale(user: UserId, role: Role, writes: &mut Writes) {
    writes.patch_each(PatchEach {
        over: &VIEW,
        index: &BY_ACTOR,
        equals: vec![json!(user), json!(role)],
        into: &VIEW,
        key: Some("head"),
        patch: stale(),
    });
}

fn change_role(user: UserId, from: Role, to: Role, writes: &mut Writes) {
    writes.patch_each(PatchEach {
        over: &VIEW,
        index: &BY_ACTOR,
        equals: vec![json!(user), json!(from)],
        into: &VIEW,
        key: None,
        patch: Patch::default().set("role", json!(to)),
    });
}

fn stale() -> Patch {
    Patch::default().set("role", json!(Role::StaleHeader))
}

#[cfg(test)]
mod tests;
