//! The record of imported files: which song each file became, so that a second import skips files that did not change, and
//! finds the songs of files that were moved or whose tags were edited. Without it, the same audio in the same album is still
//! the same song.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use command_api::music::importing::Sampler;
use events::{AudioHash, SongId};
use serde::{Deserialize, Serialize};

use super::files::Version;
use super::samplers::Track;

/// In the data folder.
const FILE: &str = "imported.jsonl";

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Imported(Imported),
    /// The song of this file belongs to another file now.
    Moved {
        moved: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Imported {
    /// Absolute.
    pub(super) file: String,
    #[serde(flatten)]
    pub(super) version: Version,
    pub(super) audio: AudioHash,
    /// SHA-256 of the tags.
    pub(super) tags: AudioHash,
    pub(super) song: SongId,
    /// None if the file cannot be a part of a sampler that its tags do not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) track: Option<Track>,
    /// The sampler that the song is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sampler: Option<Sampler>,
}

#[derive(Debug)]
pub(super) struct Record {
    /// Locked while it is open.
    file: File,
    by_file: HashMap<String, Imported>,
    by_audio: HashMap<AudioHash, Vec<String>>,
}

impl Record {
    /// Opens the record in a folder. Another process cannot open it meanwhile.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        file.try_lock().with_context(|| format!("{} is in use by another import", path.display()))?;
        let mut record = Self { file, by_file: HashMap::new(), by_audio: HashMap::new() };
        let lines = BufReader::new(&record.file).split(b'\n').collect::<Result<Vec<_>, _>>()?;
        for line in &lines {
            match serde_json::from_slice(line) {
                Ok(Line::Imported(imported)) => record.insert(imported),
                Ok(Line::Moved { moved }) => record.forget(&moved),
                // A part of a line that a crash has left: the file is read again.
                Err(_) => {}
            }
        }
        if lines.len() != record.by_file.len() {
            record.file = record.rewrite(folder, &path)?;
        }
        Ok(record)
    }

    /// Replaces the file by one without superseded lines.
    fn rewrite(&self, folder: &Path, path: &Path) -> Result<File> {
        let aside = tempfile::Builder::new().append(true).tempfile_in(folder)?;
        let mut writer = BufWriter::new(aside.as_file());
        for imported in self.by_file.values() {
            writeln!(writer, "{}", serde_json::to_string(imported)?)?;
        }
        writer.flush()?;
        drop(writer);
        aside.as_file().sync_all()?;
        aside.as_file().try_lock()?;
        aside.persist(path).with_context(|| format!("writing {}", path.display()))
    }

    pub(super) fn of_file(&self, file: &str) -> Option<&Imported> {
        self.by_file.get(file)
    }

    /// An earlier import of the same audio: of this file, or of one that is gone.
    pub(super) fn earlier(&self, file: &str, audio: AudioHash) -> Option<Imported> {
        let all = self.by_audio.get(&audio)?.iter().filter_map(|file| self.by_file.get(file));
        let is_gone = |earlier: &Imported| matches!(Path::new(&earlier.file).try_exists(), Ok(false));
        let own = all.clone().find(|earlier| earlier.file == file);
        own.or_else(|| all.into_iter().find(|earlier| is_gone(earlier))).cloned()
    }

    /// Adds a file, which may have been moved from another path.
    pub(super) fn add(&mut self, imported: Imported, moved_from: Option<String>) -> Result<()> {
        let mut lines = format!("{}\n", serde_json::to_string(&imported)?);
        if let Some(moved) = moved_from {
            lines = format!("{}\n{lines}", serde_json::to_string(&Line::Moved { moved })?);
        }
        self.file.write_all(lines.as_bytes()).context("writing the record of the import")?;
        self.insert(imported);
        Ok(())
    }

    /// Forgets a file that was moved, so that its song is not taken over twice.
    pub(super) fn forget(&mut self, file: &str) {
        if let Some(imported) = self.by_file.remove(file)
            && let Some(files) = self.by_audio.get_mut(&imported.audio)
        {
            files.retain(|other| other != file);
        }
    }

    fn insert(&mut self, imported: Imported) {
        self.forget(&imported.file);
        self.by_audio.entry(imported.audio).or_default().push(imported.file.clone());
        self.by_file.insert(imported.file.clone(), imported);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(file: &Path, song: u8) -> Imported {
        Imported {
            file: file.to_str().unwrap().to_owned(),
            version: Version { size: 1, modified: 2 },
            audio: AudioHash::new([1; 32]),
            tags: AudioHash::new([2; 32]),
            song: format!("{song:032x}").parse().unwrap(),
            track: None,
            sampler: None,
        }
    }

    #[test]
    fn record_survives_a_torn_line_and_finds_files_that_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let [here, gone, moved] = ["here.mp3", "gone.mp3", "moved.mp3"].map(|name| folder.path().join(name));
        std::fs::write(&here, "x").unwrap();
        let mut record = Record::open(folder.path()).unwrap();
        for (file, song) in [(&here, 1), (&gone, 2), (&gone, 3)] {
            record.add(imported(file, song), None).unwrap();
        }
        assert!(Record::open(folder.path()).is_err(), "one import at a time");
        record.file.write_all(b"{\"file\":\"/half").unwrap();
        drop(record);
        let mut record = Record::open(folder.path()).unwrap();
        let (audio, moved) = (AudioHash::new([1; 32]), moved.to_str().unwrap());
        assert_eq!(record.earlier(moved, audio), Some(imported(&gone, 3)));
        assert_eq!(record.earlier(here.to_str().unwrap(), audio), Some(imported(&here, 1)));
        let of_moved = Imported { file: moved.to_owned(), ..imported(&gone, 3) };
        record.forget(gone.to_str().unwrap());
        assert_eq!(record.earlier(moved, audio), None, "the other file is still there");
        record.add(of_moved.clone(), Some(gone.to_str().unwrap().to_owned())).unwrap();
        drop(record);
        let record = Record::open(folder.path()).unwrap();
        assert_eq!(record.of_file(moved), Some(&of_moved));
        assert_eq!(record.of_file(gone.to_str().unwrap()), None);
        assert_eq!(record.earlier(moved, AudioHash::new([9; 32])), None);
    }
}
