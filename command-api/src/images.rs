//! Pictures that people send: decoded within limits, turned upright, stripped of everything but their pixels, brought
//! to the sizes they are shown in, stored. The work is done in a bounded pool beside the threads that answer requests.
//! A picture is stored before the event that claims it is appended; what no event claims is collected by a reaction.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use events::{Image, MediaId, time_ordered_id};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader,
    Limits, RgbImage, RgbaImage,
};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};
use service::media::{Fit, ImageVariant, PictureFormat};
use service::problem::Problem;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::Commands;
use crate::context::Context;
use crate::rejections::media_problem;

/// Largest picture that is taken, in megapixels: what cameras make, with room to spare.
pub(crate) const MEGAPIXELS: u64 = 50;
/// Longest side in pixels that a decoder may begin to work on.
const SIDE_LIMIT: u32 = 20_000;
/// Memory in bytes that a decoder may take for itself.
const DECODER_MEMORY: u64 = 256 * 1024 * 1024;
/// Pictures that may wait for a place in the pool.
const WAITING: usize = 32;
/// JPEG quality: hard to tell from the original, a fraction of its size.
const QUALITY: u8 = 85;
/// Longest side in pixels of what a placeholder is computed from: it keeps a few waves, and none is shorter.
const PLACEHOLDER_SIDE: u32 = 32;
/// Waves that a placeholder keeps along the longer and the shorter side: about 30 characters.
const PLACEHOLDER_WAVES: (u32, u32) = (4, 3);

#[derive(Debug, Error)]
pub(crate) enum ImageRejected {
    #[error("not an image")]
    NoImage(#[source] ImageError),
    #[error("too many pixels")]
    TooManyPixels,
    #[error("too many images are being worked on at once")]
    Busy,
    #[error("no placeholder can be made of it")]
    NoPlaceholder(#[source] blurhash::Error),
}

/// One encoded variant.
type File = (ImageVariant, Bytes);

/// A picture that is ready to be stored.
#[derive(Debug)]
pub(crate) struct Made {
    width: u32,
    height: u32,
    placeholder: String,
    files: Vec<File>,
}

/// A picture that is stored, for the event that claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) image: Image,
    /// Its `BlurHash`.
    pub(crate) placeholder: String,
}

#[derive(Debug)]
pub(crate) struct Workshop {
    /// One picture at a time for each core: each may take a few hundred megabytes while it is decoded.
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Default for Workshop {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { places: Arc::new(Semaphore::new(cores)), queue: Arc::new(Semaphore::new(WAITING + cores)) }
    }
}

impl Workshop {
    /// Makes the variants of a picture. Nothing is stored yet.
    pub(crate) async fn make(
        &self,
        original: Bytes,
        variants: &'static [ImageVariant],
    ) -> Result<Made, Problem> {
        let _queued = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| ImageRejected::Busy)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(Problem::internal)?;
        let made = tokio::task::spawn_blocking(move || {
            let made = make(&original, variants);
            // Held until the work is done, also when whoever asked for it has gone.
            drop(place);
            made
        });
        Ok(made.await.map_err(Problem::internal)??)
    }
}

impl Commands {
    /// Makes the variants of a picture and stores them under a new id. Nothing is stored of what is no picture.
    pub(crate) async fn store_picture(
        &self,
        context: &Context,
        original: Bytes,
        variants: &'static [ImageVariant],
    ) -> Result<Picture, Problem> {
        let made = self.images.make(original, variants).await?;
        self.keep_picture(context, made).await
    }

    /// Stores a picture under a new id. The id is never used again, not even by the same request when it is repeated:
    /// so what stands under a key never changes, and what is old and not claimed never will be.
    pub(crate) async fn keep_picture(&self, context: &Context, made: Made) -> Result<Picture, Problem> {
        let Made { width, height, placeholder, files } = made;
        let media = MediaId::new(time_ordered_id(context.now));
        for (variant, content) in files {
            let key =
                variant.key(&media.to_string()).ok_or_else(|| Problem::internal("an id that is no key"))?;
            self.media.put(&key, content).await.map_err(media_problem)?;
        }
        Ok(Picture { image: Image { media, width, height }, placeholder })
    }
}

/// The variants, and the size of the first.
fn make(original: &[u8], variants: &[ImageVariant]) -> Result<Made, ImageRejected> {
    let picture = decode(original)?;
    let placeholder = placeholder(&picture)?;
    let mut size = None;
    let mut files = Vec::with_capacity(variants.len());
    for &variant in variants {
        let sized = resize(&picture, variant);
        size.get_or_insert((sized.width(), sized.height()));
        files.push((variant, encode(&sized, variant).map_err(ImageRejected::NoImage)?));
    }
    let (width, height) = size.unwrap_or_default();
    Ok(Made { width, height, placeholder, files })
}

/// The picture's `BlurHash`: a few waves of colour, to be shown until the picture is there.
fn placeholder(picture: &DynamicImage) -> Result<String, ImageRejected> {
    let small = picture.thumbnail(PLACEHOLDER_SIDE, PLACEHOLDER_SIDE).to_rgba8();
    let (longer, shorter) = PLACEHOLDER_WAVES;
    let (across, down) =
        if picture.width() >= picture.height() { (longer, shorter) } else { (shorter, longer) };
    blurhash::encode(across, down, small.width(), small.height(), &small)
        .map_err(ImageRejected::NoPlaceholder)
}

/// The pixels, upright. The size that the file claims is looked at before memory is taken for it.
fn decode(original: &[u8]) -> Result<DynamicImage, ImageRejected> {
    let mut reader =
        ImageReader::new(Cursor::new(original)).with_guessed_format().map_err(|e| rejected(e.into()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_LIMIT);
    limits.max_image_height = Some(SIDE_LIMIT);
    limits.max_alloc = Some(DECODER_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(rejected)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MEGAPIXELS * 1_000_000 {
        return Err(ImageRejected::TooManyPixels);
    }
    // A picture whose note on its orientation is broken is shown as it is.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().unwrap_or(None);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(rejected)?;
    picture.apply_orientation(orientation);
    Ok(in_srgb(on_white(picture), profile.as_deref()).into())
}

fn rejected(error: ImageError) -> ImageRejected {
    match error {
        ImageError::Limits(_) => ImageRejected::TooManyPixels,
        other => ImageRejected::NoImage(other),
    }
}

/// What can be seen through is laid on white, since JPEG cannot say it; eight bits a colour are kept.
fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.to_rgba8();
    let mut white = RgbaImage::from_pixel(picture.width(), picture.height(), image::Rgba([255; 4]));
    image::imageops::overlay(&mut white, &picture, 0, 0);
    DynamicImage::from(white).into_rgb8()
}

/// The colours that the picture's profile means, in sRGB: what is stored has no profile, and is taken for that. A
/// profile that cannot be read, or is of other colours than red, green and blue, is passed over.
fn in_srgb(picture: RgbImage, profile: Option<&[u8]>) -> RgbImage {
    let profile = profile.and_then(|profile| ColorProfile::new_from_slice(profile).ok());
    let Some(profile) = profile.filter(|profile| profile.color_space == DataColorSpace::Rgb) else {
        return picture;
    };
    let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
    let mut converted = RgbImage::new(picture.width(), picture.height());
    let conversion = profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options);
    match conversion.and_then(|conversion| conversion.transform(&picture, &mut converted)) {
        Ok(()) => converted,
        Err(_) => picture,
    }
}

fn resize(picture: &DynamicImage, variant: ImageVariant) -> DynamicImage {
    let ImageVariant { width, height, .. } = variant;
    match variant.fit {
        Fit::Contain if picture.width() <= width && picture.height() <= height => picture.clone(),
        Fit::Contain => picture.resize(width, height, FilterType::Lanczos3),
        Fit::Cover => picture.resize_to_fill(width, height, FilterType::Lanczos3),
    }
}

fn encode(picture: &DynamicImage, variant: ImageVariant) -> Result<Bytes, ImageError> {
    let mut content = Vec::new();
    match variant.format {
        PictureFormat::Jpeg => {
            JpegEncoder::new_with_quality(&mut content, QUALITY).write_image(
                picture.as_bytes(),
                picture.width(),
                picture.height(),
                ExtendedColorType::Rgb8,
            )?;
        }
        PictureFormat::Png => picture.write_to(&mut Cursor::new(&mut content), ImageFormat::Png)?,
    }
    Ok(content.into())
}

#[cfg(test)]
mod metadata;

#[cfg(test)]
mod tests {
    use image::{GenericImageView, Rgb, Rgba};
    use proptest::prelude::*;

    use super::*;

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

    /// A JPEG with an EXIF block that says how it must be turned, and a place on the map.
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
        let Made { width, height, files, .. } =
            make(&encoded(&two_colours(3000, 1500), ImageFormat::Png), ImageVariant::OF_POST).unwrap();
        let sizes: Vec<(u32, u32)> = files.iter().map(|file| decoded(file).dimensions()).collect();
        assert_eq!(
            ((width, height), sizes.as_slice()),
            ((2048, 1024), &[(2048, 1024), (1080, 540), (1080, 1350), (320, 320)][..])
        );
        let Made { width, height, files, .. } =
            make(&encoded(&two_colours(40, 20), ImageFormat::Png), ImageVariant::OF_POST).unwrap();
        assert_eq!((width, height), (40, 20));
        assert_eq!(decoded(&files[1]).dimensions(), (40, 20));
        let Made { files, .. } =
            make(&encoded(&two_colours(400, 300), ImageFormat::WebP), ImageVariant::OF_PHOTO).unwrap();
        assert_eq!(image::guess_format(&files[0].1).unwrap(), ImageFormat::Png);
        assert_eq!(decoded(&files[0]).dimensions(), (320, 320));
    }

    #[test]
    fn a_picture_is_turned_upright_and_loses_what_it_says_of_its_place() {
        // 6: to be turned a quarter clockwise, so what was left is now above.
        let sent = with_exif(&two_colours(64, 32), 6);
        assert!(sent.windows(3).any(|window| window == b"GPS"));
        let Made { width, height, files, .. } = make(&sent, ImageVariant::OF_POST).unwrap();
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
    fn a_placeholder_says_roughly_what_the_picture_shows() {
        for (width, height, waves) in [(640, 320, "L"), (8, 4, "L"), (1, 1, "L"), (1, 200, "T")] {
            let sent = encoded(&two_colours(width, height), ImageFormat::Png);
            let placeholder = make(&sent, ImageVariant::OF_POST).unwrap().placeholder;
            // The first character says how many waves there are, and so how long it is: 4 + 2 x 12.
            assert_eq!((placeholder.len(), &placeholder[..1]), (28, waves), "{placeholder}");
        }
        let placeholder = make(&encoded(&two_colours(640, 320), ImageFormat::Png), &[]).unwrap().placeholder;
        let shown = blurhash::decode(&placeholder, 20, 10, 1.0).unwrap();
        let pixel = |x: usize| &shown[(5 * 20 + x) * 4..][..3];
        assert!(pixel(2)[0] > 150 && pixel(2)[2] < 100, "{:?}", pixel(2));
        assert!(pixel(17)[2] > 150 && pixel(17)[0] < 100, "{:?}", pixel(17));
    }

    #[test]
    fn what_can_be_seen_through_is_laid_on_white() {
        let clear = RgbaImage::from_pixel(8, 8, Rgba([0, 0, 0, 0]));
        let Made { files, .. } =
            make(&encoded(&clear.into(), ImageFormat::Png), &[ImageVariant::LARGE]).unwrap();
        assert!(decoded(&files[0]).to_rgb8().pixels().all(|pixel| pixel.0.iter().all(|&part| part > 250)));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
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
            let refused = make(bytes, ImageVariant::OF_POST);
            assert!(matches!(refused, Err(ImageRejected::NoImage(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        // A PNG of a few bytes that claims to be enormous.
        let claim = |width: u32, height: u32| {
            let mut png = encoded(&two_colours(1, 1), ImageFormat::Png);
            png[16..20].copy_from_slice(&width.to_be_bytes());
            png[20..24].copy_from_slice(&height.to_be_bytes());
            let crc = crc32(&png[12..29]);
            png[29..33].copy_from_slice(&crc.to_be_bytes());
            png
        };
        for (width, height) in [(u32::MAX >> 1, 1), (60_000, 60_000), (10_000, 10_000)] {
            let refused = make(&claim(width, height), ImageVariant::OF_POST);
            assert!(matches!(refused, Err(ImageRejected::TooManyPixels)), "{width} × {height}: {refused:?}");
        }
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
        plain.into_iter().chain([with_exif(&two_colours(24, 16), 6)]).collect()
    }

    /// What may come of bytes that are no picture, or hardly one.
    fn is_bounded(bytes: &[u8]) -> bool {
        match decode(bytes) {
            Ok(picture) => {
                let (width, height) = picture.dimensions();
                u64::from(width) * u64::from(height) <= MEGAPIXELS * 1_000_000
                    && width.max(height) <= SIDE_LIMIT
            }
            Err(ImageRejected::NoImage(_) | ImageRejected::TooManyPixels) => true,
            Err(ImageRejected::Busy | ImageRejected::NoPlaceholder(_)) => false,
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_picture_within_its_bounds_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300), file in prop::sample::select(small_files()),
        ) {
            prop_assert!(is_bounded(&bytes));
            // What a file of each format begins with, then anything.
            let begun = [&file[..file.len().min(24)], &bytes].concat();
            prop_assert!(is_bounded(&begun));
        }

        #[test]
        fn a_damaged_file_is_a_picture_within_its_bounds_or_refused(
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
