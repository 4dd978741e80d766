//! One file: its format by its content, its tags, and whether it can be decoded.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Seek};
use std::path::Path;

use events::AudioFormat;
use lofty::config::{GlobalOptions, ParseOptions, ParsingMode, apply_global_options};
use lofty::error::FileParseError;
use lofty::file::{AudioFile, FileType, TaggedFile, TaggedFileExt};
use lofty::picture::PictureType;
use lofty::probe::Probe;
use lofty::tag::Tag;

use crate::decode::decode;
use crate::{Probed, Refusal, tags};

/// Largest item of a tag in bytes; a file with a larger cover is read without covers.
const ITEM_LIMIT: usize = 32 * 1024 * 1024;
/// Bytes of junk before the first frame.
const JUNK_LIMIT: usize = 64 * 1024;
const BITS: u128 = 8;
const MILLISECONDS: u128 = 1000;

/// Why there is no answer about a file.
#[derive(Debug)]
pub enum Failure {
    Refused(Refusal),
    /// It could not be read.
    Unreadable(std::io::Error),
}

/// Reads a file in this process. It may panic, take long, and take much memory.
///
/// # Errors
/// If the file is refused or cannot be read.
pub fn probe(path: &Path) -> Result<Probed, Failure> {
    let size = std::fs::metadata(path).map_err(Failure::Unreadable)?.len();
    let kind = file_type(path)?;
    let format = format_of(kind)?;
    let file = File::open(path).map_err(Failure::Unreadable)?;
    let decoded = decode(file, format, |_| {})?;
    let tagged = read_tags(path, kind, false)?;
    let properties = tagged.as_ref().map(AudioFile::properties);
    let stated = properties.and_then(|properties| u64::try_from(properties.duration().as_millis()).ok());
    // A length that was counted is better than one that a header names.
    let duration = decoded.duration.or(stated).filter(|duration| *duration > 0).ok_or(Refusal::Damaged)?;
    let bit_rate = u128::from(decoded.size) * BITS * MILLISECONDS / u128::from(duration);
    let stated_rate = properties.and_then(lofty::properties::FileProperties::sample_rate);
    let stated_channels = properties.and_then(lofty::properties::FileProperties::channels);
    Ok(Probed {
        format,
        hash: decoded.hash,
        duration,
        bit_rate: u32::try_from(bit_rate).unwrap_or(u32::MAX),
        sample_rate: decoded.sample_rate.or(stated_rate).unwrap_or(0),
        channels: decoded.channels.or(stated_channels).unwrap_or(0),
        size,
        decoded: decoded.duration.is_some(),
        tags: tagged.map(|tagged| tags::read(tagged.tags())).unwrap_or_default(),
    })
}

/// The front cover in the tags of a file, or else any picture, as it is. Read in this process, like [`probe`].
///
/// # Errors
/// If the file is refused or cannot be read.
pub(crate) fn front_cover(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let tagged = read_tags(path, file_type(path)?, true)?;
    let pictures = || tagged.iter().flat_map(TaggedFileExt::tags).flat_map(Tag::pictures);
    let front = pictures().find(|picture| picture.pic_type() == PictureType::CoverFront);
    Ok(front.or_else(|| pictures().next()).map(|picture| picture.data().to_vec()))
}

/// The format of a type of file.
pub(crate) fn format_of(kind: FileType) -> Result<AudioFormat, Refusal> {
    match kind {
        FileType::Mpeg => Ok(AudioFormat::Mp3),
        FileType::Mp4 => Ok(AudioFormat::M4a),
        FileType::Aac => Ok(AudioFormat::Aac),
        FileType::Flac => Ok(AudioFormat::Flac),
        FileType::Vorbis => Ok(AudioFormat::Vorbis),
        FileType::Opus => Ok(AudioFormat::Opus),
        FileType::Wav => Ok(AudioFormat::Wav),
        _ => Err(Refusal::UnknownFormat),
    }
}

pub(crate) fn file_type(path: &Path) -> Result<FileType, Failure> {
    apply_global_options(GlobalOptions::new().allocation_limit(ITEM_LIMIT));
    let file = File::open(path).map_err(Failure::Unreadable)?;
    let guessed = Probe::new(BufReader::new(file)).guess_file_type().map_err(unreadable)?;
    Ok(guessed.file_type().ok_or(Refusal::UnknownFormat)?)
}

/// The tags; none if they cannot be read: damaged tags are no reason to refuse audio.
fn read_tags(path: &Path, kind: FileType, covers: bool) -> Result<Option<TaggedFile>, Failure> {
    let mut file = BufReader::new(File::open(path).map_err(Failure::Unreadable)?);
    let mut options = ParseOptions::new();
    options = options.parsing_mode(ParsingMode::Relaxed).max_junk_bytes(JUNK_LIMIT).read_cover_art(covers);
    for with_properties in [true, false] {
        let options = options.read_properties(with_properties);
        file.rewind().map_err(Failure::Unreadable)?;
        match Probe::with_file_type(&mut file, kind).options(options).read() {
            Ok(tagged) => return Ok(Some(tagged)),
            Err(error) => only_damage(&error)?,
        }
    }
    Ok(None)
}

/// Passes on the errors of the disk.
fn only_damage(error: &FileParseError) -> Result<(), Failure> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && let Some(code) = error.raw_os_error()
        {
            return Err(Failure::Unreadable(std::io::Error::from_raw_os_error(code)));
        }
        cause = error.source();
    }
    Ok(())
}

fn unreadable(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::UnexpectedEof => Refusal::UnknownFormat.into(),
        _ if error.raw_os_error().is_some() => Failure::Unreadable(error),
        _ => Refusal::UnknownFormat.into(),
    }
}
