use std::sync::LazyLock;

use crate::View;
use crate::music::{self, listening, playlists};
use crate::social::{self, feeds};

/// Views that one projection commits together, named like the projection. Each family has a version: that of its documents
/// and of the code that makes them. A program reads and feeds only generations of its own versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub version: u32,
    pub views: &'static [&'static View],
}

/// Families of several views, with the name of the projection; every other view is a family of its own.
const OF_SEVERAL: &[(&str, &[&View])] = &[
    (feeds::PROJECTION, &[&feeds::AUTHORS, &feeds::HOME, &feeds::PUBLISHED, &feeds::SOURCES]),
    ("albums", &[&music::albums::VIEW, &music::album_artists::VIEW]),
    (
        "library",
        &[
            &music::library::VIEW,
            &music::library::MERGES,
            &music::ratings::VIEW,
            &music::bookmarks::VIEW,
            &music::queue::VIEW,
        ],
    ),
    ("plays", &[&listening::VIEW, &listening::SONGS, &listening::TOTALS, &listening::PRIVATE_SESSIONS]),
    ("playlists", &[&playlists::VIEW, &playlists::MEMBERS, &playlists::ENTRIES, &playlists::HISTORY]),
    ("posts", &[&social::posts::VIEW, &social::likes::VIEW]),
    ("song_neighbours", &[&music::charts::NEIGHBOURS, &music::charts::LISTENERS]),
    (
        "songs",
        &[&music::songs::VIEW, &music::song_artists::VIEW, &music::song_genres::VIEW, &music::genres::VIEW],
    ),
];

/// Versions other than 1. A change of a projection that makes other documents from the same events needs a higher
/// version: the next start builds a new generation beside the old one.
const VERSIONS: &[(&str, u32)] = &[
    // The followers of a merged artist follow the one that remains.
    ("library", 2),
];

static ALL: LazyLock<Vec<Family>> = LazyLock::new(|| {
    let version = |name| VERSIONS.iter().find(|(of, _)| *of == name).map_or(1, |(_, version)| *version);
    let is_of_several =
        |view: &View| OF_SEVERAL.iter().any(|(_, views)| views.iter().any(|one| one.name == view.name));
    let several = OF_SEVERAL.iter().copied();
    let single = crate::all().iter().filter(|view| !is_of_several(view));
    // Once per program, for as long as it runs.
    let single = single.map(|view| (view.name, &*Box::leak(Box::new([*view])) as &[&View]));
    several.chain(single).map(|(name, views)| Family { name, version: version(name), views }).collect()
});

/// All families.
pub fn families() -> &'static [Family] {
    &ALL
}
