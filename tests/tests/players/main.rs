//! Programs that other people wrote play what Chorus streams: Chromium, ffmpeg and mpv. The test files are tones whose
//! frequency tells the second of the file, so that a player shows where it really is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests say what went wrong by failing, and start tasks as they need them"
)]

mod analyses;
mod browser;
mod spotifymern;
mod streams;
mod tones;
