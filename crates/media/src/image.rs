use crate::MediaKey;

/// A size of stored pictures: one file, whose key is derived from the picture's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageVariant {
    /// The extension determines the format.
    file_name: &'static str,
    pub width: u32,
    pub height: u32,
    pub fit: Fit,
    pub format: PictureFormat,
}

/// How a picture is fitted into its box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fit {
    /// The whole picture with no side longer than the box; never enlarged.
    Contain,
    /// The whole picture as large as the box allows, on a background that fills the box; small pictures are enlarged.
    Framed,
    /// Fills the box and crops the rest; small pictures are enlarged.
    Cover,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PictureFormat {
    Jpeg,
    Png,
}

impl ImageVariant {
    /// The whole picture.
    pub const LARGE: Self = Self::jpeg("large.jpg", 2048, 2048, Fit::Contain);
    /// The whole picture for a feed on a phone.
    pub const FEED: Self = Self::jpeg("feed.jpg", 1080, 1350, Fit::Contain);
    /// For an app that shows all posts in one shape.
    pub const COVER: Self = Self::jpeg("cover.jpg", 1080, 1350, Fit::Cover);
    pub const THUMB: Self = Self::jpeg("thumb.jpg", 320, 320, Fit::Cover);
    /// The whole picture for the full screen of a phone.
    pub const STORY: Self = Self::jpeg("story.jpg", 1080, 1920, Fit::Contain);
    /// The same file for an app whose story window takes its size from the picture.
    pub const FRAMED_STORY: Self = Self { fit: Fit::Framed, ..Self::STORY };
    /// A profile picture.
    pub const PHOTO: Self =
        Self { file_name: "photo.png", width: 320, height: 320, fit: Fit::Cover, format: PictureFormat::Png };
    /// A cover, cropped to a square.
    pub const SQUARE: Self = Self::jpeg("square.jpg", 1000, 1000, Fit::Cover);
    /// A cover in a list.
    pub const SMALL_SQUARE: Self = Self::jpeg("small-square.jpg", 300, 300, Fit::Cover);

    /// The variants of a post's picture. The size in its event is that of the first one.
    pub const OF_POST: &[Self] = &[Self::LARGE, Self::FEED, Self::COVER, Self::THUMB];
    /// The variants of a story's picture.
    pub const OF_STORY: &[Self] = &[Self::STORY, Self::THUMB];
    /// The variants of a story's picture from an app that needs it in one size; the same files.
    pub const OF_FRAMED_STORY: &[Self] = &[Self::FRAMED_STORY, Self::THUMB];
    /// The variants of a profile picture.
    pub const OF_PHOTO: &[Self] = &[Self::PHOTO];

    /// The variants of the cover of an album, a song or a playlist, and of the picture of an artist.
    pub const OF_COVER: &[Self] = &[Self::SQUARE, Self::SMALL_SQUARE];

    const fn jpeg(file_name: &'static str, width: u32, height: u32, fit: Fit) -> Self {
        Self { file_name, width, height, fit, format: PictureFormat::Jpeg }
    }

    /// The size of a whole picture in this variant's box; never enlarged.
    pub fn contained(self, size: (u32, u32)) -> (u32, u32) {
        scaled(size, ratio(size, (self.width, self.height)).0.min(1.0))
    }

    pub const fn file_name(self) -> &'static str {
        self.file_name
    }

    /// The public URL path of this variant, served without a token; `base` is the base URL.
    pub fn url(self, base: &str, picture: &str) -> String {
        format!("{base}/media/images/{picture}/{}", self.file_name)
    }

    /// `images/<picture>/<file name>`; none if the text is not a picture id.
    pub fn key(self, picture: &str) -> Option<MediaKey> {
        MediaKey::parse(&format!("images/{picture}/{}", self.file_name))
    }
}

/// The scale factors to fit a picture into a box, and to fill the box.
pub fn ratio(size: (u32, u32), to: (u32, u32)) -> (f64, f64) {
    let (across, down) = (f64::from(to.0) / f64::from(size.0), f64::from(to.1) / f64::from(size.1));
    (across.min(down), across.max(down))
}

/// A scaled size, at least one pixel each way.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides are below 2^32 and positive"
)]
pub fn scaled((width, height): (u32, u32), factor: f64) -> (u32, u32) {
    let side = |side: u32| ((f64::from(side) * factor).round() as u32).max(1);
    (side(width), side(height))
}
