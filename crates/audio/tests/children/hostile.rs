//! Files that are damaged, dishonest or excessive: each is read within the limits or refused with a reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use audio::{Probed, Prober, Refusal};
use events::AudioFormat;
use libtest_mimic::Trial;

use crate::real_files::fetched;
use crate::{batches, outcome, trial};

const MEBIBYTE: usize = 1024 * 1024;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("excessive_and_odd_tags_are_cut_to_size", excessive_tags),
        trial("content_decides_and_what_is_no_audio_is_refused", dishonest_files),
        trial("truncated_files_are_refused_or_as_long_as_what_is_there", truncated_files),
    ]
}

/// Two seconds of a tone in several formats, and files made from them.
struct Files {
    folder: tempfile::TempDir,
    prober: Prober,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ffmpeg = fetched("encoders").join("bin/ffmpeg");
        for name in ["tone.wav", "tone.mp3", "tone.flac", "tone.ogg", "tone.m4a"] {
            let mut command = Command::new(&ffmpeg);
            command.args(["-f", "lavfi", "-i", "sine=duration=2", "-id3v2_version", "0", name]);
            let made = command.current_dir(folder.path()).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        Self { folder, prober: batches() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tone(&self, extension: &str) -> Vec<u8> {
        std::fs::read(self.path(&format!("tone.{extension}"))).unwrap()
    }

    async fn probe(&self, name: &str, content: &[u8]) -> Result<Probed, Refusal> {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        let found = outcome(&self.prober, &path).await;
        std::fs::remove_file(path).unwrap();
        found
    }

    /// A file with these frames before the audio.
    async fn tagged(&self, frames: &[Vec<u8>]) -> Probed {
        self.probe("tagged.mp3", &[id3(frames), self.tone("mp3")].concat()).await.unwrap()
    }
}

/// Seven bits in each byte.
fn size(bytes: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| u8::try_from((bytes >> shift) & 0x7f).unwrap())
}

fn frame(id: &str, content: &[u8]) -> Vec<u8> {
    [id.as_bytes(), &size(content.len()), &[0, 0], content].concat()
}

/// In UTF-8.
fn text(id: &str, text: &str) -> Vec<u8> {
    frame(id, &[&b"\x03"[..], text.as_bytes()].concat())
}

/// A tag of ID3 version 2.4.
fn id3(frames: &[Vec<u8>]) -> Vec<u8> {
    let frames = frames.concat();
    [&b"ID3\x04\0\0"[..], &size(frames.len()), &frames].concat()
}

async fn excessive_tags() {
    let files = Files::new();
    let plain = files.tagged(&[text("TIT2", "Dawn")]).await;
    assert_eq!(plain.tags.title.as_deref(), Some("Dawn"));

    let long = "la".repeat(MEBIBYTE);
    let lyrics = frame("USLT", &[&b"\x03eng\0"[..], long.as_bytes()].concat());
    let found = files.tagged(&[lyrics, text("TIT2", &long), text("TPE1", "Ann")]).await;
    assert_eq!(found.tags.lyrics.unwrap().chars().count(), 20_000);
    assert_eq!(found.tags.title.unwrap().chars().count(), 300);
    assert_eq!((found.hash, found.tags.artists), (plain.hash, vec!["Ann".into()]));

    let many = (0..1000).map(|n| format!("artist {n}")).collect::<Vec<_>>().join("\0");
    assert_eq!(files.tagged(&[text("TPE1", &many)]).await.tags.artists.len(), 20);

    for cover in [20 * MEBIBYTE, 40 * MEBIBYTE] {
        let picture = [&b"\0image/jpeg\0\x03\0"[..], &vec![0xd8; cover]].concat();
        let found = files.tagged(&[text("TIT2", "Dawn"), frame("APIC", &picture)]).await;
        assert_eq!((found.hash, found.duration), (plain.hash, plain.duration), "{cover}");
    }

    let odd = [
        text("TIT2", "\u{202e}Da\u{7}wn\u{200f}\0\0"),
        text("TPE1", " \u{feff}Ann\0\u{2067}\0Bob "),
        text("TRCK", "1/12"),
        text("TPOS", "0"),
        text("TDRC", "0000"),
        text("TCON", "(17)\0Sea shanty"),
    ];
    let tags = files.tagged(&odd).await.tags;
    assert_eq!(tags.title.as_deref(), Some("Da wn"));
    assert_eq!(tags.artists, ["Ann", "Bob"]);
    assert_eq!((tags.track, tags.disc, tags.year), (Some(1), None, None));
    assert_eq!(tags.genres, ["Rock", "Sea shanty"]);

    let twice = [id3(&[text("TIT2", "First")]), id3(&[text("TIT2", "Second")]), files.tone("mp3")].concat();
    let found = files.probe("twice.mp3", &twice).await.unwrap();
    assert!(matches!(found.tags.title.as_deref(), Some("First" | "Second")), "{:?}", found.tags.title);
    let before = [id3(&[text("TIT2", "Before")]), files.tone("flac")].concat();
    let found = files.probe("before.flac", &before).await.unwrap();
    assert_eq!(
        (found.format, found.hash),
        (AudioFormat::Flac, files.probe("a", &files.tone("flac")).await.unwrap().hash)
    );
}

async fn dishonest_files() {
    let files = Files::new();
    for (extension, format) in [
        ("mp3", AudioFormat::Mp3),
        ("flac", AudioFormat::Flac),
        ("wav", AudioFormat::Wav),
        ("ogg", AudioFormat::Vorbis),
        ("m4a", AudioFormat::M4a),
    ] {
        for name in ["song.mp3", "song.flac", "song.wav", "song.opus", "song.txt", "song"] {
            let found = files.probe(name, &files.tone(extension)).await.unwrap();
            assert_eq!(found.format, format, "{extension} as {name}");
            assert!(found.duration.abs_diff(2000) < 100, "{extension} as {name}: {}", found.duration);
        }
    }
    // Without a byte that begins a frame.
    let noise = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0] & 0x7f).collect();
    for (name, content) in [
        ("nothing.mp3", Vec::new()),
        ("text.mp3", b"not audio at all, only text".repeat(1000)),
        ("page.flac", b"<!doctype html><script>alert(1)</script>".repeat(100)),
        ("picture.mp3", [&b"\xff\xd8\xff\xe0\0\x10JFIF\0"[..], &vec![0; 50_000]].concat()),
        ("archive.ogg", [&b"PK\x03\x04"[..], &vec![0; 50_000]].concat()),
        ("program.wav", std::fs::read("/proc/self/exe").unwrap()[..MEBIBYTE].to_vec()),
        ("noise.mp3", noise),
        ("zeroes.mp3", vec![0; MEBIBYTE]),
        ("only a tag.mp3", id3(&[text("TIT2", "Dawn")])),
        ("endless tag.mp3", [&b"ID3\x04\0\0\x7f\x7f\x7f\x7f"[..], &[0; 1000]].concat()),
        ("marker.flac", b"fLaC".to_vec()),
        ("marker.ogg", b"OggS".to_vec()),
        ("header.wav", files.tone("wav")[..44].to_vec()),
    ] {
        let found = files.probe(name, &content).await;
        assert!(found.is_err(), "{name}: {found:?}");
    }
    // A tag of 250 MB, most of it a hole in the file: it may be refused, and nothing else happens.
    let path = files.path("hole.mp3");
    let hole = 250 * MEBIBYTE;
    let head = [&b"ID3\x04\0\0"[..], &size(hole), b"APIC", &size(hole - 10), &[0, 0]].concat();
    std::fs::write(&path, head).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(hole as u64 + 10).unwrap();
    append(&path, &files.tone("mp3"));
    match outcome(&files.prober, &path).await {
        Ok(found) => assert!(found.duration.abs_diff(2000) < 100),
        Err(refusal) => assert!(matches!(refusal, Refusal::TooMuchMemory | Refusal::TooLong), "{refusal}"),
    }
    files.probe("good.mp3", &files.tone("mp3")).await.unwrap();
}

fn append(path: &Path, content: &[u8]) {
    use std::io::Write;
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(content).unwrap();
}

async fn truncated_files() {
    let files = Files::new();
    for extension in ["wav", "flac", "m4a"] {
        let whole = files.tone(extension);
        for part in [whole.len() / 2, whole.len() * 9 / 10] {
            let found = files.probe(&format!("part.{extension}"), &whole[..part]).await;
            assert!(
                matches!(found, Err(Refusal::Truncated | Refusal::Damaged)),
                "{extension}, {part}: {found:?}"
            );
        }
    }
    // These formats name no length that can be relied on.
    for extension in ["mp3", "ogg"] {
        let whole = files.tone(extension);
        let found = files.probe(&format!("part.{extension}"), &whole[..whole.len() / 2]).await;
        assert!(
            found.as_ref().is_ok_and(|found| found.duration < 1500) || found.is_err(),
            "{extension}: {found:?}"
        );
    }
}
