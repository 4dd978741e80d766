//! Which album each file of a folder is on: that is decided when all of them have been looked at.

use std::collections::{BTreeSet, HashMap};

use audio::Probed;
use command_api::music::importing::{AlbumChoice, DatedAlbum, ImportError, Sampler};
use events::AlbumId;

use super::Import;
use super::files::Found;
use super::record::Imported;
use super::samplers::{Track, samplers};
use super::years::{Dated, Year, years, years_of};

/// A file whose album other files of its folder decide on.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) file: Found,
    /// None if it cannot be a part of a sampler that its tags do not name.
    pub(super) track: Option<Track>,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// The file has not changed since this import, and its song is in the catalogue.
    Unchanged(Box<Imported>),
    Read(Box<Read>),
}

#[derive(Debug)]
pub(super) struct Read {
    pub(super) probed: Probed,
    /// The album that the tags name, if its id depends on its year.
    pub(super) album: Option<DatedAlbum>,
}

impl Import {
    /// The albums of the files of a folder, in the order of the files.
    pub(super) async fn choices(&self, files: &[Waiting]) -> Result<Vec<AlbumChoice>, ImportError> {
        let samplers = samplers_of(files);
        let dated = self.dated(files, &samplers).await?;
        let years = years(dated.iter().flatten());
        let files = samplers.into_iter().zip(&dated);
        Ok(files.map(|(sampler, dated)| choice(sampler, dated.as_ref(), &years)).collect())
    }

    /// The files on albums whose ids depend on their years, without those on samplers.
    async fn dated(
        &self,
        files: &[Waiting],
        samplers: &[Option<Sampler>],
    ) -> Result<Vec<Option<Dated>>, ImportError> {
        let mut dated = Vec::with_capacity(files.len());
        // Files that have not changed only decide on others.
        let is_needed = files.iter().any(|file| matches!(&file.content, Content::Read(_)));
        for (file, sampler) in files.iter().zip(samplers) {
            let is_dated = is_needed && sampler.is_none();
            dated.push(if is_dated { self.dated_file(&file.content).await? } else { None });
        }
        let years = years_of(dated.iter().flatten());
        for (file, dated) in files.iter().zip(&mut dated) {
            if let (Content::Read(read), Some(dated)) = (&file.content, dated)
                && let Some(years) = years.get(&dated.album).filter(|years| years.len() > 1)
            {
                dated.known = self.known_year(read, years).await?;
            }
        }
        Ok(dated)
    }

    async fn dated_file(&self, content: &Content) -> Result<Option<Dated>, ImportError> {
        match content {
            Content::Read(read) => {
                let tags = &read.probed.tags;
                Ok(read.album.as_ref().map(|album| Dated {
                    album: album.id_in(None),
                    disc: tags.disc,
                    track: tags.track,
                    tagged: album.year(),
                    known: None,
                }))
            }
            // If the folder is no sampler any more, its tags decide.
            Content::Unchanged(earlier) if earlier.sampler.is_some() => Ok(None),
            Content::Unchanged(earlier) => {
                let found = self.importer.album_of_song(earlier.song).await?;
                Ok(found.map(|(song, album)| Dated {
                    album: album.id_in(None),
                    disc: song.disc,
                    track: song.track,
                    tagged: song.year,
                    known: Some(album.year()),
                }))
            }
        }
    }

    /// The year, of these, of the album that has the song of a file already. The one in its tags comes first.
    async fn known_year(&self, read: &Read, years: &BTreeSet<Year>) -> Result<Option<Year>, ImportError> {
        let Some(album) = &read.album else { return Ok(None) };
        let tagged = album.year();
        let others = years.iter().copied().filter(|year| *year != tagged).collect::<Vec<_>>();
        for year in [&[tagged][..], &others].concat() {
            if self.importer.is_on_album(&read.probed.hash, album.id_in(year)).await? {
                return Ok(Some(year));
            }
        }
        Ok(None)
    }
}

/// The sampler that each file is on.
fn samplers_of(files: &[Waiting]) -> Vec<Option<Sampler>> {
    let found = samplers(files.iter().filter_map(|file| file.track.as_ref()));
    files.iter().map(|file| found.get(&file.track.as_ref()?.album).copied()).collect()
}

fn choice(sampler: Option<Sampler>, dated: Option<&Dated>, years: &HashMap<AlbumId, Year>) -> AlbumChoice {
    let year = dated.and_then(|dated| dated.known.or_else(|| years.get(&dated.album).copied()));
    match (sampler, year) {
        (Some(sampler), _) => AlbumChoice::Sampler(sampler),
        (None, Some(year)) => AlbumChoice::OfYear(year),
        (None, None) => AlbumChoice::Tagged,
    }
}
