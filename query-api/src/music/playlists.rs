//! Playlists: their details, entries and history. A private one is found by its owner and collaborators only.

mod transfer;

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{PlaylistId, UserId};
use resources::{Cover, Person, Song as SongPage};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::music::playlists::{
    Change, ChangeKind, ENTRIES, Entry, HISTORY, IN_ORDER, MEMBERS, Member, NEWEST_CHANGES, OF_PLAYLIST,
    OF_USER, PUBLIC_OF_OWNER, Playlist, VIEW, member_key,
};
use views::music::songs::{self, Song};
use views::music::{albums, artists, library};
use views::{Cursor, PageOf as Found, Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging, ROUNDS};
use crate::{Queries, store_problem};

/// The views of all answers. One projection writes those of playlists together.
const VIEWS: [&str; 6] = [
    VIEW.name,
    profiles::VIEW.name,
    songs::VIEW.name,
    albums::VIEW.name,
    artists::VIEW.name,
    library::VIEW.name,
];
/// Members of one playlist: the owner, and as many collaborators as commands allow.
const MEMBERS_LIMIT: usize = 101;
/// Entries of one playlist, as many as commands allow.
const ENTRIES_LIMIT: usize = 10_000;
/// Songs whose lengths are loaded at once, so that memory stays small.
const LENGTHS_AT_ONCE: usize = 500;
/// Reads of entries until they belong to one version. A list that changes all the time is answered after the last.
const VERSION_ROUNDS: usize = 20;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(get_playlist))
        .routes(routes!(list_entries))
        .routes(routes!(list_history))
        .routes(routes!(list_own_playlists))
        .routes(routes!(list_playlists_of_user))
        .merge(transfer::routes())
}

/// A playlist.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Playlist)]
pub(super) struct PlaylistSummary {
    id: String,
    owner: Person,
    #[schema(example = "Road trip")]
    name: String,
    #[schema(example = "For long drives")]
    description: String,
    /// Null if the owner has set none.
    cover: Option<Cover>,
    /// Whether everybody can see it.
    public: bool,
    /// Number of entries.
    entries: i64,
    /// The version of the entries. An edit can name the version that its client has seen.
    #[schema(example = 4711)]
    version: i64,
    created_at: DateTime<Utc>,
    /// The last change of entries or details.
    changed_at: DateTime<Utc>,
}

/// A playlist with the people who edit it.
#[derive(Debug, Serialize, ToSchema)]
struct PlaylistPage {
    #[serde(flatten)]
    playlist: PlaylistSummary,
    /// Milliseconds of all songs together that the caller can see.
    #[schema(example = 5_400_000)]
    duration_ms: i64,
    collaborators: Vec<Person>,
    /// The caller's relation to the playlist; null without log-in.
    viewer: Option<PlaylistViewer>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PlaylistViewer {
    /// Whether the caller may change the entries.
    can_edit: bool,
}

/// An entry of a playlist.
#[derive(Debug, Serialize, ToSchema)]
struct PlaylistEntry {
    /// Id of the entry. The same song can have several entries.
    id: String,
    /// Null if the song was removed, or is not visible to the caller.
    song: Option<SongPage>,
    /// What stands in place of the song; null if there is a song.
    gap: Option<Gap>,
    /// Null if the user is unknown or not visible.
    added_by: Option<Person>,
    added_at: DateTime<Utc>,
}

/// An entry without a song. It keeps its place, and is moved and removed like others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PlaylistGap)]
struct Gap {
    reason: GapReason,
    /// Title of the removed song; null if the song is hidden.
    #[schema(example = "Dawn")]
    title: Option<String>,
    /// The artists as the removed song showed them; null if the song is hidden.
    #[schema(example = "The Lakes feat. Ann Lee")]
    display_artist: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PlaylistGapReason)]
enum GapReason {
    /// The song, or its album, was removed.
    Removed,
    /// The song is private to another user.
    Hidden,
}

impl Gap {
    /// Says nothing about a private song of another user, removed or not.
    fn of(song: Option<&Song>, viewer: Option<&str>) -> Self {
        let is_known =
            |song: &&Song| song.visibility != songs::PRIVATE || viewer == Some(song.publisher.as_str());
        match song.filter(is_known) {
            Some(song) => Self {
                reason: GapReason::Removed,
                title: Some(song.title.clone()),
                display_artist: Some(song.display_artist.clone()),
            },
            None => Self { reason: GapReason::Hidden, title: None, display_artist: None },
        }
    }
}

/// What an entry shows.
enum EntryContent {
    Song(Box<SongPage>),
    Gap(Gap),
}

/// A page of the entries of a playlist.
#[derive(Debug, Serialize, ToSchema)]
struct EntriesPage {
    items: Vec<PlaylistEntry>,
    /// Path and query of the next page; null on the last page.
    next: Option<String>,
    /// The `cursor` of the next page alone; null on the last page.
    next_cursor: Option<String>,
    /// The version of the entries. Pages with the same version fit together.
    #[schema(example = 4711)]
    version: i64,
}

#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PlaylistChangeKind {
    Created,
    DetailsChanged,
    MadePublic,
    MadePrivate,
    CoverChanged,
    CollaboratorAdded,
    CollaboratorRemoved,
    EntriesAdded,
    EntriesMoved,
    EntriesRemoved,
    EntriesReplaced,
    Restored,
}

impl From<ChangeKind> for PlaylistChangeKind {
    fn from(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Created => Self::Created,
            ChangeKind::DetailsChanged => Self::DetailsChanged,
            ChangeKind::MadePublic => Self::MadePublic,
            ChangeKind::MadePrivate => Self::MadePrivate,
            ChangeKind::CoverChanged => Self::CoverChanged,
            ChangeKind::CollaboratorAdded => Self::CollaboratorAdded,
            ChangeKind::CollaboratorRemoved => Self::CollaboratorRemoved,
            ChangeKind::EntriesAdded => Self::EntriesAdded,
            ChangeKind::EntriesMoved => Self::EntriesMoved,
            ChangeKind::EntriesRemoved => Self::EntriesRemoved,
            ChangeKind::EntriesReplaced => Self::EntriesReplaced,
            ChangeKind::Restored => Self::Restored,
        }
    }
}

/// A change of a playlist.
#[derive(Debug, Serialize, ToSchema)]
struct PlaylistHistoryItem {
    change: PlaylistChangeKind,
    /// Null if the user is unknown or not visible.
    by: Option<Person>,
    at: DateTime<Utc>,
    /// Number of entries that were added, moved or removed; of the whole list if it was replaced or restored.
    entries: i64,
    /// The collaborator who was added or removed; null for other changes, and if the user is not visible.
    collaborator: Option<Person>,
    /// The version that was restored; null for other changes.
    #[schema(example = 4700)]
    restored: Option<i64>,
    /// The version of the entries that the change made, which can be restored; null if it did not change them.
    #[schema(example = 4711)]
    version: Option<i64>,
}

fn time(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
}

/// Also the answer for a private playlist, so that its existence is not revealed.
fn missing() -> Problem {
    Problem::not_found("There is no such playlist")
}

impl Queries {
    /// The playlist if the viewer may see it, and whether they may change its entries.
    async fn visible_playlist(
        &self,
        playlist: PlaylistId,
        viewer: Option<Session>,
    ) -> Result<(Playlist, bool), Problem> {
        let id = playlist.to_string();
        let found: Option<Playlist> = self.store.get(&id).await.map_err(store_problem)?;
        let found = found.filter(|found| found.shown).ok_or_else(missing)?;
        let is_member = match viewer {
            None => false,
            Some(session) => {
                let key = member_key(&id, &session.user.to_string());
                self.store.get::<Member>(&key).await.map_err(store_problem)?.is_some()
            }
        };
        if found.listed || is_member { Ok((found, is_member)) } else { Err(missing()) }
    }

    /// These playlists with their owners. A playlist of an invisible owner is left out.
    pub(super) async fn show_playlists(
        &self,
        playlists: Vec<Playlist>,
    ) -> Result<Vec<PlaylistSummary>, Problem> {
        let owners = self.people(playlists.iter().map(|playlist| playlist.owner.clone())).await?;
        let shown = playlists.into_iter().filter(|playlist| playlist.shown).filter_map(|playlist| {
            let owner = owners.get(&playlist.owner)?.clone();
            Some(PlaylistSummary {
                id: playlist.playlist,
                owner,
                name: playlist.name,
                description: playlist.description,
                cover: playlist.cover.as_ref().map(|cover| self.cover(cover)),
                public: playlist.public,
                entries: playlist.entries,
                version: playlist.version,
                created_at: time(playlist.created),
                changed_at: time(playlist.changed),
            })
        });
        Ok(shown.collect())
    }

    /// A page of entries, and the playlist at the same version.
    async fn entries(
        &self,
        playlist: PlaylistId,
        viewer: Option<Session>,
        limit: usize,
        after: Option<&Cursor>,
    ) -> Result<(Playlist, Found<Entry>), Problem> {
        let mut before = self.visible_playlist(playlist, viewer).await?.0;
        let mut rounds = 1;
        loop {
            let equals = vec![json!(playlist), json!(false)];
            let query = Query::new(&ENTRIES, &IN_ORDER, equals, limit).after(after.cloned());
            let found = self.store.page_of::<Entry>(query).await.map_err(store_problem)?;
            // Both are written in one transaction.
            let now = self.visible_playlist(playlist, viewer).await?.0;
            if now.version == before.version || rounds == VERSION_ROUNDS {
                // An edit that names the older version is safe in any case.
                return Ok((before, found));
            }
            (before, rounds) = (now, rounds + 1);
        }
    }

    async fn all_entries(
        &self,
        playlist: PlaylistId,
        viewer: Option<Session>,
    ) -> Result<(Playlist, Vec<Entry>), Problem> {
        let (playlist, found) = self.entries(playlist, viewer, ENTRIES_LIMIT, None).await?;
        Ok((playlist, found.documents))
    }

    /// What these entries show, in order.
    async fn contents(
        &self,
        entries: &[Entry],
        viewer: Option<Session>,
    ) -> Result<Vec<EntryContent>, Problem> {
        let viewer = viewer.map(|session| session.user);
        let ids: Vec<String> = entries.iter().map(|entry| entry.song.clone()).collect();
        let found = self.store.get_all::<Song>(&ids).await.map_err(store_problem)?;
        let viewing = viewer.map(|viewer| viewer.to_string());
        let gaps: Vec<Gap> = found.iter().map(|song| Gap::of(song.as_ref(), viewing.as_deref())).collect();
        let songs = self.show_songs(found, viewer).await?.into_iter();
        let content = |(song, gap): (Option<SongPage>, Gap)| {
            song.map_or(EntryContent::Gap(gap), |song| EntryContent::Song(Box::new(song)))
        };
        Ok(songs.zip(gaps).map(content).collect())
    }

    /// Milliseconds of all songs that the viewer sees. Not stored: which songs they are depends on the viewer and on the songs.
    async fn duration(&self, playlist: PlaylistId, session: Option<Session>) -> Result<i64, Problem> {
        let viewer = session.map(|session| session.user.to_string());
        let (_, entries) = self.all_entries(playlist, session).await?;
        let distinct: BTreeSet<&String> = entries.iter().map(|entry| &entry.song).collect();
        let distinct: Vec<String> = distinct.into_iter().cloned().collect();
        let mut lengths: HashMap<String, i64> = HashMap::with_capacity(distinct.len());
        for ids in distinct.chunks(LENGTHS_AT_ONCE) {
            let songs = self.store.get_all::<Song>(ids).await.map_err(store_problem)?.into_iter().flatten();
            let visible = songs.filter(|song| song.is_visible_to(viewer.as_deref()));
            lengths.extend(visible.map(|song| (song.song, song.file.duration)));
        }
        Ok(entries.iter().filter_map(|entry| lengths.get(&entry.song)).sum())
    }

    async fn own_playlists(&self, user: UserId, paging: &Paging) -> Result<PageOf<PlaylistSummary>, Problem> {
        let (mut items, mut after) = (Vec::new(), paging.after(&OF_USER)?);
        for _ in 0..ROUNDS {
            let limit = paging.limit - items.len();
            let query = Query::new(&MEMBERS, &OF_USER, vec![json!(user)], limit).after(after);
            let found = self.store.page_of::<Member>(query).await.map_err(store_problem)?;
            let keys: Vec<String> = found.documents.into_iter().map(|member| member.playlist).collect();
            let playlists = self.store.get_all::<Playlist>(&keys).await.map_err(store_problem)?;
            items.extend(self.show_playlists(playlists.into_iter().flatten().collect()).await?);
            after = found.next;
            if after.is_none() || items.len() == paging.limit {
                break;
            }
        }
        Ok(paging.page(items, after.as_ref(), &OF_USER))
    }

    async fn collaborators(&self, playlist: PlaylistId) -> Result<Vec<Person>, Problem> {
        let query = Query::new(&MEMBERS, &OF_PLAYLIST, vec![json!(playlist)], MEMBERS_LIMIT);
        let members = self.store.page_of::<Member>(query).await.map_err(store_problem)?.documents;
        let users = members.into_iter().filter(|member| !member.is_owner).map(|member| member.user);
        let users: Vec<String> = users.collect();
        let mut people = self.people(users.iter().cloned()).await?;
        Ok(users.iter().filter_map(|user| people.remove(user)).collect())
    }
}

fn one_of(people: &HashMap<String, Person>, user: Option<&String>) -> Option<Person> {
    user.and_then(|user| people.get(user)).cloned()
}

/// Get a playlist
///
/// A private playlist is found by its owner and collaborators only.
#[utoipa::path(
    get, path = "/v1/playlists/{playlist}", tag = "playlists", security((), ("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = PlaylistPage), (status = 304), Problems)
)]
async fn get_playlist(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(playlist): Path<PlaylistId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let (found, can_edit) = queries.visible_playlist(playlist, viewer).await?;
    let collaborators = queries.collaborators(playlist).await?;
    let duration_ms = queries.duration(playlist, viewer).await?;
    let playlist = queries.show_playlists(vec![found]).await?.pop().ok_or_else(missing)?;
    let viewer = viewer.map(|_| PlaylistViewer { can_edit });
    answer(&conditions, caught_up, &PlaylistPage { playlist, duration_ms, collaborators, viewer })
}

/// List the entries of a playlist, in order
///
/// Each has its song, or a gap if the song was removed or is not visible to the caller.
#[utoipa::path(
    get, path = "/v1/playlists/{playlist}/entries", tag = "playlists", security((), ("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = EntriesPage), (status = 304), Problems)
)]
async fn list_entries(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(playlist): Path<PlaylistId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let after = paging.after(&IN_ORDER)?;
    let (Playlist { version, .. }, found) =
        queries.entries(playlist, viewer, paging.limit, after.as_ref()).await?;
    let added_by: Vec<String> = found.documents.iter().filter_map(|entry| entry.added_by.clone()).collect();
    let people = queries.people(added_by.into_iter()).await?;
    let contents = queries.contents(&found.documents, viewer).await?;
    let items = found.documents.into_iter().zip(contents).map(|(entry, content)| {
        let (song, gap) = match content {
            EntryContent::Song(song) => (Some(*song), None),
            EntryContent::Gap(gap) => (None, Some(gap)),
        };
        PlaylistEntry {
            added_by: one_of(&people, entry.added_by.as_ref()),
            added_at: time(entry.added),
            id: entry.entry,
            song,
            gap,
        }
    });
    let PageOf { items, next, next_cursor } = paging.page(items.collect(), found.next.as_ref(), &IN_ORDER);
    answer(&conditions, caught_up, &EntriesPage { items, next, next_cursor, version })
}

/// List the changes of a playlist, newest first
///
/// A change that made a version can be restored.
#[utoipa::path(
    get, path = "/v1/playlists/{playlist}/history", tag = "playlists", security((), ("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<PlaylistHistoryItem>), (status = 304), Problems)
)]
async fn list_history(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(playlist): Path<PlaylistId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    queries.visible_playlist(playlist, viewer).await?;
    let query = Query::new(&HISTORY, &NEWEST_CHANGES, vec![json!(playlist)], paging.limit);
    let found = queries.page_of::<Change>(query, &paging).await?;
    let mut users: Vec<String> = Vec::new();
    for change in &found.documents {
        users.extend([&change.by, &change.user].into_iter().flatten().cloned());
    }
    let people = queries.people(users.into_iter()).await?;
    let items = found.documents.into_iter().map(|change| PlaylistHistoryItem {
        change: change.kind.into(),
        by: one_of(&people, change.by.as_ref()),
        at: time(change.at),
        entries: change.entries,
        collaborator: one_of(&people, change.user.as_ref()),
        restored: change.restored,
        version: change.is_version.then_some(change.position),
    });
    answer(&conditions, caught_up, &paging.page(items.collect(), found.next.as_ref(), &NEWEST_CHANGES))
}

/// List the playlists that the user owns or edits, newest first
#[utoipa::path(
    get, path = "/v1/me/playlists", tag = "playlists", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<PlaylistSummary>), (status = 304), Problems)
)]
async fn list_own_playlists(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    answer(&conditions, caught_up, &queries.own_playlists(session.user, &paging).await?)
}

/// List the public playlists of a user, newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/playlists", tag = "playlists", security((), ("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<PlaylistSummary>), (status = 304), Problems)
)]
async fn list_playlists_of_user(
    State(queries): State<Queries>,
    _viewer: Option<Session>,
    Path(user): Path<UserId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let query = Query::new(&VIEW, &PUBLIC_OF_OWNER, vec![json!(user), json!(true)], paging.limit);
    let found = queries.page_of::<Playlist>(query, &paging).await?;
    let items = queries.show_playlists(found.documents).await?;
    answer(&conditions, caught_up, &paging.page(items, found.next.as_ref(), &PUBLIC_OF_OWNER))
}
