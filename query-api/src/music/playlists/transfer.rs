//! Export of playlists to files that players read.

use std::fmt::Write;

use axum::extract::State;
use axum::response::Response;
use events::PlaylistId;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Path, Query};
use web::problem::{Problem, Problems};
use web::sessions::Session;

use super::{EntryContent, Gap, VIEWS, missing};
use crate::Queries;
use crate::reading::answer::{Conditions, QueryHeaders, answer_bytes};

/// Songs that are loaded at once, so that memory stays small.
const CHUNK: usize = 500;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    M3u8,
    Jspf,
}

impl Format {
    const fn media_type(self) -> &'static str {
        match self {
            // RFC 8216, section 4.
            Self::M3u8 => "audio/mpegurl",
            Self::Jspf => "application/json",
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::M3u8 => "m3u8",
            Self::Jspf => "jspf",
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExportParams {
    /// `m3u8` or `jspf`.
    #[param(inline, required = false, default = "m3u8")]
    #[serde(default)]
    format: Format,
}

/// A playlist in the JSON form of XSPF, <https://xspf.org/jspf>.
#[derive(Debug, Serialize, ToSchema)]
struct Jspf {
    playlist: JspfPlaylist,
}

#[derive(Debug, Serialize, ToSchema)]
struct JspfPlaylist {
    #[schema(example = "Road trip")]
    title: String,
    /// Username of the owner.
    #[schema(example = "ann")]
    creator: String,
    /// The description.
    #[schema(example = "For long drives")]
    annotation: String,
    track: Vec<JspfTrack>,
}

/// A song. A removed song is a track without a location.
#[derive(Debug, Default, Serialize, ToSchema)]
struct JspfTrack {
    /// URL of the audio.
    location: Vec<String>,
    /// URL of the recording at `MusicBrainz`.
    identifier: Vec<String>,
    #[schema(example = "Dawn")]
    title: String,
    #[schema(example = "The Lakes feat. Ann Lee")]
    creator: String,
    #[schema(value_type = String, required = false, example = "Still Water")]
    #[serde(skip_serializing_if = "Option::is_none")]
    album: Option<String>,
    /// Milliseconds.
    #[schema(value_type = i64, required = false, example = 215_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<i64>,
}

impl From<EntryContent> for Option<JspfTrack> {
    fn from(content: EntryContent) -> Self {
        match content {
            EntryContent::Song(song) => {
                let recording = |id: String| format!("https://musicbrainz.org/recording/{id}");
                Some(JspfTrack {
                    location: vec![song.stream_url],
                    identifier: song.musicbrainz.map(recording).into_iter().collect(),
                    title: song.title,
                    creator: song.display_artist,
                    album: song.album.map(|album| album.title),
                    duration: Some(song.duration_ms),
                })
            }
            EntryContent::Gap(Gap { title: Some(title), display_artist, .. }) => {
                let creator = display_artist.unwrap_or_default();
                Some(JspfTrack { title, creator, ..JspfTrack::default() })
            }
            EntryContent::Gap(_) => None,
        }
    }
}

/// A text without line breaks, which would begin another line of the file.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn m3u8(playlist: &JspfPlaylist) -> String {
    let mut file = format!("#EXTM3U\n#PLAYLIST:{}\n", line(&playlist.title));
    for JspfTrack { location, title, creator, duration, .. } in &playlist.track {
        let name = line(&format!("{creator} - {title}"));
        let seconds = duration.map_or(-1, |duration| (duration + 500) / 1000);
        // Writing to a `String` cannot fail.
        let _ = match location.first() {
            Some(location) => write!(file, "#EXTINF:{seconds},{name}\n{location}\n"),
            None => writeln!(file, "# Removed: {name}"),
        };
    }
    file
}

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(export_playlist))
}

/// Export a playlist
///
/// As a file of M3U8 or JSPF with the URLs of all songs that the caller can see, at one version. A removed song is a comment of M3U8,
/// and a track without a location of JSPF. The audio of private songs needs the caller's token, which is not in the file.
#[utoipa::path(
    get, path = "/v1/playlists/{playlist}/export", tag = "playlists", security((), ("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), ExportParams, QueryHeaders),
    responses(
        (status = 200, content((String = "audio/mpegurl"), (Jspf = "application/json"))), (status = 304), Problems
    )
)]
async fn export_playlist(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(playlist): Path<PlaylistId>,
    Query(ExportParams { format }): Query<ExportParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let (found, entries) = queries.all_entries(playlist, viewer).await?;
    let mut track: Vec<JspfTrack> = Vec::with_capacity(entries.len());
    for entries in entries.chunks(CHUNK) {
        let contents = queries.contents(entries, viewer).await?;
        track.extend(contents.into_iter().filter_map(Option::from));
    }
    let shown = queries.show_playlists(vec![found]).await?.pop().ok_or_else(missing)?;
    let (title, creator, annotation) = (shown.name, shown.owner.username, shown.description);
    let playlist_file = JspfPlaylist { title, creator, annotation, track };
    let body = match format {
        Format::M3u8 => m3u8(&playlist_file).into_bytes(),
        Format::Jspf => serde_json::to_vec(&Jspf { playlist: playlist_file }).map_err(Problem::internal)?,
    };
    let mut response = answer_bytes(&conditions, caught_up, format.media_type(), body)?;
    let name = format!("attachment; filename=\"playlist-{playlist}.{}\"", format.extension());
    let name = HeaderValue::try_from(name).map_err(Problem::internal)?;
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m3u8_has_one_line_per_text_and_comments_for_removed_songs() {
        let song = JspfTrack {
            location: vec!["https://chorus.example/v1/songs/1/stream".into()],
            title: "Dawn\n#EXTINF:1,x".into(),
            creator: "The Lakes".into(),
            duration: Some(215_500),
            ..JspfTrack::default()
        };
        let removed = JspfTrack { title: "Dusk".into(), creator: "Hills".into(), ..JspfTrack::default() };
        let playlist = JspfPlaylist {
            title: "Road\r\n/etc/passwd".into(),
            creator: "ann".into(),
            annotation: String::new(),
            track: vec![song, removed],
        };
        let file = "#EXTM3U\n#PLAYLIST:Road  /etc/passwd\n#EXTINF:216,The Lakes - Dawn #EXTINF:1,x\n\
            https://chorus.example/v1/songs/1/stream\n# Removed: Hills - Dusk\n";
        assert_eq!(m3u8(&playlist), file);
    }
}
