//! Compatibility with the web apps that existed before Chorus, each under its own prefix: the spelling of paths, the
//! shape of bodies and responses, and the allowed origin. What all of their answers share is here, since the middleware
//! answers too; their routes are in `compat-api`, over the same commands and queries as `/v1`.

mod answer;
mod body;
mod caller;
mod path;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::response::Response;
use http::{HeaderValue, StatusCode, header, request};
use url::Url;

use crate::problem::ProblemText;
use service::config::HttpSettings;

pub use answer::{Refusal, Success, cookie, forget_cookie, time};
pub use body::Fields;
pub use caller::Caller;
pub use path::PathText;

/// A web app, with what all of its routes share.
#[derive(Debug, PartialEq, Eq)]
pub struct App {
    /// The prefix of all its paths.
    pub prefix: &'static str,
    /// Its routes below the prefix; the first match counts.
    paths: &'static [&'static str],
    /// Below these, unauthenticated requests get 401 before 404.
    guarded: &'static [&'static str],
    pub not_logged_in: &'static str,
    /// For a token whose session or user no longer exists.
    session_ended: &'static str,
    bad_token: &'static str,
    expired_token: &'static str,
}

pub static INSTAMERN: App = App {
    prefix: "/instamern",
    paths: &[
        "/users",
        "/users/signup",
        "/users/login",
        "/users/forgot-password",
        "/users/authorization/current-user",
        "/users/upload",
        "/users/remove",
        "/users/logout",
        "/users/update",
        "/users/change-email",
        "/users/change-password",
        "/users/deactivate",
        "/users/delete",
        "/users/id/{id}",
        "/users/username/{username}",
        "/users/search/{*text}",
        "/users/reset-password/{token}",
        "/users/follow/{username}",
        "/users/unfollow/{username}",
        "/posts",
        "/posts/upload",
        "/posts/{id}",
        "/posts/like/{id}",
        "/posts/comments/{id}",
        "/posts/comment/{id}",
        "/posts/update/{id}",
        "/posts/delete/{id}",
        "/stories",
        "/stories/upload",
    ],
    guarded: &["/users", "/posts", "/stories"],
    not_logged_in: "You're not logged in. Please login.",
    session_ended: "You're not logged in. Please login.",
    bad_token: "Authorization failed. Please login.",
    expired_token: "Authentication has expired. Please login again.",
};

pub static SPOTIFYMERN: App = App {
    prefix: "/spotifymern",
    paths: &[
        "/users/signup",
        "/users/login",
        "/users/authorization/current-user",
        "/musics",
        "/musics/all",
        "/musics/recommended",
        "/musics/categories",
        "/musics/id/{id}",
        "/musics/category/{*category}",
        "/musics/search/{*text}",
    ],
    guarded: &["/users"],
    not_logged_in: "You're not logged in. Please login.",
    session_ended: "You're not logged in. Please log in.",
    bad_token: "Authentication failed. Please log in.",
    expired_token: "Authorization expired. Please log in again.",
};

/// All served apps.
static APPS: [&App; 2] = [&INSTAMERN, &SPOTIFYMERN];

impl App {
    /// The app of a path, in any letter case.
    pub fn of(path: &str) -> Option<&'static Self> {
        let begins = |app: &Self| {
            let length = app.prefix.len();
            let rest = path.get(..length).filter(|start| start.eq_ignore_ascii_case(app.prefix));
            rest.is_some() && matches!(path.as_bytes().get(length), None | Some(b'/'))
        };
        APPS.into_iter().find(|app| begins(app))
    }

    /// Whether unauthenticated requests get 401 even if the path does not exist.
    pub(crate) fn is_guarded(&self, path: &str) -> bool {
        let below = path.get(self.prefix.len()..).unwrap_or_default().to_ascii_lowercase();
        let covers = |guarded: &&&str| {
            below.strip_prefix(**guarded).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.guarded.iter().find(covers).is_some()
    }
}

/// Converts a response of a route or of the middleware to the format of the apps.
pub(crate) fn to_app_format(mut response: Response) -> Response {
    if let Some(text) = response.extensions_mut().remove::<ProblemText>() {
        let (mut parts, _) = response.into_parts();
        let (failure, body) = answer::failure(parts.status, &text.0).into_parts();
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
            parts.headers.remove(name);
        }
        parts.headers.extend(failure.headers);
        response = Response::from_parts(parts, body);
    }
    let is_json = |kind: &HeaderValue| kind == "application/json";
    if response.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// Refused origins that are logged at most per [`LOGGED_AGAIN`].
const LOGGED_ORIGINS: usize = 100;
/// After this time refused origins are logged again.
const LOGGED_AGAIN: Duration = Duration::from_hours(1);

/// The allowed origins per path.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    /// For everything but the apps' routes.
    allowed: Vec<String>,
    instamern: Option<String>,
    spotifymern: Option<String>,
    /// The origin of pages of Chorus itself.
    own: Option<String>,
    logged: Arc<Mutex<LoggedOrigins>>,
}

/// Refused origins that were logged lately, each with the setting that would allow it.
#[derive(Debug, Default)]
struct LoggedOrigins {
    since: Option<Instant>,
    origins: HashSet<(HeaderValue, &'static str)>,
}

impl Origins {
    pub(crate) fn new(settings: &HttpSettings) -> Self {
        Self {
            allowed: settings.allowed_origins().map(str::to_owned).collect(),
            instamern: origin(&settings.apps.instamern_url),
            spotifymern: origin(&settings.apps.spotifymern_url),
            own: origin(&settings.public_url()),
            logged: Arc::default(),
        }
    }

    pub(crate) fn allow(&self, origin: &HeaderValue, request: &request::Parts) -> bool {
        let is = |allowed: &Option<String>| allowed.as_ref().is_some_and(|allowed| *allowed == *origin);
        let (is_allowed, setting) = match App::of(request.uri.path()) {
            Some(app) if *app == SPOTIFYMERN => (is(&self.spotifymern), "CHORUS_SPOTIFYMERN_URL"),
            Some(_) => (is(&self.instamern), "CHORUS_INSTAMERN_URL"),
            None => (self.allowed.iter().any(|allowed| *allowed == *origin), "CHORUS_ALLOWED_ORIGINS"),
        };
        if !is_allowed && self.own.as_ref().is_none_or(|own| *own != *origin) {
            self.log_refusal(origin, setting);
        }
        is_allowed
    }

    /// Logs each origin once for each setting, up to a limit: anyone may send any.
    fn log_refusal(&self, origin: &HeaderValue, setting: &'static str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.since.is_none_or(|since| since.elapsed() > LOGGED_AGAIN) {
            *logged = LoggedOrigins { since: Some(Instant::now()), origins: HashSet::new() };
        }
        if logged.origins.len() < LOGGED_ORIGINS && logged.origins.insert((origin.clone(), setting)) {
            tracing::warn!(
                ?origin,
                setting,
                "pages of this origin may not call the API: the setting would allow it"
            );
        }
    }
}

/// Scheme, host and port of a URL, as in an `Origin` header.
fn origin(url: &str) -> Option<String> {
    Url::parse(url).ok().map(|url| url.origin().ascii_serialization())
}

/// A preflight request is answered without a body.
pub(crate) fn preflight_status(response: &mut Response) {
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_of_a_path_is_its_whole_first_segment() {
        for (path, is_its) in [
            ("/instamern", true),
            ("/InstaMERN/posts", true),
            ("/instamern/", true),
            ("/SpotifyMERN/musics", true),
            ("/instamerns", false),
            ("/v1/instamern", false),
            ("/", false),
            ("/instamer\u{e9}", false),
        ] {
            assert_eq!(App::of(path).is_some(), is_its, "{path}");
        }
    }

    #[test]
    fn guarded_paths_match_whole_segments() {
        for (path, guarded) in [
            ("/instamern/users/nothing", true),
            ("/INSTAMERN/Users", true),
            ("/instamern/usersx", false),
            ("/instamern/nothing", false),
            ("/instamern", false),
        ] {
            assert_eq!(INSTAMERN.is_guarded(path), guarded, "{path}");
        }
    }

    #[test]
    fn origin_is_the_prefix_of_a_url() {
        for (url, expected) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/", "https://a.example"),
            ("http://localhost:3000/app/", "http://localhost:3000"),
        ] {
            assert_eq!(origin(url).as_deref(), Some(expected));
        }
    }
}
