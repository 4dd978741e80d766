//! The music app: reads of songs, search, streaming beside nginx, uploads, edits of playlists, and imports of folders.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use events::{
    ArtistCredit, ArtistId, AudioAnalysis, AudioFile, AudioFormat, AudioHash, CreditRole, Draft,
    EntriesMoved, EntryId, Event, MediaId, Neighbours, PlaylistId, Position, SealedLog, SongAnalysed,
    SongDetails, SongId, SongPublished, SongVisibility, UserId,
};
use futures::future::{join_all, try_join_all};
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use tests::client::{User, sha256, tagged_wav, wav};
use tests::servers::{ServerProcess, fetched, free_port};
use uuid::Uuid;

use super::http_load::{Comparison, authorized};
use super::{Findings, progress};
use crate::baseline;
use crate::deployment::{Deployment, Engine};
use crate::load::{LoadRequest, Measured, load};
use crate::table::{Bound, Ratio, latency, mebibytes, median, rate};

const CONNECTIONS: usize = 32;
/// Concurrent appends.
const IN_FLIGHT: usize = 128;
/// Songs when the app's routes are measured, and when search is.
const SONGS: usize = 10_000;
const MANY_SONGS: usize = 100_000;
/// Each is the first word of many titles.
const WORDS: &[&str] =
    &["amber", "birch", "cinder", "delta", "ember", "fjord", "granite", "harbour", "island", "juniper"];
const SINGERS: usize = 500;
/// The app's search finds at most this many.
const FOUND: usize = 50;
/// Songs on the app's first page.
const SHOWN: usize = 8;

/// Files, their length in seconds (8,000 bytes each), readers of them, and the length of a range.
const STREAMED: usize = 20;
const STREAMED_SECONDS: u32 = 600;
const READERS: usize = 200;
const RANGE: usize = 256 << 10;
const ROUNDS: usize = 3;

const UPLOADS: usize = 50;
/// 50 MB each.
const UPLOAD_SECONDS: u32 = 6250;
const SAMPLED_EVERY: Duration = Duration::from_millis(50);

const EDITORS: usize = 8;
const SHORT_LIST: usize = 10;
const LONG_LIST: usize = 10_000;
/// Entries of one request.
const ADDED_AT_ONCE: usize = 5000;
/// Edits before the first one of a new process, and the commands among them.
const EDITS: usize = 50_000;
const COMMANDS: usize = 10;

const IMPORTED: usize = 10_000;
const FOLDERS: usize = 100;

pub(crate) async fn music(
    deployment: &mut Deployment,
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let name = deployment.engine.name();
    let artist = deployment.chorus.artist("singer").await;
    progress(&format!("{name}: {SONGS} songs"));
    let mut catalogue = Catalogue::new();
    catalogue.grow(deployment, SONGS).await?;
    catalogue.read(deployment, time, findings).await?;
    progress(&format!("{name}: {MANY_SONGS} songs"));
    catalogue.grow(deployment, MANY_SONGS).await?;
    catalogue.search(deployment, time, findings).await?;
    if deployment.engine == Engine::Standalone {
        stream_songs(deployment, &artist, time, findings).await?;
        uploads(deployment, findings).await?;
    }
    edit_playlists(deployment, &artist, time, findings).await?;
    first_edit(deployment, &artist, findings).await?;
    import(deployment, &artist, findings)
}

fn get(path: String) -> LoadRequest {
    LoadRequest { method: Method::GET, path, headers: HeaderMap::new(), body: Bytes::new() }
}

/// Songs without files.
struct Catalogue {
    rng: StdRng,
    songs: Vec<String>,
}

impl Catalogue {
    fn new() -> Self {
        Self { rng: StdRng::seed_from_u64(4), songs: Vec::new() }
    }

    /// Publishes songs, in Chorus and in the baseline server, until there are this many.
    async fn grow(&mut self, deployment: &Deployment, to: usize) -> Result<()> {
        let publisher = UserId::new(Uuid::from_u128(7));
        let (mut events, mut rows): (Vec<(SongId, Event)>, Vec<baseline::Song>) = (Vec::new(), Vec::new());
        for number in self.songs.len()..to {
            let song = SongId::new(Uuid::from_u128(
                (u128::from(1_700_000_000_000 + number as u64) << 80) | (self.rng.random::<u128>() >> 48),
            ));
            let singer = number % SINGERS;
            let details = SongDetails {
                title: format!("{} song {number}", WORDS[number % WORDS.len()]),
                artists: vec![ArtistCredit {
                    artist: ArtistId::new(Uuid::from_u128(1000 + singer as u128)),
                    role: CreditRole::Main,
                }],
                display_artist: format!("Singer {singer}"),
                album: None,
                disc: None,
                track: None,
                genres: vec!["Folk".to_owned(), "Sea shanty".to_owned()],
                year: None,
                explicit: false,
                lyrics: None,
                musicbrainz: None,
                visibility: SongVisibility::Public,
            };
            let file = AudioFile {
                media: MediaId::new(Uuid::from_u128(self.rng.random())),
                hash: AudioHash::new(self.rng.random()),
                format: AudioFormat::Mp3,
                duration: 200_000,
                bit_rate: 192_000,
                sample_rate: 44_100,
                channels: 2,
                size: 5_000_000,
                replay_gain: None,
            };
            rows.push(baseline::Song {
                song: song.to_string(),
                title: details.title.clone(),
                singer: details.display_artist.clone(),
                categories: details.genres.clone(),
                duration: file.duration,
                published: i64::try_from(number)?,
                media: file.media.to_string(),
                hash: file.hash.to_string(),
                plays: 0,
            });
            self.songs.push(song.to_string());
            events.push((song, SongPublished { song, publisher, details, file, cover: None }.into()));
        }
        let log = deployment.chorus.log().await?;
        let appends = stream::iter(events).map(|(song, published)| {
            let log = log.clone();
            async move {
                let now = SystemClock.now();
                // There is no file to be analysed later.
                let analysed = SongAnalysed { song, analysis: AudioAnalysis::Unsupported };
                let position = log.append(Draft::without_cause(now, analysed), Position::START).await?;
                log.append(Draft::without_cause(now, published), position).await
            }
        });
        appends.buffered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await?;
        deployment.seed_songs(&rows).await?;
        deployment.chorus.settle().await
    }

    /// The requests of the app: its first page, one song, and a search.
    async fn read(&self, deployment: &Deployment, time: Duration, findings: &mut Findings) -> Result<()> {
        let apps = deployment.address(deployment.engine.apps())?;
        let comparison = |what| Comparison {
            what,
            bound: Bound::AtLeast(0.5),
            goal: None,
            expected: StatusCode::OK,
            time,
        };
        let each = |path: &'static str| {
            move |_: usize| (0..CONNECTIONS).map(|_| move || Ok(get(path.to_owned()))).collect::<Vec<_>>()
        };
        let some = |number: usize| {
            move |_: usize| {
                let source = || {
                    move || {
                        let ids: Vec<&str> =
                            self.songs.sample(&mut rand::rng(), number).map(String::as_str).collect();
                        Ok(get(format!("/songs/{}", ids.join(","))))
                    }
                };
                (0..CONNECTIONS).map(|_| source()).collect::<Vec<_>>()
            }
        };
        let one = |_: usize| {
            let source = || {
                || {
                    let song = self.songs.choose(&mut rand::rng()).context("a song")?;
                    Ok(get(format!("/spotifymern/musics/id/{song}")))
                }
            };
            (0..CONNECTIONS).map(|_| source()).collect::<Vec<_>>()
        };
        let eight = comparison("`GET /spotifymern/musics`: eight songs");
        eight.run(deployment, apps, each("/spotifymern/musics"), some(SHOWN), findings).await?;
        let single = comparison("`GET /spotifymern/musics/id/:id`");
        single.run(deployment, apps, one, some(1), findings).await?;
        let found = comparison("`GET /spotifymern/musics/search/:text`, 50 of 1,000 found");
        let path = format!("/spotifymern/musics/search/{}", WORDS[3]);
        let chorus = |_| (0..CONNECTIONS).map(|_| || Ok(get(path.clone()))).collect::<Vec<_>>();
        let beside = format!("/songs/from/{}/{FOUND}", WORDS[3]);
        let baseline = |_| (0..CONNECTIONS).map(|_| || Ok(get(beside.clone()))).collect::<Vec<_>>();
        found.run(deployment, apps, chorus, baseline, findings).await
    }

    /// One client, beside an indexed read of as many documents.
    async fn search(&self, deployment: &Deployment, time: Duration, findings: &mut Findings) -> Result<()> {
        let reader = deployment.address(deployment.engine.reader())?;
        for text in ["delta", "delta son", "singer 77"] {
            let path = format!("/v1/search?q={}&limit=20", text.replace(' ', "+"));
            let answer = deployment.chorus.api().get(&path).await.expect(200).json();
            let found: usize = answer
                .as_object()
                .context("an object")?
                .values()
                .filter_map(Value::as_array)
                .map(Vec::len)
                .sum();
            ensure!(found >= 20, "{text}: {answer}");
            let what =
                format!("`GET /v1/search?q={text}` over {MANY_SONGS} songs, {found} found, one client");
            let comparison = Comparison {
                what: &what,
                bound: Bound::AtLeast(0.33),
                goal: None,
                expected: StatusCode::OK,
                time,
            };
            let beside = format!("/songs/from/delta/{found}");
            let chorus = |_| vec![|| Ok(get(path.clone()))];
            let baseline = |_| vec![|| Ok(get(beside.clone()))];
            comparison.run(deployment, reader, chorus, baseline, findings).await?;
        }
        Ok(())
    }
}

/// nginx on the folder of Chorus' own files.
struct Nginx {
    _process: ServerProcess,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nginx {
    async fn start(files: &Path, sendfile: bool) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let here = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .concat();
        let config = format!(
            // Without the user it would change to "nobody", who may not read the files.
            "daemon off; user root; worker_processes auto; pid {here}/pid; error_log stderr;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile {}; keepalive_requests 1000000; {temporary}\n\
             server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
            if sendfile { "on" } else { "off" },
            files.display()
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let arguments = ["-c", &file.display().to_string(), "-p", &here.to_string()].map(str::to_owned);
        let program = fetched("nginx", "nginx")?;
        let mut process = ServerProcess::start(&program, &arguments, &[], &folder.path().join("log"))?;
        process.listens_on(port).await?;
        Ok(Self { _process: process, address: SocketAddr::from(([127, 0, 0, 1], port)), _folder: folder })
    }
}

/// The audio files below a folder.
fn audio_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            audio_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "wav") {
            found.push(path);
        }
    }
    Ok(())
}

async fn stream_songs(
    deployment: &Deployment,
    artist: &User,
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let (api, name) = (deployment.chorus.api(), deployment.engine.name());
    progress(&format!("{name}: {STREAMED} files to stream"));
    let mut songs = Vec::new();
    for number in 0..STREAMED {
        let title = format!("Long song {number}");
        let upload = api.upload_audio(artist, &wav(&title, STREAMED_SECONDS)).await;
        let song = json!({ "upload": upload, "title": title, "artists": [{ "name": artist.username }] });
        songs.push(api.post_as(artist, "/v1/songs", &song).await.expect(201).id());
    }
    deployment.chorus.settle().await?;
    let media = deployment.chorus.folder().join("data/media");
    let mut files = Vec::new();
    audio_files(&media, &mut files)?;
    ensure!(files.len() >= STREAMED, "{} files in {}", files.len(), media.display());
    let files: Vec<String> = files
        .iter()
        .map(|file| Ok(format!("/{}", file.strip_prefix(&media)?.display())))
        .collect::<Result<_>>()?;
    let songs: Vec<String> = songs.iter().map(|song| format!("/v1/songs/{song}/stream")).collect();
    let sources = |paths: &[String]| {
        let length = STREAMED_SECONDS as usize * 8000;
        let source = |paths: Vec<String>| {
            move || {
                let mut rng = rand::rng();
                let from = rng.random_range(0..length - RANGE);
                let range = format!("bytes={from}-{}", from + RANGE - 1);
                let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::try_from(range)?)]);
                Ok(LoadRequest { headers, ..get(paths.choose(&mut rng).context("a file")?.clone()) })
            }
        };
        (0..READERS).map(|_| source(paths.to_vec())).collect::<Vec<_>>()
    };
    let chorus_at = deployment.address(deployment.engine.reader())?;
    for (sendfile, bound) in [(false, 0.8), (true, 0.5)] {
        let nginx = Nginx::start(&media, sendfile).await?;
        let (mut of_chorus, mut of_nginx) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let partial = StatusCode::PARTIAL_CONTENT;
            of_nginx.push(load(nginx.address, partial, time, sources(&files)).await?);
            of_chorus.push(load(chorus_at, partial, time, sources(&songs)).await?);
        }
        let (chorus, beside) = median(of_chorus).zip(median(of_nginx)).context("no round")?;
        let shown = |measured: &Measured| {
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let mebibytes = measured.per_second * RANGE as f64 / f64::from(1 << 20);
            format!("{mebibytes:.0} MiB/s, p99 {}", latency(&measured.latencies, 0.99))
        };
        findings.ratios.push(Ratio {
            what: format!(
                "{READERS} readers of ranges of {} KiB, against nginx with `sendfile {}`",
                RANGE >> 10,
                if sendfile { "on" } else { "off" }
            ),
            engine: name,
            chorus: shown(&chorus),
            baseline: shown(&beside),
            value: chorus.per_second / beside.per_second,
            bound: Bound::AtLeast(bound),
            goal: None,
        });
    }
    Ok(())
}

async fn uploads(deployment: &Deployment, findings: &mut Findings) -> Result<()> {
    let (api, engine) = (deployment.chorus.api(), deployment.engine);
    progress(&format!("{}: {UPLOADS} uploads at once", engine.name()));
    let mut artists = Vec::new();
    for _ in 0..UPLOADS / 5 {
        artists.push(deployment.chorus.artist("uploader").await);
    }
    let audio = Bytes::from(wav("uploaded", UPLOAD_SECONDS));
    let checksum = json!({ "sha256": sha256(&audio) });
    let memory = || deployment.chorus.resident_memory(engine.writer());
    let idle = memory()?;
    let each = (0..UPLOADS).map(|number| {
        let (artist, audio, checksum, api) =
            (&artists[number % artists.len()], audio.clone(), &checksum, &api);
        async move {
            let size = json!({ "size": audio.len() });
            let upload = api.post_as(artist, "/v1/uploads", &size).await.expect(201).id();
            let path = format!("/v1/uploads/{upload}");
            let part =
                api.request(Method::PATCH, &path).bearer_auth(&artist.token).header("upload-offset", "0");
            api.send(part.header("content-type", "application/octet-stream").body(audio)).await.expect(200);
            api.post_as(artist, &format!("{path}/finish"), checksum).await.expect(200);
        }
    });
    let started = Instant::now();
    let mut peak = idle;
    let done = join_all(each);
    tokio::pin!(done);
    loop {
        tokio::select! {
            _ = &mut done => break,
            () = tokio::time::sleep(SAMPLED_EVERY) => peak = peak.max(memory()?),
        }
    }
    findings.figures.push((
        format!(
            "peak memory above idle during {UPLOADS} uploads of {} MB at once (wanted < 150 MB)",
            audio.len() / 1_000_000
        ),
        engine.name(),
        format!(
            "{} (idle {}), done in {} s",
            mebibytes(peak - idle),
            mebibytes(idle),
            started.elapsed().as_secs()
        ),
    ));
    Ok(())
}

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
async fn edit_playlists(
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
async fn first_edit(deployment: &mut Deployment, artist: &User, findings: &mut Findings) -> Result<()> {
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

fn import(deployment: &Deployment, artist: &User, findings: &mut Findings) -> Result<()> {
    let name = deployment.engine.name();
    progress(&format!("{name}: importing {IMPORTED} files"));
    let folder = tempfile::tempdir()?;
    for number in 0..IMPORTED {
        let album = folder.path().join(format!("album {}", number % FOLDERS));
        std::fs::create_dir_all(&album)?;
        let title = format!("Imported {number}");
        let file = tagged_wav(&title, 1, &title, "Importer", &format!("Album {}", number % FOLDERS));
        std::fs::write(album.join(format!("{number}.wav")), file)?;
    }
    let path = folder.path().display().to_string();
    let (started, before) = (Instant::now(), deployment.chorus.processor_time(deployment.engine.writer())?);
    let printed = tokio::task::block_in_place(|| {
        deployment.chorus.run_cli(&["import", &path, "--as", &artist.username, "--json"])
    })?;
    let taken = started.elapsed();
    let by_server = deployment.chorus.processor_time(deployment.engine.writer())?.saturating_sub(before);
    let report: Value = serde_json::from_str(printed.lines().last().context("a report")?)
        .or_else(|_| serde_json::from_str(&printed))
        .context("the report")?;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let per_second = IMPORTED as f64 / taken.as_secs_f64();
    let published = report.to_string().chars().take(200).collect::<String>();
    findings.figures.push((
        format!("`chorus import` of {IMPORTED} small files (wanted ≥ 300/s)"),
        name,
        format!(
            "{}, the server meanwhile {} s of processor time; {published}",
            rate(per_second),
            by_server.as_secs()
        ),
    ));
    Ok(())
}
