//! What every process of Chorus needs, a closed list: configuration, the clock, telemetry, exclusive use of files, start and shutdown,
//! tokens, sessions and the browsers that keep them, HTTP errors and extractors, security layers and limits, the manner
//! of speaking of the web apps that came before Chorus, the media store, the way to Amazon's services. Nothing here knows the domain: ids are plain UUIDs, and what an event or a view
//! is, nobody has heard of.

pub mod aws;
pub mod browsers;
pub mod clock;
pub mod compat;
pub mod config;
pub mod exclusive;
pub mod extract;
pub mod health;
pub mod http;
pub mod limits;
pub mod mailbox;
pub mod media;
pub mod problem;
pub mod sessions;
pub mod shutdown;
pub mod start;
pub mod telemetry;
pub mod tokens;
