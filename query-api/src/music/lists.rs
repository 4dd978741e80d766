//! Lists of song ids for the apps that existed before Chorus.

use events::UserId;
use futures::FutureExt;
use serde_json::json;
use views::accounts::search::random_place;
use views::music::genres::{self, Genre, LARGEST, key_of};
use views::music::song_genres::{self, OF_GENRE, SongGenre};
use views::music::songs::{self, NEWEST, RANDOM, Song};
use views::{Query, ViewStoreExt};
use web::problem::Problem;

use crate::reading::random::draw;
use crate::{Queries, store_problem};

impl Queries {
    /// Distinct random listed songs; fewer only if there are fewer.
    pub async fn random_songs(&self, count: usize) -> Result<Vec<String>, Problem> {
        let page = |place: u64, limit: usize| {
            let query = Query::new(&songs::VIEW, &RANDOM, vec![json!(true)], limit);
            let query = query.after(Some(random_place(place)));
            async move { self.store.keys(&query).await }.boxed()
        };
        let ids = draw(count, rand::random, page).await.map_err(store_problem)?;
        Ok(ids.into_iter().collect())
    }

    /// The newest listed songs.
    pub async fn newest_songs(&self, limit: usize) -> Result<Vec<String>, Problem> {
        let query = Query::new(&songs::VIEW, &NEWEST, vec![json!(true)], limit);
        self.store.keys(&query).await.map_err(store_problem)
    }

    /// The newest liked songs of a user, the oldest like first. Songs that the user cannot see any more are left out.
    pub async fn visible_liked_songs(&self, user: UserId, limit: usize) -> Result<Vec<String>, Problem> {
        let liked = self.liked_songs(user, limit).await?;
        let found = self.store.get_all::<Song>(&liked).await.map_err(store_problem)?;
        let user = user.to_string();
        let visible = found.into_iter().flatten().filter(|song| song.is_visible_to(Some(&user)));
        let mut ids: Vec<String> = visible.map(|song| song.song).collect();
        ids.reverse();
        Ok(ids)
    }

    /// The names of genres with listed songs, those with the most songs first.
    pub async fn genre_names(&self, limit: usize) -> Result<Vec<String>, Problem> {
        let query = Query::new(&genres::VIEW, &LARGEST, Vec::new(), limit).above(0);
        let found = self.store.page_of::<Genre>(query).await.map_err(store_problem)?;
        Ok(found.documents.into_iter().map(|genre| genre.name).collect())
    }

    /// The newest listed songs of a genre, in any spelling of its name.
    pub async fn songs_of_genre(&self, genre: &str, limit: usize) -> Result<Vec<String>, Problem> {
        let equals = vec![json!(key_of(genre)), json!(true)];
        let query = Query::new(&song_genres::VIEW, &OF_GENRE, equals, limit);
        let found = self.store.page_of::<SongGenre>(query).await.map_err(store_problem)?;
        Ok(found.documents.into_iter().map(|entry| entry.song).collect())
    }
}
