//! Events of music: the catalogue, playlists, listening.

mod albums;
mod artists;
mod audio_files;
mod charts;
mod identity;
mod library;
mod listening;
mod playlists;
mod queue;
mod songs;

pub use albums::*;
pub use artists::*;
pub use audio_files::*;
pub use charts::*;
pub use identity::*;
pub use library::*;
pub use listening::*;
pub use playlists::*;
pub use queue::*;
pub use songs::*;
