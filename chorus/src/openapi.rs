//! The OpenAPI document of the whole HTTP API, from the routes of both sides.

mod answers;

use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{OpenApi, RefOr, ServerBuilder};
use web::session_cookies::SESSION_COOKIE;

/// Names of the two authentication schemes. Routes declare the first; the second is accepted wherever the first is.
const TOKEN: &str = "token";
const COOKIE: &str = "cookie";

/// Descriptions of the tags, in the order of the documentation page.
const TAGS: [(&str, &str); 24] = [
    ("accounts", "Sign-up, username, email address, password and deactivation of an account"),
    ("sessions", "Log-in, log-out, the list of sessions, and the public keys of their tokens"),
    ("profiles", "Names, bio and photo of a user"),
    ("posts", "Pictures with a caption, and the history of that caption"),
    ("likes", "Likes of posts, and the users who like a post"),
    ("comments", "Comments on posts, and replies to them"),
    ("follows", "Following users, and lists of followers and followings"),
    ("feeds", "The home feed: posts of the caller and of followed users"),
    ("stories", "Pictures that are visible for 24 hours, and their viewers"),
    ("saves", "Saved posts, and collections of them; visible to their owner only"),
    ("playlists", "Lists of songs, edited by several users, with their history"),
    ("notifications", "Activity on the user's posts and comments, and new followers"),
    (
        "search",
        "Search for users, songs, artists, albums and playlists by name, and suggestions of users to follow",
    ),
    ("artists", "Artists of the music catalogue, with their albums and songs"),
    ("albums", "Albums of the music catalogue, with their songs"),
    ("songs", "Songs of the music catalogue, and their genres"),
    ("uploads", "Uploads of audio files in parts, which can be resumed"),
    ("library", "Liked songs and albums, followed artists, ratings, bookmarks and the play queue"),
    ("listening", "Plays of songs, and what the caller played most; visible to the caller only"),
    ("charts", "The most played songs of days and weeks, and recommendations"),
    ("media", "Image files, in several sizes"),
    ("roles", "Roles and suspensions of users; for moderators and admins"),
    ("moderation", "Removal and restoration of content; for moderators and admins"),
    ("mails", "Delivery states of outgoing mails; for admins"),
];

/// The document of all routes.
pub fn document() -> OpenApi {
    let mut document = query_api::openapi();
    document.merge(command_api::openapi());
    // Relative to the URL of the document: the same file describes every deployment.
    let server = ServerBuilder::new().url("/").description(Some("The server that served this document"));
    document.servers = Some(vec![server.build()]);
    let tags =
        TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    document.tags = Some(tags.into());
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, token_scheme());
    components.add_security_scheme(COOKIE, cookie_scheme());
    for (path, item) in &mut document.paths.paths {
        let item_is_named = path.contains('{');
        operations(item).for_each(|(method, operation)| {
            name_problems(method, item_is_named, operation);
            describe_successes(operation);
            accept_cookie(operation);
        });
    }
    document
}

/// Statuses of problems and their meanings.
const PROBLEMS: [(u16, &str); 15] = [
    (400, "The request cannot be parsed, or a parameter is invalid"),
    (401, "The caller is not logged in, or the session has ended"),
    (403, "The caller is not allowed to do this"),
    (404, "The resource does not exist or is hidden"),
    (408, "The body came too slowly"),
    (409, "The request conflicts with the current state"),
    (410, "The link has expired"),
    (413, "The body is too large"),
    (415, "The media type of the body is not supported"),
    (416, "The requested range is not in the file"),
    (422, "A field is invalid, or the `Idempotency-Key` was used for another request"),
    (429, "Too many requests: wait for the time in `Retry-After`"),
    (500, "A defect in the server"),
    (503, "A service that Chorus needs is unavailable: wait for the time in `Retry-After`"),
    (507, "There is no room: the account's storage quota or the disk is full"),
];

/// Operations whose commands may be refused in the current state.
const CONFLICTING: &[&str] = &[
    "add_collaborator",
    "add_entries",
    "append_to_upload",
    "confirm_email",
    "confirm_email_change",
    "create_account",
    "create_album",
    "create_collection",
    "create_comment",
    "create_song",
    "create_upload",
    "delete_playlist",
    "delete_playlist_cover",
    "delete_upload",
    "edit_playlist",
    "edit_song",
    "finish_upload",
    "follow_user",
    "import_playlist",
    "merge_artists",
    "move_entries",
    "reinstate_user",
    "remove_collaborator",
    "remove_entries",
    "replace_entries",
    "request_email_change",
    "restore_comment",
    "restore_playlist",
    "restore_post",
    "restore_song",
    "restore_story",
    "revoke_role",
    "set_playlist_cover",
    "set_username",
    "suspend_user",
];
/// Operations that store audio.
const STORING: &[&str] =
    &["append_to_upload", "create_song", "create_upload", "finish_upload", "restore_song"];
/// Operations that have no item in their path, but name one in their body.
const NAMING: &[&str] = &["create_song"];
/// Operations that links open.
const LINKED: &[&str] = &["stream_song"];

/// Descriptions of successes for routes without their own.
const SUCCESSES: [(&str, &str); 7] = [
    ("200", "Success"),
    ("201", "Created. The views include the result unless `pending` is true"),
    ("202", "Accepted. The views will include the result soon"),
    ("204", "Done; the answer has no body"),
    ("206", "The requested range of the file"),
    ("304", "Unchanged since the answer with the `ETag` in `If-None-Match`"),
    ("307", "The file is at the URL in `Location`"),
];

fn describe_successes(operation: &mut Operation) {
    for (status, description) in SUCCESSES {
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status)
            && response.description.is_empty()
        {
            description.clone_into(&mut response.description);
        }
    }
}

/// Replaces the ranges `4XX` and `5XX` with the statuses that the operation may return.
fn name_problems(method: Method, item_is_named: bool, operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    responses.remove("4XX");
    let has_parts = responses.contains_key("206");
    let Some(RefOr::T(problem)) = responses.remove("5XX") else { return };
    let reads = method == Method::Get;
    let may_log_in = operation.security.as_ref().is_some_and(|accepted| !accepted.is_empty());
    let has_body = operation.request_body.is_some();
    let is_one_of = |names: &[&str]| operation.operation_id.as_deref().is_some_and(|id| names.contains(&id));
    for (status, description) in PROBLEMS {
        let applies = match status {
            401 | 403 => may_log_in || !reads,
            404 => item_is_named || is_one_of(NAMING),
            408 | 413 | 415 => has_body,
            409 => is_one_of(CONFLICTING),
            410 => is_one_of(LINKED),
            416 => has_parts,
            422 => !reads,
            507 => is_one_of(STORING),
            _ => true,
        };
        if applies {
            let mut response = problem.clone();
            description.clone_into(&mut response.description);
            responses.insert(status.to_string(), RefOr::T(response));
        }
    }
}

fn token_scheme() -> SecurityScheme {
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    let description = "The `token` in the answer to a sign-up or log-in";
    SecurityScheme::Http(token.description(Some(description)).build())
}

fn cookie_scheme() -> SecurityScheme {
    let description = "Set by a sign-up or log-in, for pages in a browser. A request that changes state must \
        also have an `Origin` header with an allowed origin. An `Authorization` header takes precedence.";
    SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(SESSION_COOKIE, description)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Change,
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let change =
        [put, post, delete, patch].into_iter().flatten().map(|operation| (Method::Change, operation));
    get.iter_mut().map(|operation| (Method::Get, operation)).chain(change)
}

/// Adds the cookie as an alternative wherever the token is accepted.
fn accept_cookie(operation: &mut Operation) {
    let none: [&str; 0] = [];
    if let Some(accepted) = &mut operation.security
        && accepted.contains(&SecurityRequirement::new(TOKEN, none))
    {
        accepted.push(SecurityRequirement::new(COOKIE, none));
    }
}

/// The text of `query-api/openapi.json`.
///
/// # Errors
/// If it cannot be serialised.
pub fn text() -> serde_json::Result<String> {
    // Through a `Value`, whose keys are sorted: the file changes only with the API.
    let mut document = serde_json::to_value(document())?;
    name_lists(&mut document);
    answers::mark_files_as_binary(&mut document);
    answers::require_nullable_fields(&mut document);
    answers::add_examples(&mut document);
    Ok(format!("{document:#}\n"))
}

/// Names a page of posts `PostList` instead of the generic `PageOf_Post`.
fn name_lists(value: &mut Value) {
    let list = |name: &str| {
        let (before, item) = name.split_once("PageOf_")?;
        Some(format!("{before}{item}List"))
    };
    match value {
        Value::String(text) => {
            if let Some(name) = text.starts_with("#/components/schemas/").then(|| list(text)).flatten() {
                *text = name;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(name_lists),
        Value::Object(fields) => {
            let named = std::mem::take(fields).into_iter();
            fields.extend(named.map(|(name, field)| (list(&name).unwrap_or(name), field)));
            fields.values_mut().for_each(name_lists);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_with_further_statuses_are_in_the_document() {
        let mut document = document();
        let items = document.paths.paths.values_mut();
        let known: Vec<String> =
            items.flat_map(operations).filter_map(|(_, operation)| operation.operation_id.clone()).collect();
        for name in [CONFLICTING, STORING, NAMING, LINKED].concat() {
            assert!(known.iter().any(|known| known == name), "{name}");
        }
    }
}
