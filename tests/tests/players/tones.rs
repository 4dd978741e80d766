//! Audio files from tones, made by ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::servers::player;

/// Seconds of each file.
pub(crate) const LENGTH: u32 = 40;
const RATE: u32 = 48_000;

/// A way to encode the tones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoding {
    pub(crate) name: &'static str,
    extension: &'static str,
    arguments: &'static [&'static str],
}

/// All formats that Chorus accepts, apart from bare AAC.
pub(crate) const ENCODINGS: [Encoding; 8] = [
    Encoding::of("mp3", "mp3", &["-c:a", "libmp3lame", "-b:a", "128k"]),
    Encoding::of("mp3 of variable bit rate", "mp3", &["-c:a", "libmp3lame", "-q:a", "4"]),
    // Without the option ffmpeg writes the index (`moov`) at the end. Of another bit rate: the same audio is stored once.
    Encoding::of("m4a", "m4a", &["-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"]),
    Encoding::of("m4a with its index at the end", "m4a", &["-c:a", "aac", "-b:a", "112k"]),
    Encoding::of("flac", "flac", &["-c:a", "flac"]),
    Encoding::of("vorbis", "ogg", &["-c:a", "libvorbis", "-q:a", "4"]),
    Encoding::of("opus", "opus", &["-c:a", "libopus", "-b:a", "96k"]),
    Encoding::of("wav", "wav", &["-c:a", "pcm_s16le"]),
];

impl Encoding {
    const fn of(name: &'static str, extension: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { name, extension, arguments }
    }

    /// True if Chorus decodes it: Opus it does not.
    pub(crate) fn is_decoded(&self) -> bool {
        self.extension != "opus"
    }

    /// Makes the file in a folder.
    pub(crate) fn make(&self, folder: &Path) -> PathBuf {
        let file = folder.join(format!("{}.{}", self.name.replace(' ', "-"), self.extension));
        // The second of the file is in the frequency, so that each second sounds different.
        let tones = format!("aevalsrc=0.4*sin(2*PI*t*(300+40*floor(t))):s={RATE}:d={LENGTH}");
        let both = "pan=stereo|c0=c0|c1=c0";
        let mut command = Command::new(player("ffmpeg").unwrap());
        command.args(["-loglevel", "error", "-y", "-f", "lavfi", "-i", &tones, "-af", both]);
        run(command.args(self.arguments).arg(&file));
        file
    }
}

/// The frequency of the tone at a time.
pub(crate) fn frequency_at(seconds: f64) -> f64 {
    300.0 + 40.0 * seconds.floor()
}

/// The frequency of a tone, from how often it rises above zero. Only the second half counts: after a seek in an MP3 file a decoder
/// is silent until it has the bits that a frame borrows from those before it.
pub(crate) fn frequency_of(samples: &[i16], rate: u32) -> f64 {
    let samples = &samples[samples.len() / 2..];
    let rises = samples.windows(2).filter(|pair| pair[0] <= 0 && pair[1] > 0).count();
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (rises, length) = (rises as f64, samples.len() as f64);
    rises * f64::from(rate) / length
}

/// Samples of 16 bits, little-endian.
pub(crate) fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Runs a program and returns what it printed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> (Vec<u8>, String) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}\n{errors}");
    (output.stdout, errors)
}
