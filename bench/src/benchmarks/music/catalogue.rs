//! The routes of the app on its catalogue, and search in a large one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use events::{
    ArtistCredit, ArtistId, AudioAnalysis, AudioFile, AudioFormat, AudioHash, CreditRole, Draft, Event,
    MediaId, Position, SongAnalysed, SongDetails, SongId, SongPublished, SongVisibility, UserId,
};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use service::clock::{Clock, SystemClock};
use uuid::Uuid;

use super::get;
use crate::baseline;
use crate::benchmarks::Findings;
use crate::benchmarks::http_load::Comparison;
use crate::deployment::Deployment;
use crate::table::Bound;

const CONNECTIONS: usize = 32;
/// Concurrent appends.
const IN_FLIGHT: usize = 128;
/// Songs when the app's routes are measured, and when search is.
pub(super) const SONGS: usize = 10_000;
pub(super) const MANY_SONGS: usize = 100_000;
/// Each is the first word of many titles.
const WORDS: &[&str] =
    &["amber", "birch", "cinder", "delta", "ember", "fjord", "granite", "harbour", "island", "juniper"];
const SINGERS: usize = 500;
/// The app's search finds at most this many.
const FOUND: usize = 50;
/// Songs on the app's first page.
const SHOWN: usize = 8;

/// Songs without files.
pub(super) struct Catalogue {
    rng: StdRng,
    songs: Vec<String>,
}

impl Catalogue {
    pub(super) fn new() -> Self {
        Self { rng: StdRng::seed_from_u64(4), songs: Vec::new() }
    }

    /// Publishes songs, in Chorus and in the baseline server, until there are this many.
    pub(super) async fn grow(&mut self, deployment: &Deployment, to: usize) -> Result<()> {
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
    pub(super) async fn read(
        &self,
        deployment: &Deployment,
        time: Duration,
        findings: &mut Findings,
    ) -> Result<()> {
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
    pub(super) async fn search(
        &self,
        deployment: &Deployment,
        time: Duration,
        findings: &mut Findings,
    ) -> Result<()> {
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
