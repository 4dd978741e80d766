//! Lists in pages: each says where the next one begins.

use axum::extract::{FromRequestParts, OriginalUri};
use http::Uri;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{Array, ArrayBuilder};
use utoipa::{IntoParams, ToSchema};
use views::{BadCursor, Cursor, Index};
use web::extract::Query;
use web::problem::{FieldCode, Problem};

/// Items on a page, if the client does not say, and at most.
const DEFAULT_LIMIT: usize = 20;
const LIMIT: usize = 100;

/// Looks at a list for one page where some of what is found may not be seen, so that pages stay full: a view that hides
/// as it should needs one.
pub(crate) const ROUNDS: usize = 5;
/// What is counted is counted up to here: a list this long is never counted to its end for a number that nobody reads.
pub(crate) const COUNT_LIMIT: usize = 10_000;

/// Which page is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Items on the page.
    #[param(value_type = usize, required = false, minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
    /// The `next_cursor` of the page before.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$", max_length = 1024)]
    cursor: Option<String>,
}

/// The page asked for, and how to ask for the next.
#[derive(Debug)]
pub(crate) struct Paging {
    pub(crate) limit: usize,
    cursor: Option<String>,
    uri: Uri,
    /// What else the query string of the next page says.
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

/// How many items are asked for.
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
    /// Path and query of the next page; null on the last.
    pub(crate) next: Option<String>,
    /// The `cursor` of the next page alone; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// Items by reference: the derive would write the schema of a type parameter out in every page that holds it.
fn references_to<T: ToSchema>() -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name(T::name())).build()
}

impl Paging {
    /// # Errors
    /// If the limit is out of bounds.
    pub(crate) fn new(limit: Option<usize>, cursor: Option<String>, uri: Uri) -> Result<Self, Problem> {
        Ok(Self { limit: limit_within(limit, DEFAULT_LIMIT, LIMIT)?, cursor, uri, more: None })
    }

    /// With something else that the query string of the next page must say.
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

    /// The position below which a page begins, of a list in the order of positions; none for the first.
    pub(crate) fn below(&self, index: &Index) -> Result<Option<i64>, Problem> {
        let bad = || Problem::malformed("cursor", FieldCode::InvalidFormat, BadCursor.to_string());
        self.after(index)?.map(|cursor| cursor.number().ok_or_else(bad)).transpose()
    }

    /// A page of these items, which are fewer than its limit where some may not be seen.
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http::Request;
    use proptest::prelude::*;
    use views::Direction;

    use super::*;

    const NEWEST: Index =
        Index { name: "newest", equals: &[], order: "position", direction: Direction::Descending };

    /// What a request with this query string asks for; nothing in it waits.
    fn asked(query: &str) -> Result<Paging, Problem> {
        let (mut parts, ()) = Request::get(format!("/v1/posts?{query}")).body(()).unwrap().into_parts();
        Paging::from_request_parts(&mut parts, &()).now_or_never().unwrap()
    }

    proptest! {
        #[test]
        fn any_query_is_a_page_within_bounds_or_refused_by_its_field(
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
        fn the_next_page_is_asked_for_by_the_link_to_it(limit in 1..=LIMIT, order in any::<i64>(), key in "[0-9a-f.]{1,65}") {
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
