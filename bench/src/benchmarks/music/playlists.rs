//! Edits of short and long playlists, and the first edit that a new process makes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use events::{Draft, EntriesMoved, EntryId, Neighbours, PlaylistId, Position, SealedLog, UserId};
use futures::future::try_join_all;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use tests::client::User;
use uuid::Uuid;

use super::get;
use crate::benchmarks::http_load::{Comparison, authorized};
use crate::benchmarks::{Findings, progress};
use crate::deployment::Deployment;
use crate::load::LoadRequest;
use crate::table::{Bound, Ratio};

const EDITORS: usize = 8;
const SHORT_LIST: usize = 10;
const LONG_LIST: usize = 10_000;
/// Entries of one request.
const ADDED_AT_ONCE: usize = 5000;
/// Edits before the first one of a new process, and the commands among them.
const EDITS: usize = 50_000;
const COMMANDS: usize = 10;

/// A playlist with entries.
struct Playlist {
    path: String,
    id: PlaylistId,
    entries: Vec<String>,
    version: u64,
}

impl Playlist {
    async fn create(deployment: &Deployment, owner: &User, song: &str, entries: usize) -> Result<Self> {
        let api = deployment.chorus.api();
        let created = api.post_as(owner, "/v1/playlists", &json!({ "name": "Edited", "public": true })).await;
        let id = created.expect(201).id();
        let mut playlist =
            Self { path: format!("/v1/playlists/{id}"), id: id.parse()?, entries: Vec::new(), version: 0 };
        while playlist.entries.len() < entries {
            let songs = vec![song; ADDED_AT_ONCE.min(entries - playlist.entries.len())];
            let body = json!({ "songs": songs, "at": "end" });
            let added =
                api.post_as(owner, &format!("{}/entries", playlist.path), &body).await.expect(200).json();
            let new = added["entries"].as_array().context("entries")?;
            playlist.entries.extend(new.iter().filter_map(Value::as_str).map(str::to_owned));
            playlist.version = added["version"].as_u64().context("a version")?;
        }
        Ok(playlist)
    }
}

/// One entry after the other is moved to the start, beside conditional appends.
pub(super) async fn edit_playlists(
    deployment: &Deployment,
    artist: &User,
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let name = deployment.engine.name();
    let song = deployment.chorus.api().publish_song(artist, "Dawn").await;
    let mut headers = authorized(artist)?;
    headers.insert(HeaderName::from_static("prefer"), HeaderValue::from_static("respond-async"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut rates = Vec::new();
    for length in [SHORT_LIST, LONG_LIST] {
        progress(&format!("{name}: playlists of {length} entries"));
        let playlists = (0..EDITORS).map(|_| Playlist::create(deployment, artist, &song, length));
        let playlists = try_join_all(playlists).await?;
        let chorus = |_| {
            let source = |playlist: &Playlist| {
                let (path, entries) = (format!("{}/entries/move", playlist.path), playlist.entries.clone());
                let headers = headers.clone();
                move || {
                    let entry = entries.choose(&mut rand::rng()).context("an entry")?;
                    let body = json!({ "entries": [entry], "at": "start" }).to_string().into();
                    let (path, headers) = (path.clone(), headers.clone());
                    Ok(LoadRequest { method: Method::POST, path, headers, body })
                }
            };
            playlists.iter().map(source).collect::<Vec<_>>()
        };
        let baseline = |_| {
            let source = || {
                let subject = Uuid::from_u128(rand::random()).simple().to_string();
                move || {
                    let user = Uuid::from_u128(rand::random()).simple();
                    let path = format!("/posts/{subject}/like/{user}");
                    Ok(LoadRequest { method: Method::PUT, ..get(path) })
                }
            };
            (0..EDITORS).map(|_| source()).collect::<Vec<_>>()
        };
        let what = format!("edit of a playlist of {length} entries, against a conditional append");
        let comparison = Comparison {
            what: &what,
            bound: Bound::AtLeast(0.5),
            goal: None,
            expected: StatusCode::ACCEPTED,
            time,
        };
        let writer = deployment.address(deployment.engine.writer())?;
        comparison.run(deployment, writer, chorus, baseline, findings).await?;
        rates.extend(findings.ratios.last().map(|ratio| (ratio.chorus.clone(), ratio.value)));
    }
    if let [(short, of_short), (long, of_long)] = rates.as_slice() {
        findings.ratios.push(Ratio {
            what: format!("the edit of {LONG_LIST} entries, beside that of {SHORT_LIST}"),
            engine: name,
            chorus: long.clone(),
            baseline: short.clone(),
            value: of_long / of_short,
            bound: Bound::AtLeast(0.5),
            goal: None,
        });
    }
    Ok(())
}

/// Appends moves of entries to the start, as commands would.
async fn append_moves(log: &SealedLog, owner: UserId, playlist: &mut Playlist, count: usize) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(playlist.version);
    let mut entries: Vec<EntryId> =
        playlist.entries.iter().map(|entry| Ok(entry.parse()?)).collect::<Result<_>>()?;
    for _ in 0..count {
        let entry = entries.remove(rng.random_range(1..entries.len()));
        let between = Neighbours { after: None, before: entries.first().copied() };
        entries.insert(0, entry);
        let moved = EntriesMoved { playlist: playlist.id, entries: vec![entry], between };
        playlist.version = log
            .append(
                Draft { actor: Some(owner), ..Draft::without_cause(SystemClock.now(), moved) },
                Position(playlist.version),
            )
            .await?
            .0;
    }
    playlist.entries = entries.iter().map(EntryId::to_string).collect();
    Ok(())
}

/// The first edit that a new process makes of a playlist with many entries and edits.
pub(super) async fn first_edit(
    deployment: &mut Deployment,
    artist: &User,
    findings: &mut Findings,
) -> Result<()> {
    let (name, writer) = (deployment.engine.name(), deployment.engine.writer());
    progress(&format!("{name}: a playlist with {EDITS} edits"));
    let api = deployment.chorus.api();
    let song = api.publish_song(artist, "Dusk").await;
    let mut playlist = Playlist::create(deployment, artist, &song, LONG_LIST - COMMANDS - 2).await?;
    let (log, owner) = (deployment.chorus.log().await?, artist.id.parse()?);
    let add = async |playlist: &Playlist| {
        let body = json!({ "songs": [song], "at": "end" });
        api.post_as(artist, &format!("{}/entries", playlist.path), &body).await.expect(200).json()
    };
    for _ in 0..COMMANDS {
        append_moves(&log, owner, &mut playlist, EDITS / COMMANDS).await?;
        // A command that finds many events takes a snapshot.
        let added = add(&playlist).await;
        playlist.version = added["version"].as_u64().context("a version")?;
    }
    deployment.chorus.settle().await?;
    deployment.chorus.kill(writer)?;
    deployment.chorus.start_again(writer).await?;
    let started = Instant::now();
    add(&playlist).await;
    let first = started.elapsed();
    let started = Instant::now();
    add(&playlist).await;
    findings.figures.push((
        format!("first edit of a playlist of {LONG_LIST} entries after {EDITS} edits, process just started (wanted < 300 ms)"),
        name,
        format!("{} ms; the second {} ms", first.as_millis(), started.elapsed().as_millis()),
    ));
    Ok(())
}
