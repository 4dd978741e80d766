use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    AlbumId, ArtistId, ClaimHash, CommentId, Day, EventId, MailTemplate, MediaId, OperationId, PlaylistId,
    PostId, SessionId, SongId, StoryId, UserId,
};

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
    /// `artist.<artist>`
    Artist(ArtistId),
    /// `artistlink.<artist>.<user>`: whether an account manages an artist
    ArtistLink(ArtistId, UserId),
    /// `album.<album>`
    Album(AlbumId),
    /// `song.<song>`
    Song(SongId),
    /// `audio.<file>`: the claims of a stored audio file
    Audio(MediaId),
    /// `songlike.<song>.<user>`
    SongLike(SongId, UserId),
    /// `albumlike.<album>.<user>`
    AlbumLike(AlbumId, UserId),
    /// `artistfollow.<artist>.<user>`
    ArtistFollow(ArtistId, UserId),
    /// `rating.<item>.<user>`, such as `rating.song.<song>.<user>`
    Rating(RatedItem, UserId),
    /// `bookmark.<user>.<song>`
    Bookmark(UserId, SongId),
    /// `playlist.<playlist>`
    Playlist(PlaylistId),
    /// `playlistsnapshot.<playlist>`
    PlaylistSnapshot(PlaylistId),
    /// `listen.<user>.<day>`: the plays of one day
    Listen(UserId, Day),
    /// `listening.<user>`: private sessions and deletions of plays
    Listening(UserId),
    /// `chartday.<day>.<part>`: the plays of a day as counts
    ChartDay(Day, u32),
    /// `queue.<user>`
    Queue(UserId),
    /// `operation.<operation>`: one act of an operator
    Operation(OperationId),
}

/// What users rate. The text form is the kind and the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RatedItem {
    Song { song: SongId },
    Album { album: AlbumId },
    Artist { artist: ArtistId },
}

impl fmt::Display for RatedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Song { song } => write!(f, "song.{song}"),
            Self::Album { album } => write!(f, "album.{album}"),
            Self::Artist { artist } => write!(f, "artist.{artist}"),
        }
    }
}

impl RatedItem {
    fn parse<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        match tokens.next()? {
            "song" => token(tokens).map(|song| Self::Song { song }),
            "album" => token(tokens).map(|album| Self::Album { album }),
            "artist" => token(tokens).map(|artist| Self::Artist { artist }),
            _ => None,
        }
    }
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
            | Subject::Moderation(_)
            | Subject::Artist(_)
            | Subject::ArtistLink(..)
            | Subject::Album(_)
            | Subject::Song(_)
            | Subject::Audio(_)
            | Subject::SongLike(..)
            | Subject::AlbumLike(..)
            | Subject::ArtistFollow(..)
            | Subject::Rating(..)
            | Subject::Bookmark(..)
            | Subject::Playlist(_)
            | Subject::PlaylistSnapshot(_)
            | Subject::Listen(..)
            | Subject::Listening(_)
            | Subject::ChartDay(..)
            | Subject::Queue(_)
            | Subject::Operation(_) => None,
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
            pub fn of(dotted: &str) -> Option<Self> {
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
    Artist = "artist",
    ArtistLink = "artistlink",
    Album = "album",
    Song = "song",
    Audio = "audio",
    SongLike = "songlike",
    AlbumLike = "albumlike",
    ArtistFollow = "artistfollow",
    Rating = "rating",
    Bookmark = "bookmark",
    Playlist = "playlist",
    PlaylistSnapshot = "playlistsnapshot",
    Listen = "listen",
    Listening = "listening",
    ChartDay = "chartday",
    Queue = "queue",
    Operation = "operation",
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
            | Self::Mailbox
            | Self::ArtistLink
            | Self::Audio
            | Self::SongLike
            | Self::AlbumLike
            | Self::ArtistFollow
            | Self::Rating
            | Self::Bookmark
            | Self::PlaylistSnapshot
            | Self::ChartDay
            | Self::Queue
            | Self::Operation => true,
            // The last event is the state too, but commands about likes and comments cache these subjects.
            Self::Account
            | Self::Profile
            | Self::Post
            | Self::Story
            | Self::Collection
            | Self::Moderation
            | Self::Artist
            | Self::Album
            | Self::Song
            | Self::Playlist
            | Self::Listen
            | Self::Listening => false,
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
            | Self::Collection(user)
            | Self::Listening(user)
            | Self::Queue(user) => write!(f, "{kind}.{user}"),
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
            Self::Artist(artist) => write!(f, "{kind}.{artist}"),
            Self::ArtistLink(artist, user) | Self::ArtistFollow(artist, user) => {
                write!(f, "{kind}.{artist}.{user}")
            }
            Self::Album(album) => write!(f, "{kind}.{album}"),
            Self::AlbumLike(album, user) => write!(f, "{kind}.{album}.{user}"),
            Self::Song(song) => write!(f, "{kind}.{song}"),
            Self::Audio(audio) => write!(f, "{kind}.{audio}"),
            Self::SongLike(song, user) => write!(f, "{kind}.{song}.{user}"),
            Self::Rating(item, user) => write!(f, "{kind}.{item}.{user}"),
            Self::Bookmark(user, song) => write!(f, "{kind}.{user}.{song}"),
            Self::Playlist(playlist) | Self::PlaylistSnapshot(playlist) => write!(f, "{kind}.{playlist}"),
            Self::Listen(user, day) => write!(f, "{kind}.{user}.{day}"),
            Self::ChartDay(day, part) => write!(f, "{kind}.{day}.{part}"),
            Self::Operation(operation) => write!(f, "{kind}.{operation}"),
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
            Kind::Artist => token(&mut tokens).map(Self::Artist),
            Kind::ArtistLink => two(&mut tokens).map(|(artist, user)| Self::ArtistLink(artist, user)),
            Kind::Album => token(&mut tokens).map(Self::Album),
            Kind::Song => token(&mut tokens).map(Self::Song),
            Kind::Audio => token(&mut tokens).map(Self::Audio),
            Kind::SongLike => two(&mut tokens).map(|(song, user)| Self::SongLike(song, user)),
            Kind::AlbumLike => two(&mut tokens).map(|(album, user)| Self::AlbumLike(album, user)),
            Kind::ArtistFollow => two(&mut tokens).map(|(artist, user)| Self::ArtistFollow(artist, user)),
            Kind::Rating => {
                RatedItem::parse(&mut tokens).and_then(|item| Some(Self::Rating(item, token(&mut tokens)?)))
            }
            Kind::Bookmark => two(&mut tokens).map(|(user, song)| Self::Bookmark(user, song)),
            Kind::Playlist => token(&mut tokens).map(Self::Playlist),
            Kind::PlaylistSnapshot => token(&mut tokens).map(Self::PlaylistSnapshot),
            Kind::Listen => two(&mut tokens).map(|(user, day)| Self::Listen(user, day)),
            Kind::Listening => token(&mut tokens).map(Self::Listening),
            Kind::ChartDay => {
                token(&mut tokens).and_then(|day| Some(Self::ChartDay(day, number(&mut tokens)?)))
            }
            Kind::Queue => token(&mut tokens).map(Self::Queue),
            Kind::Operation => token(&mut tokens).map(Self::Operation),
        };
        match (subject, tokens.next()) {
            (Some(subject), None) => Ok(subject),
            _ => Err(unknown()),
        }
    }
}

/// A number in its only spelling: no sign, no leading zeros.
fn number<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Option<u32> {
    let text = tokens.next()?;
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
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
        let (artist, album, song) = (ArtistId::new(id(11)), AlbumId::new(id(12)), SongId::new(id(13)));
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
            Subject::Artist(artist),
            Subject::ArtistLink(artist, user),
            Subject::Album(album),
            Subject::Song(song),
            Subject::Audio(MediaId::new(id(16))),
            Subject::SongLike(song, user),
            Subject::AlbumLike(album, user),
            Subject::ArtistFollow(artist, user),
            Subject::Rating(RatedItem::Song { song }, user),
            Subject::Bookmark(user, song),
            Subject::Playlist(PlaylistId::new(id(14))),
            Subject::PlaylistSnapshot(PlaylistId::new(id(14))),
            Subject::Listen(user, "2026-02-03".parse().unwrap()),
            Subject::Listening(user),
            Subject::ChartDay("2026-02-03".parse().unwrap(), 12),
            Subject::Queue(user),
            Subject::Operation(OperationId::new(id(15))),
        ];
        assert_eq!(subjects.map(|s| s.kind()).as_slice(), Kind::ALL);
        let contents = [
            Content::Comment { post, comment: CommentId::new(id(5)) },
            Content::Story { author: user, story: StoryId::new(id(10)) },
        ];
        let rated = [RatedItem::Album { album }, RatedItem::Artist { artist }];
        let others = contents
            .map(Subject::Moderation)
            .into_iter()
            .chain(rated.map(|item| Subject::Rating(item, user)));
        for subject in subjects.into_iter().chain(others) {
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
            &format!("rating.{post}.{post}"),
            &format!("rating.post.{post}.{post}"),
            &format!("listen.{post}.2026-2-3"),
            "chartday.2026-02-03",
            "chartday.2026-02-03.01",
            "chartday.2026-02-03.+1",
        ] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
