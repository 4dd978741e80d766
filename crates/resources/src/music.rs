//! Artists, albums and songs of the catalogue.

use chrono::{DateTime, Utc};
use media::ImageVariant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ImageSource;

/// A square picture of an artist, an album, a song or a playlist.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Cover {
    /// URL of the cover, 1000 × 1000 pixels.
    large: String,
    /// URL of the cover, 300 × 300 pixels.
    small: String,
    /// All sizes, largest first, for `srcset`.
    sources: Vec<ImageSource>,
}

impl Cover {
    /// `media` is the id of the picture; all URLs begin with `public_url`.
    pub fn new(public_url: &str, media: &str) -> Self {
        let url = |variant: ImageVariant| variant.url(public_url, media);
        let source = |variant: ImageVariant| ImageSource::new(url(variant), (variant.width, variant.height));
        Self {
            large: url(ImageVariant::SQUARE),
            small: url(ImageVariant::SMALL_SQUARE),
            sources: ImageVariant::OF_COVER.iter().copied().map(source).collect(),
        }
    }

    /// URL of the largest variant.
    pub fn large(&self) -> &str {
        &self.large
    }
}

/// The part that an artist has in a song or an album.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// An artist of a song or an album.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Credit {
    pub id: String,
    #[schema(example = "The Lakes")]
    pub name: String,
    pub role: CreditRole,
}

/// An artist of the catalogue. It is not an account.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Artist {
    pub id: String,
    #[schema(example = "The Lakes")]
    pub name: String,
    /// The name to sort by; null if it is the name.
    #[schema(example = "Lakes, The")]
    pub sort_name: Option<String>,
    /// `MusicBrainz` id of the artist.
    #[schema(example = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d")]
    pub musicbrainz: Option<String>,
    /// Null if the artist has no picture.
    pub image: Option<Cover>,
    /// Number of followers, without deactivated and suspended users.
    #[schema(example = 12)]
    pub followers: i64,
    /// The caller's relation to the artist; null without log-in.
    pub viewer: Option<ArtistViewer>,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ArtistViewer {
    pub followed: bool,
    /// The caller's rating, 1 to 5; null if there is none.
    #[schema(example = 4)]
    pub stars: Option<u8>,
}

/// The caller's relation to a song or an album.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct MusicViewer {
    pub liked: bool,
    /// The caller's rating, 1 to 5; null if there is none.
    #[schema(example = 4)]
    pub stars: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlbumKind {
    Album,
    Single,
    Ep,
    Compilation,
    Live,
    Soundtrack,
    Other,
}

/// An album of the catalogue.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Album {
    pub id: String,
    #[schema(example = "Still Water")]
    pub title: String,
    pub artists: Vec<Credit>,
    /// The artists as the album shows them.
    #[schema(example = "The Lakes feat. Ann Lee")]
    pub display_artist: String,
    pub kind: AlbumKind,
    /// Year of the original release; null if unknown.
    #[schema(example = 1998)]
    pub year: Option<i32>,
    /// Distinguishes editions with the same title; null if there is no need.
    #[schema(example = "Deluxe Edition")]
    pub version: Option<String>,
    /// Title of each disc, in order; empty if they have none.
    pub disc_titles: Vec<String>,
    /// `MusicBrainz` id of the release.
    #[schema(example = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d")]
    pub musicbrainz: Option<String>,
    /// Null if the album has no cover.
    pub cover: Option<Cover>,
    /// Number of users who like the album, without deactivated and suspended users.
    #[schema(example = 12)]
    pub likes: i64,
    /// The caller's relation to the album; null without log-in.
    pub viewer: Option<MusicViewer>,
    pub added_at: DateTime<Utc>,
}

/// Who can see and play a song.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SongVisibility {
    /// Everybody.
    #[default]
    Public,
    /// Everybody who knows its id; no list or search shows it.
    Unlisted,
    /// Only its publisher.
    Private,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// The album that a song is on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlbumReference {
    pub id: String,
    #[schema(example = "Still Water")]
    pub title: String,
}

/// Gains in decibels to a reference of -18 LUFS; peaks as a fraction of full scale. From the tags of the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayGain {
    pub track_gain: Option<f32>,
    pub track_peak: Option<f32>,
    pub album_gain: Option<f32>,
    pub album_peak: Option<f32>,
}

/// A song of the catalogue.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Song {
    pub id: String,
    #[schema(example = "Dawn")]
    pub title: String,
    pub artists: Vec<Credit>,
    /// The artists as the song shows them.
    #[schema(example = "The Lakes feat. Ann Lee")]
    pub display_artist: String,
    /// Null if the song is on no album.
    pub album: Option<AlbumReference>,
    /// Number of the disc; null if unknown.
    pub disc: Option<u32>,
    /// Number of the track on its disc; null if unknown.
    pub track: Option<u32>,
    #[schema(example = json!(["Folk"]))]
    pub genres: Vec<String>,
    /// Year of the original release; null if unknown.
    #[schema(example = 1998)]
    pub year: Option<i32>,
    pub explicit: bool,
    /// Length in milliseconds.
    #[schema(example = 215_000)]
    pub duration_ms: i64,
    pub format: AudioFormat,
    /// Bits per second, on average.
    #[schema(example = 320_000)]
    pub bit_rate: u32,
    /// Hertz.
    #[schema(example = 44_100)]
    pub sample_rate: u32,
    #[schema(example = 2)]
    pub channels: u8,
    /// Bytes of the file.
    #[schema(example = 8_600_000)]
    pub size: i64,
    /// The song's own cover, or that of its album; null if neither has one.
    pub cover: Option<Cover>,
    /// Integrated loudness in LUFS (EBU R128), -70 for silence; null until the song is analysed, which takes some seconds after it
    /// was published, and for formats that cannot be decoded here.
    #[schema(example = -14.5)]
    pub loudness: Option<f32>,
    /// True peak in decibels relative to full scale; null like `loudness`.
    #[schema(example = -1.0)]
    pub peak: Option<f32>,
    /// Highest samples of 200 equal parts of the song, 0 to 255; null like `loudness`.
    #[schema(example = json!([0, 96, 255]))]
    pub waveform: Option<Vec<u8>>,
    /// Null if the tags of the file have none.
    pub replay_gain: Option<ReplayGain>,
    /// `MusicBrainz` id of the recording.
    #[schema(example = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d")]
    pub musicbrainz: Option<String>,
    pub visibility: SongVisibility,
    /// Number of users who like the song, without deactivated and suspended users.
    #[schema(example = 12)]
    pub likes: i64,
    /// The caller's relation to the song; null without log-in.
    pub viewer: Option<MusicViewer>,
    pub published_at: DateTime<Utc>,
    /// URL of the audio.
    #[schema(example = "https://chorus.example/v1/songs/0199a7c61c9b7d0c9f6c4c1d2a9e5b30/stream")]
    pub stream_url: String,
}

/// URL of the audio of a song; it begins with `public_url`.
pub fn stream_url(public_url: &str, song: &str) -> String {
    format!("{public_url}/v1/songs/{song}/stream")
}

/// A genre.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Genre {
    /// Any spelling of the name finds its songs: differences of case, accents and spaces do not matter.
    #[schema(example = "Folk")]
    pub name: String,
    /// Number of listed songs.
    pub songs: i64,
}
