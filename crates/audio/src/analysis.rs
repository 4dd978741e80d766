//! The loudness of a file by EBU R128, its true peak, and its waveform, measured by a child process like the rest of it:
//! `<program> probe --analyse <file>` answers one line of JSON.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ebur128::{EbuR128, Mode};
use rustix::process::nice;
use symphonia::core::audio::GenericAudioBufferRef;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::child::{THIS_PROGRAM, command, limit_resources, read_answer, write_answer};
use crate::decode::decode;
use crate::probe::{Failure, file_type, format_of};
use crate::prober::{ANSWER_LIMIT, TIME_LIMIT, cause, failed};
use crate::{Measured, ProbeError, Refusal};

/// The argument before the file.
pub(crate) const OPTION: &str = "--analyse";
/// Peaks of a waveform: enough for a player as wide as a phone, and small in an event and in lists.
pub const WAVEFORM_LENGTH: usize = 200;
/// LUFS of silence: what is quieter is below the absolute gate of EBU R128.
const SILENCE: f64 = -70.0;
/// True peak of silence in decibels: below the noise of 16 bits.
const NO_PEAK: f64 = -100.0;
/// Lowest priority: an analysis never takes time from requests.
const LOWEST_PRIORITY: i32 = 19;

/// The child process.
pub(crate) fn print(file: &Path) -> std::io::Result<()> {
    let limited = nice(LOWEST_PRIORITY).map_err(std::io::Error::from).and_then(|_| limit_resources());
    write_answer(limited.map_err(Failure::Unreadable).and_then(|()| analyse(file)))
}

/// Measures files in child processes: runs a program that calls [`run_child`](crate::run_child).
#[derive(Debug)]
pub struct Analyser {
    program: PathBuf,
    time_limit: Duration,
}

impl Default for Analyser {
    /// Runs the program of this process.
    fn default() -> Self {
        Self::of(THIS_PROGRAM.into(), TIME_LIMIT)
    }
}

impl Analyser {
    pub fn of(program: PathBuf, time_limit: Duration) -> Self {
        Self { program, time_limit }
    }

    /// Measures an open file, which needs no name; none if its codec cannot be decoded.
    ///
    /// # Errors
    /// If the file is damaged, or cannot be measured now.
    pub async fn analyse(&self, file: File) -> Result<Option<Measured>, ProbeError> {
        let mut child = command(&self.program)
            .args([OPTION, "/dev/stdin"])
            .stdin(file)
            .spawn()
            .map_err(ProbeError::Failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed("the child has no output"))?;
        let run = async {
            let mut line = Vec::new();
            stdout.take(ANSWER_LIMIT).read_to_end(&mut line).await?;
            Ok((line, child.wait().await?))
        };
        let (line, status) = match timeout(self.time_limit, run).await {
            Ok(ended) => ended.map_err(ProbeError::Failed)?,
            Err(_elapsed) => {
                child.kill().await.map_err(ProbeError::Failed)?;
                return Err(Refusal::TooLong.into());
            }
        };
        if !status.success() {
            tracing::warn!(%status, "the analysis of an audio file crashed or was stopped");
            return Err(cause(status).into());
        }
        read_answer(&line)
    }
}

/// Measures a file in this process; none if its codec cannot be decoded. It may panic, take long, and take much memory.
fn analyse(path: &Path) -> Result<Option<Measured>, Failure> {
    let format = format_of(file_type(path)?)?;
    let mut meter = Meter::default();
    let file = File::open(path).map_err(Failure::Unreadable)?;
    let decoded = decode(file, format, |samples| meter.add(&samples))?;
    // Without a length the decoder does not know the codec, perhaps only after the first packets.
    if decoded.duration.is_none() { Ok(None) } else { meter.measured().map(Some) }
}

#[derive(Default)]
struct Meter {
    loudness: Option<EbuR128>,
    failed: bool,
    peaks: Peaks,
    samples: Vec<f32>,
}

impl Meter {
    fn add(&mut self, samples: &GenericAudioBufferRef<'_>) {
        let (channels, rate) = (samples.spec().channels().count(), samples.spec().rate());
        samples.copy_to_vec_interleaved(&mut self.samples);
        self.failed |= self.measure(channels, rate).is_err();
        self.peaks.add(&self.samples, channels);
    }

    fn measure(&mut self, channels: usize, rate: u32) -> Result<(), ebur128::Error> {
        let channels = u32::try_from(channels).map_err(|_| ebur128::Error::InvalidChannelIndex)?;
        let meter = match &mut self.loudness {
            Some(meter) => meter,
            none => none.insert(EbuR128::new(channels, rate, Mode::I | Mode::TRUE_PEAK)?),
        };
        // A file may change in the middle, such as a recorded radio programme.
        if (meter.channels(), meter.rate()) != (channels, rate) {
            meter.change_parameters(channels, rate)?;
        }
        meter.add_frames_f32(&self.samples)
    }

    #[expect(clippy::cast_possible_truncation, reason = "decibels with a few digits")]
    fn measured(self) -> Result<Measured, Failure> {
        let meter = self.loudness.filter(|_| !self.failed).ok_or(Refusal::Damaged)?;
        let loudness = meter.loudness_global().map_err(|_| Refusal::Damaged)?;
        let peaks = (0..meter.channels()).map(|channel| meter.true_peak(channel));
        let peaks = peaks.collect::<Result<Vec<f64>, _>>().map_err(|_| Refusal::Damaged)?;
        let peak = 20.0 * peaks.into_iter().fold(0.0, f64::max).log10();
        Ok(Measured {
            // Silence has neither; JSON has no infinity.
            loudness: loudness.max(SILENCE) as f32,
            peak: peak.max(NO_PEAK) as f32,
            waveform: self.peaks.waveform(),
        })
    }
}

/// The highest samples of equal parts of a stream of unknown length, in flat memory: when there are too many parts, each two
/// become one.
#[derive(Debug)]
struct Peaks {
    parts: Vec<f32>,
    /// Frames of a part.
    length: usize,
    /// Frames of the last part so far.
    filled: usize,
}

impl Default for Peaks {
    fn default() -> Self {
        Self { parts: Vec::new(), length: 1, filled: 1 }
    }
}

impl Peaks {
    /// Several parts for each peak of the waveform, so that their borders hardly differ from its own.
    const PARTS_LIMIT: usize = 32 * WAVEFORM_LENGTH;

    fn add(&mut self, samples: &[f32], channels: usize) {
        for frame in samples.chunks(channels.max(1)) {
            let peak = frame.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
            if self.filled == self.length {
                if self.parts.len() == Self::PARTS_LIMIT {
                    self.parts = self.parts.chunks(2).map(highest).collect();
                    self.length *= 2;
                }
                self.parts.push(0.0);
                self.filled = 0;
            }
            if let Some(last) = self.parts.last_mut() {
                *last = last.max(peak);
            }
            self.filled += 1;
        }
    }

    fn waveform(&self) -> Vec<u8> {
        let count = self.parts.len();
        let peaks = (0..WAVEFORM_LENGTH.min(count)).map(|place| {
            let border = |place: usize| place * count / WAVEFORM_LENGTH.min(count);
            highest(&self.parts[border(place)..border(place + 1)])
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limited to the range of a byte"
        )]
        peaks.map(|peak| (peak.min(1.0) * 255.0).round() as u8).collect()
    }
}

fn highest(parts: &[f32]) -> f32 {
    parts.iter().copied().fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;
    use std::io::Write;

    use super::*;

    const RATE: u32 = 48_000;

    /// A stereo WAV file of 16 bits with the same tone on both channels, `loud` seconds of it and then silence.
    fn tone(decibels: f64, seconds: u32, loud: u32) -> tempfile::NamedTempFile {
        let length = RATE * seconds * 4;
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((36 + length).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(16_u32.to_le_bytes());
        // PCM, two channels.
        bytes.extend([1, 0, 2, 0]);
        bytes.extend(RATE.to_le_bytes());
        bytes.extend((RATE * 4).to_le_bytes());
        bytes.extend([4, 0, 16, 0]);
        bytes.extend(b"data");
        bytes.extend(length.to_le_bytes());
        let amplitude = 10_f64.powf(decibels / 20.0) * f64::from(i16::MAX);
        for frame in 0..RATE * seconds {
            let level = if frame < RATE * loud { amplitude } else { 0.0 };
            #[expect(clippy::cast_possible_truncation, reason = "an amplitude below 1")]
            let sample = (level * (TAU * 1000.0 * f64::from(frame) / f64::from(RATE)).sin()).round() as i16;
            bytes.extend(sample.to_le_bytes());
            bytes.extend(sample.to_le_bytes());
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    fn measured(file: &tempfile::NamedTempFile) -> Measured {
        analyse(file.path()).unwrap().unwrap()
    }

    /// EBU Tech 3341: a stereo sine of 1 kHz at -23 dBFS has -23 LUFS, within 0.1 LU; the same for -33.
    #[test]
    fn loudness_is_that_of_the_standard() {
        for decibels in [-23.0, -33.0] {
            let Measured { loudness, peak, .. } = measured(&tone(decibels, 20, 20));
            assert!((f64::from(loudness) - decibels).abs() < 0.1, "{loudness}");
            assert!((f64::from(peak) - decibels).abs() < 0.1, "{peak}");
        }
    }

    #[test]
    fn silence_is_measured_within_the_range_of_json() {
        let Measured { loudness, peak, waveform } = measured(&tone(-200.0, 2, 2));
        assert_eq!((loudness, peak), (-70.0, -100.0));
        assert_eq!(waveform, vec![0; WAVEFORM_LENGTH]);
    }

    #[test]
    fn waveform_shows_where_the_song_is_loud() {
        let Measured { waveform, .. } = measured(&tone(0.0, 8, 2));
        assert_eq!(waveform.len(), WAVEFORM_LENGTH);
        assert!(waveform[..WAVEFORM_LENGTH / 4].iter().all(|peak| *peak == 255), "{waveform:?}");
        // At most one peak covers the border.
        assert!(waveform[WAVEFORM_LENGTH / 4 + 1..].iter().all(|peak| *peak == 0), "{waveform:?}");
    }

    #[test]
    fn peaks_of_any_length_are_of_equal_parts() {
        for frames in [0, 1, 150, WAVEFORM_LENGTH, 6_401, 1_000_000] {
            let mut peaks = Peaks::default();
            peaks.add(&vec![0.5; frames], 1);
            assert_eq!(peaks.waveform(), vec![128; frames.min(WAVEFORM_LENGTH)], "{frames}");
        }
    }
}
