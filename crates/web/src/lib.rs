//! The web layer of every process: HTTP server and middleware, extractors, problem documents, tokens and sessions,
//! rate limits, health. It does not know the domain.

pub mod compat;
pub mod extract;
pub mod health;
pub mod http;
pub mod limits;
pub mod problem;
pub mod session_cookies;
pub mod sessions;
pub mod tokens;
