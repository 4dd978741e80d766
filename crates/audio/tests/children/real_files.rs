//! The files of the test sets of mutagen and beets: what is read of each equals what mutagen reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use audio::{Probed, Refusal};
use libtest_mimic::Trial;
use serde::Deserialize;

use crate::{batches, outcome, trial};

/// Milliseconds by which lengths may differ: mutagen estimates some, and counts the silence that encoders add to others.
const TOLERANCE: u64 = 120;
/// The same, in percent of the length.
const TOLERANCE_PERCENT: u64 = 2;

/// Files that are read differently, each with the reason why this is right or accepted.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("106-short-picture-block-size.flac", "a block with a wrong size: the audio is not where it should be"),
    ("52-overwritten-metadata.flac", "its audio was overwritten"),
    ("52-too-short-block-size.flac", "a block with a wrong size: the audio is not where it should be"),
    ("adif.aac", "the obsolete form of AAC that cannot be played from its middle"),
    ("apev2-lyricsv2.mp3", "its end is missing: the length of what is there is counted"),
    ("bad-POPM-frame.mp3", "only tags, without a whole frame of audio"),
    ("emptylist.mp3", "its end is missing: the length of what is there is counted"),
    ("flac_application.flac", "its end is missing"),
    ("lame397v9short.mp3", "a single frame of audio"),
    ("mpeglayer3.wav", "MP3 in WAV: only PCM is accepted there"),
    ("nero-chapters.m4b", "its audio is missing"),
    ("sample_length.oggtheora", "a video with a Vorbis track, which can be played"),
    (
        "silence-2s-PCM-16000-08-ID3v23.wav",
        "its INFO list, which counts before ID3, names the artists in another form",
    ),
    (
        "silence-2s-PCM-44100-16-ID3v23.wav",
        "its INFO list, which counts before ID3, names the artists in another form",
    ),
    ("silence-44-s.mp3", "two frames for artists, which ID3 forbids: the last one counts"),
    ("truncated-64bit.mp4", "its audio is missing"),
    ("unicode\u{2019}d.mp3", "an original year of 0000, which is none: the year of recording counts"),
    ("variable-block.flac", "its end is missing"),
    ("vbri.mp3", "its end is missing: the length of what is there is counted"),
];

/// What mutagen reads of a file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reference {
    refused: Option<String>,
    /// Seconds.
    duration: f64,
    title: Option<String>,
    artists: Vec<String>,
    album: Option<String>,
    track: Option<u32>,
    year: Option<i32>,
    genres: Vec<String>,
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("real_files_are_read_as_mutagen_reads_them", real_files)]
}

/// A folder that the script of the test servers has fetched.
pub(crate) fn fetched(what: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = workspace.join("target/servers");
    let fetched =
        Command::new(workspace.join("tests/servers/fetch")).arg(&folder).arg(what).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    folder.join(what).canonicalize().unwrap()
}

async fn real_files() {
    let list = std::fs::read(fetched("audio").join("list.json")).unwrap();
    let list: BTreeMap<PathBuf, Reference> = serde_json::from_slice(&list).unwrap();
    assert!(list.len() > 150, "{}", list.len());
    let compared = compare(&list, EXCEPTIONS).await;
    assert!(compared >= 70, "{compared}");
}

/// Compares each file with its reference. Returns the number of files that both read.
pub(crate) async fn compare(list: &BTreeMap<PathBuf, Reference>, exceptions: &[(&str, &str)]) -> usize {
    let (prober, mut compared, mut wrong) = (batches(), 0, Vec::new());
    for (path, reference) in list {
        let name = path.file_name().unwrap().to_str().unwrap();
        let problem = problem(reference, outcome(&prober, path).await);
        compared += usize::from(problem.is_none() && reference.refused.is_none());
        match (problem, exceptions.iter().any(|(exception, _)| *exception == name)) {
            (Some(problem), false) => wrong.push(format!("{name}: {problem}")),
            (None, true) => wrong.push(format!("{name}: is no exception any more")),
            (Some(_), true) | (None, false) => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    compared
}

fn problem(reference: &Reference, found: Result<Probed, Refusal>) -> Option<String> {
    let probed = match (&reference.refused, found) {
        (Some(_), Err(_)) => return None,
        (Some(reason), Ok(_)) => return Some(format!("is accepted, mutagen refuses it: {reason}")),
        (None, Err(refusal)) => return Some(format!("is refused: {refusal}")),
        (None, Ok(probed)) => probed,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the length of a song")]
    let duration = (reference.duration * 1000.0) as u64;
    let tags = probed.tags;
    let mut differences = Vec::new();
    let mut check = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            differences.push(format!("{what}: {ours} instead of {theirs}"));
        }
    };
    // Single values that name several artists are split here.
    let artists = if tags.artists.len() > reference.artists.len() {
        tags.display_artist.into_iter().collect()
    } else {
        tags.artists
    };
    check("title", format!("{:?}", tags.title), format!("{:?}", reference.title));
    check("artists", format!("{artists:?}"), format!("{:?}", reference.artists));
    check("album", format!("{:?}", tags.album), format!("{:?}", reference.album));
    check("track", format!("{:?}", tags.track), format!("{:?}", reference.track));
    check("year", format!("{:?}", tags.year), format!("{:?}", reference.year));
    check("genres", format!("{:?}", tags.genres), format!("{:?}", reference.genres));
    if probed.duration.abs_diff(duration) > TOLERANCE.max(duration * TOLERANCE_PERCENT / 100) {
        differences.push(format!("{} ms instead of {duration}", probed.duration));
    }
    (!differences.is_empty()).then(|| differences.join("; "))
}
