//! Lists in pages: each page names the start of the next one.

use axum::extract::{FromRequestParts, OriginalUri};
use http::Uri;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{Array, ArrayBuilder};
use utoipa::{IntoParams, ToSchema};
use views::{BadCursor, Cursor, Document, Index, PageOf as Found, ViewStoreExt};
use web::extract::Query;
use web::problem::{FieldCode, Problem};

use crate::{Queries, store_problem};

/// Default and maximum number of items per page.
const DEFAULT_LIMIT: usize = 20;
const LIMIT: usize = 100;

/// Maximum number of reads per page if some items are invisible, so that pages stay full; usually one is enough.
pub(crate) const ROUNDS: usize = 5;
/// Counts stop at this number: counting long lists completely is not worth the cost.
pub(crate) const COUNT_LIMIT: usize = 10_000;

/// The requested page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Maximum number of items on the page.
    #[param(value_type = usize, required = false, minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
    /// The `next_cursor` of the previous page.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$", max_length = 1024)]
    cursor: Option<String>,
}

/// The requested page, and the link to the next one.
#[derive(Debug)]
pub(crate) struct Paging {
    pub(crate) limit: usize,
    cursor: Option<String>,
    uri: Uri,
    /// Other query parameters of the next page.
    more: Option<(&'static str, &'static str)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(PageParams { limit, cursor }) = Query::from_request_parts(parts, state).await?;
        let OriginalUri(uri) = OriginalUri::from_request_parts(parts, state).await?;
        Self::new(limit, cursor, uri)
    }
}

/// The requested number of items.
pub(crate) fn limit_within(asked: Option<usize>, default: usize, most: usize) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(default);
    let bad = || Problem::malformed("limit", FieldCode::OutOfRange, format!("must be 1 to {most}"));
    (1..=most).contains(&limit).then_some(limit).ok_or_else(bad)
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageOf<T: ToSchema> {
    #[schema(schema_with = references_to::<T>)]
    pub(crate) items: Vec<T>,
    /// Path and query of the next page; null on the last page.
    pub(crate) next: Option<String>,
    /// The `cursor` of the next page alone; null on the last page.
    pub(crate) next_cursor: Option<String>,
}

/// Items are references: the derive would repeat the schema of a type parameter in each page schema.
fn references_to<T: ToSchema>() -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name(T::name())).build()
}

impl Paging {
    /// # Errors
    /// If the limit is out of bounds.
    pub(crate) fn new(limit: Option<usize>, cursor: Option<String>, uri: Uri) -> Result<Self, Problem> {
        Ok(Self { limit: limit_within(limit, DEFAULT_LIMIT, LIMIT)?, cursor, uri, more: None })
    }

    /// Adds another query parameter to the links of the next pages.
    pub(crate) fn with(self, more: Option<(&'static str, &'static str)>) -> Self {
        Self { more, ..self }
    }

    pub(crate) fn after(&self, index: &Index) -> Result<Option<Cursor>, Problem> {
        let parse = |text: &String| Cursor::parse(text, index);
        self.cursor
            .as_ref()
            .map(parse)
            .transpose()
            .map_err(|bad| Problem::malformed("cursor", FieldCode::InvalidFormat, bad.to_string()))
    }

    /// The position below which the page starts, for lists ordered by position; none for the first page.
    pub(crate) fn below(&self, index: &Index) -> Result<Option<i64>, Problem> {
        let bad = || Problem::malformed("cursor", FieldCode::InvalidFormat, BadCursor.to_string());
        self.after(index)?.map(|cursor| cursor.number().ok_or_else(bad)).transpose()
    }

    /// A page of these items; fewer than its limit if some are invisible.
    pub(crate) fn page<T: ToSchema>(&self, items: Vec<T>, next: Option<&Cursor>, index: &Index) -> PageOf<T> {
        let next_cursor = next.map(|cursor| cursor.to_text(index).to_string());
        let next = next_cursor.as_ref().map(|cursor| {
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(self.more)
                .append_pair("limit", &self.limit.to_string())
                .append_pair("cursor", cursor)
                .finish();
            format!("{}?{query}", self.uri.path())
        });
        PageOf { items, next, next_cursor }
    }
}

impl Queries {
    /// The requested page of a query.
    pub(crate) async fn page_of<T: Document>(
        &self,
        query: views::Query,
        paging: &Paging,
    ) -> Result<Found<T>, Problem> {
        let after = paging.after(query.index)?;
        self.store.page_of(query.after(after)).await.map_err(store_problem)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http::Request;
    use proptest::prelude::*;
    use views::Direction;

    use super::*;

    const NEWEST: Index =
        Index { name: "newest", equals: &[], order: "position", direction: Direction::Descending };

    /// Parses a query string.
    fn asked(query: &str) -> Result<Paging, Problem> {
        let (mut parts, ()) = Request::get(format!("/v1/posts?{query}")).body(()).unwrap().into_parts();
        Paging::from_request_parts(&mut parts, &()).now_or_never().unwrap()
    }

    proptest! {
        #[test]
        fn any_query_is_a_bounded_page_or_rejected_by_field(
            query in "((limit|cursor|offset|[a-z%]{0,5})=[0-9A-Za-z%+_.$\\[\\]-]{0,12}&?){0,4}|[!-~&&[^#<>\"`]]{0,30}",
        ) {
            match asked(&query) {
                Ok(paging) => {
                    prop_assert!((1..=LIMIT).contains(&paging.limit), "{query}");
                    if let Err(problem) = paging.after(&NEWEST) {
                        prop_assert_eq!(problem.fields[0].field.as_str(), "cursor");
                    }
                }
                Err(problem) => {
                    prop_assert_eq!(problem.status, 400, "{}", query);
                    prop_assert_eq!(problem.fields.len(), 1, "{}", query);
                }
            }
        }

        #[test]
        fn link_requests_the_next_page(limit in 1..=LIMIT, order in any::<i64>(), key in "[0-9a-f.]{1,65}") {
            let first = asked(&format!("limit={limit}")).unwrap();
            let text = serde_json::json!(["newest", order, key]).to_string();
            let text = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
            let cursor = Cursor::parse(&text, &NEWEST).unwrap();
            let page = first.page(Vec::<String>::new(), Some(&cursor), &NEWEST);
            let (link, alone) = (page.next.unwrap(), page.next_cursor.unwrap());
            prop_assert_eq!(Cursor::parse(&alone, &NEWEST).unwrap(), cursor.clone());
            let next = asked(link.strip_prefix("/v1/posts?").unwrap()).unwrap();
            prop_assert_eq!((next.limit, next.after(&NEWEST).unwrap()), (limit, Some(cursor)));
        }
    }
}
