//! The stored files of a picture: its variants, each scaled from the smallest picture that is large enough.

use std::sync::Arc;

use bytes::Bytes;
use image::{ImageEncoder, Rgb, RgbImage};
use media::{Fit, ImageVariant, PictureFormat, ratio, scaled};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use resample::Cut;

use crate::Refusal;
use crate::scale::resize;

/// JPEG quality: hardly distinguishable from the original, at a fraction of its size.
const QUALITY: u8 = 85;
/// Longest side in pixels of the picture that a placeholder is computed from: enough for its few waves.
const PLACEHOLDER_SIDE: u32 = 32;
/// Waves that a placeholder keeps along the longer and the shorter side: about 30 characters.
const PLACEHOLDER_WAVES: (u32, u32) = (4, 3);
/// The colour around a picture that does not fill its frame.
const FRAME: Rgb<u8> = Rgb([0; 3]);

/// One encoded variant.
pub type File = (ImageVariant, Bytes);

/// The scale, at most 1, at which a picture suffices for all variants.
pub(crate) fn scale(size: (u32, u32), variants: &[ImageVariant]) -> f64 {
    let placeholder = ratio(size, (PLACEHOLDER_SIDE, PLACEHOLDER_SIDE)).0;
    let needed = variants.iter().map(|variant| {
        let (inside, across) = ratio(size, (variant.width, variant.height));
        match variant.fit {
            Fit::Contain | Fit::Framed => inside,
            Fit::Cover => across,
        }
    });
    needed.fold(placeholder, f64::max).min(1.0)
}

/// All variants, encoded, with the size of the first.
pub(crate) struct Encoded {
    pub(crate) size: (u32, u32),
    pub(crate) placeholder: String,
    pub(crate) files: Vec<File>,
}

/// The variants of a picture of `original` size. `base` is large enough for all of them.
pub(crate) fn encode(
    base: RgbImage,
    original: (u32, u32),
    variants: &[ImageVariant],
) -> Result<Encoded, Refusal> {
    // Uncropped versions of the original.
    let mut whole = vec![Arc::new(base)];
    let mut made: Vec<(ImageVariant, Arc<RgbImage>)> = Vec::with_capacity(variants.len());
    for &variant in variants {
        let sized = sized(&whole, original, variant)?;
        if variant.fit == Fit::Contain {
            whole.push(Arc::clone(&sized));
        }
        made.push((variant, sized));
    }
    let smallest = whole.iter().min_by_key(|picture| picture.width()).unwrap_or(&whole[0]);
    let placeholder = placeholder(smallest, original)?;
    // A picture that serves several variants is encoded once.
    let mut different: Vec<(PictureFormat, Arc<RgbImage>)> = Vec::with_capacity(made.len());
    for (variant, picture) in &made {
        if !different.iter().any(|(format, other)| *format == variant.format && Arc::ptr_eq(other, picture)) {
            different.push((variant.format, Arc::clone(picture)));
        }
    }
    let contents: Vec<Bytes> = different
        .par_iter()
        .map(|(format, picture)| encoded(picture, *format))
        .collect::<Result<_, Refusal>>()?;
    let content = |variant: ImageVariant, picture: &Arc<RgbImage>| {
        let same = |(format, other): &(PictureFormat, Arc<RgbImage>)| {
            *format == variant.format && Arc::ptr_eq(other, picture)
        };
        let place = different.iter().position(same)?;
        Some((variant, contents[place].clone()))
    };
    let files = made.iter().filter_map(|(variant, picture)| content(*variant, picture)).collect();
    let size = made.first().map_or(original, |(_, picture)| picture.dimensions());
    Ok(Encoded { size, placeholder, files })
}

/// One variant, from the smallest uncropped picture that need not be enlarged for it.
fn sized(
    whole: &[Arc<RgbImage>],
    original: (u32, u32),
    variant: ImageVariant,
) -> Result<Arc<RgbImage>, Refusal> {
    let frame = (variant.width, variant.height);
    let (inside, _) = ratio(original, frame);
    let (to, cut) = match variant.fit {
        Fit::Contain => (variant.contained(original), Cut::Nothing),
        Fit::Framed => (scaled(original, inside), Cut::Nothing),
        Fit::Cover => (frame, Cut::Sides),
    };
    let suffices = |picture: &&Arc<RgbImage>| picture.width() >= to.0 && picture.height() >= to.1;
    let source = whole.iter().filter(suffices).min_by_key(|picture| picture.width()).unwrap_or(&whole[0]);
    let picture =
        if source.dimensions() == to { Arc::clone(source) } else { Arc::new(resize(source, to, cut)?) };
    if variant.fit != Fit::Framed || to == frame {
        return Ok(picture);
    }
    let mut framed = RgbImage::from_pixel(frame.0, frame.1, FRAME);
    let (left, top) = (frame.0.saturating_sub(to.0) / 2, frame.1.saturating_sub(to.1) / 2);
    image::imageops::replace(&mut framed, &*picture, left.into(), top.into());
    Ok(Arc::new(framed))
}

/// The `BlurHash` of the picture: a few waves of colour, shown until the picture is loaded.
fn placeholder(picture: &RgbImage, original: (u32, u32)) -> Result<String, Refusal> {
    let (inside, _) = ratio(picture.dimensions(), (PLACEHOLDER_SIDE, PLACEHOLDER_SIDE));
    let to = scaled(picture.dimensions(), inside.min(1.0));
    let small = resize(picture, to, Cut::Nothing)?;
    let rgba: Vec<u8> = small.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
    let (longer, shorter) = PLACEHOLDER_WAVES;
    let (across, down) = if original.0 >= original.1 { (longer, shorter) } else { (shorter, longer) };
    blurhash::encode(across, down, to.0, to.1, &rgba).map_err(Refusal::failed)
}

fn encoded(picture: &RgbImage, format: PictureFormat) -> Result<Bytes, Refusal> {
    let mut content = Vec::new();
    let (width, height) = picture.dimensions();
    match format {
        PictureFormat::Jpeg => {
            let side = |side: u32| u16::try_from(side).map_err(Refusal::failed);
            let mut encoder = jpeg_encoder::Encoder::new(&mut content, QUALITY);
            encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
            encoder
                .encode(picture, side(width)?, side(height)?, jpeg_encoder::ColorType::Rgb)
                .map_err(Refusal::failed)?;
        }
        PictureFormat::Png => {
            image::codecs::png::PngEncoder::new(&mut content)
                .write_image(picture, width, height, image::ExtendedColorType::Rgb8)
                .map_err(Refusal::failed)?;
        }
    }
    Ok(content.into())
}
