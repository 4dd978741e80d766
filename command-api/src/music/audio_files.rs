//! The stored audio of songs. The same audio is stored once, so a song that is being published may find its file, while the
//! clean-up deletes it because no song had it any more. Both append to the subject of the file first, and one of them finds that
//! it has changed.

use std::path::Path;

use events::{
    AudioClaimed, AudioEvent, AudioFile, Event, MediaId, MusicEvent, Recorded, SongId, Subject,
    audio_media_id, audio_media_id_after,
};
use media::MediaKey;

use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::Fold;

/// Files of the same audio, one after another, each of which was deleted later.
const FILES_LIMIT: usize = 1000;

// ---------------------------------------------------------------- decisions

/// The file may be deleted at any time: its id is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Released;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct AudioState {
    released: bool,
}

impl Fold for AudioState {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Audio(event)) = &recorded.event else { return };
        self.released = matches!(event, AudioEvent::AudioReleased(_));
    }
}

/// Also if it is claimed already: the clean-up must find that something has changed.
fn claim(state: AudioState, audio: MediaId, song: SongId) -> Result<Option<Event>, Released> {
    if state.released { Err(Released) } else { Ok(Some(AudioClaimed { audio, song }.into())) }
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// Stores the file of a song that is about to be published, unless the same audio is there. Returns the file with the id and
    /// the size of what is stored.
    pub(super) async fn store_audio<R>(
        &self,
        context: &Context,
        song: SongId,
        file: AudioFile,
        path: &Path,
    ) -> Result<AudioFile, CommandError<R>> {
        let media = self.claim_audio(context, song, audio_media_id(&file.hash)).await?;
        let file = AudioFile { media, ..file };
        let key =
            MediaKey::parse(&file.key()).ok_or_else(|| CommandError::defect("a key of audio is invalid"))?;
        if let Some(size) = self.media.size(&key).await? {
            return Ok(AudioFile { size, ..file });
        }
        self.media.put_file(&key, path).await?;
        let size = self.media.size(&key).await?;
        let size = size.ok_or_else(|| CommandError::defect("a stored file is missing"))?;
        Ok(AudioFile { size, ..file })
    }

    /// The id of the file that the clean-up keeps for this song, until it is published.
    async fn claim_audio<R>(
        &self,
        context: &Context,
        song: SongId,
        mut audio: MediaId,
    ) -> Result<MediaId, CommandError<R>> {
        // A claim ends after a day, so a repeated request makes its own.
        let context = context.for_preparation();
        for _ in 0..FILES_LIMIT {
            let decide = |state: &AudioState| claim(*state, audio, song);
            let Err(error) = self.execute_new(&context, Subject::Audio(audio), &[], decide).await else {
                return Ok(audio);
            };
            let Released = error.into_rejection()?;
            audio = audio_media_id_after(audio);
        }
        Err(CommandError::defect("the same audio was stored and deleted too often"))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn audio_is_claimed_by_each_song_until_it_is_released() {
        let (audio, song) = (MediaId::new(Uuid::from_u128(7)), SongId::new(Uuid::from_u128(0x50)));
        let claimed = Some(AudioClaimed { audio, song }.into());
        assert_eq!(claim(AudioState::default(), audio, song), Ok(claimed));
        assert_eq!(claim(AudioState { released: true }, audio, song), Err(Released));
    }
}
