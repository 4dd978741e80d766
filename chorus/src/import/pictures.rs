//! The pictures in folders that become the covers of songs without one in their tags.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use command_api::music::importing::CoverFiles;

/// Names of covers without their extensions, the best first.
const NAMES: [&str; 3] = ["cover", "folder", "front"];
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// What the name of the folder of one disc begins with, before the number.
const DISCS: [&str; 3] = ["cd", "disc", "disk"];
/// Digits of the number of a disc: "CD 1984" is a title.
const DIGITS_LIMIT: usize = 2;

/// The covers that were found, by folder.
#[derive(Debug, Default)]
pub(super) struct Pictures(HashMap<PathBuf, BTreeSet<(usize, PathBuf)>>);

impl Pictures {
    /// Adds a file if it is named like a cover.
    pub(super) fn add(&mut self, file: &Path) {
        if let (Some(rank), Some(folder)) = (rank(file), file.parent()) {
            self.0.entry(folder.to_owned()).or_default().insert((rank, file.to_owned()));
        }
    }

    /// The covers of an audio file. The folder of a disc does not speak for the album: the one above does.
    pub(super) fn beside(&self, file: &Path) -> CoverFiles {
        let Some(folder) = file.parent() else { return CoverFiles::default() };
        let own = self.of_folder(folder);
        if !is_of_disc(folder) {
            return CoverFiles { of_album: own, of_disc: Vec::new() };
        }
        let of_album = folder.parent().map(|album| self.of_folder(album)).unwrap_or_default();
        CoverFiles { of_album, of_disc: own }
    }

    fn of_folder(&self, folder: &Path) -> Vec<PathBuf> {
        self.0.get(folder).into_iter().flatten().map(|(_, file)| file.clone()).collect()
    }
}

/// The place of a file among the covers of its folder; none if it is not named like one.
fn rank(file: &Path) -> Option<usize> {
    let (name, extension) = (lower(file.file_stem())?, lower(file.extension())?);
    let name = NAMES.iter().position(|known| *known == name)?;
    let extension = EXTENSIONS.iter().position(|known| *known == extension)?;
    Some(name * EXTENSIONS.len() + extension)
}

/// Whether a folder is named like a disc of an album, such as "CD1" or "Disc 2 - Live".
fn is_of_disc(folder: &Path) -> bool {
    let Some(name) = lower(folder.file_name()) else { return false };
    DISCS.iter().filter_map(|begin| name.strip_prefix(*begin)).any(|rest| {
        let rest = rest.trim_start_matches([' ', '_', '-', '.', '#']);
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = rest.len() - after.len();
        (1..=DIGITS_LIMIT).contains(&digits) && !after.starts_with(char::is_alphanumeric)
    })
}

fn lower(name: Option<&OsStr>) -> Option<String> {
    Some(name?.to_str()?.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_are_found_by_their_names_in_any_case() {
        let mut pictures = Pictures::default();
        for name in
            ["Front.PNG", "back.jpg", "folder.jpg", "COVER.webp", "cover.jpeg", "cover.txt", "covers.jpg"]
        {
            pictures.add(&Path::new("/album").join(name));
        }
        let found = pictures.beside(Path::new("/album/1.flac"));
        let expected = ["cover.jpeg", "COVER.webp", "folder.jpg", "Front.PNG"];
        assert_eq!(found.of_album, expected.map(|name| Path::new("/album").join(name)));
        assert_eq!(found.of_disc, Vec::<PathBuf>::new());
        assert_eq!(pictures.beside(Path::new("/album/live/1.flac")), CoverFiles::default());
    }

    #[test]
    fn folder_of_a_disc_does_not_speak_for_the_album() {
        let mut pictures = Pictures::default();
        for file in ["/album/cover.jpg", "/album/CD1/cover.jpg"] {
            pictures.add(Path::new(file));
        }
        let [album, disc] =
            ["/album/cover.jpg", "/album/CD1/cover.jpg"].map(|file| vec![PathBuf::from(file)]);
        let first = pictures.beside(Path::new("/album/CD1/1.flac"));
        assert_eq!(first, CoverFiles { of_album: album.clone(), of_disc: disc });
        let second = pictures.beside(Path::new("/album/CD2/1.flac"));
        assert_eq!(second, CoverFiles { of_album: album, of_disc: Vec::new() });
    }

    #[test]
    fn folders_of_discs_have_a_number() {
        for name in ["CD1", "cd 2", "Disc 1", "disk_03", "Disc 2 - Live", "CD-1 (Bonus)"] {
            assert!(is_of_disc(Path::new(name)), "{name}");
        }
        for name in ["CD", "Disco 2000", "CD 1984", "Discovery", "CD1st", "Album", "1"] {
            assert!(!is_of_disc(Path::new(name)), "{name}");
        }
    }
}
