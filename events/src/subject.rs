use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ClaimHash, CommentId, EventId, MailTemplate, PostId, SessionId, StoryId, UserId};

/// What an event is about, and the unit of consistency: appends to one subject are serialised, different subjects are
/// independent. The text form is a NATS subject: tokens separated by dots, without personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// `account.<user>`
    Account(UserId),
    /// `username.<keyed hash>`: the claim of a username
    Username(ClaimHash),
    /// `email.<keyed hash>`: the claim of an address
    Email(ClaimHash),
    /// `session.<user>.<session>`
    Session(UserId, SessionId),
    /// `profile.<user>`
    Profile(UserId),
    /// `post.<post>`
    Post(PostId),
    /// `comment.<post>.<comment>`
    Comment(PostId, CommentId),
    /// `like.<post>.<user>`
    Like(PostId, UserId),
    /// `follow.<follower>.<followee>`
    Follow(UserId, UserId),
    /// `story.<user>.<story>`
    Story(UserId, StoryId),
    /// `storyview.<story>.<viewer>`
    StoryView(StoryId, UserId),
    /// `notifications.<user>`: the read position
    Notifications(UserId),
    /// `save.<user>.<post>`
    Save(UserId, PostId),
    /// `collection.<user>`: all collections of a user
    Collection(UserId),
    /// `mail.<event>.<template>`: a mail caused by an event
    Mail(EventId, MailTemplate),
    /// `mailbox.<keyed hash>`: whether an address accepts mail
    Mailbox(ClaimHash),
    /// `moderation.<content>`, such as `moderation.post.<post>`: whether a moderator has removed it
    Moderation(Content),
}

/// Content that users publish and moderators can remove. The text form is the kind and the ids of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    Post { post: PostId },
    Comment { post: PostId, comment: CommentId },
    Story { author: UserId, story: StoryId },
}

impl Content {
    /// The subject of the content.
    pub const fn subject(self) -> Subject {
        match self {
            Self::Post { post } => Subject::Post(post),
            Self::Comment { post, comment } => Subject::Comment(post, comment),
            Self::Story { author, story } => Subject::Story(author, story),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if Kind::of(text)? == Kind::Moderation {
            return None;
        }
        match text.parse().ok()? {
            Subject::Post(post) => Some(Self::Post { post }),
            Subject::Comment(post, comment) => Some(Self::Comment { post, comment }),
            Subject::Story(author, story) => Some(Self::Story { author, story }),
            Subject::Account(_)
            | Subject::Username(_)
            | Subject::Email(_)
            | Subject::Session(..)
            | Subject::Profile(_)
            | Subject::Like(..)
            | Subject::Follow(..)
            | Subject::StoryView(..)
            | Subject::Notifications(_)
            | Subject::Save(..)
            | Subject::Collection(_)
            | Subject::Mail(..)
            | Subject::Mailbox(_)
            | Subject::Moderation(_) => None,
        }
    }
}

macro_rules! kinds {
    ($($variant:ident = $text:literal,)+) => {
        /// The first token of a subject; selects the enum of its events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($variant,)+
        }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The kind of a subject or wire name, from its first token.
            pub(crate) fn of(dotted: &str) -> Option<Self> {
                match dotted.split_once('.')?.0 {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl FromStr for Kind {
            type Err = ParseSubjectError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(ParseSubjectError(text.to_owned())),
                }
            }
        }

        impl Subject {
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(..) => Kind::$variant,)+
                }
            }
        }
    };
}

kinds! {
    Account = "account",
    Username = "username",
    Email = "email",
    Session = "session",
    Profile = "profile",
    Post = "post",
    Comment = "comment",
    Like = "like",
    Follow = "follow",
    Story = "story",
    StoryView = "storyview",
    Notifications = "notifications",
    Save = "save",
    Collection = "collection",
    Mail = "mail",
    Mailbox = "mailbox",
    Moderation = "moderation",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Kind {
    /// True if each event contains the whole state of its subject (a toggle, a claim), so that decisions only need
    /// the last event.
    pub const fn last_event_is_state(self) -> bool {
        match self {
            Self::Username
            | Self::Email
            | Self::Session
            | Self::Comment
            | Self::Like
            | Self::Follow
            | Self::StoryView
            | Self::Notifications
            | Self::Save
            | Self::Mail
            | Self::Mailbox => true,
            // The last event is the state too, but commands about likes and comments cache these subjects.
            Self::Account
            | Self::Profile
            | Self::Post
            | Self::Story
            | Self::Collection
            | Self::Moderation => false,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Account(user)
            | Self::Profile(user)
            | Self::Notifications(user)
            | Self::Collection(user) => write!(f, "{kind}.{user}"),
            Self::Username(hash) | Self::Email(hash) | Self::Mailbox(hash) => write!(f, "{kind}.{hash}"),
            Self::Session(user, session) => write!(f, "{kind}.{user}.{session}"),
            Self::Post(post) => write!(f, "{kind}.{post}"),
            Self::Comment(post, comment) => write!(f, "{kind}.{post}.{comment}"),
            Self::Like(post, user) => write!(f, "{kind}.{post}.{user}"),
            Self::Follow(follower, followee) => write!(f, "{kind}.{follower}.{followee}"),
            Self::Story(user, story) => write!(f, "{kind}.{user}.{story}"),
            Self::StoryView(story, viewer) => write!(f, "{kind}.{story}.{viewer}"),
            Self::Save(user, post) => write!(f, "{kind}.{user}.{post}"),
            Self::Mail(event, template) => write!(f, "{kind}.{event}.{template}"),
            Self::Moderation(content) => write!(f, "{kind}.{}", content.subject()),
        }
    }
}

/// The text is not a subject that this program knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a subject")]
pub struct ParseSubjectError(String);

impl FromStr for Subject {
    type Err = ParseSubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseSubjectError(text.to_owned());
        let kind = Kind::of(text).ok_or_else(unknown)?;
        if let (Kind::Moderation, Some((_, content))) = (kind, text.split_once('.')) {
            return Content::parse(content).map(Self::Moderation).ok_or_else(unknown);
        }
        let mut tokens = text.split('.').skip(1);
        let subject = match kind {
            Kind::Account => token(&mut tokens).map(Self::Account),
            Kind::Username => token(&mut tokens).map(Self::Username),
            Kind::Email => token(&mut tokens).map(Self::Email),
            Kind::Session => two(&mut tokens).map(|(user, session)| Self::Session(user, session)),
            Kind::Profile => token(&mut tokens).map(Self::Profile),
            Kind::Post => token(&mut tokens).map(Self::Post),
            Kind::Comment => two(&mut tokens).map(|(post, comment)| Self::Comment(post, comment)),
            Kind::Like => two(&mut tokens).map(|(post, user)| Self::Like(post, user)),
            Kind::Follow => two(&mut tokens).map(|(follower, followee)| Self::Follow(follower, followee)),
            Kind::Story => two(&mut tokens).map(|(user, story)| Self::Story(user, story)),
            Kind::StoryView => two(&mut tokens).map(|(story, viewer)| Self::StoryView(story, viewer)),
            Kind::Notifications => token(&mut tokens).map(Self::Notifications),
            Kind::Save => two(&mut tokens).map(|(user, post)| Self::Save(user, post)),
            Kind::Collection => token(&mut tokens).map(Self::Collection),
            Kind::Mail => two(&mut tokens).map(|(event, template)| Self::Mail(event, template)),
            Kind::Mailbox => token(&mut tokens).map(Self::Mailbox),
            Kind::Moderation => None,
        };
        match (subject, tokens.next()) {
            (Some(subject), None) => Ok(subject),
            _ => Err(unknown()),
        }
    }
}

fn token<'a, T: FromStr>(tokens: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    tokens.next()?.parse().ok()
}

fn two<'a, A: FromStr, B: FromStr>(tokens: &mut impl Iterator<Item = &'a str>) -> Option<(A, B)> {
    Some((token(tokens)?, token(tokens)?))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_subject_roundtrips() {
        let id = Uuid::from_u128;
        let (user, other) = (UserId::new(id(1)), UserId::new(id(2)));
        let post = PostId::new(id(3));
        let subjects = [
            Subject::Account(user),
            Subject::Username(ClaimHash::new([7; 16])),
            Subject::Email(ClaimHash::new([8; 16])),
            Subject::Session(user, SessionId::new(id(4))),
            Subject::Profile(user),
            Subject::Post(post),
            Subject::Comment(post, CommentId::new(id(5))),
            Subject::Like(post, user),
            Subject::Follow(user, other),
            Subject::Story(user, StoryId::new(id(10))),
            Subject::StoryView(StoryId::new(id(10)), other),
            Subject::Notifications(user),
            Subject::Save(user, post),
            Subject::Collection(user),
            Subject::Mail(EventId::new(id(6)), MailTemplate::Welcome),
            Subject::Mailbox(ClaimHash::new([9; 16])),
            Subject::Moderation(Content::Post { post }),
        ];
        assert_eq!(subjects.map(|s| s.kind()).as_slice(), Kind::ALL);
        let contents = [
            Content::Comment { post, comment: CommentId::new(id(5)) },
            Content::Story { author: user, story: StoryId::new(id(10)) },
        ];
        for subject in subjects.into_iter().chain(contents.map(Subject::Moderation)) {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
    }

    #[test]
    fn invalid_subject_is_rejected() {
        let post = "000000000000000000000000000000ab";
        for text in [
            "",
            "post",
            "post.",
            "post.x",
            &format!("post.{post}.{post}"),
            &format!("like.{post}"),
            "planet.1",
            "moderation",
            &format!("moderation.{post}"),
            &format!("moderation.account.{post}"),
            &format!("moderation.post.{post}.{post}"),
            &format!("moderation.moderation.post.{post}"),
        ] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
