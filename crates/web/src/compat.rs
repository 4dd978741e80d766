//! The manner of speaking of the web apps that came before Chorus, each under a prefix of its own: how their paths are
//! spelled, what their bodies and answers look like, which one origin may call. What they can do is the same as on `/v1`
//! and stands in the `compat` modules of either side.

mod answer;
mod body;
mod caller;
mod path;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use http::{HeaderValue, StatusCode, header, request};
use url::Url;

use crate::problem::Told;
use service::config::HttpSettings;

pub use answer::{Refusal, Success, cookie, forget_cookie, time};
pub use body::Fields;
pub use caller::Caller;
pub use path::PathText;

/// A web app, as far as all of its routes have something in common.
#[derive(Debug, PartialEq, Eq)]
pub struct App {
    /// What all of its paths begin with.
    pub prefix: &'static str,
    /// Its routes below the prefix; where two fit, the first is meant.
    paths: &'static [&'static str],
    /// Below these, who is not logged in is told that first, also where there is nothing.
    guarded: &'static [&'static str],
    pub not_logged_in: &'static str,
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
    bad_token: "Authorization failed. Please login.",
    expired_token: "Authentication has expired. Please login again.",
};

/// All that are served.
static APPS: [&App; 1] = [&INSTAMERN];

impl App {
    /// Whose path this is, in any letter case.
    pub fn of(path: &str) -> Option<&'static Self> {
        let begins = |app: &Self| {
            let length = app.prefix.len();
            let rest = path.get(..length).filter(|start| start.eq_ignore_ascii_case(app.prefix));
            rest.is_some() && matches!(path.as_bytes().get(length), None | Some(b'/'))
        };
        APPS.into_iter().find(|app| begins(app))
    }

    /// Whether who asks for what is not there must be logged in to be told so.
    pub(crate) fn is_guarded(&self, path: &str) -> bool {
        let below = path.get(self.prefix.len()..).unwrap_or_default().to_ascii_lowercase();
        let covers = |guarded: &&&str| {
            below.strip_prefix(**guarded).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.guarded.iter().find(covers).is_some()
    }
}

/// An answer of any route, or of what stands before the routes, in the words of the apps.
pub(crate) fn reword(mut response: Response) -> Response {
    if let Some(told) = response.extensions_mut().remove::<Told>() {
        let (mut parts, _) = response.into_parts();
        let (said, body) = answer::failure(parts.status, &told.0).into_parts();
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
            parts.headers.remove(name);
        }
        parts.headers.extend(said.headers);
        response = Response::from_parts(parts, body);
    }
    let is_json = |kind: &HeaderValue| kind == "application/json";
    if response.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
        let kind = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// Refused origins in the log lines at most.
const LOGGED_ORIGINS: usize = 100;

/// Which origins' pages may call which paths.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    /// Everything but the apps' routes.
    allowed: Vec<String>,
    instamern: Option<String>,
    /// The origin of pages of Chorus itself.
    own: Option<String>,
    /// Refused origins that are in the log lines already.
    logged: Arc<Mutex<HashSet<HeaderValue>>>,
}

impl Origins {
    pub(crate) fn new(settings: &HttpSettings) -> Self {
        Self {
            allowed: settings.allowed_origins().map(str::to_owned).collect(),
            instamern: origin(&settings.apps.instamern_url),
            own: origin(&settings.public_url()),
            logged: Arc::default(),
        }
    }

    pub(crate) fn allow(&self, origin: &HeaderValue, request: &request::Parts) -> bool {
        let (is_allowed, setting) = match App::of(request.uri.path()) {
            Some(_) => {
                (self.instamern.as_ref().is_some_and(|allowed| *allowed == *origin), "CHORUS_INSTAMERN_URL")
            }
            None => (self.allowed.iter().any(|allowed| *allowed == *origin), "CHORUS_ALLOWED_ORIGINS"),
        };
        if !is_allowed && self.own.as_ref().is_none_or(|own| *own != *origin) {
            self.log_refusal(origin, setting);
        }
        is_allowed
    }

    /// Logs each origin once, up to a limit: anyone may send any.
    fn log_refusal(&self, origin: &HeaderValue, setting: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < LOGGED_ORIGINS && logged.insert(origin.clone()) {
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
    fn a_path_belongs_to_an_app_by_its_whole_first_part() {
        for (path, is_its) in [
            ("/instamern", true),
            ("/InstaMERN/posts", true),
            ("/instamern/", true),
            ("/instamerns", false),
            ("/v1/instamern", false),
            ("/", false),
            ("/instamer\u{e9}", false),
        ] {
            assert_eq!(App::of(path).is_some(), is_its, "{path}");
        }
    }

    #[test]
    fn what_is_guarded_is_told_by_whole_parts() {
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
    fn an_origin_is_the_beginning_of_an_address() {
        for (url, expected) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/", "https://a.example"),
            ("http://localhost:3000/app/", "http://localhost:3000"),
        ] {
            assert_eq!(origin(url).as_deref(), Some(expected));
        }
    }
}
