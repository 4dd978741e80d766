//! Changes the size of pictures with 8 bits for each channel. A crate of its own because code for a kind of pixels takes a
//! minute to compile, with every crate, and every test of a crate, that names the kind.

use fast_image_resize::images::{Image, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{FilterType, ImageBufferError, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use thiserror::Error;

/// The channels of a pixel, eight bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    Gray,
    Rgb,
    /// Ink: 0 is none.
    Cmyk,
}

impl Channels {
    pub const fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Cmyk => 4,
        }
    }
}

/// Which part of a picture is cropped when its aspect ratio changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Nothing,
    /// The parts beyond the new shape, equally on both sides.
    Sides,
}

/// The bytes are not those of a picture of this size.
#[derive(Debug, Error)]
#[error("the bytes of a picture do not match its size")]
pub struct WrongSize(#[source] Box<dyn std::error::Error + Send + Sync>);

impl WrongSize {
    fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// The pixels of a picture at another size (width and height).
///
/// # Errors
/// If there are more or fewer than `from` says.
pub fn resample(
    pixels: &[u8],
    channels: Channels,
    from: (u32, u32),
    to: (u32, u32),
    cut: Cut,
) -> Result<Vec<u8>, WrongSize> {
    match channels {
        Channels::Gray => of_kind::<U8>(pixels, from, to, cut),
        Channels::Rgb => of_kind::<U8x3>(pixels, from, to, cut),
        Channels::Cmyk => of_kind::<U8x4>(pixels, from, to, cut),
    }
}

fn of_kind<P: PixelTrait>(
    pixels: &[u8],
    from: (u32, u32),
    to: (u32, u32),
    cut: Cut,
) -> Result<Vec<u8>, WrongSize> {
    let source = TypedImageRef::<P>::from_buffer(from.0, from.1, pixels).map_err(WrongSize::new)?;
    let mut made = Image::new(to.0, to.1, P::pixel_type());
    let lanczos = ResizeAlg::Convolution(FilterType::Lanczos3);
    let options = ResizeOptions::new().resize_alg(lanczos).use_alpha(false);
    let options = match cut {
        Cut::Nothing => options,
        Cut::Sides => options.fit_into_destination(Some((0.5, 0.5))),
    };
    let target = made.typed_image_mut::<P>().ok_or(ImageBufferError::InvalidBufferSize);
    let mut target = target.map_err(WrongSize::new)?;
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(WrongSize::new)?;
    drop(target);
    Ok(made.into_vec())
}
