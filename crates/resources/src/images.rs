//! Images of posts and stories with the URLs of their variants.

use media::ImageVariant;
use serde::Serialize;
use utoipa::ToSchema;

/// A picture in its sizes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Image {
    /// In pixels, of the largest variant.
    width: u32,
    height: u32,
    /// What it shows.
    alt: String,
    /// Placeholder while it loads (<https://blurha.sh>); null for older posts.
    blurhash: Option<String>,
    /// URL of the whole picture, fitted into 2048 × 2048.
    large: String,
    /// URL of the picture fitted into 1080 × 1350.
    feed: String,
    /// URL of the picture cut to fill 1080 × 1350.
    cover: String,
    /// URL of a square of 320.
    thumb: String,
    /// The whole picture in its sizes, the largest first, for `srcset`.
    sources: Vec<ImageSource>,
}

/// The whole picture in one size.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageSource {
    url: String,
    /// In pixels.
    width: u32,
    height: u32,
}

impl Image {
    /// `media` is the picture's id, `size` that of its largest variant; `public_url` begins all URLs.
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
        Self {
            width: size.0,
            height: size.1,
            alt,
            blurhash,
            large: url(ImageVariant::LARGE),
            feed: url(ImageVariant::FEED),
            cover: url(ImageVariant::COVER),
            thumb: url(ImageVariant::THUMB),
            sources: [ImageVariant::LARGE, ImageVariant::FEED].map(source).into(),
        }
    }
}

/// The picture of a story in its sizes.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoryImage {
    /// In pixels, of the larger variant.
    width: u32,
    height: u32,
    /// What it shows.
    alt: String,
    /// Placeholder while it loads (<https://blurha.sh>).
    blurhash: String,
    /// URL of the whole picture, fitted into 1080 × 1920.
    story: String,
    /// URL of a square of 320.
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
