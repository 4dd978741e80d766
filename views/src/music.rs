//! Views of music.

pub mod albums;
pub mod artists;
pub mod songs;

use crate::View;

pub const VIEWS: &[&View] = &[];
