use crate::MediaKey;

/// One size in which a picture is kept: one file under a key that follows from the picture's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageVariant {
    /// Its ending says the format.
    file_name: &'static str,
    pub width: u32,
    pub height: u32,
    pub fit: Fit,
    pub format: PictureFormat,
}

/// How a picture is brought into its box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fit {
    /// The whole of it, with no side longer than the box's; never enlarged.
    Contain,
    /// The whole of it, as large as the box allows, on a ground that fills the box; a small picture is enlarged.
    Framed,
    /// The box is filled, and what is beyond it cut off; a small picture is enlarged.
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
    /// The whole picture, as a phone shows it in a feed.
    pub const FEED: Self = Self::jpeg("feed.jpg", 1080, 1350, Fit::Contain);
    /// For an app whose posts all have one shape.
    pub const COVER: Self = Self::jpeg("cover.jpg", 1080, 1350, Fit::Cover);
    pub const THUMB: Self = Self::jpeg("thumb.jpg", 320, 320, Fit::Cover);
    /// The whole picture, on a phone's whole screen.
    pub const STORY: Self = Self::jpeg("story.jpg", 1080, 1920, Fit::Contain);
    /// The same file for an app whose story window takes its size from the picture.
    pub const FRAMED_STORY: Self = Self { fit: Fit::Framed, ..Self::STORY };
    /// Of a person.
    pub const PHOTO: Self =
        Self { file_name: "photo.png", width: 320, height: 320, fit: Fit::Cover, format: PictureFormat::Png };

    /// The variants of a post's picture. The first says the size that its event tells.
    pub const OF_POST: &[Self] = &[Self::LARGE, Self::FEED, Self::COVER, Self::THUMB];
    /// The variants of a story's picture.
    pub const OF_STORY: &[Self] = &[Self::STORY, Self::THUMB];
    /// The variants of a story's picture that is sent by an app which needs it in one size; the same files.
    pub const OF_FRAMED_STORY: &[Self] = &[Self::FRAMED_STORY, Self::THUMB];
    /// The variants of a person's photo.
    pub const OF_PHOTO: &[Self] = &[Self::PHOTO];

    const fn jpeg(file_name: &'static str, width: u32, height: u32, fit: Fit) -> Self {
        Self { file_name, width, height, fit, format: PictureFormat::Jpeg }
    }

    /// The size of a whole picture in this variant's box; it is not enlarged.
    pub fn contained(self, size: (u32, u32)) -> (u32, u32) {
        scaled(size, ratio(size, (self.width, self.height)).0.min(1.0))
    }

    pub const fn file_name(self) -> &'static str {
        self.file_name
    }

    /// Where this variant of a picture is given out, without a token; `base` is what all URLs begin with.
    pub fn url(self, base: &str, picture: &str) -> String {
        format!("{base}/media/images/{picture}/{}", self.file_name)
    }

    /// `images/<picture>/<file name>`; none if the text is no id of a picture.
    pub fn key(self, picture: &str) -> Option<MediaKey> {
        MediaKey::parse(&format!("images/{picture}/{}", self.file_name))
    }
}

/// The factors by which a picture just fits into a box, and just fills it.
pub fn ratio(size: (u32, u32), to: (u32, u32)) -> (f64, f64) {
    let (across, down) = (f64::from(to.0) / f64::from(size.0), f64::from(to.1) / f64::from(size.1));
    (across.min(down), across.max(down))
}

/// A size by a factor, at least one pixel each way.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides are below 2^32 and positive"
)]
pub fn scaled((width, height): (u32, u32), factor: f64) -> (u32, u32) {
    let side = |side: u32| ((f64::from(side) * factor).round() as u32).max(1);
    (side(width), side(height))
}
