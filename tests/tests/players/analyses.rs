//! The background analysis of songs, compared with ffmpeg's.

use std::path::Path;
use std::process::Command;

use events::{Event, MusicEvent, Position, SongEvent, Subject};
use serde_json::{Value, json};
use tests::chorus::{Chorus, Service};
use tests::servers::player;

use crate::tones::{ENCODINGS, run};

/// LU and decibels. ffmpeg prints one digit after the point, and decoders round differently.
const TOLERANCE: f64 = 0.15;

/// Integrated loudness and true peak of a file by ffmpeg's filter `ebur128`.
fn measured_by_ffmpeg(file: &Path) -> (f64, f64) {
    let mut ffmpeg = Command::new(player("ffmpeg").unwrap());
    ffmpeg.args(["-nostats", "-hide_banner", "-i"]).arg(file);
    let (_, printed) = run(ffmpeg.args(["-map", "0:a", "-af", "ebur128=peak=true", "-f", "null", "-"]));
    let (_, summary) = printed.rsplit_once("Summary:").unwrap_or_else(|| panic!("{printed}"));
    let number = |name: &str| -> f64 {
        let (_, rest) = summary.split_once(name).unwrap_or_else(|| panic!("{summary}"));
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    (number("I:"), number("Peak:"))
}

async fn analyses(chorus: &Chorus, song: &str) -> usize {
    let events = chorus.log().await.unwrap();
    let events = events.read(Subject::Song(song.parse().unwrap()), Position::START).await.unwrap();
    let is_analysis =
        |event: &Event| matches!(event, Event::Music(MusicEvent::Song(SongEvent::SongAnalysed(_))));
    events.iter().filter(|recorded| is_analysis(&recorded.event)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn analysis_agrees_with_ffmpeg_and_is_not_repeated() {
    let mut chorus = Chorus::standalone().await.unwrap();
    let (api, artist) = (chorus.api(), chorus.artist("tones").await);
    let folder = tempfile::tempdir().unwrap();
    let mut songs = Vec::new();
    for encoding in ENCODINGS {
        let file = encoding.make(folder.path());
        let upload = api.upload_audio(&artist, &std::fs::read(&file).unwrap()).await;
        let song =
            json!({ "upload": upload, "title": encoding.name, "artists": [{ "name": artist.username }] });
        let id = api.post_as(&artist, "/v1/songs", &song).await.expect(201).id();
        songs.push((encoding, file, id));
    }
    chorus.settle().await.unwrap();
    for (encoding, file, id) in &songs {
        let song = api.get(&format!("/v1/songs/{id}")).await.expect(200).json();
        if !encoding.is_decoded() {
            let found = [&song["loudness"], &song["peak"], &song["waveform"]];
            assert_eq!(found, [&Value::Null; 3], "{}", encoding.name);
            continue;
        }
        let (loudness, peak) = measured_by_ffmpeg(file);
        for (field, expected) in [("loudness", loudness), ("peak", peak)] {
            let found = song[field].as_f64().unwrap_or_else(|| panic!("{}: {song}", encoding.name));
            let context = format!("{}: {field} {found}, by ffmpeg {expected}", encoding.name);
            assert!((found - expected).abs() < TOLERANCE, "{context}");
        }
        let waveform: Vec<u64> =
            song["waveform"].as_array().unwrap().iter().map(|peak| peak.as_u64().unwrap()).collect();
        // The tone has 0.4 of full scale throughout.
        assert_eq!(waveform.len(), 200, "{}", encoding.name);
        assert!(
            waveform[1..199].iter().all(|peak| (92..=125).contains(peak)),
            "{}: {waveform:?}",
            encoding.name
        );
    }

    // On an empty view store the reaction begins again; its events are in the log.
    chorus.stop(Service::Chorus).unwrap();
    for file in ["views.db", "views.db-wal", "views.db-shm"] {
        let _ = std::fs::remove_file(chorus.folder().join("data").join(file));
    }
    chorus.start_again(Service::Chorus).await.unwrap();
    chorus.settle().await.unwrap();
    for (encoding, _, id) in &songs {
        assert_eq!(analyses(&chorus, id).await, 1, "{}", encoding.name);
    }
}
