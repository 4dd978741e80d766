use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{AlbumId, ArtistId, AudioHash, Image, MediaId, SongId, Subject, UserId};

event_enum! {
    /// `song.<song>`: a song of the catalogue with its audio file.
    SongEvent {
        SongPublished = "song.published.v1",
        SongEdited = "song.edited.v1",
        SongCoverChanged = "song.cover_changed.v1",
        SongRemoved = "song.removed.v1",
        SongRestored = "song.restored.v1",
        SongAnalysed = "song.analysed.v1",
    }
}

/// The part that an artist has in a song or an album.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreditRole {
    Main,
    Featured,
    Composer,
    Lyricist,
    Conductor,
    Performer,
    Producer,
    Remixer,
}

impl CreditRole {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Featured => "featured",
            Self::Composer => "composer",
            Self::Lyricist => "lyricist",
            Self::Conductor => "conductor",
            Self::Performer => "performer",
            Self::Producer => "producer",
            Self::Remixer => "remixer",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtistCredit {
    pub artist: ArtistId,
    pub role: CreditRole,
}

/// Who can see and play a song.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SongVisibility {
    /// Everybody.
    Public,
    /// Everybody who knows its id; no list or search shows it.
    Unlisted,
    /// Only its publisher.
    Private,
}

impl SongVisibility {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unlisted => "unlisted",
            Self::Private => "private",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SongDetails {
    pub title: String,
    /// In the order of the display text; at least one.
    pub artists: Vec<ArtistCredit>,
    /// The artists as the song shows them, such as "A feat. B".
    pub display_artist: String,
    pub album: Option<AlbumId>,
    pub disc: Option<u32>,
    pub track: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub genres: Vec<String>,
    pub year: Option<i32>,
    pub explicit: bool,
    pub lyrics: Option<String>,
    /// The `MusicBrainz` id of the recording.
    pub musicbrainz: Option<Uuid>,
    pub visibility: SongVisibility,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioFormat {
    Mp3,
    /// AAC or ALAC in an MP4 container.
    M4a,
    /// AAC in ADTS frames.
    Aac,
    Flac,
    /// Vorbis in an Ogg container.
    Vorbis,
    /// Opus in an Ogg container.
    Opus,
    Wav,
}

impl AudioFormat {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::M4a => "m4a",
            Self::Aac => "aac",
            Self::Flac => "flac",
            Self::Vorbis => "vorbis",
            Self::Opus => "opus",
            Self::Wav => "wav",
        }
    }
}

/// A stored audio file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AudioFile {
    /// Derived from `hash`: the same audio is stored once.
    pub media: MediaId,
    pub hash: AudioHash,
    pub format: AudioFormat,
    /// Milliseconds.
    pub duration: u64,
    /// Bits per second, on average.
    pub bit_rate: u32,
    /// Hertz.
    pub sample_rate: u32,
    pub channels: u8,
    /// Bytes of the file.
    pub size: u64,
    /// From the tags of the file.
    pub replay_gain: Option<ReplayGain>,
}

impl AudioFormat {
    /// The extension of files.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::M4a => "m4a",
            Self::Aac => "aac",
            Self::Flac => "flac",
            Self::Vorbis => "ogg",
            Self::Opus => "opus",
            Self::Wav => "wav",
        }
    }
}

impl AudioFile {
    /// The key of the file in the media store.
    pub fn key(&self) -> String {
        format!("songs/{}/audio.{}", self.media, self.format.extension())
    }
}

/// Gains in decibels to a reference of -18 LUFS; peaks as a fraction of full scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplayGain {
    pub track_gain: Option<f32>,
    pub track_peak: Option<f32>,
    pub album_gain: Option<f32>,
    pub album_peak: Option<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SongPublished {
    pub song: SongId,
    /// The account that published it. The song outlives the account.
    pub publisher: UserId,
    pub details: SongDetails,
    pub file: AudioFile,
    /// The song's own cover; none if it has the album's.
    pub cover: Option<Image>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SongEdited {
    pub song: SongId,
    pub details: SongDetails,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SongCoverChanged {
    pub song: SongId,
    /// None if the song's own cover is removed: then it has the album's.
    pub cover: Option<Image>,
}

/// The song disappears from the catalogue; playlists keep a gap with its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SongRemoved {
    pub song: SongId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SongRestored {
    pub song: SongId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SongAnalysed {
    pub song: SongId,
    pub analysis: AudioAnalysis,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioAnalysis {
    Measured {
        /// Integrated loudness in LUFS (EBU R128); -70 for silence.
        loudness: f32,
        /// True peak in decibels relative to full scale; -100 for silence.
        peak: f32,
        /// Peaks of equal parts of the song, 0 to 255.
        waveform: Vec<u8>,
    },
    /// The program cannot decode the file.
    Unsupported,
}

impl SongEvent {
    pub const fn song(&self) -> SongId {
        match self {
            Self::SongPublished(event) => event.song,
            Self::SongEdited(event) => event.song,
            Self::SongCoverChanged(event) => event.song,
            Self::SongRemoved(event) => event.song,
            Self::SongRestored(event) => event.song,
            Self::SongAnalysed(event) => event.song,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Song(self.song())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::SongPublished(_)
            | Self::SongEdited(_)
            | Self::SongCoverChanged(_)
            | Self::SongRemoved(_)
            | Self::SongRestored(_)
            | Self::SongAnalysed(_) => None,
        }
    }
}
