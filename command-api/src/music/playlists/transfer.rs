//! Import of playlists from files. Only songs of this server are taken; nothing is read from where a file points to.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use events::{LogError, PlaylistId, SongId, UserId};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Query, body, without_bom};
use web::problem::{FieldCode, Problem, Problems};
use web::sessions::Session;

use super::entries::Edit;
use super::list::{CALL_LIMIT, ENTRIES_LIMIT, Place};
use super::{NAME_LIMIT, NewPlaylist};
use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::log_problem;
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt};
use crate::pipeline::text;

/// Bytes of a file: about eight hundred for each of [`ENTRIES_LIMIT`] songs, more than an export has.
const FILE_LIMIT: usize = 8 * 1024 * 1024;
/// Entries of a file, taken or not: more than a playlist can have, so that a long file still fills one.
const FILE_ENTRIES_LIMIT: usize = 2 * ENTRIES_LIMIT;
/// Skipped lines that the answer lists; all are counted.
const SKIPPED_LIMIT: usize = 100;
/// Characters of a skipped line in the answer.
const SHOWN_LIMIT: usize = 200;
/// The name of a playlist whose file has none.
const DEFAULT_NAME: &str = "Imported playlist";

// ------------------------------------------------------------------ reading

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    M3u8,
    Jspf,
}

/// Why a line of a file was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SkipReason {
    /// It is a path of a file system.
    Path,
    /// It is a URL of another server.
    ForeignUrl,
    /// It names no song that the caller can see.
    NotFound,
    /// The file has more songs than a playlist can have.
    TooMany,
}

/// A line of a file, or a track, that was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Skipped {
    /// Its number among the entries of the file, from 1.
    pub(crate) number: usize,
    /// What the file has there, shortened.
    #[schema(example = "../music/dawn.mp3")]
    pub(crate) location: String,
    pub(crate) reason: SkipReason,
}

/// A playlist file.
#[derive(Debug, Default, PartialEq, Eq)]
struct File {
    name: Option<String>,
    description: Option<String>,
    /// What each entry points to: a track of JSPF can have several locations.
    entries: Vec<Vec<String>>,
}

impl File {
    fn parse(bytes: &[u8], format: Option<Format>) -> Result<Self, Problem> {
        let malformed = |message: &str| Problem::malformed("body", FieldCode::InvalidFormat, message);
        let bytes = without_bom(bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("must be UTF-8"))?;
        let is_json = text.trim_start().starts_with('{');
        match format.unwrap_or(if is_json { Format::Jspf } else { Format::M3u8 }) {
            Format::M3u8 => Self::of_m3u8(text)
                .ok_or_else(|| malformed(&format!("has more than {FILE_ENTRIES_LIMIT} entries"))),
            Format::Jspf => Self::of_jspf(text).ok_or_else(|| {
                malformed(&format!("is no JSPF document with at most {FILE_ENTRIES_LIMIT} tracks"))
            }),
        }
    }

    fn of_m3u8(text: &str) -> Option<Self> {
        let mut file = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix("#PLAYLIST:") {
                file.name.get_or_insert_with(|| name.trim().to_owned());
            } else if !line.starts_with('#') {
                file.entries.push(vec![line.to_owned()]);
            }
            if file.entries.len() > FILE_ENTRIES_LIMIT {
                return None;
            }
        }
        Some(file)
    }

    fn of_jspf(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Document {
            playlist: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            title: Option<String>,
            annotation: Option<String>,
            #[serde(default, deserialize_with = "limited")]
            track: Vec<Track>,
        }
        #[derive(Deserialize)]
        struct Track {
            #[serde(default)]
            location: Vec<String>,
            #[serde(default)]
            identifier: Vec<String>,
            title: Option<String>,
        }
        let Document { playlist } = serde_json::from_str(text).ok()?;
        let names =
            |track: Track| track.location.into_iter().chain(track.identifier).chain(track.title).collect();
        let entries = playlist.track.into_iter().map(names).collect();
        Some(Self { name: playlist.title, description: playlist.annotation, entries })
    }
}

/// A list of at most [`FILE_ENTRIES_LIMIT`] items: reading stops there.
fn limited<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Limited<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Limited<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {FILE_ENTRIES_LIMIT} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == FILE_ENTRIES_LIMIT {
                    return Err(de::Error::invalid_length(list.len() + 1, &self));
                }
                list.push(item);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(Limited(PhantomData))
}

/// The first song of this server that one of the locations names, or why the first location names none.
fn song_of_entry(locations: &[String], public_url: &str) -> Result<SongId, SkipReason> {
    let songs = locations.iter().map(|location| song_of(location, public_url));
    let first = songs.clone().next().unwrap_or(Err(SkipReason::NotFound));
    songs.flatten().next().map_or(first, Ok)
}

/// The song of this server that a location names.
fn song_of(location: &str, public_url: &str) -> Result<SongId, SkipReason> {
    const SONGS: &str = "/v1/songs/";
    let parsed = |text: &str| text.parse().map_err(|_| SkipReason::NotFound);
    if let Some(song) = location.strip_prefix("chorus:song:") {
        return parsed(song);
    }
    let path = match location.strip_prefix(public_url).filter(|path| path.starts_with('/')) {
        Some(path) => path,
        None if location.contains("://") => return Err(SkipReason::ForeignUrl),
        None => location,
    };
    if let Ok(song) = path.parse() {
        return Ok(song);
    }
    // Nothing else is read from a path.
    let song = path.strip_prefix(SONGS).ok_or(SkipReason::Path)?;
    parsed(song.split(['/', '?', '#']).next().unwrap_or_default())
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(import_playlist)).layer(DefaultBodyLimit::max(FILE_LIMIT))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportParams {
    /// `m3u8` or `jspf`; without it, the form of the file decides.
    #[param(inline, required = false)]
    format: Option<Format>,
}

/// An imported playlist.
#[derive(Debug, Serialize, ToSchema)]
struct ImportedPlaylist {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the new playlist.
    id: String,
    /// The version of its entries.
    #[schema(example = 4711)]
    version: u64,
    name: String,
    /// Number of songs that were added.
    songs: usize,
    /// Number of entries that were skipped.
    skipped_entries: usize,
    /// The first 100 of them.
    skipped: Vec<Skipped>,
}

/// Import a playlist
///
/// Creates a private playlist from an M3U8 or JSPF file of at most 8 MiB. An entry is taken if it is a URL of a song on this server,
/// its path, or its id; of a JSPF track the first such location or identifier is taken. All others, such as paths of file systems and URLs of other servers, are skipped and reported.
#[utoipa::path(
    post, path = "/v1/playlists/import", tag = "playlists", security(("token" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(ImportParams, CommandHeaders),
    responses((status = 201, body = ImportedPlaylist), (status = 202, body = ImportedPlaylist), Problems)
)]
async fn import_playlist(
    State(commands): State<Commands>,
    session: Session,
    Query(ImportParams { format }): Query<ImportParams>,
    context: Context,
    prefer: Prefer,
    request: Request,
) -> Result<Response, Problem> {
    let user = session.user;
    let bytes = body(request, &commands).await?;
    let file = File::parse(&bytes, format)?;
    let context = context.with_actor(user).with_payload([&bytes[..]]);
    let new = details(&file)?;
    let (songs, mut skipped) = commands.songs_of_file(&file, user).await.map_err(log_problem)?;
    let (count, skipped_entries) = (songs.len(), skipped.len());
    skipped.truncate(SKIPPED_LIMIT);
    let (playlist, mut outcome): (PlaylistId, _) =
        commands.create_playlist(context.clone(), user, &new).await?;
    for (part, songs) in songs.chunks(CALL_LIMIT).enumerate() {
        let edit = Edit::Add { songs: songs.to_vec(), place: Place::End };
        let context = context.for_step(&format!("entries {part}"));
        outcome = commands.edit_entries(&context, playlist, user, &edit, None).await?;
    }
    let version = outcome.position.0;
    let location = format!("/v1/playlists/{playlist}");
    let body = |receipt| ImportedPlaylist {
        receipt,
        id: playlist.to_string(),
        version,
        name: new.name,
        songs: count,
        skipped_entries,
        skipped,
    };
    Ok(commands.created(prefer, outcome, &location, body).await)
}

impl Commands {
    /// The songs of a file that the user may see, and the entries that are skipped, in order.
    async fn songs_of_file(
        &self,
        file: &File,
        user: UserId,
    ) -> Result<(Vec<SongId>, Vec<Skipped>), LogError> {
        let found = file.entries.iter().map(|entry| song_of_entry(entry, &self.public_url));
        let mut found: Vec<Result<SongId, SkipReason>> = found.collect();
        let too_many = found.iter_mut().filter(|song| song.is_ok()).skip(ENTRIES_LIMIT);
        too_many.for_each(|song| *song = Err(SkipReason::TooMany));
        let named: Vec<SongId> = found.iter().copied().flatten().collect();
        let hidden = self.hidden_songs(&named, user).await?;
        let (mut songs, mut skipped) = (Vec::new(), Vec::new());
        for ((number, entry), song) in (1..).zip(&file.entries).zip(found) {
            match song {
                Ok(song) if !hidden.contains(&song) => songs.push(song),
                Ok(_) => skipped.push(Skipped::of(number, entry, SkipReason::NotFound)),
                Err(reason) => skipped.push(Skipped::of(number, entry, reason)),
            }
        }
        Ok((songs, skipped))
    }
}

impl Skipped {
    fn of(number: usize, entry: &[String], reason: SkipReason) -> Self {
        let location = entry.first().map(String::as_str).unwrap_or_default();
        Self { number, location: shown(location), reason }
    }
}

/// The details of a file, as far as they are accepted.
fn details(file: &File) -> Result<NewPlaylist, Problem> {
    let name: String = file.name.as_deref().unwrap_or_default().trim().chars().take(NAME_LIMIT).collect();
    let name = text::required_line(&name, NAME_LIMIT).unwrap_or_else(|_| DEFAULT_NAME.to_owned());
    let description = file.description.as_deref().unwrap_or_default();
    let description = text::free(description, super::DESCRIPTION_LIMIT).unwrap_or_default();
    NewPlaylist::checked(&name, &description, false)
}

/// A line of a file as the answer shows it.
fn shown(location: &str) -> String {
    location.chars().filter(|c| !c.is_control()).take(SHOWN_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HERE: &str = "https://chorus.example";
    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));

    #[test]
    fn m3u8_has_a_name_and_locations() {
        let text = "#EXTM3U\r\n#PLAYLIST: Road trip \r\n#EXTINF:10,A - B\r\n/a.mp3\r\n\r\nb.mp3\r\n";
        let file = File::parse(format!("\u{feff}{text}").as_bytes(), None).unwrap();
        assert_eq!(file.name.as_deref(), Some("Road trip"));
        assert_eq!(file.entries, [["/a.mp3"], ["b.mp3"]]);
        assert!(File::parse(b"\xff\xfe", None).is_err());
    }

    #[test]
    fn jspf_has_a_title_and_tracks() {
        let text = r#"{"playlist":{"title":"Road","track":[{"location":["x"]},{"identifier":["y"],"title":"z"},{}]}}"#;
        let file = File::parse(text.as_bytes(), None).unwrap();
        assert_eq!(file.name.as_deref(), Some("Road"));
        assert_eq!(file.entries, [&["x"][..], &["y", "z"], &[]]);
        assert!(File::parse(b"{}", None).is_err());
        let tracks = |count| {
            let file = format!(r#"{{"playlist":{{"track":[{}]}}}}"#, vec!["{}"; count].join(","));
            File::parse(file.as_bytes(), None).map(|file| file.entries.len())
        };
        assert_eq!(tracks(FILE_ENTRIES_LIMIT).ok(), Some(FILE_ENTRIES_LIMIT));
        assert!(tracks(FILE_ENTRIES_LIMIT + 1).is_err());
        assert!(File::parse(b"#EXTM3U", Some(Format::Jspf)).is_err());
    }

    #[test]
    fn only_songs_of_this_server_are_taken() {
        for location in [
            format!("{HERE}/v1/songs/{SONG}/stream?format=raw"),
            format!("{HERE}/v1/songs/{SONG}"),
            format!("/v1/songs/{SONG}/stream"),
            format!("chorus:song:{SONG}"),
            SONG.to_string(),
        ] {
            assert_eq!(song_of(&location, HERE), Ok(SONG), "{location}");
        }
        for (location, reason) in [
            ("/etc/passwd", SkipReason::Path),
            ("../../x.mp3", SkipReason::Path),
            ("C:\\music\\x.mp3", SkipReason::Path),
            ("file:///etc/passwd", SkipReason::ForeignUrl),
            ("https://chorus.example.evil/v1/songs/1", SkipReason::ForeignUrl),
            ("https://other.example/v1/songs/1", SkipReason::ForeignUrl),
            ("/v1/songs/../x", SkipReason::NotFound),
            ("chorus:song:x", SkipReason::NotFound),
            ("", SkipReason::Path),
        ] {
            assert_eq!(song_of(location, HERE), Err(reason), "{location}");
        }
        let entry = |locations: &[&str]| {
            let locations: Vec<String> = locations.iter().map(|&location| location.to_owned()).collect();
            song_of_entry(&locations, HERE)
        };
        assert_eq!(entry(&["https://other.example/x", &SONG.to_string()]), Ok(SONG));
        assert_eq!(entry(&["https://other.example/x", "Dawn"]), Err(SkipReason::ForeignUrl));
        assert_eq!(entry(&[]), Err(SkipReason::NotFound));
    }
}
