//! Decodes a file to its end with symphonia, and hashes its audio packets.

use std::fs::File;
use std::io::{ErrorKind, Seek};

use events::{AudioFormat, AudioHash};
use sha2::{Digest, Sha256};
use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;

use crate::probe::Failure;
use crate::{Refusal, flac};

/// Of this many packets one may be damaged: players pass over a crack, and old MP3 files begin in the middle of a frame.
const PACKETS_PER_ERROR: u64 = 20;
/// Packets that may be damaged in any file.
const ERRORS_ALLOWED: u64 = 3;
/// Percent of the length that the container names which must be there.
const COMPLETE: u128 = 95;
const MILLISECONDS: u128 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) hash: AudioHash,
    /// Bytes of the audio, without tags and pictures.
    pub(crate) size: u64,
    /// Milliseconds; none if the format cannot be decoded.
    pub(crate) duration: Option<u64>,
    pub(crate) sample_rate: Option<u32>,
    pub(crate) channels: Option<u8>,
}

/// `format` is that which was found, not that of the file's name. `on_samples` gets what is decoded.
pub(crate) fn decode(
    file: File,
    format: AudioFormat,
    mut on_samples: impl FnMut(GenericAudioBufferRef<'_>),
) -> Result<Decoded, Failure> {
    // The container's own length must be there. In MP3 and AAC it may be a guess.
    let trust_length = !matches!(format, AudioFormat::Mp3 | AudioFormat::Aac);
    let stream = MediaSourceStream::new(source(file, format)?, MediaSourceStreamOptions::default());
    let mut hint = Hint::new();
    hint.with_extension(format.extension());
    let probed = symphonia::default::get_probe().probe(
        &hint,
        stream,
        FormatOptions::default(),
        MetadataOptions::default(),
    );
    let mut format = probed.map_err(|error| refusal(error, Refusal::Damaged))?;
    let track = format.default_track(TrackType::Audio).ok_or(Refusal::NoAudio)?;
    let id = track.id;
    let promised = track.num_frames;
    let added_by_encoder = u64::from(track.delay.unwrap_or(0)) + u64::from(track.padding.unwrap_or(0));
    let parameters =
        track.codec_params.as_ref().and_then(|parameters| parameters.audio()).ok_or(Refusal::NoAudio)?;
    let sample_rate = parameters.sample_rate;
    let channels = parameters.channels.as_ref().and_then(|channels| u8::try_from(channels.count()).ok());
    // Trimmed to its length, a file would be cut where that is a guess.
    let options = AudioDecoderOptions::default().gapless(trust_length);
    let mut decoder: Option<Box<dyn AudioDecoder>> =
        symphonia::default::get_codecs().make_audio_decoder(parameters, &options).ok();
    let mut hash = Sha256::new();
    let (mut packets, mut size, mut errors, mut frames) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut decoded_rate, mut decoded_channels) = (None, None);
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) | Err(Error::ResetRequired) => break,
            // The length below shows whether the end is missing.
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(refusal(error, Refusal::Damaged)),
        };
        if packet.track_id != id {
            continue;
        }
        packets += 1;
        size += packet.data.len() as u64;
        hash.update(&packet.data);
        let Some(decoding) = &mut decoder else { continue };
        match decoding.decode(&packet) {
            Ok(samples) => {
                frames += samples.frames() as u64;
                decoded_rate = Some(samples.spec().rate());
                decoded_channels = u8::try_from(samples.spec().channels().count()).ok();
                on_samples(samples);
            }
            Err(Error::DecodeError(_)) => errors += 1,
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => errors += 1,
            // A variant of the codec, such as HE-AAC, that is not implemented.
            Err(Error::Unsupported(_)) => decoder = None,
            Err(error) => return Err(refusal(error, Refusal::Damaged)),
        }
    }
    let is_damaged = errors > (packets / PACKETS_PER_ERROR).max(ERRORS_ALLOWED);
    if packets == 0 || (decoder.is_some() && (is_damaged || frames == 0)) {
        return Err(Refusal::Damaged.into());
    }
    if let (Some(promised), true, true) = (promised, trust_length, decoder.is_some())
        && u128::from(frames) * 100 < u128::from(promised) * COMPLETE
    {
        return Err(Refusal::Truncated.into());
    }
    if !trust_length {
        frames = frames.saturating_sub(added_by_encoder);
    }
    let sample_rate = decoded_rate.or(sample_rate);
    let duration =
        decoder.is_some().then_some(()).and(sample_rate).and_then(|rate| {
            u64::try_from((u128::from(frames) * MILLISECONDS).checked_div(rate.into())?).ok()
        });
    let hash = AudioHash::new(hash.finalize().into());
    Ok(Decoded { hash, size, duration, sample_rate, channels: decoded_channels.or(channels) })
}

fn source(mut file: File, format: AudioFormat) -> Result<Box<dyn MediaSource>, Failure> {
    if format == AudioFormat::Flac {
        let again = file.try_clone().map_err(Failure::Unreadable)?;
        match flac::without_tags(again) {
            Ok(Some(audio)) => return Ok(Box::new(ReadOnlySource::new(audio))),
            Ok(None) => {}
            Err(error) => return Err(refusal(Error::IoError(error), Refusal::Damaged)),
        }
        // The clone has moved the position of both.
        file.rewind().map_err(Failure::Unreadable)?;
    }
    Ok(Box::new(file))
}

/// An error of the disk is not the file's fault; an early end is.
fn refusal(error: Error, otherwise: Refusal) -> Failure {
    match error {
        Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => Refusal::Truncated.into(),
        Error::IoError(error) if error.raw_os_error().is_some() => Failure::Unreadable(error),
        _ => otherwise.into(),
    }
}
