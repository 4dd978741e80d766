//! What people are told of that others did, but for [likes](super::likes). Each act leads to writes that look at nothing
//! but notes of who is not there, and one to the same group replaces the other's head before it reaches the store.

use events::{
    AccountEvent, AccountsEvent, CommentEvent, CommentId, Content, Event, FollowEvent, Kind, ModerationEvent,
    NotificationsEvent, PostEvent, PostId, Recorded, SocialEvent, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use views::absences::Absence;
use views::social::notifications::{
    self as view, Act, BY_ACTOR, Head, Mark, OF_GROUP, OF_OWNER, Role, UNDER_AUTHOR, UNDER_POST, VIEW, Voice,
    voice_in,
};
use views::{Copy, Document, FanOut, KeyPart, Patch, PatchEach, StoreError, View, Writes};

use crate::accounts::absences;
use crate::accounts::profiles::Presence;
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

    fn looks_at(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let account = |user| absences::at_account(&VIEW, user);
        match &recorded.event {
            Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => {
                let mut keys = vec![absences::at_post(&VIEW, event.post), account(event.post_author)];
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
                    let acts = acts_of(comment).map(|act| (&VIEW, act));
                    acts.into_iter().chain([account(event.author())]).collect()
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
            | Event::Mail(_) => Vec::new(),
        }
    }

    /// What was said under a removed post is hidden from whoever it was told.
    fn looks_for(&self, recorded: &Recorded) -> Vec<Search> {
        let Event::Social(SocialEvent::Moderation(event)) = &recorded.event else { return Vec::new() };
        let Content::Post { post } = event.content() else { return Vec::new() };
        vec![Search { view: &VIEW, index: &UNDER_POST, equals: vec![json!(post)] }]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Social(SocialEvent::Comment(CommentEvent::Commented(event))) => {
                let post_author = absences::account(&VIEW, event.post_author, writes)?;
                // What was decided while its post was deleted, or went with its author, is told nobody.
                if post_author != Some(Absence::Erased)
                    && absences::post(&VIEW, event.post, writes)?.is_none()
                {
                    let said = Said { post: event.post, comment: event.comment, author: event.author };
                    for news in said.news(event.post_author, event.reply_to_author) {
                        news.tell(recorded, writes)?;
                    }
                }
            }
            Event::Social(SocialEvent::Comment(CommentEvent::CommentDeleted(event))) => {
                let said = Said { post: event.post, comment: event.comment, author: event.author };
                for news in said.news(event.post_author, event.reply_to_author) {
                    news.take_back(writes);
                }
            }
            Event::Social(SocialEvent::Follow(event)) => follow(event, recorded, writes)?,
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                writes.delete_where::<Act>(&UNDER_POST, vec![json!(event.post)]);
                absences::note_deleted_post(&VIEW, event.post, writes);
            }
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_))) => {}
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes),
            Event::Social(SocialEvent::Moderation(event)) => moderation(event, recorded, writes)?,
            Event::Social(SocialEvent::Notifications(NotificationsEvent::NotificationsRead(event))) => {
                if absences::account(&VIEW, event.user, writes)? != Some(Absence::Erased) {
                    let position = i64::try_from(event.up_to.0).unwrap_or(i64::MAX);
                    writes.put(&Mark { owner: event.user.to_string(), role: Role::Mark, position })?;
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
            | Event::Mail(_) => {}
        }
        Ok(())
    }
}

/// That somebody did something, to be told to one person.
struct News {
    owner: UserId,
    actor: UserId,
    kind: view::Kind,
    /// The key of the act.
    act: String,
    group: String,
    post: Option<String>,
    /// Of what may be said more than once in its group.
    comment: Option<String>,
    /// The author of the post, where that is not the owner.
    under_author: Option<String>,
}

/// Words under a post.
struct Said {
    post: PostId,
    comment: events::CommentId,
    author: UserId,
}

impl News {
    fn of_follow(kind: view::Kind, group: String, follower: UserId, followee: UserId) -> Self {
        let act = voice_in(&group, &follower.to_string());
        let (owner, actor) = (followee, follower);
        Self { owner, actor, kind, act, group, post: None, comment: None, under_author: None }
    }

    /// Nobody is told what they did themselves, nor what was decided while one of the two was erased.
    fn tell(self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let by = absences::account(&VIEW, self.actor, writes)?;
        let to = absences::account(&VIEW, self.owner, writes)?;
        if self.owner == self.actor || by == Some(Absence::Erased) || to == Some(Absence::Erased) {
            return Ok(());
        }
        // Decided while the actor was deactivated: it is told when they come back.
        let roles = match by {
            Some(_) => (Role::ActAway, Role::VoiceAway, Role::HeadUnsettled),
            None => (Role::Act, Role::Voice, Role::Head),
        };
        let (at, position) = (time(recorded), position(recorded));
        let under_post = self.under_post();
        let Self { owner, actor, kind, act, group, post, comment, under_author } = self;
        let (owner, actor) = (owner.to_string(), actor.to_string());
        if comment.is_some() {
            writes.put(&Voice {
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
        writes.insert(&Act {
            act,
            owner: owner.clone(),
            role: roles.0,
            kind,
            group: if comment.is_some() { voice_in(&group, &actor) } else { group.clone() },
            head: view::head_of(&group),
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
        writes.put(&Head { stands_for: group, owner, role, kind, post, under_post, under_author, position })
    }

    /// As if it had never been told. Which act is the group's newest now, whoever asks finds out.
    fn take_back(self, writes: &mut Writes) {
        if self.owner == self.actor {
            return;
        }
        writes.patch::<Head>(view::head_of(&self.group), unsettled());
        writes.delete::<Act>(self.act.clone());
        if self.comment.is_some() {
            self.find_newest_voice(writes);
        }
    }

    /// What is left of what somebody said in a group: their newest there, if any.
    fn find_newest_voice(self, writes: &mut Writes) {
        let under_post = self.under_post();
        let Self { owner, actor, group, under_author, .. } = self;
        let voice = voice_in(&group, &actor.to_string());
        writes.delete::<Voice>(voice.clone());
        for (of, role) in [(Role::Act, Role::Voice), (Role::ActAway, Role::VoiceAway)] {
            let same = json!({
                "owner": owner, "role": role, "actor": actor, "group": group, "under_post": under_post,
                "under_author": under_author,
            });
            writes.fan_out(FanOut {
                over: &VIEW,
                index: &OF_GROUP,
                equals: vec![json!(voice), json!(of)],
                limit: Some(1),
                into: &VIEW,
                key: vec![KeyPart::Text(voice.clone())],
                document: same.as_object().cloned().unwrap_or_default(),
                copies: ["comment", "at", "position"].map(|field| Copy { from: field, to: field }).into(),
            });
        }
    }

    fn under_post(&self) -> Option<String> {
        self.post.clone().filter(|_| self.comment.is_some())
    }
}

impl Said {
    /// The author of the comment that is answered is told of a reply, the post's author of a comment; nobody of both.
    fn news(&self, post_author: UserId, reply_to_author: Option<UserId>) -> Vec<News> {
        let (post, comment) = (self.post.to_string(), self.comment.to_string());
        let news = |owner: UserId, kind, act, group| News {
            owner,
            actor: self.author,
            kind,
            act,
            group,
            post: Some(post.clone()),
            comment: Some(comment.clone()),
            under_author: (owner != post_author).then(|| post_author.to_string()),
        };
        let mut told = Vec::new();
        if let Some(answered) = reply_to_author {
            let group = view::replies_to(&answered.to_string(), &post);
            told.push(news(answered, view::Kind::Reply, format!("reply.{comment}"), group));
        }
        if reply_to_author != Some(post_author) {
            let group = view::comments_under(&post);
            told.push(news(post_author, view::Kind::Comment, format!("comment.{comment}"), group));
        }
        told
    }
}

fn follow(event: &FollowEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let of = |kind, follower: UserId, followee: UserId| {
        let owner = followee.to_string();
        let group =
            if kind == view::Kind::Follow { view::followers_of(&owner) } else { view::requests_to(&owner) };
        News::of_follow(kind, group, follower, followee)
    };
    match event {
        FollowEvent::Followed(event) => {
            of(view::Kind::Follow, event.follower, event.followee).tell(recorded, writes)?;
        }
        FollowEvent::FollowRequested(event) => {
            of(view::Kind::FollowRequest, event.follower, event.followee).tell(recorded, writes)?;
        }
        // The request is answered, by whoever was told of it.
        FollowEvent::FollowAccepted(event) => {
            of(view::Kind::FollowRequest, event.follower, event.followee).take_back(writes);
        }
        FollowEvent::Unfollowed(event) => {
            let kind = if event.only_requested { view::Kind::FollowRequest } else { view::Kind::Follow };
            of(kind, event.follower, event.followee).take_back(writes);
        }
    }
    Ok(())
}

/// The author of what is removed is notified with the reason, until it is restored.
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
            writes.delete::<Head>(view::head_of(&group));
            writes.delete::<Act>(group);
            return Ok(());
        }
    };
    let (post, comment) = match event.content {
        Content::Post { post } => (Some(post.to_string()), None),
        Content::Comment { post, comment } => (Some(post.to_string()), Some(comment.to_string())),
        Content::Story { .. } => (None, None),
    };
    let (owner, kind, position) = (event.author.to_string(), view::Kind::ContentRemoved, position(recorded));
    writes.put(&Act {
        act: group.clone(),
        owner: owner.clone(),
        role: Role::Act,
        kind,
        actor: view::MODERATION.to_owned(),
        post: post.clone(),
        comment,
        reason: Some(reason),
        group: group.clone(),
        head: view::head_of(&group),
        under_post: None,
        under_author: None,
        at: time(recorded),
        position,
    })?;
    let (role, under_post, under_author) = (Role::Head, None, None);
    writes.put(&Head { stands_for: group, owner, role, kind, post, under_post, under_author, position })
}

/// The keys of what may be told of a comment.
fn acts_of(comment: CommentId) -> [String; 2] {
    [format!("comment.{comment}"), format!("reply.{comment}")]
}

/// Takes back what was told of a comment, or tells it again, if its author is not deactivated.
fn set_comment_removed(
    comment: CommentId,
    author: UserId,
    removed: bool,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let role = match absences::account(&VIEW, author, writes)? {
        _ if removed => Role::ActRemoved,
        Some(_) => Role::ActAway,
        None => Role::Act,
    };
    for key in acts_of(comment) {
        let Some(act) = writes.seen::<Act>(&key)? else { continue };
        let (owner, group) = (view::owner_of(&act.owner).parse(), act.head.strip_prefix("head."));
        let (Ok(owner), Some(group)) = (owner, group) else {
            return Err(StoreError::Corrupt(format!("{key} of {}: no owner or head", VIEW.name).into()));
        };
        writes.patch::<Act>(key.clone(), Patch::default().set("role", json!(role)));
        writes.patch::<Head>(act.head.clone(), unsettled());
        let news = News {
            owner,
            actor: author,
            kind: act.kind,
            act: key,
            group: group.to_owned(),
            post: act.post,
            comment: act.comment,
            under_author: act.under_author,
        };
        news.find_newest_voice(writes);
    }
    Ok(())
}

/// Hides all that was found under a post from its owners, or shows it to them again. Roles stay what they are, and follow who
/// comes and goes meanwhile.
fn set_hidden(hidden: bool, writes: &mut Writes) -> Result<(), StoreError> {
    for found in writes.found::<UnderPost>()? {
        let owner = view::owner_of(&found.owner);
        let owner = if hidden { view::hidden_from(owner) } else { owner.to_owned() };
        if owner != found.owner {
            writes.patch::<UnderPost>(found.key(), Patch::default().set("owner", owner));
        }
        writes.weigh(1);
    }
    Ok(())
}

/// An act, a voice or a head.
#[derive(Serialize, Deserialize)]
struct UnderPost {
    owner: String,
    act: Option<String>,
    stands_for: Option<String>,
    group: Option<String>,
    actor: Option<String>,
}

impl Document for UnderPost {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        match (&self.act, &self.stands_for) {
            (Some(act), _) => act.clone(),
            (None, Some(group)) => view::head_of(group),
            (None, None) => {
                let text = |field: &Option<String>| field.clone().unwrap_or_default();
                voice_in(&text(&self.group), &text(&self.actor))
            }
        }
    }
}

fn account(event: &AccountEvent, writes: &mut Writes) {
    let Some(presence) = absences::note_account(&VIEW, event, writes) else { return };
    match presence {
        Presence::Away => go(event.user(), writes),
        Presence::Back => come_back(event.user(), writes),
        Presence::Erased => forget_person(event.user(), writes),
    }
    writes.weigh_unknown();
}

/// What somebody did is neither counted nor shown while they are away.
fn go(user: UserId, writes: &mut Writes) {
    unsettle_groups_of(user, Role::Act, writes);
    for (from, to) in [(Role::Act, Role::ActAway), (Role::Voice, Role::VoiceAway)] {
        change_role(user, from, to, writes);
    }
}

fn come_back(user: UserId, writes: &mut Writes) {
    unsettle_groups_of(user, Role::ActAway, writes);
    for (from, to) in [(Role::ActAway, Role::Act), (Role::VoiceAway, Role::Voice)] {
        change_role(user, from, to, writes);
    }
}

fn forget_person(user: UserId, writes: &mut Writes) {
    for role in [Role::Act, Role::ActAway] {
        unsettle_groups_of(user, role, writes);
    }
    for role in [Role::Act, Role::ActAway, Role::ActRemoved, Role::Voice, Role::VoiceAway] {
        writes.delete_where::<Act>(&BY_ACTOR, vec![json!(user), json!(role)]);
    }
    let owned = [
        Role::Act,
        Role::ActAway,
        Role::ActRemoved,
        Role::Voice,
        Role::VoiceAway,
        Role::Head,
        Role::HeadUnsettled,
        Role::Mark,
    ];
    for owner in [user.to_string(), view::hidden_from(&user.to_string())] {
        for role in owned {
            writes.delete_where::<Act>(&OF_OWNER, vec![json!(owner), json!(role)]);
        }
    }
    writes.delete_where::<Act>(&UNDER_AUTHOR, vec![json!(user)]);
}

fn unsettle_groups_of(user: UserId, role: Role, writes: &mut Writes) {
    writes.patch_each(PatchEach {
        over: &VIEW,
        index: &BY_ACTOR,
        equals: vec![json!(user), json!(role)],
        into: &VIEW,
        key: Some("head"),
        patch: unsettled(),
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

fn unsettled() -> Patch {
    Patch::default().set("role", json!(Role::HeadUnsettled))
}

#[cfg(test)]
mod tests;
