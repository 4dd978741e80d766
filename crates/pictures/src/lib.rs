//! Untrusted pictures: decoded within limits, turned upright, reduced to their pixels, and scaled to their variants.
//! It only computes, and is optimised in every build.
//!
//! The steps of [`process`]: `header` (limits), `decode`, `scale` (size, orientation, colours), `variants` (files).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing"))]

mod decode;
mod header;
mod orientation;
mod scale;
mod variants;

use std::error::Error;

use media::ImageVariant;
use thiserror::Error;

use header::Header;
pub use header::PROFILE_LIMIT;
use variants::Encoded;
pub use variants::File;

/// Largest accepted picture, in megapixels: that of a camera, with a margin.
pub const MEGAPIXELS: u64 = 50;
/// Longest accepted side in pixels: that of a panorama.
pub const SIDE_LIMIT: u32 = 20_000;
/// Most memory in bytes that a picture may need, without its file: that of one of the most costly.
pub const MEMORY: u64 = 640 * 1024 * 1024;
/// Memory in bytes that a picture needs apart from its decoder: its variants and their files.
const MEMORY_OF_VARIANTS: u64 = 32 * 1024 * 1024;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a picture is not processed.
#[derive(Debug, Error)]
pub enum Refusal {
    #[error("not an image")]
    NoImage(#[source] Cause),
    #[error("too many pixels")]
    TooManyPixels,
    #[error("a side is too long")]
    SideTooLong,
    #[error("too much memory is needed")]
    TooMuchMemory,
    #[error("the colour profile is too large")]
    ProfileTooLarge,
    #[error("the image cannot be processed")]
    Failed(#[source] Cause),
}

impl Refusal {
    pub fn no_image(cause: impl Into<Cause>) -> Self {
        Self::NoImage(cause.into())
    }

    pub fn failed(cause: impl Into<Cause>) -> Self {
        Self::Failed(cause.into())
    }
}

/// A picture that is ready to be stored: the size of its first variant in pixels, its `BlurHash`, and its files.
#[derive(Debug)]
pub struct ProcessedImage {
    pub width: u32,
    pub height: u32,
    pub placeholder: String,
    pub files: Vec<File>,
}

/// Checks the header of a picture against the limits; returns the most memory in bytes that processing it needs.
pub fn memory_of(original: &[u8], variants: &[ImageVariant]) -> Result<u64, Refusal> {
    Ok(checked(original, variants)?.memory)
}

/// A header within the limits.
struct Checked<'a> {
    header: Header<'a>,
    /// At which the picture suffices for its variants.
    scale: f64,
    memory: u64,
}

fn checked<'a>(original: &'a [u8], variants: &[ImageVariant]) -> Result<Checked<'a>, Refusal> {
    let header = header::read(original)?;
    let (width, height) = (header.width, header.height);
    if u64::from(width) * u64::from(height) > MEGAPIXELS * 1_000_000 {
        return Err(Refusal::TooManyPixels);
    }
    if width.max(height) > SIDE_LIMIT {
        return Err(Refusal::SideTooLong);
    }
    let scale = variants::scale(header.upright(), variants);
    let (across, down) = media::scaled((width, height), scale);
    // The intermediate result between the two passes of resizing; then the picture itself, turned, and converted.
    let between = u64::from(across) * u64::from(height) * 4;
    let reduced = u64::from(across) * u64::from(down) * 3;
    let memory = decode::memory(&header, scale) + between + 3 * reduced + MEMORY_OF_VARIANTS;
    if memory > MEMORY {
        return Err(Refusal::TooMuchMemory);
    }
    Ok(Checked { header, scale, memory })
}

/// The variants, and the size of the first.
pub fn process(original: &[u8], variants: &[ImageVariant]) -> Result<ProcessedImage, Refusal> {
    let Checked { header, scale, .. } = checked(original, variants)?;
    let upright = header.upright();
    let pixels = decode::decode(original, &header, scale)?;
    let picture = pixels
        .resized(media::scaled((header.width, header.height), scale))?
        .into_srgb(header.orientation, header.profile.as_deref())?;
    let Encoded { size: (width, height), placeholder, files } = variants::encode(picture, upright, variants)?;
    Ok(ProcessedImage { width, height, placeholder, files })
}

#[cfg(test)]
mod metadata;
#[cfg(test)]
mod reference;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, GenericImageView, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
    use media::ImageVariant;
    use proptest::prelude::*;

    use super::*;

    /// Baseline, 4:2:0, each component in a separate scan.
    const THREE_SCANS: &[u8] = include_bytes!("../fixtures/three-scans-420.jpg");
    /// The orientation is stored as LONG.
    const ORIENTATION_LONG: &[u8] = include_bytes!("../fixtures/orientation-long.jpg");
    const UPRIGHT: &[u8] = include_bytes!("../fixtures/upright.jpg");

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Left half red, right half blue.
    fn two_colours(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(
            width,
            height,
            |x, _| if x < width / 2 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) },
        )
        .into()
    }

    /// A JPEG with an EXIF block that has an orientation and a location.
    fn with_exif(picture: &DynamicImage, orientation: u8) -> Vec<u8> {
        let jpeg = encoded(picture, ImageFormat::Jpeg);
        let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
        tiff.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
        tiff.extend([0x0e, 0x01, 2, 0, 11, 0, 0, 0, 38, 0, 0, 0]);
        tiff.extend(b"\0\0\0\0GPS 52.52N\0");
        let mut exif = b"Exif\0\0".to_vec();
        exif.extend(tiff);
        let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
    }

    fn decoded(file: &File) -> DynamicImage {
        image::load_from_memory(&file.1).unwrap()
    }

    #[test]
    fn every_variant_has_its_size_and_none_is_enlarged() {
        let ProcessedImage { width, height, files, .. } =
            process(&encoded(&two_colours(3000, 1500), ImageFormat::Png), ImageVariant::OF_POST).unwrap();
        let sizes: Vec<(u32, u32)> = files.iter().map(|file| decoded(file).dimensions()).collect();
        assert_eq!(
            ((width, height), sizes.as_slice()),
            ((2048, 1024), &[(2048, 1024), (1080, 540), (1080, 1350), (320, 320)][..])
        );
        let ProcessedImage { width, height, files, .. } =
            process(&encoded(&two_colours(40, 20), ImageFormat::Png), ImageVariant::OF_POST).unwrap();
        assert_eq!((width, height), (40, 20));
        assert_eq!(decoded(&files[1]).dimensions(), (40, 20));
        let ProcessedImage { files, .. } =
            process(&encoded(&two_colours(400, 300), ImageFormat::WebP), ImageVariant::OF_PHOTO).unwrap();
        assert_eq!(image::guess_format(&files[0].1).unwrap(), ImageFormat::Png);
        assert_eq!(decoded(&files[0]).dimensions(), (320, 320));
    }

    #[test]
    fn picture_is_turned_upright_and_loses_its_location() {
        // 6: must be turned a quarter clockwise, so the left half becomes the upper half.
        let sent = with_exif(&two_colours(64, 32), 6);
        assert!(sent.windows(3).any(|window| window == b"GPS"));
        let ProcessedImage { width, height, files, .. } = process(&sent, ImageVariant::OF_POST).unwrap();
        assert_eq!((width, height), (32, 64));
        let picture = decoded(&files[0]).to_rgb8();
        let (above, below) = (picture.get_pixel(16, 8), picture.get_pixel(16, 56));
        assert!(above[0] > 200 && below[2] > 200, "{above:?} {below:?}");
        for (variant, content) in &files {
            for trace in [&b"GPS"[..], b"Exif"] {
                assert!(!content.windows(trace.len()).any(|window| window == trace), "{variant:?}");
            }
        }
    }

    #[test]
    fn placeholder_resembles_the_picture() {
        for (width, height, waves) in [(640, 320, "L"), (8, 4, "L"), (1, 1, "L"), (1, 200, "T")] {
            let sent = encoded(&two_colours(width, height), ImageFormat::Png);
            let placeholder = process(&sent, ImageVariant::OF_POST).unwrap().placeholder;
            // The first character encodes the number of waves, which determines the length: 4 + 2 x 12.
            assert_eq!((placeholder.len(), &placeholder[..1]), (28, waves), "{placeholder}");
        }
        let placeholder =
            process(&encoded(&two_colours(640, 320), ImageFormat::Png), &[]).unwrap().placeholder;
        let shown = blurhash::decode(&placeholder, 20, 10, 1.0).unwrap();
        let pixel = |x: usize| &shown[(5 * 20 + x) * 4..][..3];
        assert!(pixel(2)[0] > 150 && pixel(2)[2] < 100, "{:?}", pixel(2));
        assert!(pixel(17)[2] > 150 && pixel(17)[0] < 100, "{:?}", pixel(17));
    }

    #[test]
    fn transparency_becomes_white() {
        let clear = RgbaImage::from_pixel(8, 8, Rgba([0, 0, 0, 0]));
        let ProcessedImage { files, .. } =
            process(&encoded(&clear.into(), ImageFormat::Png), &[ImageVariant::LARGE]).unwrap();
        assert!(decoded(&files[0]).to_rgb8().pixels().all(|pixel| pixel.0.iter().all(|&part| part > 250)));
    }

    #[test]
    fn files_that_are_not_pictures_are_refused() {
        let jpeg = encoded(&two_colours(64, 64), ImageFormat::Jpeg);
        let cut = &jpeg[..jpeg.len() / 3];
        for bytes in [
            &b""[..],
            b"hello",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"%PDF-1.7",
            b"\x89PNG\r\n\x1a\n",
            cut,
        ] {
            let refused = process(bytes, ImageVariant::OF_POST);
            assert!(matches!(refused, Err(Refusal::NoImage(_))), "{bytes:?}");
        }
    }

    fn average(picture: &DynamicImage) -> [u64; 3] {
        let picture = picture.to_rgb8();
        let count = u64::from(picture.width()) * u64::from(picture.height());
        [0, 1, 2].map(|channel| picture.pixels().map(|pixel| u64::from(pixel[channel])).sum::<u64>() / count)
    }

    #[test]
    fn baseline_jpeg_with_a_scan_per_component_keeps_its_colours() {
        let processed = process(THREE_SCANS, ImageVariant::OF_POST).unwrap();
        assert_eq!((processed.width, processed.height), (88, 88));
        for file in &processed.files {
            let near = average(&decoded(file)).into_iter().zip([117, 131, 136]);
            assert!(near.clone().all(|(is, right)| is.abs_diff(right) <= 3), "{:?}", average(&decoded(file)));
        }
    }

    #[test]
    fn orientation_stored_as_long_turns_the_picture_upright() {
        let size = |sent| process(sent, ImageVariant::OF_POST).map(|made| (made.width, made.height)).unwrap();
        assert_eq!((size(ORIENTATION_LONG), size(UPRIGHT)), ((32, 64), (64, 32)));
    }

    /// A JPEG whose pixels are all different, so that most of the file is its scans.
    fn noisy_jpeg(progressive: bool, restart_interval: u16) -> Vec<u8> {
        let (mut jpeg, mut state) = (Vec::new(), 1_u32);
        let pixels: Vec<u8> = (0..64 * 48 * 3)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 90);
        encoder.set_progressive(progressive);
        encoder.set_restart_interval(restart_interval);
        encoder.encode(&pixels, 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
        jpeg
    }

    #[test]
    fn jpeg_that_ends_early_is_refused() {
        for progressive in [false, true] {
            let whole = noisy_jpeg(progressive, 0);
            assert!(process(&whole, ImageVariant::OF_POST).is_ok());
            for part in 1..20 {
                let refused = process(&whole[..whole.len() * part / 20], ImageVariant::OF_POST);
                assert!(matches!(refused, Err(Refusal::NoImage(_))), "{part}/20 {progressive}: {refused:?}");
            }
        }
    }

    #[test]
    fn jpeg_whose_last_scan_ends_early_is_refused_in_spite_of_its_end_marker() {
        for (progressive, restart_interval) in [(false, 0), (false, 5), (true, 0)] {
            let whole = noisy_jpeg(progressive, restart_interval);
            assert!(process(&whole, ImageVariant::OF_POST).is_ok());
            for part in 1..20 {
                let cut = [&whole[..whole.len() * part / 20], &[0xff, 0xd9]].concat();
                let refused = process(&cut, ImageVariant::OF_POST);
                assert!(
                    matches!(refused, Err(Refusal::NoImage(_))),
                    "{part}/20 {progressive} {restart_interval}: {refused:?}"
                );
            }
        }
    }

    #[test]
    fn story_of_an_app_with_one_story_size_has_exactly_that_size() {
        for (width, height, shown) in
            [(8, 4, (1080, 540)), (3000, 1500, (1080, 540)), (90, 160, (1080, 1920))]
        {
            let sent = encoded(&two_colours(width, height), ImageFormat::Png);
            let processed = process(&sent, ImageVariant::OF_FRAMED_STORY).unwrap();
            assert_eq!((processed.width, processed.height), (1080, 1920));
            assert_eq!(processed.files[0].0.file_name(), ImageVariant::STORY.file_name());
            let story = decoded(&processed.files[0]).to_rgb8();
            assert_eq!(story.dimensions(), (1080, 1920));
            // The picture is centred; the frame above and below it is black.
            let top = (1920 - shown.1) / 2;
            for (y, is_picture) in
                [(0, top == 0), (top + 20, true), (1919 - top - 20, true), (1919, top == 0)]
            {
                assert_eq!(story.get_pixel(20, y)[0] > 200, is_picture, "{width} x {height} at {y}");
            }
            let whole = process(&sent, ImageVariant::OF_STORY).unwrap();
            assert!(whole.width <= width && whole.height <= height, "{width} x {height} is enlarged");
        }
    }

    /// A PNG of a few bytes that claims to be of this size.
    fn claimed_png(width: u32, height: u32) -> Vec<u8> {
        let mut png = encoded(&two_colours(1, 1), ImageFormat::Png);
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        png
    }

    /// The header of a JPEG of this size; `frame` is the marker of its kind, each sampling two factors of four bits.
    fn claimed_jpeg(width: u16, height: u16, frame: u8, sampling: [u8; 3]) -> Vec<u8> {
        let components = [[1, sampling[0], 0], [2, sampling[1], 0], [3, sampling[2], 0]].concat();
        let size = [height.to_be_bytes(), width.to_be_bytes()].concat();
        [&[0xff, 0xd8, 0xff, frame, 0, 17, 8][..], &size, &[3], &components, &[0xff, 0xda, 0, 2]].concat()
    }

    #[test]
    fn picture_beyond_a_limit_is_refused_by_that_limit_before_it_is_decoded() {
        let refused = |file: &[u8]| process(file, ImageVariant::OF_POST).unwrap_err();
        for (width, height) in [(u32::MAX >> 1, 1), (60_000, 60_000), (10_000, 10_000)] {
            let refused = refused(&claimed_png(width, height));
            assert!(matches!(refused, Refusal::TooManyPixels), "{width} x {height}: {refused:?}");
        }
        assert!(matches!(refused(&claimed_png(24_000, 1_200)), Refusal::SideTooLong));
        let costly = refused(&claimed_jpeg(20_000, 2_500, 0xc2, [0x11; 3]));
        assert!(matches!(costly, Refusal::TooMuchMemory), "{costly:?}");
        // The file consists of a header only.
        assert!(matches!(refused(&claimed_jpeg(8_000, 6_000, 0xc0, [0x11; 3])), Refusal::NoImage(_)));
    }

    #[test]
    fn picture_of_48_megapixels_needs_less_than_230_mb() {
        let memory = |file: &[u8]| memory_of(file, ImageVariant::OF_POST).unwrap() >> 20;
        for (width, height) in [(8_000, 6_000), (6_000, 8_000)] {
            assert!(memory(&claimed_jpeg(width, height, 0xc0, [0x22, 0x11, 0x11])) < 230);
            assert!(memory(&claimed_jpeg(width, height, 0xc0, [0x11; 3])) < 230);
        }
        // All pictures in progress, their files and the rest of the process stay below 1 GB together.
        const { assert!(MEMORY <= 640 << 20) };
    }

    #[test]
    fn colour_profile_beyond_its_limit_is_refused_without_being_inflated() {
        let with_profile = |size: usize| {
            let plain = encoded(&two_colours(8, 8), ImageFormat::Png);
            let profile = fdeflate::compress_to_vec(&vec![0; size]);
            let body = [b"iCCPx\0\0", &profile[..]].concat();
            let length = u32::try_from(body.len() - 4).unwrap().to_be_bytes();
            [&plain[..33], &length, &body, &crc32(&body).to_be_bytes(), &plain[33..]].concat()
        };
        assert!(process(&with_profile(PROFILE_LIMIT), ImageVariant::OF_POST).is_ok());
        let refused = process(&with_profile(PROFILE_LIMIT + 1), ImageVariant::OF_POST).unwrap_err();
        assert!(matches!(refused, Refusal::ProfileTooLarge), "{refused:?}");
    }

    pub(super) fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(
                crc ^ u32::from(byte),
                |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
            )
        })
    }

    fn small_files() -> Vec<Vec<u8>> {
        let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP];
        let plain = formats.map(|format| encoded(&two_colours(24, 16), format));
        let more = [
            with_exif(&two_colours(24, 16), 6),
            noisy_jpeg(true, 0),
            noisy_jpeg(false, 0),
            THREE_SCANS.to_vec(),
        ];
        plain.into_iter().chain(more).collect()
    }

    /// Whether processing these bytes ends in a picture within bounds or in a refusal.
    fn is_bounded(bytes: &[u8]) -> bool {
        match process(bytes, &[ImageVariant::THUMB]) {
            Ok(made) => (made.width, made.height) == (320, 320),
            Err(Refusal::Failed(_)) => false,
            Err(_) => true,
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_picture_within_bounds_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300), file in prop::sample::select(small_files()),
        ) {
            prop_assert!(is_bounded(&bytes));
            // The beginning of a file of each format, then arbitrary bytes.
            let continued = [&file[..file.len().min(24)], &bytes].concat();
            prop_assert!(is_bounded(&continued));
        }

        #[test]
        fn damaged_file_is_a_picture_within_bounds_or_refused(
            mut file in prop::sample::select(small_files()),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            end in prop::option::of(any::<prop::sample::Index>()),
        ) {
            for (place, byte) in damage {
                let place = place.index(file.len());
                file[place] = byte;
            }
            file.truncate(end.map_or(file.len(), |end| end.index(file.len())));
            prop_assert!(is_bounded(&file));
        }
    }
}
