use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{AlbumId, ArtistId, Personal, RatedItem, SongId, Subject, UserId};

event_enum! {
    /// `songlike.<song>.<user>`
    SongLikeEvent {
        SongLiked = "songlike.liked.v1",
        SongUnliked = "songlike.unliked.v1",
    }
}

event_enum! {
    /// `albumlike.<album>.<user>`
    AlbumLikeEvent {
        AlbumLiked = "albumlike.liked.v1",
        AlbumUnliked = "albumlike.unliked.v1",
    }
}

event_enum! {
    /// `artistfollow.<artist>.<user>`
    ArtistFollowEvent {
        ArtistFollowed = "artistfollow.followed.v1",
        ArtistUnfollowed = "artistfollow.unfollowed.v1",
    }
}

event_enum! {
    /// `rating.<kind>.<id>.<user>`: a user's rating of a song, an album or an artist.
    RatingEvent {
        Rated = "rating.rated.v1",
        RatingCleared = "rating.cleared.v1",
    }
}

event_enum! {
    /// `bookmark.<user>.<song>`: a place in a song to continue from.
    BookmarkEvent {
        BookmarkSet = "bookmark.set.v1",
        BookmarkDeleted = "bookmark.deleted.v1",
    }
}

macro_rules! toggles {
    ($($name:ident { $thing:ident: $id:ident },)+) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            pub $thing: $id,
            pub user: UserId,
        }
    )+};
}

toggles! {
    SongLiked { song: SongId },
    SongUnliked { song: SongId },
    AlbumLiked { album: AlbumId },
    AlbumUnliked { album: AlbumId },
    ArtistFollowed { artist: ArtistId },
    ArtistUnfollowed { artist: ArtistId },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    pub item: RatedItem,
    pub user: UserId,
    /// 1 to 5.
    pub stars: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatingCleared {
    pub item: RatedItem,
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BookmarkSet {
    pub user: UserId,
    pub song: SongId,
    /// Milliseconds from the start of the song.
    pub place: u64,
    pub comment: Personal<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BookmarkDeleted {
    pub user: UserId,
    pub song: SongId,
}

impl SongLikeEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::SongLiked(event) => Subject::SongLike(event.song, event.user),
            Self::SongUnliked(event) => Subject::SongLike(event.song, event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::SongLiked(_) | Self::SongUnliked(_) => None,
        }
    }
}

impl AlbumLikeEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::AlbumLiked(event) => Subject::AlbumLike(event.album, event.user),
            Self::AlbumUnliked(event) => Subject::AlbumLike(event.album, event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::AlbumLiked(_) | Self::AlbumUnliked(_) => None,
        }
    }
}

impl ArtistFollowEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::ArtistFollowed(event) => Subject::ArtistFollow(event.artist, event.user),
            Self::ArtistUnfollowed(event) => Subject::ArtistFollow(event.artist, event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::ArtistFollowed(_) | Self::ArtistUnfollowed(_) => None,
        }
    }
}

impl RatingEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::Rated(event) => Subject::Rating(event.item, event.user),
            Self::RatingCleared(event) => Subject::Rating(event.item, event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::Rated(_) | Self::RatingCleared(_) => None,
        }
    }
}

impl BookmarkEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::BookmarkSet(event) => Subject::Bookmark(event.user, event.song),
            Self::BookmarkDeleted(event) => Subject::Bookmark(event.user, event.song),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::BookmarkSet(event) => Some((event.user, &mut event.comment)),
            Self::BookmarkDeleted(_) => None,
        }
    }
}
