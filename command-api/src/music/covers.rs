//! Covers of albums, songs and playlists, and pictures of artists: square pictures, for those who may edit what they belong to.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::Response;
use events::{
    AlbumCoverChanged, AlbumEvent, AlbumId, ArtistEvent, ArtistId, ArtistImageChanged, Event, Image,
    MusicEvent, PlaylistCoverChanged, PlaylistEvent, PlaylistId, Recorded, SongCoverChanged, SongEvent,
    SongId, Subject, UserId,
};
use media::ImageVariant;
use resources::Cover;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::images::ImageRejected;
use crate::music::albums::{AlbumRejected, WholeAlbum};
use crate::music::artists::{ArtistRejected, WholeArtist};
use crate::music::editing::Editor;
use crate::music::playlists::{Playlist, PlaylistRejected};
use crate::music::songs::{SongRejected, SongState, for_editor};
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::social::posts::IMAGE_LIMIT;

// ---------------------------------------------------------------- decisions

#[derive(Debug)]
pub enum CoverRejected {
    Artist(ArtistRejected),
    Album(AlbumRejected),
    Song(SongRejected),
    Playlist(PlaylistRejected),
    Image(ImageRejected),
}

impl From<CoverRejected> for Problem {
    fn from(rejected: CoverRejected) -> Self {
        match rejected {
            CoverRejected::Artist(rejected) => rejected.into(),
            CoverRejected::Album(rejected) => rejected.into(),
            CoverRejected::Song(rejected) => rejected.into(),
            CoverRejected::Playlist(rejected) => rejected.into(),
            CoverRejected::Image(rejected) => rejected.into(),
        }
    }
}

/// What has a cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Artist(ArtistId),
    Album(AlbumId),
    Song(SongId),
    Playlist(PlaylistId),
}

impl Item {
    const fn subject(self) -> Subject {
        match self {
            Self::Artist(artist) => Subject::Artist(artist),
            Self::Album(album) => Subject::Album(album),
            Self::Song(song) => Subject::Song(song),
            Self::Playlist(playlist) => Subject::Playlist(playlist),
        }
    }

    fn event(self, cover: Option<Image>) -> Event {
        match self {
            Self::Artist(artist) => ArtistImageChanged { artist, image: cover }.into(),
            Self::Album(album) => AlbumCoverChanged { album, cover }.into(),
            Self::Song(song) => SongCoverChanged { song, cover }.into(),
            Self::Playlist(playlist) => PlaylistCoverChanged { playlist, cover }.into(),
        }
    }
}

/// The artist, the album, the song with its album, or the playlist with its owner.
#[derive(Debug, Default)]
struct Covered {
    artist: WholeArtist,
    album: WholeAlbum,
    song: SongState,
    playlist: Playlist,
}

impl Fold for Covered {
    fn apply(&mut self, recorded: &Recorded) {
        self.artist.apply(recorded);
        self.album.apply(recorded);
        self.song.apply(recorded);
        self.playlist.apply(recorded);
    }

    fn further_subject(&self) -> Option<Subject> {
        self.song.further_subject().or_else(|| self.playlist.further_subject())
    }
}

/// The present cover, if the editor may change it.
fn cover_of(state: &Covered, editor: &Editor, item: Item) -> Result<Option<Image>, CoverRejected> {
    match item {
        Item::Artist(_) if !state.artist.exists() => Err(CoverRejected::Artist(ArtistRejected::NotFound)),
        Item::Artist(artist) if !editor.manages(artist) => {
            Err(CoverRejected::Artist(ArtistRejected::NotManaged))
        }
        Item::Artist(_) => Ok(state.artist.image),
        Item::Album(_) => match state.album.for_editor(editor) {
            Ok(_) => Ok(state.album.cover),
            Err(rejected) => Err(CoverRejected::Album(rejected)),
        },
        Item::Song(_) => match for_editor(&state.song, editor) {
            Ok(_) => Ok(state.song.cover),
            Err(rejected) => Err(CoverRejected::Song(rejected)),
        },
        // As its details: collaborators change the entries only.
        Item::Playlist(_) => match state.playlist.owned_by(editor.user) {
            Ok(list) => Ok(list.cover),
            Err(rejected) => Err(CoverRejected::Playlist(rejected)),
        },
    }
}

fn change(
    state: &Covered,
    editor: &Editor,
    item: Item,
    cover: Option<Image>,
) -> Result<Option<Event>, CoverRejected> {
    let before = cover_of(state, editor, item)?;
    Ok((before != cover).then(|| item.event(cover)))
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// A merged artist is the one that it was merged into.
    async fn artist_to_cover(&self, artist: ArtistId) -> Result<Item, CommandError<CoverRejected>> {
        Ok(Item::Artist(self.find_artist(artist).await?.0))
    }

    /// The user, if the cover is theirs to change.
    async fn cover_editor(&self, user: UserId, item: Item) -> Result<Editor, CommandError<CoverRejected>> {
        let editor = match item {
            Item::Artist(artist) => self.editor(user, [artist]).await?,
            Item::Album(album) => self.album_for(user, album).await?.1,
            Item::Song(song) => self.song_for(user, song).await?.1,
            Item::Playlist(_) => self.editor(user, []).await?,
        };
        let state: Covered = self.read_whole_state(item.subject()).await?;
        cover_of(&state, &editor, item).map_err(CommandError::Rejected)?;
        Ok(editor)
    }

    /// Stores and sets a cover. A replay returns the cover that the first request stored.
    async fn set_cover(
        &self,
        context: &Context,
        editor: &Editor,
        item: Item,
        picture: Bytes,
    ) -> Result<(Image, Outcome), CommandError<CoverRejected>> {
        if let Some(before) = self.cover_before(context, item).await? {
            return Ok(before);
        }
        let stored = self.store_picture(context, editor.user, picture, ImageVariant::OF_COVER).await;
        let cover = stored.map_err(|error| error.map_rejection(CoverRejected::Image))?.image;
        let outcome = self.change_cover(context, editor, item, Some(cover)).await?;
        // A concurrent copy of the request was faster: its cover is the one that is shown.
        if outcome.replayed
            && let Some(before) = self.cover_before(context, item).await?
        {
            return Ok(before);
        }
        Ok((cover, outcome))
    }

    async fn remove_cover(
        &self,
        context: &Context,
        user: UserId,
        item: Item,
    ) -> Result<Outcome, CommandError<CoverRejected>> {
        let editor = self.cover_editor(user, item).await?;
        self.change_cover(context, &editor, item, None).await
    }

    async fn change_cover(
        &self,
        context: &Context,
        editor: &Editor,
        item: Item,
        cover: Option<Image>,
    ) -> Result<Outcome, CommandError<CoverRejected>> {
        let decide = |state: &Covered| change(state, editor, item, cover);
        let outcome = self.execute(context, item.subject(), &[], decide).await?;
        if let Item::Playlist(playlist) = item {
            self.playlist_changed(context, playlist, outcome).await;
        }
        Ok(outcome)
    }

    async fn cover_before(
        &self,
        context: &Context,
        item: Item,
    ) -> Result<Option<(Image, Outcome)>, CommandError<CoverRejected>> {
        let before = self.replayed_event(context, item.subject()).await?;
        Ok(before.and_then(|(event, outcome)| Some((cover_in(&event)?, outcome))))
    }

    /// Receives a cover, for all handlers.
    async fn receive_cover(
        &self,
        user: UserId,
        item: Item,
        (context, prefer): (Context, Prefer),
        request: Request,
    ) -> Result<Response, Problem> {
        let _slot = self.begin_upload(user)?;
        let picture = web::extract::body(request, &()).await?;
        // Before the picture is processed, which is work.
        let editor = self.cover_editor(user, item).await?;
        let context = context.with_actor(user).with_payload([picture.as_ref()]);
        let (image, outcome) = self.set_cover(&context, &editor, item, picture).await?;
        let id = image.media.to_string();
        let cover = Cover::new(&self.public_url, &id);
        Ok(self.receipt_with(prefer, outcome, |receipt| CoverReceipt { receipt, id, cover }).await)
    }
}

fn cover_in(event: &Event) -> Option<Image> {
    match event {
        Event::Music(MusicEvent::Artist(ArtistEvent::ArtistImageChanged(event))) => event.image,
        Event::Music(MusicEvent::Album(AlbumEvent::AlbumCoverChanged(event))) => event.cover,
        Event::Music(MusicEvent::Song(SongEvent::SongCoverChanged(event))) => event.cover,
        Event::Music(MusicEvent::Playlist(PlaylistEvent::PlaylistCoverChanged(event))) => event.cover,
        Event::Music(_) | Event::Accounts(_) | Event::Social(_) | Event::Mail(_) | Event::Operations(_) => {
            None
        }
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(set_artist_image, delete_artist_image))
        .routes(routes!(set_album_cover, delete_album_cover))
        .routes(routes!(set_song_cover, delete_song_cover))
        .routes(routes!(set_playlist_cover, delete_playlist_cover))
        .layer(DefaultBodyLimit::max(IMAGE_LIMIT))
}

#[derive(Debug, Serialize, ToSchema)]
struct CoverReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the picture.
    id: String,
    cover: Cover,
}

/// Change the picture of an artist
///
/// For its managers and admins. The body is the image file itself, of at most 20 MB. It is cropped to a square.
#[utoipa::path(
    put, path = "/v1/artists/{artist}/image", tag = "artists", security(("token" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = CoverReceipt), (status = 202, body = CoverReceipt), Problems)
)]
async fn set_artist_image(
    State(commands): State<Commands>,
    session: Session,
    Path(artist): Path<ArtistId>,
    context: Context,
    prefer: Prefer,
    request: Request,
) -> Result<Response, Problem> {
    let item = commands.artist_to_cover(artist).await?;
    commands.receive_cover(session.user, item, (context, prefer), request).await
}

/// Remove the picture of an artist
///
/// For its managers and admins.
#[utoipa::path(
    delete, path = "/v1/artists/{artist}/image", tag = "artists", security(("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_artist_image(
    State(commands): State<Commands>,
    session: Session,
    Path(artist): Path<ArtistId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let item = commands.artist_to_cover(artist).await?;
    let outcome = commands.remove_cover(&context.with_actor(session.user), session.user, item).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Change the cover of an album
///
/// For managers of one of its main artists, and admins. The body is the image file itself, of at most 20 MB. It is cropped to a
/// square. Songs of the album without a cover of their own show it.
#[utoipa::path(
    put, path = "/v1/albums/{album}/cover", tag = "albums", security(("token" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = CoverReceipt), (status = 202, body = CoverReceipt), Problems)
)]
async fn set_album_cover(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
    request: Request,
) -> Result<Response, Problem> {
    commands.receive_cover(session.user, Item::Album(album), (context, prefer), request).await
}

/// Remove the cover of an album
///
/// For managers of one of its main artists, and admins.
#[utoipa::path(
    delete, path = "/v1/albums/{album}/cover", tag = "albums", security(("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_album_cover(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let context = context.with_actor(session.user);
    let outcome = commands.remove_cover(&context, session.user, Item::Album(album)).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Change the cover of a song
///
/// For its publisher, managers of one of its main artists, and admins. The body is the image file itself, of at most 20 MB. It
/// is cropped to a square.
#[utoipa::path(
    put, path = "/v1/songs/{song}/cover", tag = "songs", security(("token" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = CoverReceipt), (status = 202, body = CoverReceipt), Problems)
)]
async fn set_song_cover(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
    request: Request,
) -> Result<Response, Problem> {
    commands.receive_cover(session.user, Item::Song(song), (context, prefer), request).await
}

/// Remove the cover of a song
///
/// For its publisher, managers of one of its main artists, and admins. Then the song shows the cover of its album.
#[utoipa::path(
    delete, path = "/v1/songs/{song}/cover", tag = "songs", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_song_cover(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let context = context.with_actor(session.user);
    let outcome = commands.remove_cover(&context, session.user, Item::Song(song)).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Change the cover of a playlist
///
/// For its owner. The body is the image file itself, of at most 20 MB. It is cropped to a square.
#[utoipa::path(
    put, path = "/v1/playlists/{playlist}/cover", tag = "playlists", security(("token" = [])),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = CoverReceipt), (status = 202, body = CoverReceipt), Problems)
)]
async fn set_playlist_cover(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
    request: Request,
) -> Result<Response, Problem> {
    commands.receive_cover(session.user, Item::Playlist(playlist), (context, prefer), request).await
}

/// Remove the cover of a playlist
///
/// For its owner.
#[utoipa::path(
    delete, path = "/v1/playlists/{playlist}/cover", tag = "playlists", security(("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_playlist_cover(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let context = context.with_actor(session.user);
    let outcome = commands.remove_cover(&context, session.user, Item::Playlist(playlist)).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use events::{MediaId, Role};
    use uuid::Uuid;

    use super::*;
    use crate::music::songs::testing::details;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const ARTIST: ArtistId = ArtistId::new(Uuid::from_u128(0xa1));
    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));

    fn image(n: u128) -> Image {
        Image { media: MediaId::new(Uuid::from_u128(n)), width: 1000, height: 1000 }
    }

    #[test]
    fn cover_is_changed_and_removed_by_editors_only() {
        let state = |cover| Covered {
            song: SongState::of(ANN, details(ARTIST)).with_cover(cover),
            ..Covered::default()
        };
        let (bare, covered) = (state(None), state(Some(image(1))));
        let item = Item::Song(SONG);
        let changed = |cover| Some(Event::from(SongCoverChanged { song: SONG, cover }));
        for editor in [Editor::of(ANN, &[], &[]), Editor::of(BOB, &[Role::Artist], &[ARTIST])] {
            assert_eq!(change(&bare, &editor, item, Some(image(1))).unwrap(), changed(Some(image(1))));
            assert_eq!(change(&covered, &editor, item, Some(image(1))).unwrap(), None);
            assert_eq!(change(&covered, &editor, item, Some(image(2))).unwrap(), changed(Some(image(2))));
            assert_eq!(change(&covered, &editor, item, None).unwrap(), changed(None));
            assert_eq!(change(&bare, &editor, item, None).unwrap(), None);
        }
        let other = change(&bare, &Editor::of(BOB, &[Role::Artist], &[]), item, None);
        assert!(matches!(other, Err(CoverRejected::Song(SongRejected::NotYours))), "{other:?}");
    }

    #[test]
    fn artists_and_albums_must_exist() {
        let admin = Editor::of(ANN, &[Role::Admin], &[]);
        let album = Item::Album(AlbumId::new(Uuid::from_u128(0xa2)));
        for item in [Item::Artist(ARTIST), album, Item::Song(SONG)] {
            let refused = change(&Covered::default(), &admin, item, Some(image(1)));
            assert!(
                matches!(
                    refused,
                    Err(CoverRejected::Artist(ArtistRejected::NotFound)
                        | CoverRejected::Album(AlbumRejected::NotFound)
                        | CoverRejected::Song(SongRejected::NotFound))
                ),
                "{item:?}: {refused:?}"
            );
        }
    }
}
