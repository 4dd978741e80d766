//! Normalises the apps' paths: literals in any letter case, with or without a trailing slash; variable parts are kept
//! as typed. Paths are never answered with a redirect, since preflight requests must not be redirected.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, MatchedPath};
use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use super::App;

impl App {
    /// The path in the spelling of the routes; none if it is already spelled like that, or matches no route.
    pub(crate) fn respell(&self, uri: &Uri) -> Option<Uri> {
        let path = uri.path();
        let below = path.get(self.prefix.len()..)?.trim_end_matches('/');
        let spelled = if below.is_empty() {
            self.prefix.to_owned()
        } else {
            let spelled = self.paths.iter().find_map(|pattern| fit(pattern, below))?;
            format!("{}{spelled}", self.prefix)
        };
        if spelled == path {
            return None;
        }
        let whole = match uri.query() {
            Some(query) => format!("{spelled}?{query}"),
            None => spelled,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(whole).ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// The path with its literal parts in the pattern's spelling, if it matches.
fn fit(pattern: &str, path: &str) -> Option<String> {
    let mut spelled = String::with_capacity(path.len());
    let mut rest = path;
    for part in pattern.split('/').skip(1) {
        rest = rest.strip_prefix('/')?;
        let end = if part.starts_with("{*") { rest.len() } else { rest.find('/').unwrap_or(rest.len()) };
        let (given, behind) = rest.split_at(end);
        let fits = if part.starts_with('{') { !given.is_empty() } else { part.eq_ignore_ascii_case(given) };
        if !fits {
            return None;
        }
        spelled.push('/');
        spelled.push_str(if part.starts_with('{') { given } else { part });
        rest = behind;
    }
    rest.is_empty().then_some(spelled)
}

/// The variable part at the end of a path, as typed: a `%` that escapes nothing is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathText(pub String);

impl<S: Sync> FromRequestParts<S> for PathText {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let pattern = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let begin = pattern.find('{').unwrap_or(pattern.len());
        let raw = parts.uri.path().get(begin..).unwrap_or_default().trim_end_matches('/');
        Ok(Self(percent_decode_str(raw).decode_utf8_lossy().into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compat::INSTAMERN;

    fn respelled(uri: &str) -> Option<String> {
        INSTAMERN.respell(&uri.parse().unwrap()).map(|uri| uri.to_string())
    }

    #[test]
    fn literals_match_in_any_letter_case_and_variables_are_kept() {
        for (given, expected) in [
            ("/instamern/users/", Some("/instamern/users")),
            ("/InstaMERN/Users/USERNAME/AnnLee", Some("/instamern/users/username/AnnLee")),
            ("/instamern/posts/ABC/", Some("/instamern/posts/ABC")),
            ("/instamern/POSTS/UPLOAD", Some("/instamern/posts/upload")),
            ("/instamern/users/Search/a/B%/", Some("/instamern/users/search/a/B%")),
            ("/instamern/stories/?a=B", Some("/instamern/stories?a=B")),
            ("/INSTAMERN/", Some("/instamern")),
            ("/instamern/posts", None),
            ("/instamern/posts/a/b", None),
            ("/instamern/users/search/", None),
            ("/instamern/nothing/", None),
        ] {
            assert_eq!(respelled(given).as_deref(), expected, "{given}");
        }
    }

    proptest! {
        /// Otherwise a request could be routed in an endless loop.
        #[test]
        fn normalisation_is_idempotent(path in "(/(users|Posts|search|like|[ -~&&[^?# ]]{0,4})){0,5}") {
            if let Ok(uri) = format!("/instamern{path}").parse::<Uri>()
                && let Some(respelled) = INSTAMERN.respell(&uri)
            {
                prop_assert_eq!(INSTAMERN.respell(&respelled), None);
            }
        }
    }
}
