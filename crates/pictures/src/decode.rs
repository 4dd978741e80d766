//! From a file to pixels, no larger than needed, in colours that JPEG supports.

use std::io::{Cursor, Read};

use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ImageDecoder, Limits};
use jpeg_decoder::{ColorTransform, PixelFormat};
use resample::Channels;

use crate::Refusal;
use crate::header::{Format, Header, JpegFrame};
use crate::scale::Pixels;

/// Maximum memory in bytes of `decode`, including its result.
pub(crate) fn memory(header: &Header, scale: f64) -> u64 {
    let pixels = u64::from(header.width) * u64::from(header.height);
    match &header.format {
        Format::Jpeg(frame) => jpeg_memory(header, frame, eighths(header, scale)),
        // Rows are decoded one by one; an interlaced picture is decoded as a whole.
        Format::Png { interlaced: false } => 3 * pixels,
        Format::Png { interlaced: true } => 4 * pixels,
        // The planes of a lossy picture or the colours of a lossless one, its transparency, and the result.
        Format::WebP { animated: false, alpha: false } => 7 * pixels,
        Format::WebP { animated: false, alpha: true } => 11 * pixels,
        Format::WebP { animated: true, .. } => 15 * pixels,
        // The result, and a frame that is smaller than the picture.
        Format::Gif => 8 * pixels,
    }
}

/// The pixels as they are stored, at `scale` of their size or larger.
pub(crate) fn decode(original: &[u8], header: &Header, scale: f64) -> Result<Pixels, Refusal> {
    match &header.format {
        Format::Jpeg(frame) => jpeg(original, frame, eighths(header, scale)),
        Format::Png { interlaced } => png(original, *interlaced),
        Format::WebP { .. } => on_white(WebPDecoder::new(Cursor::new(original)).map_err(Refusal::no_image)?),
        Format::Gif => {
            let mut decoder = GifDecoder::new(Cursor::new(original)).map_err(Refusal::no_image)?;
            let mut limits = Limits::no_limits();
            // For the first frame, whose header may claim to be larger than the picture.
            limits.max_alloc = Some(4 * u64::from(header.width) * u64::from(header.height));
            decoder.set_limits(limits).map_err(Refusal::no_image)?;
            on_white(decoder)
        }
    }
}

// --------------------------------------------------------------------- JPEG

/// The smallest sufficient size that the decoder can produce, in eighths.
fn eighths(header: &Header, scale: f64) -> u16 {
    let suffices = |eighths: &u16| {
        [header.width, header.height].into_iter().all(|side| {
            let side = f64::from(side);
            (side * f64::from(*eighths) / 8.0).ceil() + SLACK * side >= (side * scale).round()
        })
    };
    [1, 2, 4].into_iter().find(suffices).unwrap_or(8)
}

/// Rounding differences, in parts of a side.
const SLACK: f64 = 1e-9;

fn jpeg_memory(header: &Header, frame: &JpegFrame, eighths: u16) -> u64 {
    let most = |which: usize| frame.components.iter().map(|one| u64::from(one[which])).max().unwrap_or(1);
    let across = u64::from(header.width).div_ceil(8 * most(1));
    let down = u64::from(header.height).div_ceil(8 * most(2));
    let sampled: u64 = frame.components.iter().map(|one| u64::from(one[1]) * u64::from(one[2])).sum();
    let blocks = across * down * sampled;
    let side = u64::from(eighths);
    // A progressive picture is kept as coefficients of two bytes until its last scan.
    let coefficients = if frame.progressive { blocks * 64 * 2 } else { 0 };
    let planes = blocks * side * side;
    let pixels = u64::from(header.width) * u64::from(header.height) * side * side / 64;
    coefficients + planes + pixels * frame.components.len() as u64
}

fn jpeg(original: &[u8], frame: &JpegFrame, eighths: u16) -> Result<Pixels, Refusal> {
    let mut decoder = jpeg_decoder::Decoder::new(PaddedScans::new(original));
    decoder.read_info().map_err(Refusal::no_image)?;
    let whole = decoder.info().ok_or_else(|| Refusal::no_image("no frame"))?;
    if let Some(transform) = colours(frame) {
        decoder.set_color_transform(transform);
    }
    if eighths < 8 {
        let part =
            |side: u16| u16::try_from((u32::from(side) * u32::from(eighths)).div_ceil(8)).unwrap_or(side);
        decoder.scale(part(whole.width), part(whole.height)).map_err(Refusal::no_image)?;
    }
    let data = decoder.decode().map_err(Refusal::no_image)?;
    let info = decoder.info().ok_or_else(|| Refusal::no_image("no frame"))?;
    let channels = match info.pixel_format {
        PixelFormat::L8 => Channels::Gray,
        PixelFormat::RGB24 => Channels::Rgb,
        PixelFormat::CMYK32 => Channels::Cmyk,
        PixelFormat::L16 => return Err(Refusal::no_image("samples of 16 bits")),
    };
    Pixels::new(info.width.into(), info.height.into(), channels, data)
}

/// One bits, as bytes of a scan. No Huffman code consists of one bits only (ITU-T T.81, C.2). They are as many as the
/// decoder reads ahead, which is more than one code with its value.
const ONE_BITS: [u8; 16] = *b"\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0";

/// A JPEG with one bits behind the data of each scan. Where the data ends early, the decoder would read zeros up to the
/// end of the scan, which are a grey area; it refuses the one bits, and skips them behind complete data.
struct PaddedScans<'a> {
    current: &'a [u8],
    parts: std::vec::IntoIter<&'a [u8]>,
}

impl<'a> PaddedScans<'a> {
    fn new(file: &'a [u8]) -> Self {
        let mut parts = Vec::new();
        let (mut start, mut place, mut in_scan) = (0, 2, false);
        while let Some(at) = next_segment(file, place) {
            if in_scan {
                parts.extend([&file[start..at], &ONE_BITS]);
                start = at;
            }
            let (marker, behind) = (file[at + 1], file.get(at + 2..at + 4));
            let Some(&[high, low]) = behind.filter(|_| marker != END_OF_IMAGE) else { break };
            place = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            in_scan = marker == START_OF_SCAN;
        }
        parts.push(&file[start..]);
        Self { current: &[], parts: parts.into_iter() }
    }
}

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

/// The next marker that begins a segment or ends the image, at `from` or behind it.
fn next_segment(file: &[u8], from: usize) -> Option<usize> {
    let mut place = from;
    loop {
        place += file.get(place..)?.iter().position(|&byte| byte == 0xff)?;
        match file.get(place + 1)? {
            // A fill byte; the next one may belong to a marker.
            0xff => place += 1,
            // A byte of a scan, or a marker without a segment.
            0x00 | 0x01 | 0xd0..=0xd8 => place += 2,
            _ => return Some(place),
        }
    }
}

impl Read for PaddedScans<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            let Some(next) = self.parts.next() else { return Ok(0) };
            self.current = next;
        }
        self.current.read(buffer)
    }

    /// The decoder reads byte by byte.
    fn read_exact(&mut self, mut buffer: &mut [u8]) -> std::io::Result<()> {
        while buffer.len() > self.current.len() {
            let read = self.read(buffer)?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            buffer = &mut buffer[read..];
        }
        self.current.read_exact(buffer)
    }
}

/// How libjpeg interprets the components, where the decoder would interpret them differently.
fn colours(frame: &JpegFrame) -> Option<ColorTransform> {
    match (frame.components.as_slice(), frame.jfif, frame.adobe) {
        ([_, _, _], true, _) => Some(ColorTransform::YCbCr),
        ([_, _, _], false, Some(0)) => Some(ColorTransform::RGB),
        ([_, _, _], false, Some(_)) => Some(ColorTransform::YCbCr),
        ([[b'R', ..], [b'G', ..], [b'B', ..]], false, None) => Some(ColorTransform::RGB),
        ([_, _, _], false, None) => Some(ColorTransform::YCbCr),
        ([_, _, _, _], _, Some(2)) => Some(ColorTransform::YCCK),
        ([_, _, _, _], _, _) => Some(ColorTransform::CMYK),
        _ => None,
    }
}

// ---------------------------------------------------------------------- PNG

fn png(original: &[u8], interlaced: bool) -> Result<Pixels, Refusal> {
    let mut decoder = png::Decoder::new(Cursor::new(original));
    // `header` reads these, with its own limits.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(Refusal::no_image)?;
    let (width, height) = reader.info().size();
    let samples = reader.output_color_type().0;
    let channels = if matches!(samples, png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha) {
        Channels::Gray
    } else {
        Channels::Rgb
    };
    let pixels = width as usize * height as usize;
    let data = if interlaced {
        let mut whole = vec![0; pixels * samples.samples()];
        reader.next_frame(&mut whole).map_err(Refusal::no_image)?;
        opaque(&mut whole, samples);
        whole.truncate(pixels * channels.count());
        whole
    } else {
        let mut whole = Vec::with_capacity(pixels * channels.count());
        let mut row = vec![0; width as usize * samples.samples()];
        for _ in 0..height {
            reader.read_row(&mut row).map_err(Refusal::no_image)?;
            opaque(&mut row, samples);
            whole.extend_from_slice(&row[..width as usize * channels.count()]);
        }
        whole
    };
    Pixels::new(width, height, channels, data)
}

/// Blends pixels with white, in place: the result is at the beginning.
fn opaque(pixels: &mut [u8], samples: png::ColorType) {
    match samples {
        png::ColorType::Rgba => laid_on_white::<4>(pixels),
        png::ColorType::GrayscaleAlpha => laid_on_white::<2>(pixels),
        png::ColorType::Grayscale | png::ColorType::Rgb | png::ColorType::Indexed => {}
    }
}

/// Like `opaque`, for pixels of `N` channels, the last of which is alpha.
fn laid_on_white<const N: usize>(pixels: &mut [u8]) {
    for pixel in 0..pixels.len() / N {
        let alpha = u16::from(pixels[pixel * N + N - 1]);
        for channel in 0..N - 1 {
            let value = u16::from(pixels[pixel * N + channel]);
            let mixed = (value * alpha + 255 * (255 - alpha) + 127) / 255;
            pixels[pixel * (N - 1) + channel] = mixed.to_le_bytes()[0];
        }
    }
}

// --------------------------------------------------------------- WebP and GIF

fn on_white(decoder: impl ImageDecoder) -> Result<Pixels, Refusal> {
    let ((width, height), alpha) = (decoder.dimensions(), decoder.color_type().has_alpha());
    let size = usize::try_from(decoder.total_bytes()).map_err(Refusal::no_image)?;
    let mut data = vec![0; size];
    decoder.read_image(&mut data).map_err(Refusal::no_image)?;
    if alpha {
        laid_on_white::<4>(&mut data);
        data.truncate(size / 4 * 3);
    }
    Pixels::new(width, height, Channels::Rgb, data)
}
