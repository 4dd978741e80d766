//! The description of the whole HTTP API, from the routes of both sides.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{OpenApi, ServerBuilder};
use web::browsers::SESSION_COOKIE;

/// Names of the two ways to log in. The routes name the first; the second is accepted wherever the first is.
const TOKEN: &str = "token";
const COOKIE: &str = "cookie";

/// What each tag groups, in the order in which the documentation page shows them.
const TAGS: [(&str, &str); 16] = [
    ("accounts", "Sign-up, username, email address, password and deactivation of an account"),
    ("sessions", "Log-in, log-out, the list of sessions, and the public keys of their tokens"),
    ("profiles", "Names, bio and photo of a user"),
    ("posts", "Pictures with a caption, and the history of that caption"),
    ("likes", "Likes of posts, and who likes a post"),
    ("comments", "Comments on posts, and replies to them"),
    ("follows", "Following users, and lists of followers and followings"),
    ("feeds", "The home feed: posts of the users that one follows"),
    ("stories", "Pictures that are shown for 24 hours, and who viewed them"),
    ("saves", "Saved posts, and collections of them; visible to their owner only"),
    ("notifications", "What happened to a user's posts, comments and followers"),
    ("search", "Finding users by name, and suggestions of users to follow"),
    ("media", "The files of pictures, in their sizes"),
    ("roles", "Granting roles and suspending users; for moderators and admins"),
    ("moderation", "Removing what other people published, and restoring it"),
    ("mails", "The state of outgoing mails; for admins"),
];

/// The description of all routes.
pub fn document() -> OpenApi {
    let mut document = query_api::openapi();
    document.merge(command_api::openapi());
    // Relative to the address that the document was read from: the same file describes every deployment.
    let server =
        ServerBuilder::new().url("/").description(Some("The server that this document was read from"));
    document.servers = Some(vec![server.build()]);
    let tags =
        TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    document.tags = Some(tags.into());
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(TOKEN, token_scheme());
    components.add_security_scheme(COOKIE, cookie_scheme());
    document.paths.paths.values_mut().flat_map(operations).for_each(accept_cookie);
    document
}

fn token_scheme() -> SecurityScheme {
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    let description = "The `token` of the answer to a sign-up or log-in";
    SecurityScheme::Http(token.description(Some(description)).build())
}

fn cookie_scheme() -> SecurityScheme {
    let description = "Set by a sign-up or log-in, for pages in a browser. A request that changes something must then \
        carry an `Origin` that is allowed. An `Authorization` header takes precedence.";
    SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(SESSION_COOKIE, description)))
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
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

/// The description as it stands in `query-api/openapi.json`.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn text() -> serde_json::Result<String> {
    // Through a value, whose keys are in order: the file changes only where the API does.
    Ok(format!("{:#}\n", serde_json::to_value(document())?))
}
