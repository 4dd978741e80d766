//! The description of the whole HTTP API, from the routes of both sides.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

/// The description of all routes.
pub fn document() -> OpenApi {
    let mut document = query_api::openapi();
    document.merge(command_api::openapi());
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(token));
    document
}

/// The description as it stands in `query-api/openapi.json`.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn text() -> serde_json::Result<String> {
    // Through a value, whose keys are in order: the file changes only where the API does.
    Ok(format!("{:#}\n", serde_json::to_value(document())?))
}
