//! The covers that audio files bring: the picture in the tags of a file, or else one beside it.

use std::path::{Path, PathBuf};

use events::{AlbumId, Image, LogError, SongId, SongPublished, Subject, UserId};
use media::ImageVariant;
use service::telemetry::with_causes;

use crate::Commands;
use crate::images::ImageRejected;
use crate::music::albums::WholeAlbum;
use crate::music::importing::CoverFiles;
use crate::music::publishing::{PublishSongRejected, of_problem, of_request};
use crate::music::songs::SongState;
use crate::music::spool::UploadRejected;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::social::posts::IMAGE_LIMIT;

/// The stored covers of a file.
#[derive(Debug, Default)]
pub(super) struct CoversOfFile {
    pub(super) song: Option<Image>,
    /// The cover that the album takes if it still has none.
    pub(super) album: Option<Image>,
}

impl Commands {
    /// Stores the covers that a file brings. Its picture becomes the cover of the album, unless that has one,
    /// and that of a song without an album. The picture of a disc is for the songs of that disc alone.
    pub(super) async fn covers_of_file(
        &self,
        context: &Context,
        event: &SongPublished,
        path: &Path,
        beside: &CoverFiles,
    ) -> Result<CoversOfFile, CommandError<PublishSongRejected>> {
        let (song, album, publisher) = (event.song, event.details.album, event.publisher);
        let place = self.cover_place(song, album).await?;
        let is_on_disc = album.is_some() && !beside.of_disc.is_empty() && self.is_new_song(song).await?;
        let mut covers = CoversOfFile::default();
        if place.is_none() && !is_on_disc {
            return Ok(covers);
        }
        let embedded = self.embedded_cover(path).await?;
        if is_on_disc && embedded.is_none() {
            covers.song = self.first_cover(context, publisher, None, &beside.of_disc).await?;
        }
        match place {
            Some(Subject::Song(_)) => {
                let pictures = [&beside.of_disc[..], &beside.of_album].concat();
                covers.song = self.first_cover(context, publisher, embedded, &pictures).await?;
            }
            Some(_) => {
                covers.album = self.first_cover(context, publisher, embedded, &beside.of_album).await?;
            }
            None => {}
        }
        Ok(covers)
    }

    /// What the cover of a file becomes the cover of: its album, or the song itself if it is on none. None if
    /// the album has a cover, which its songs show, or if the song exists.
    async fn cover_place(&self, song: SongId, album: Option<AlbumId>) -> Result<Option<Subject>, LogError> {
        if let Some(album) = album {
            let whole: WholeAlbum = self.read_state(Subject::Album(album)).await?;
            return Ok(whole.cover.is_none().then_some(Subject::Album(album)));
        }
        Ok(self.is_new_song(song).await?.then_some(Subject::Song(song)))
    }

    async fn is_new_song(&self, song: SongId) -> Result<bool, LogError> {
        let known: SongState = self.read_cached_state(Subject::Song(song)).await?;
        Ok(known.published().is_none())
    }

    /// The picture in the tags of a file.
    async fn embedded_cover(
        &self,
        path: &Path,
    ) -> Result<Option<Vec<u8>>, CommandError<PublishSongRejected>> {
        // The bytes of an upload that was published before are deleted.
        let is_there = tokio::fs::try_exists(path).await.map_err(UploadRejected::from)?;
        Ok(if is_there { self.covers.read(path).await } else { None })
    }

    /// Stores the first picture that is accepted: the one in the tags of a file, then those beside it.
    async fn first_cover(
        &self,
        context: &Context,
        publisher: UserId,
        embedded: Option<Vec<u8>>,
        beside: &[PathBuf],
    ) -> Result<Option<Image>, CommandError<PublishSongRejected>> {
        if let Some(original) = embedded
            && let Some(cover) = self.store_cover(context, publisher, original).await?
        {
            return Ok(Some(cover));
        }
        for picture in beside {
            if let Some(original) = read_picture(picture).await
                && let Some(cover) = self.store_cover(context, publisher, original).await?
            {
                return Ok(Some(cover));
            }
        }
        Ok(None)
    }

    /// Stores a cover. A picture that is refused is no reason to refuse the song.
    async fn store_cover(
        &self,
        context: &Context,
        publisher: UserId,
        original: Vec<u8>,
    ) -> Result<Option<Image>, CommandError<PublishSongRejected>> {
        match self.store_picture(context, publisher, original.into(), ImageVariant::OF_COVER).await {
            Ok(picture) => Ok(Some(picture.image)),
            // The request can be repeated, and has its cover then.
            Err(CommandError::Rejected(busy @ (ImageRejected::Busy | ImageRejected::TooManyUploads))) => {
                Err(of_request(busy.into()))
            }
            Err(CommandError::Rejected(rejected)) => {
                tracing::info!(error = with_causes(&rejected), "a song is published without its bad cover");
                Ok(None)
            }
            Err(error) => Err(error.map_rejection(|rejected| of_problem(rejected.into()))),
        }
    }
}

/// The bytes of a picture beside a file. None if it is too large or cannot be read.
async fn read_picture(path: &Path) -> Option<Vec<u8>> {
    match try_read_picture(path).await {
        Ok(picture) => picture,
        Err(error) => {
            tracing::info!(error = with_causes(&error), "a picture beside an audio file cannot be read");
            None
        }
    }
}

async fn try_read_picture(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let info = tokio::fs::metadata(path).await?;
    // Reading a pipe would never end.
    if !info.is_file() || info.len() > IMAGE_LIMIT as u64 {
        return Ok(None);
    }
    tokio::fs::read(path).await.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_files_below_the_limit_are_read_as_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("cover.jpg"), b"picture").unwrap();
        std::fs::create_dir(path("front.jpg")).unwrap();
        let large = std::fs::File::create(path("folder.jpg")).unwrap();
        large.set_len(IMAGE_LIMIT as u64 + 1).unwrap();
        assert_eq!(read_picture(&path("cover.jpg")).await.as_deref(), Some(&b"picture"[..]));
        for name in ["front.jpg", "folder.jpg", "missing.jpg"] {
            assert_eq!(read_picture(&path(name)).await, None, "{name}");
        }
    }
}
