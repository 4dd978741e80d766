//! Images of posts and stories with the URLs of their variants.

use media::ImageVariant;
use serde::Serialize;
use utoipa::ToSchema;

/// A picture in several sizes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Image {
    /// Width of the largest size, in pixels.
    width: u32,
    /// Height of the largest size, in pixels.
    height: u32,
    /// Description of the picture.
    alt: String,
    /// Placeholder to show while the picture loads (<https://blurha.sh>); null for older posts.
    blurhash: Option<String>,
    /// URL of the whole picture, scaled to fit into 2048 × 2048.
    large: String,
    /// URL of the whole picture, scaled to fit into 1080 × 1350.
    feed: String,
    /// URL of the picture, cropped to fill 1080 × 1350.
    cover: String,
    /// URL of the picture, cropped to a square of 320 × 320.
    thumb: String,
    /// The whole picture in several widths, largest first, for `srcset`; one for a small picture.
    sources: Vec<ImageSource>,
}

/// A picture in one size.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImageSource {
    url: String,
    /// Width in pixels.
    width: u32,
    /// Height in pixels.
    height: u32,
}

impl ImageSource {
    /// `size` is width and height.
    pub(crate) const fn new(url: String, size: (u32, u32)) -> Self {
        Self { url, width: size.0, height: size.1 }
    }
}

impl Image {
    /// `media` is the id of the picture, `size` the size of its largest variant; all URLs begin with `public_url`.
    pub fn new(
        public_url: &str,
        media: &str,
        size: (u32, u32),
        alt: String,
        blurhash: Option<String>,
    ) -> Self {
        let url = |variant: ImageVariant| variant.url(public_url, media);
        let source = |variant: ImageVariant| {
            let (width, height) = variant.contained(size);
            ImageSource { url: url(variant), width, height }
        };
        let mut sources = Vec::from([ImageVariant::LARGE, ImageVariant::FEED].map(source));
        sources.dedup_by_key(|source| source.width);
        Self {
            width: size.0,
            height: size.1,
            alt,
            blurhash,
            large: url(ImageVariant::LARGE),
            feed: url(ImageVariant::FEED),
            cover: url(ImageVariant::COVER),
            thumb: url(ImageVariant::THUMB),
            sources,
        }
    }
}

/// The picture of a story in several sizes.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoryImage {
    /// Width of `story`, in pixels.
    width: u32,
    /// Height of `story`, in pixels.
    height: u32,
    /// Description of the picture.
    alt: String,
    /// Placeholder to show while the picture loads (<https://blurha.sh>).
    blurhash: String,
    /// URL of the whole picture, scaled to fit into 1080 × 1920.
    story: String,
    /// URL of the picture, cropped to a square of 320 × 320.
    thumb: String,
}

impl StoryImage {
    /// Like [`Image::new`].
    pub fn new(public_url: &str, media: &str, size: (u32, u32), alt: String, blurhash: String) -> Self {
        let url = |variant: ImageVariant| variant.url(public_url, media);
        Self {
            width: size.0,
            height: size.1,
            alt,
            blurhash,
            story: url(ImageVariant::STORY),
            thumb: url(ImageVariant::THUMB),
        }
    }
}
