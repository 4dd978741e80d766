//! Projections of music.

mod albums;
mod artists;
mod charts;
mod library;
mod listening;
mod playlists;
mod search;
mod songs;

use std::sync::Arc;

use events::{ArtistCredit, Image};
use views::music::songs::{Credit, Picture};

pub use albums::Albums;
pub use artists::Artists;
pub use charts::{Charts, SongNeighbours};
pub use library::Library;
pub use listening::Listening;
pub use playlists::Playlists;
pub use search::MusicSearch;
pub use songs::Songs;

use crate::Projection;

pub(crate) fn projections() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(Albums),
        Arc::new(Artists),
        Arc::new(Charts),
        Arc::new(Library),
        Arc::new(Listening),
        Arc::new(MusicSearch),
        Arc::new(Playlists),
        Arc::new(SongNeighbours),
        Arc::new(Songs),
    ]
}

/// The artists of a song or an album, as documents store them.
fn credits(artists: &[ArtistCredit]) -> Vec<Credit> {
    let credit = |credit: &ArtistCredit| Credit {
        artist: credit.artist.to_string(),
        role: credit.role.as_str().to_owned(),
    };
    artists.iter().map(credit).collect()
}

/// A picture as documents store it.
fn picture(image: Image) -> Picture {
    Picture { media: image.media.to_string(), width: image.width, height: image.height }
}
