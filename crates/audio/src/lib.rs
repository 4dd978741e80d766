//! Untrusted audio files: their tags, their length, and whether they can be decoded to the end. Parsers of media have
//! bugs that panic, loop and allocate without bound, so that no server process runs them: [`Prober`] runs
//! [`run_child`] in a process of its own, with limits of memory and time.

mod analysis;
mod child;
mod cover;
mod decode;
mod flac;
mod probe;
mod prober;
mod tags;

use events::{AudioFormat, AudioHash, ReplayGain};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

pub use analysis::{Analyser, WAVEFORM_LENGTH};
pub use child::{COMMAND, Limits, run_child, run_child_with};
pub use cover::Covers;
pub use probe::{Failure, probe};
pub use prober::{ProbeError, Prober};

/// What is known about an audio file from its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    pub format: AudioFormat,
    /// Of the audio without tags: the same for a file whose tags were edited.
    pub hash: AudioHash,
    /// Milliseconds.
    pub duration: u64,
    /// Bits per second of the audio without tags, on average.
    pub bit_rate: u32,
    /// Hertz.
    pub sample_rate: u32,
    pub channels: u8,
    /// Bytes.
    pub size: u64,
    /// False for Opus and HE-AAC, which cannot be decoded here: only the container was checked.
    pub decoded: bool,
    pub tags: Tags,
}

/// What was measured in an audio file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Integrated loudness in LUFS (EBU R128); -70 for silence.
    pub loudness: f32,
    /// True peak in decibels relative to full scale; -100 for silence.
    pub peak: f32,
    /// Highest samples of equal parts of the song, 0 to 255; [`WAVEFORM_LENGTH`] of them.
    pub waveform: Vec<u8>,
}

/// The tags of a file. Texts have no control characters and are of limited length.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tags {
    pub title: Option<String>,
    /// Several values if the tags list several.
    pub artists: Vec<String>,
    /// The artists as one text, as tagged.
    pub display_artist: Option<String>,
    pub album: Option<String>,
    pub album_artists: Vec<String>,
    pub track: Option<u32>,
    pub disc: Option<u32>,
    pub year: Option<i32>,
    pub genres: Vec<String>,
    pub compilation: bool,
    pub explicit: bool,
    pub lyrics: Option<String>,
    pub musicbrainz_recording: Option<Uuid>,
    pub musicbrainz_album: Option<Uuid>,
    pub replay_gain: Option<ReplayGain>,
}

/// Why a file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    #[error(
        "the file is no audio file of a format that is accepted: MP3, M4A, AAC, FLAC, Ogg Vorbis, Opus or WAV"
    )]
    UnknownFormat,
    #[error("the file has no audio track")]
    NoAudio,
    #[error("the file is damaged: it cannot be decoded")]
    Damaged,
    #[error("the file is incomplete: its end is missing")]
    Truncated,
    #[error("checking the file took too long")]
    TooLong,
    #[error("checking the file took too much memory")]
    TooMuchMemory,
    #[error("the program that checks files crashed on this one")]
    Crashed,
}
