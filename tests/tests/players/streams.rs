//! Players seek in streams of every format.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, User};
use tests::servers::player;

use crate::browser::{Browser, Pages};
use crate::tones::{ENCODINGS, LENGTH, frequency_at, frequency_of, run, samples};

/// Where the players go, forwards and backwards: in the middle of a second, so that its tone is clear.
const PLACES: [f64; 4] = [20.25, 37.25, 3.25, 30.25];
/// Hertz. The tones of two seconds differ by 40.
const TOLERANCE: f64 = 12.0;

/// Publishes each file; returns the names and the addresses of the streams.
async fn publish_all(api: &Api, artist: &User, folder: &Path) -> Vec<(&'static str, String)> {
    let mut streams = Vec::new();
    for encoding in ENCODINGS {
        let audio = std::fs::read(encoding.make(folder)).unwrap();
        let upload = api.upload_audio(artist, &audio).await;
        let song =
            json!({ "upload": upload, "title": encoding.name, "artists": [{ "name": artist.username }] });
        let id = api.post_as(artist, "/v1/songs", &song).await.expect(201).id();
        let song = api.get(&format!("/v1/songs/{id}")).await.expect(200).json();
        streams.push((encoding.name, song["stream_url"].as_str().unwrap().to_owned()));
    }
    streams
}

/// Asserts that what was heard is the tone of that place.
#[track_caller]
fn assert_heard(heard: f64, place: f64, context: &str) {
    let expected = frequency_at(place);
    assert!((heard - expected).abs() < TOLERANCE, "{context}: {heard} Hz at {place} s, not {expected} Hz");
}

#[tokio::test(flavor = "multi_thread")]
async fn players_seek_in_streams_of_all_formats() {
    let pages = Pages::serve().await;
    let origin = pages.origin();
    let chorus = Chorus::standalone_with(&[("CHORUS_ALLOWED_ORIGINS", &origin)]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let streams = publish_all(&chorus.api(), &chorus.artist("tones").await, folder.path()).await;

    for (name, url) in &streams {
        let mut probe = Command::new(player("ffprobe").unwrap());
        probe.args(["-loglevel", "error", "-show_entries", "format=duration", "-of", "json", url]);
        let (printed, _) = run(&mut probe);
        let found: Value = serde_json::from_slice(&printed).unwrap();
        let duration: f64 = found["format"]["duration"].as_str().unwrap().parse().unwrap();
        assert!((duration - f64::from(LENGTH)).abs() < 0.2, "{name}: {duration} s");

        for place in PLACES {
            let from = place.to_string();
            let mut ffmpeg = Command::new(player("ffmpeg").unwrap());
            ffmpeg.args(["-loglevel", "error", "-ss", &from, "-i", url, "-t", "0.5", "-ac", "1"]);
            let (printed, _) = run(ffmpeg.args(["-ar", "48000", "-f", "s16le", "-"]));
            assert_heard(frequency_of(&samples(&printed), 48_000), place, &format!("ffmpeg, {name}"));

            let output = folder.path().join("mpv.pcm");
            let mut mpv = Command::new(player("mpv").unwrap());
            mpv.args(["--no-config", "--vo=null", "--ao=pcm", "--ao-pcm-waveheader=no", "--untimed"]);
            mpv.args(["--audio-format=s16", "--audio-channels=mono", "--audio-samplerate=48000"]);
            mpv.arg(format!("--ao-pcm-file={}", output.display()));
            run(mpv.args([format!("--start={from}"), "--length=0.5".to_owned(), url.clone()]));
            let heard = frequency_of(&samples(&std::fs::read(&output).unwrap()), 48_000);
            assert_heard(heard, place, &format!("mpv, {name}"));
        }
    }

    // A page of another origin that may use the API: it hears silence unless the answers allow it.
    let songs: Vec<Value> = streams.iter().map(|(name, url)| json!({ "name": name, "url": url })).collect();
    let browser =
        Browser::open(&pages, "seeking.html", &json!({ "songs": songs, "places": PLACES })).unwrap();
    let report = pages.report(&browser).await;
    let heard = report["heard"].as_array().unwrap_or_else(|| panic!("{report}"));
    assert_eq!(heard.len(), streams.len() * PLACES.len(), "{report}");
    for one in heard {
        let context = format!("Chromium, {one}");
        let number = |field: &str| one[field].as_f64().unwrap_or_else(|| panic!("{context}"));
        assert!((number("duration") - f64::from(LENGTH)).abs() < 0.2, "{context}");
        assert_heard(number("frequency"), number("place"), &context);
    }
}
