//! Which albums and artists are shown. A private or unlisted song must not reveal the album and the artists that were added
//! with it. So lists and searches leave out an album or artist that has songs but no listed one; by its id it is found by
//! those who may see one of its songs.

use events::UserId;
use futures::future::try_join_all;
use serde_json::json;
use views::music::artists::{self, MERGED_INTO};
use views::music::song_artists::{self, SongArtist};
use views::music::songs::{self, Song};
use views::{Query, StoreError, ViewStoreExt};
use web::problem::Problem;

use super::artists::MERGED_LIMIT;
use crate::{Queries, store_problem};

/// Unlisted songs of an album or artist that are looked at for one that the caller may see.
const UNLISTED_SONGS: usize = 100;

/// The songs of something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SongsOf<'a> {
    Album(&'a str),
    Artist(&'a str),
}

impl SongsOf<'_> {
    fn query(self, listed: bool, limit: usize) -> Query {
        let (view, index, id) = match self {
            Self::Album(album) => (&songs::VIEW, &songs::OF_ALBUM, album),
            Self::Artist(artist) => (&song_artists::VIEW, &song_artists::OF_ARTIST, artist),
        };
        Query::new(view, index, vec![json!(id), json!(listed)], limit)
    }
}

impl Queries {
    /// Those of these albums or artists that lists and searches show, in order.
    pub(crate) async fn only_listed<T>(
        &self,
        items: Vec<T>,
        songs_of: impl Fn(&T) -> SongsOf<'_>,
    ) -> Result<Vec<T>, Problem> {
        let are_listed = items.iter().map(|item| self.is_listed(songs_of(item)));
        let are_listed = try_join_all(are_listed).await.map_err(store_problem)?;
        let listed = items.into_iter().zip(are_listed).filter(|(_, is_listed)| *is_listed);
        Ok(listed.map(|(item, _)| item).collect())
    }

    /// Whether a caller who knows its id finds an album or artist.
    pub(crate) async fn is_found(&self, of: SongsOf<'_>, viewer: Option<UserId>) -> Result<bool, Problem> {
        let is_found = async {
            if self.is_listed(of).await? {
                return Ok(true);
            }
            let viewer = viewer.map(|viewer| viewer.to_string());
            let unlisted = self.unlisted_songs(of).await?;
            Ok(unlisted.iter().any(|song| song.is_visible_to(viewer.as_deref())))
        };
        is_found.await.map_err(store_problem)
    }

    /// An album or artist without songs was added by itself.
    async fn is_listed(&self, of: SongsOf<'_>) -> Result<bool, StoreError> {
        if self.has_songs(of, true).await? || !self.has_songs(of, false).await? {
            return Ok(true);
        }
        let SongsOf::Artist(artist) = of else { return Ok(false) };
        // Songs go on crediting the artists that were merged into this one.
        let merged = Query::new(&artists::VIEW, &MERGED_INTO, vec![json!(artist)], MERGED_LIMIT);
        for merged in self.store.keys(&merged).await? {
            if self.has_songs(SongsOf::Artist(&merged), true).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_songs(&self, of: SongsOf<'_>, listed: bool) -> Result<bool, StoreError> {
        Ok(!self.store.keys(&of.query(listed, 1)).await?.is_empty())
    }

    async fn unlisted_songs(&self, of: SongsOf<'_>) -> Result<Vec<Song>, StoreError> {
        let query = of.query(false, UNLISTED_SONGS);
        match of {
            SongsOf::Album(_) => Ok(self.store.page_of::<Song>(query).await?.documents),
            SongsOf::Artist(_) => {
                let credits = self.store.page_of::<SongArtist>(query).await?.documents;
                let ids: Vec<String> = credits.into_iter().map(|credit| credit.song).collect();
                Ok(self.store.get_all::<Song>(&ids).await?.into_iter().flatten().collect())
            }
        }
    }
}
