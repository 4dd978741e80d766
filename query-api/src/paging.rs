//! Lists in pages: each says where the next one begins.

use axum::extract::{FromRequestParts, OriginalUri};
use http::Uri;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use service::extract::Query;
use service::problem::Problem;
use utoipa::{IntoParams, ToSchema};
use views::{Cursor, Index};

/// Items on a page, if the client does not say, and at most.
const DEFAULT_LIMIT: usize = 20;
const LIMIT: usize = 100;

/// Which page is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Items on the page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
    /// From the `next` of the page before.
    cursor: Option<String>,
}

/// The page asked for, and how to ask for the next.
#[derive(Debug)]
pub(crate) struct Paging {
    pub(crate) limit: usize,
    cursor: Option<String>,
    uri: Uri,
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(PageParams { limit, cursor }) = Query::from_request_parts(parts, state).await?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=LIMIT).contains(&limit) {
            return Err(Problem::malformed("limit", format!("must be 1 to {LIMIT}")));
        }
        let OriginalUri(uri) =
            OriginalUri::from_request_parts(parts, state).await.map_err(|never| match never {})?;
        Ok(Self { limit, cursor, uri })
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageOf<T: ToSchema> {
    pub(crate) items: Vec<T>,
    /// Path and query of the next page; null on the last.
    pub(crate) next: Option<String>,
}

impl Paging {
    pub(crate) fn after(&self, index: &Index) -> Result<Option<Cursor>, Problem> {
        let parse = |text: &String| Cursor::parse(text, index);
        self.cursor
            .as_ref()
            .map(parse)
            .transpose()
            .map_err(|bad| Problem::malformed("cursor", bad.to_string()))
    }

    /// A page of these items, which are fewer than its limit where some may not be seen.
    pub(crate) fn page<T: ToSchema>(&self, items: Vec<T>, next: Option<&Cursor>, index: &Index) -> PageOf<T> {
        let next = next.map(|cursor| {
            let cursor = cursor.to_text(index).to_string();
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("limit", &self.limit.to_string())
                .append_pair("cursor", &cursor)
                .finish();
            format!("{}?{query}", self.uri.path())
        });
        PageOf { items, next }
    }
}
