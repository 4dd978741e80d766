use super::MediaKey;

/// The sizes in which a picture is kept. Each is one file under a key that follows from the picture's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageVariant {
    /// Of a post: the whole picture, fitted into 2048 × 2048, never enlarged. JPEG.
    Large,
    /// Of a post: fitted into 1080 × 1350. JPEG.
    Feed,
    /// Of a post: a square of 320, what is beyond it cut off. JPEG.
    Thumb,
    /// Of a person: a square of 320, what is beyond it cut off. PNG.
    Photo,
}

impl ImageVariant {
    /// The variants of a post's picture.
    pub const OF_POST: [Self; 3] = [Self::Large, Self::Feed, Self::Thumb];

    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Large => "large.jpg",
            Self::Feed => "feed.jpg",
            Self::Thumb => "thumb.jpg",
            Self::Photo => "photo.png",
        }
    }

    /// `images/<picture>/<file name>`; none if the text is no id of a picture.
    pub fn key(self, picture: &str) -> Option<MediaKey> {
        MediaKey::parse(&format!("images/{picture}/{}", self.file_name()))
    }
}
