//! The header of a picture: format, size, orientation, colour profile. Nothing is allocated for pixels here, so limits are
//! checked against these values first.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat};

use crate::Refusal;
use crate::orientation::orientation;

/// Largest inflated colour profile in bytes. Usual ones have a few hundred bytes, those of printers one or two megabytes.
pub const PROFILE_LIMIT: usize = 4 * 1024 * 1024;

/// Largest text in bytes that is read as EXIF: twice the hexadecimal size of a JPEG segment.
const RAW_EXIF_LIMIT: usize = 256 * 1024;

/// An optional part of a file.
type Part<'a> = Option<&'a [u8]>;

/// The properties of a picture before it is decoded.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
    pub(crate) profile: Option<Cow<'a, [u8]>>,
    pub(crate) format: Format,
}

impl Header<'_> {
    /// The size of the picture after it is turned upright.
    pub(crate) fn upright(&self) -> (u32, u32) {
        match self.orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (self.height, self.width),
            Orientation::NoTransforms
            | Orientation::Rotate180
            | Orientation::FlipHorizontal
            | Orientation::FlipVertical => (self.width, self.height),
        }
    }
}

/// The format, with the properties that determine the memory of its decoder.
#[derive(Debug)]
pub(crate) enum Format {
    Jpeg(JpegFrame),
    Png { interlaced: bool },
    WebP { animated: bool, alpha: bool },
    Gif,
}

/// A frame header (ITU-T T.81, B.2.2).
#[derive(Debug, Default)]
pub(crate) struct JpegFrame {
    pub(crate) progressive: bool,
    /// Id, horizontal and vertical sampling factor of each component.
    pub(crate) components: Vec<[u8; 3]>,
    pub(crate) jfif: bool,
    /// The colour transform in an Adobe segment.
    pub(crate) adobe: Option<u8>,
}

/// # Errors
/// If the file has another format, its header cannot be read, or its profile is beyond the limit.
pub(crate) fn read(original: &[u8]) -> Result<Header<'_>, Refusal> {
    let header = match image::guess_format(original).map_err(Refusal::no_image)? {
        ImageFormat::Jpeg => jpeg(original),
        ImageFormat::Png => png(original),
        ImageFormat::WebP => webp(original),
        ImageFormat::Gif => gif(original),
        other => Err(Refusal::no_image(format!("{other:?} is not supported"))),
    }?;
    if header.width == 0 || header.height == 0 {
        return Err(Refusal::no_image("a side without pixels"));
    }
    if header.profile.as_ref().is_some_and(|profile| profile.len() > PROFILE_LIMIT) {
        return Err(Refusal::ProfileTooLarge);
    }
    Ok(header)
}

fn end() -> Refusal {
    Refusal::no_image("the file ends in its header")
}

// --------------------------------------------------------------------- JPEG

/// Walks through the segments up to the first scan.
fn jpeg(file: &[u8]) -> Result<Header<'_>, Refusal> {
    let mut frame: Option<(u32, u32)> = None;
    let mut format = JpegFrame::default();
    let (mut exif, mut xmp): (Part, Part) = (None, None);
    let mut profile: Vec<&[u8]> = Vec::new();
    let mut place = 2;
    loop {
        // Bytes between segments and fill bytes before a marker are skipped, as in libjpeg.
        while *file.get(place).ok_or_else(end)? != 0xff {
            place += 1;
        }
        while *file.get(place).ok_or_else(end)? == 0xff {
            place += 1;
        }
        let marker = file[place];
        place += 1;
        match marker {
            // No marker, or one without a segment.
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            0xd9 => return Err(Refusal::no_image("no scan")),
            _ => {}
        }
        let length = usize::from(short(file, place).ok_or_else(end)?);
        let segment = file.get(place + 2..place + length.max(2)).ok_or_else(end)?;
        place += length.max(2);
        match marker {
            // Baseline, extended, and progressive with Huffman codes.
            0xc0..=0xc2 if frame.is_none() => {
                let (height, width) =
                    (short(segment, 1).ok_or_else(end)?, short(segment, 3).ok_or_else(end)?);
                let count = usize::from(*segment.get(5).ok_or_else(end)?);
                let components = segment.get(6..6 + 3 * count).ok_or_else(end)?;
                format.components =
                    components.chunks_exact(3).map(|one| [one[0], one[1] >> 4, one[1] & 15]).collect();
                if format
                    .components
                    .iter()
                    .any(|[_, across, down]| !(1..=4).contains(across) || !(1..=4).contains(down))
                {
                    return Err(Refusal::no_image("an invalid sampling factor"));
                }
                format.progressive = marker == 0xc2;
                frame = Some((width.into(), height.into()));
            }
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(Refusal::no_image(format!("a frame of kind {marker:x}")));
            }
            0xe0 if segment.starts_with(b"JFIF\0") => format.jfif = true,
            0xe1 if segment.starts_with(b"Exif\0") => {
                exif.get_or_insert(segment);
            }
            0xe1 => xmp = xmp.or_else(|| segment.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")),
            0xe2 => profile.extend(segment.strip_prefix(b"ICC_PROFILE\0")),
            0xee if segment.starts_with(b"Adobe") => format.adobe = segment.get(11).copied(),
            0xda => break,
            _ => {}
        }
    }
    let (width, height) = frame.ok_or_else(|| Refusal::no_image("a scan before its frame"))?;
    Ok(Header {
        width,
        height,
        orientation: orientation(exif, xmp),
        profile: joined(profile).map(Cow::Owned),
        format: Format::Jpeg(format),
    })
}

/// Joins the parts of a profile. Each begins with its number, from 1, and the number of parts. None if a part is missing.
fn joined(mut parts: Vec<&[u8]>) -> Option<Vec<u8>> {
    parts.sort_by_key(|part| part.first().copied());
    let count = parts.len();
    let numbered = (1_usize..).zip(&parts);
    let whole = count > 0
        && numbered.into_iter().all(|(number, part)| {
            matches!(part, [this, of, ..] if usize::from(*this) == number && usize::from(*of) == count)
        });
    whole.then(|| parts.iter().flat_map(|part| &part[2..]).copied().collect())
}

fn short(bytes: &[u8], place: usize) -> Option<u16> {
    bytes.get(place..place + 2)?.try_into().ok().map(u16::from_be_bytes)
}

// ---------------------------------------------------------------------- PNG

fn png(file: &[u8]) -> Result<Header<'_>, Refusal> {
    let (mut size, mut interlaced) = (None, false);
    let (mut exif, mut xmp): (Part, Part) = (None, None);
    let (mut raw, mut profile): (Option<Vec<u8>>, Option<Cow<[u8]>>) = (None, None);
    let mut rest = file.get(8..).unwrap_or_default();
    // The decoder handles files that are truncated after the header.
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((name, behind)) = behind.split_first_chunk::<4>() else { break };
        let Some(content) = behind.get(..length) else { break };
        match name {
            b"IHDR" => {
                let word =
                    |place: usize| content.get(place..place + 4)?.try_into().ok().map(u32::from_be_bytes);
                size = word(0).zip(word(4));
                interlaced = content.get(12).is_some_and(|method| *method != 0);
            }
            b"eXIf" => exif = Some(content),
            b"iTXt" => xmp = xmp.or_else(|| content.strip_prefix(b"XML:com.adobe.xmp\0\0\0")),
            b"tEXt" | b"zTXt" => raw = raw.or_else(|| raw_exif(name == b"zTXt", content)),
            b"iCCP" if profile.is_none() => profile = inflated_profile(content)?.map(Cow::Owned),
            b"IEND" => break,
            _ => {}
        }
        rest = behind.get(length + 4..).unwrap_or_default();
    }
    let (width, height) = size.ok_or_else(end)?;
    let exif = exif.or(raw.as_deref());
    Ok(Header {
        width,
        height,
        orientation: orientation(exif, xmp),
        profile,
        format: Format::Png { interlaced },
    })
}

/// EXIF as ImageMagick writes it into a text: three lines of description, then the bytes in hexadecimal.
fn raw_exif(compressed: bool, chunk: &[u8]) -> Option<Vec<u8>> {
    let text = chunk.strip_prefix(b"Raw profile type exif\0")?;
    let text = match compressed {
        true => fdeflate::decompress_to_vec_bounded(text.get(1..)?, RAW_EXIF_LIMIT).ok()?,
        false => text.to_vec(),
    };
    let written = text.splitn(4, |byte| *byte == b'\n').nth(3)?;
    let digits = written.iter().filter_map(|byte| char::from(*byte).to_digit(16)?.try_into().ok());
    let digits: Vec<u8> = digits.collect();
    Some(digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect())
}

/// The profile of an `iCCP` chunk: a name, a method, and the profile compressed with zlib.
fn inflated_profile(chunk: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let name = chunk.iter().take(80).position(|byte| *byte == 0);
    let Some(compressed) = name.and_then(|name| chunk.get(name + 2..)) else { return Ok(None) };
    match fdeflate::decompress_to_vec_bounded(compressed, PROFILE_LIMIT) {
        Ok(profile) => Ok(Some(profile)),
        Err(fdeflate::BoundedDecompressionError::OutputTooLarge { .. }) => Err(Refusal::ProfileTooLarge),
        // Treated as no profile: many programs write broken ones.
        Err(fdeflate::BoundedDecompressionError::DecompressionError { .. }) => Ok(None),
    }
}

// --------------------------------------------------------------- WebP and GIF

fn webp(file: &[u8]) -> Result<Header<'_>, Refusal> {
    let decoder = WebPDecoder::new(Cursor::new(file)).map_err(Refusal::no_image)?;
    let (width, height) = decoder.dimensions();
    let format = Format::WebP { animated: decoder.has_animation(), alpha: decoder.color_type().has_alpha() };
    let (mut exif, mut xmp, mut profile): (Part, Part, Part) = (None, None, None);
    let mut rest = file.get(12..).unwrap_or_default();
    while let Some((name, behind)) = rest.split_first_chunk::<4>() {
        let Some((length, behind)) = behind.split_first_chunk() else { break };
        let length = u32::from_le_bytes(*length) as usize;
        let Some(content) = behind.get(..length) else { break };
        match name {
            b"EXIF" => exif = exif.or(Some(content)),
            b"XMP " => xmp = xmp.or(Some(content)),
            b"ICCP" => profile = profile.or(Some(content)),
            _ => {}
        }
        rest = behind.get(length + length % 2..).unwrap_or_default();
    }
    Ok(Header {
        width,
        height,
        orientation: orientation(exif, xmp),
        profile: profile.map(Cow::Borrowed),
        format,
    })
}

fn gif(file: &[u8]) -> Result<Header<'_>, Refusal> {
    let mut decoder = GifDecoder::new(Cursor::new(file)).map_err(Refusal::no_image)?;
    let (width, height) = decoder.dimensions();
    let profile = decoder.icc_profile().map_err(Refusal::no_image)?.map(Cow::Owned);
    Ok(Header { width, height, orientation: Orientation::NoTransforms, profile, format: Format::Gif })
}
