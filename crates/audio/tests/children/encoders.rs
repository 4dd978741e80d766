//! Files that the usual encoders make of a tone, in every format: what is read of each equals what mutagen reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Trial;

use crate::real_files::{Reference, compare, fetched};
use crate::{batches, outcome, trial};

/// Files that are read differently, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("ffmpeg.wav", "tags in an INFO list, which mutagen does not read"),
    ("no-xing.mp3", "a variable bit rate without a header: mutagen guesses its length, here it is counted"),
    (
        "without-header.mp3",
        "a variable bit rate without a header: mutagen guesses its length, here it is counted",
    ),
];
/// The length of the tone in milliseconds, and what encoders may add.
const LENGTH: u64 = 4000;
const ADDED: u64 = 100;

/// Tags as the options of ffmpeg.
const TAGS: &[&str] = &[
    "-metadata",
    "title=Röyksopp's Night Out",
    "-metadata",
    "artist=AC/DC",
    "-metadata",
    "album=A & B / C",
    "-metadata",
    "track=3/12",
    "-metadata",
    "date=2001-10-08",
    "-metadata",
    "genre=Downtempo",
];

/// Files without tags: mutagen does not read those of WAV, and AAC has none.
const UNTAGGED: &[&str] = &["float.wav", "adts.aac"];

/// Options of ffmpeg for each file.
const OF_FFMPEG: &[(&str, &[&str])] = &[
    ("cbr.mp3", &["-c:a", "libmp3lame", "-b:a", "128k"]),
    ("vbr.mp3", &["-c:a", "libmp3lame", "-q:a", "4", "-id3v2_version", "3"]),
    ("without-header.mp3", &["-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0"]),
    ("id3v1.mp3", &["-c:a", "libmp3lame", "-write_id3v1", "1", "-ar", "22050"]),
    ("moov-last.m4a", &["-c:a", "aac"]),
    ("moov-first.m4a", &["-c:a", "aac", "-movflags", "+faststart"]),
    ("alac.m4a", &["-c:a", "alac"]),
    ("ffmpeg.flac", &["-c:a", "flac"]),
    ("24-bit.flac", &["-c:a", "flac", "-sample_fmt", "s32", "-ar", "96000"]),
    ("ffmpeg.ogg", &["-c:a", "libvorbis"]),
    ("ffmpeg.opus", &["-c:a", "libopus"]),
    ("ffmpeg.wav", &["-c:a", "pcm_s16le"]),
    ("float.wav", &["-c:a", "pcm_f32le"]),
    ("adts.aac", &["-c:a", "aac"]),
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("files_of_the_usual_encoders_are_read_as_mutagen_reads_them", encoded_files)]
}

fn run(program: &Path, arguments: &[&str], folder: &Path) {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn encode(programs: &Path, folder: &Path) {
    let ffmpeg = programs.join("ffmpeg");
    let tone = ["-hide_banner", "-y", "-f", "lavfi", "-i", "sine=frequency=440:duration=4:sample_rate=44100"];
    run(&ffmpeg, &[&tone[..], &["-ac", "2", "tone.wav"]].concat(), folder);
    for (file, options) in OF_FFMPEG {
        let tags: &[&str] = if UNTAGGED.contains(file) { &[] } else { TAGS };
        run(&ffmpeg, &[&["-hide_banner", "-y", "-i", "tone.wav"], tags, options, &[file]].concat(), folder);
    }
    let flac =
        ["--silent", "--best", "-o", "flac.flac", "-T", "TITLE=Tone", "-T", "ARTIST=Ann", "-T", "ARTIST=Bob"];
    run(
        &programs.join("flac"),
        &[&flac[..], &["-T", "DATE=1999", "-T", "TRACKNUMBER=07", "tone.wav"]].concat(),
        folder,
    );
    let lame = [
        "--quiet", "-V", "2", "--tt", "Tone", "--ta", "Ann", "--tl", "Album", "--ty", "1999", "--tn", "7/9",
        "--tg",
    ];
    run(&programs.join("lame"), &[&lame[..], &["Rock", "tone.wav", "lame.mp3"]].concat(), folder);
    let lame = [
        "--quiet",
        "-V",
        "2",
        "-t",
        "--id3v2-only",
        "--tt",
        "Töne",
        "--ta",
        "Ann",
        "tone.wav",
        "no-xing.mp3",
    ];
    run(&programs.join("lame"), &lame, folder);
    let ogg =
        ["--quiet", "-t", "Tone", "-a", "Ann", "-l", "Album", "-d", "1999", "-N", "7", "-G", "Rock", "-o"];
    run(&programs.join("oggenc"), &[&ogg[..], &["oggenc.ogg", "tone.wav"]].concat(), folder);
    let opus =
        ["--quiet", "--title", "Tone", "--artist", "Ann", "--album", "Album", "--date", "1999", "--genre"];
    run(&programs.join("opusenc"), &[&opus[..], &["Rock", "tone.wav", "opusenc.opus"]].concat(), folder);
}

async fn encoded_files() {
    let (programs, python) = (fetched("encoders").join("bin"), fetched("audio").join("python"));
    let folder = tempfile::tempdir().unwrap();
    encode(&programs, folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers/audio.py");
    let mut mutagen = Command::new("python3");
    let read = mutagen.arg(script).arg(folder.path()).env("PYTHONPATH", python).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let list: BTreeMap<PathBuf, Reference> = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(list.len(), OF_FFMPEG.len() + 6);
    compare(&list, EXCEPTIONS).await;
    let prober = batches();
    for file in list.keys() {
        let length = outcome(&prober, file).await.unwrap().duration;
        assert!(length.abs_diff(LENGTH) <= ADDED, "{}: {length} ms", file.display());
    }
}
