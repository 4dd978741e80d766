//! Pixels: resizing, turning upright, and conversion to sRGB.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};
use resample::{Channels, Cut, resample};

use crate::Refusal;

/// A decoded picture.
#[derive(Debug)]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
    channels: Channels,
    data: Vec<u8>,
}

impl Pixels {
    /// # Errors
    /// If the number of bytes does not match the size.
    pub(crate) fn new(width: u32, height: u32, channels: Channels, data: Vec<u8>) -> Result<Self, Refusal> {
        match width as usize * height as usize * channels.count() == data.len() {
            true => Ok(Self { width, height, channels, data }),
            false => Err(Refusal::no_image("another size than its header says")),
        }
    }

    /// Resizes to exactly this size.
    pub(crate) fn resized(self, to: (u32, u32)) -> Result<Self, Refusal> {
        if (self.width, self.height) == to {
            return Ok(self);
        }
        let from = (self.width, self.height);
        let data = resample(&self.data, self.channels, from, to, Cut::Nothing).map_err(Refusal::failed)?;
        Ok(Self { width: to.0, height: to.1, data, ..self })
    }

    /// Turns the picture upright and converts it to sRGB.
    pub(crate) fn into_srgb(
        self,
        orientation: Orientation,
        profile: Option<&[u8]>,
    ) -> Result<RgbImage, Refusal> {
        let Self { width, height, channels, data } = self;
        let profile = profile.and_then(|profile| ColorProfile::new_from_slice(profile).ok());
        let srgb = || Refusal::failed("pixels of another size");
        let data = match (channels, profile) {
            (Channels::Rgb, Some(profile)) => {
                let conversion = Conversion::new(&profile, DataColorSpace::Rgb, Layout::Rgb);
                conversion
                    .filter(|conversion| !conversion.is_identity())
                    .and_then(|it| it.run(&data))
                    .unwrap_or(data)
            }
            (Channels::Rgb, None) => data,
            (Channels::Gray, profile) => {
                let conversion =
                    profile.and_then(|profile| Conversion::new(&profile, DataColorSpace::Gray, Layout::Gray));
                match conversion.and_then(|conversion| conversion.run(&data)) {
                    Some(converted) => converted,
                    None => {
                        let gray = GrayImage::from_raw(width, height, data).ok_or_else(srgb)?;
                        DynamicImage::from(gray).into_rgb8().into_raw()
                    }
                }
            }
            (Channels::Cmyk, profile) => {
                let conversion =
                    profile.and_then(|profile| Conversion::new(&profile, DataColorSpace::Cmyk, Layout::Rgba));
                conversion
                    .and_then(|conversion| conversion.run(&data))
                    .unwrap_or_else(|| light_left_by(&data))
            }
        };
        let mut picture = DynamicImage::from(RgbImage::from_raw(width, height, data).ok_or_else(srgb)?);
        picture.apply_orientation(orientation);
        Ok(picture.into_rgb8())
    }
}

/// Converts CMYK without a profile: each ink absorbs its share of the light that black leaves.
fn light_left_by(cmyk: &[u8]) -> Vec<u8> {
    let light =
        |ink: u8, black: u8| ((u16::from(255 - ink) * u16::from(255 - black) + 127) / 255).to_le_bytes()[0];
    cmyk.chunks_exact(4)
        .flat_map(|pixel| [light(pixel[0], pixel[3]), light(pixel[1], pixel[3]), light(pixel[2], pixel[3])])
        .collect()
}

// ------------------------------------------------------------------ profiles

/// From a profile's colours to sRGB.
struct Conversion {
    transform: std::sync::Arc<moxcms::Transform8BitExecutor>,
    channels: usize,
}

/// Invisible difference, in steps of 255: a profile that changes no colour by more is treated as sRGB.
const UNSEEN: u8 = 1;

impl Conversion {
    /// None for a profile that cannot be used, or is for other colours than those of the picture.
    fn new(profile: &ColorProfile, colours: DataColorSpace, layout: Layout) -> Option<Self> {
        if profile.color_space != colours {
            return None;
        }
        let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
        let transform = profile.create_transform_8bit(layout, &srgb, Layout::Rgb, options).ok()?;
        Some(Self { transform, channels: layout.channels() })
    }

    fn run(&self, pixels: &[u8]) -> Option<Vec<u8>> {
        let mut converted = vec![0; pixels.len() / self.channels * 3];
        self.transform.transform(pixels, &mut converted).ok()?;
        Some(converted)
    }

    /// Whether sample colours of the whole cube are unchanged.
    fn is_identity(&self) -> bool {
        let steps = (0..=255_u8).step_by(17);
        let colours: Vec<u8> = steps
            .clone()
            .flat_map(|r| steps.clone().map(move |g| (r, g)))
            .flat_map(|(r, g)| steps.clone().flat_map(move |b| [r, g, b]))
            .collect();
        let near = |(before, after): (&u8, &u8)| before.abs_diff(*after) <= UNSEEN;
        self.run(&colours).is_some_and(|converted| colours.iter().zip(&converted).all(near))
    }
}

// ------------------------------------------------------------------- resizing

/// A picture in sRGB at another size.
pub(crate) fn resize(picture: &RgbImage, to: (u32, u32), cut: Cut) -> Result<RgbImage, Refusal> {
    let data = resample(picture, Channels::Rgb, picture.dimensions(), to, cut).map_err(Refusal::failed)?;
    RgbImage::from_raw(to.0, to.1, data).ok_or_else(|| Refusal::failed("pixels of another size"))
}
