//! Long playlists, each on a deployment of its own, since they keep its projections busy: the largest list, and one with 50,000
//! edits (5,000 on NATS), which is loaded by its snapshot.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use chrono::DateTime;
use events::{
    Draft, EntriesAdded, EntriesMoved, EntriesRemoved, EntryId, Event, EventId, Freshness, MusicEvent,
    Neighbours, PlaylistId, PlaylistSnapshotEvent, Position, SealedLog, SongId, Subject, UserId,
};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::{Chorus, Service};
use uuid::Uuid;

const EDITS: usize = 50_000;
/// Fewer, since each is a message of its own there.
const EDITS_DISTRIBUTED: usize = 5_000;
/// Commands while the edits are appended.
const COMMANDS: usize = 10;
/// Appends that do not wait for each other.
const TOGETHER: usize = 500;
/// Events that are read at most: as many as lead to a snapshot.
const READ_LIMIT: usize = 400;

/// Appends edits of one playlist as commands would.
struct Editor {
    log: SealedLog,
    playlist: PlaylistId,
    owner: UserId,
    song: SongId,
    rng: StdRng,
    /// The entries after all edits so far.
    entries: Vec<EntryId>,
    /// The entries that were removed, in that order.
    removed: Vec<EntryId>,
    /// Position of the last event of the playlist.
    last: Position,
}

impl Editor {
    fn between(&self, at: usize) -> Neighbours {
        let entry = |place: Option<usize>| place.and_then(|place| self.entries.get(place)).copied();
        Neighbours { after: entry(at.checked_sub(1)), before: entry(Some(at)) }
    }

    /// A random edit, which keeps the list between 50 and 150 entries.
    fn edit(&mut self) -> Draft {
        let (playlist, id) = (self.playlist, EventId::new(Uuid::from_u128(self.rng.random())));
        let kind = match self.entries.len() {
            0..50 => 0,
            150.. => 1,
            _ => self.rng.random_range(0..3),
        };
        let event: Event = if kind == 0 {
            let at = self.rng.random_range(0..=self.entries.len());
            let between = self.between(at);
            self.entries.insert(at, EntryId::of_event(id, 0));
            EntriesAdded { playlist, songs: vec![self.song], between }.into()
        } else {
            let entry = self.entries.remove(self.rng.random_range(0..self.entries.len()));
            if kind == 1 {
                self.removed.push(entry);
                EntriesRemoved { playlist, entries: vec![entry] }.into()
            } else {
                let at = self.rng.random_range(0..=self.entries.len());
                let between = self.between(at);
                self.entries.insert(at, entry);
                EntriesMoved { playlist, entries: vec![entry], between }.into()
            }
        };
        Draft {
            id,
            time: DateTime::UNIX_EPOCH,
            actor: Some(self.owner),
            correlation: Uuid::from_u128(self.rng.random()),
            causation: None,
            traceparent: None,
            event,
        }
    }

    /// Appends edits. Each expects the one before it at the next position, which another event may take: then those behind it
    /// are appended again.
    async fn append(&mut self, count: usize) {
        let mut drafts: Vec<Draft> = (0..count).map(|_| self.edit()).collect();
        while !drafts.is_empty() {
            let head = self.log.raw().head().await.unwrap().0;
            let appends = drafts.iter().take(TOGETHER).zip(0..).map(|(draft, number)| {
                let expected = if number == 0 { self.last } else { Position(head + number) };
                self.log.append(draft.clone(), expected)
            });
            let mut outcomes = join_all(appends).await.into_iter();
            let first = outcomes.next().unwrap().unwrap_or_else(|error| panic!("at {head}: {error:?}"));
            let appended: Vec<Position> = outcomes.map_while(Result::ok).collect();
            self.last = appended.last().copied().unwrap_or(first);
            drafts.drain(..=appended.len());
        }
    }
}

async fn loads_by_its_snapshot(mut chorus: Chorus, writer: Service, edits: usize) {
    let (api, artist) = (chorus.api(), chorus.artist("singer").await);
    let song = api.publish_song(&artist, "Dawn").await;
    let created =
        api.post_as(&artist, "/v1/playlists", &json!({ "name": "Long", "public": true })).await.expect(201);
    let (id, path) = (created.id(), format!("/v1/playlists/{}", created.id()));
    let playlist: PlaylistId = id.parse().unwrap();
    let mut editor = Editor {
        log: chorus.log().await.unwrap(),
        playlist,
        owner: artist.id.parse().unwrap(),
        song: song.parse().unwrap(),
        rng: StdRng::seed_from_u64(1),
        entries: Vec::new(),
        removed: Vec::new(),
        last: Position(created.json()["version"].as_u64().unwrap()),
    };
    let add = async |place: Value| {
        let mut body = place;
        body["songs"] = json!([song]);
        api.post_as(&artist, &format!("{path}/entries"), &body).await
    };
    for _ in 0..COMMANDS {
        // What follows from the events so far is appended before, not between the edits.
        chorus.settle().await.unwrap();
        editor.append(edits / COMMANDS).await;
        // A command that finds many events takes a snapshot.
        let added = add(json!({ "at": "end" })).await.expect(200).json();
        editor.entries.push(added["entries"][0].as_str().unwrap().parse().unwrap());
        editor.last = Position(added["version"].as_u64().unwrap());
    }
    let snapshots = [Subject::PlaylistSnapshot(playlist)];
    let snapshot = editor.log.last(&snapshots, Freshness::Latest).await.unwrap().remove(0).unwrap();
    let Event::Music(MusicEvent::PlaylistSnapshot(PlaylistSnapshotEvent::PlaylistSnapshot(snapshot))) =
        snapshot.event
    else {
        panic!("{:?}", snapshot.event)
    };
    let behind = editor.log.read(Subject::Playlist(playlist), snapshot.position).await.unwrap().len();
    assert!(behind <= READ_LIMIT, "{behind} events must be read behind the last snapshot");

    // A new process has nothing in memory.
    chorus.kill(writer).unwrap();
    chorus.start_again(writer).await.unwrap();
    // Entries that were removed before the snapshot are not known any more; later ones are.
    let first = json!({ "after": editor.removed[0] });
    add(first).await.problem(409, "version-too-old");
    let recent = json!({ "after": editor.removed.last().unwrap() });
    let added = add(recent).await.expect(200).json();
    let added: EntryId = added["entries"][0].as_str().unwrap().parse().unwrap();
    let start = json!({ "entries": [added], "at": "start" });
    let moved = api.post_as(&artist, &format!("{path}/entries/move"), &start).await.expect(200).json();
    let version = moved["version"].as_u64().unwrap();
    // A restoration of the version before, then of one that is older than the last snapshot.
    let restore = async |version: u64| {
        let body = json!({ "version": version });
        api.post_as(&artist, &format!("{path}/restore"), &body).await.expect(200).json()
    };
    assert_eq!(restore(editor.last.0).await["changed"], true);
    restore(created.json()["version"].as_u64().unwrap()).await;
    editor.entries.insert(0, added);
    restore(version).await;

    chorus.settle().await.unwrap();
    let expected: Vec<String> = editor.entries.iter().map(EntryId::to_string).collect();
    let listed = api.all_pages(&format!("{path}/entries?limit=100")).await;
    let listed: Vec<&str> = listed.iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!(listed, expected);
    let shown = api.get(&path).await.expect(200).json();
    assert_eq!(shown["entries"], json!(expected.len()));
}

async fn has_at_most_10000_entries(chorus: Chorus) {
    let (api, artist) = (chorus.api(), chorus.artist("singer").await);
    let song = api.publish_song(&artist, "Dawn").await;
    let created =
        api.post_as(&artist, "/v1/playlists", &json!({ "name": "Long", "public": true })).await.expect(201);
    let path = format!("/v1/playlists/{}", created.id());
    let post = async |below: &str, body: Value| api.post_as(&artist, &format!("{path}{below}"), &body).await;
    let many = |count: usize| json!({ "songs": vec![&song; count] });
    assert_eq!(post("/entries", many(5001)).await.problem(422, "invalid"), ["songs"]);
    let mut entries: Vec<Value> = Vec::new();
    for _ in 0..2 {
        let added = post("/entries", many(5000)).await.expect(200).json();
        entries.extend(added["entries"].as_array().unwrap().clone());
    }
    post("/entries", many(1)).await.problem(409, "playlist-full");
    post("/entries/remove", json!({ "entries": entries[..1] })).await.expect(200);
    post("/entries", json!({ "songs": [song], "at": "start" })).await.expect(200);
    post("/entries", many(1)).await.problem(409, "playlist-full");
    let moved = json!({ "entries": entries[5000..10_000], "at": "start" });
    let version = post("/entries/move", moved).await.expect(200).json()["version"].clone();
    chorus.settle().await.unwrap();
    let shown = api.get(&path).await.expect(200).json();
    assert_eq!((&shown["entries"], &shown["duration_ms"]), (&json!(10_000), &json!(310_000_000)));
    assert_eq!(shown["version"], version);
    let page = api.get(&format!("{path}/entries?limit=100")).await.expect(200).json();
    let listed: Vec<&Value> = page["items"].as_array().unwrap().iter().map(|entry| &entry["id"]).collect();
    assert_eq!(json!(listed), json!(entries[5000..5100]));
    // What is exported fits into an import.
    let m3u8 = api.get(&format!("{path}/export")).await.expect(200);
    assert_eq!(m3u8.text().lines().filter(|line| line.ends_with("/stream")).count(), 10_000);
    let jspf = api.get(&format!("{path}/export?format=jspf")).await.expect(200);
    for file in [m3u8.body, jspf.body] {
        let request = api.request(Method::POST, "/v1/playlists/import").bearer_auth(&artist.token);
        let request = request.header("content-type", "application/octet-stream").body(file);
        let imported = api.send(request).await.expect(201).json();
        assert_eq!((&imported["songs"], &imported["skipped_entries"]), (&json!(10_000), &json!(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_playlist_has_at_most_10000_entries() {
    has_at_most_10000_entries(Chorus::standalone().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_playlist_has_at_most_10000_entries() {
    has_at_most_10000_entries(Chorus::distributed().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standalone_loads_a_long_playlist_by_its_snapshot() {
    loads_by_its_snapshot(Chorus::standalone().await.unwrap(), Service::Chorus, EDITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn distributed_loads_a_long_playlist_by_its_snapshot() {
    let chorus = Chorus::distributed().await.unwrap();
    loads_by_its_snapshot(chorus, Service::CommandApi, EDITS_DISTRIBUTED).await;
}
