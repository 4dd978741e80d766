//! Finding people by their names.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use service::extract::Query as QueryString;
use service::problem::{Problem, Problems};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::profiles::{self, Profile, Standing};
use views::search::{BY_TERM, Term, VIEW, fold};
use views::{Query, ViewStoreExt};

use crate::answer::{Conditions, QueryHeaders, answer};
use crate::profiles::Person;
use crate::{Queries, store_problem};

/// People in an answer, if the client does not say, and at most.
const DEFAULT_LIMIT: usize = 20;
const LIMIT: usize = 50;
/// Terms looked at for each word: so many people are ranked at most.
const CANDIDATES: usize = 500;
/// Words of a search that count, and characters of it.
const WORDS: usize = 5;
const LENGTH_LIMIT: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(search_users))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SearchParams {
    /// The beginnings of words of a name or username, in any letter case, with or without accents.
    #[param(min_length = 1, max_length = 100, example = "ann le")]
    q: String,
    #[param(value_type = usize, required = false, minimum = 1, maximum = 50, default = 20)]
    limit: Option<usize>,
}

/// People found, the best match first.
#[derive(Debug, Serialize, ToSchema)]
struct Found {
    items: Vec<Person>,
}

impl Queries {
    /// Ids of those who have a word that begins with each of these.
    async fn candidates(&self, words: &[&str]) -> Result<HashSet<String>, Problem> {
        let mut found: Option<HashSet<String>> = None;
        for word in words {
            let query = Query::new(&VIEW, &BY_TERM, Vec::new(), CANDIDATES).with_prefix(*word);
            let terms = self.store.page_of::<Term>(query).await.map_err(store_problem)?.documents;
            let users: HashSet<String> = terms.into_iter().map(|term| term.user).collect();
            found = Some(match found {
                None => users,
                Some(before) => before.intersection(&users).cloned().collect(),
            });
        }
        Ok(found.unwrap_or_default())
    }
}

impl Queries {
    /// Everybody who is active and has a word in their username that begins so.
    pub(crate) async fn called_like(&self, text: &str) -> Result<Vec<Profile>, Problem> {
        let folded = fold(text.trim());
        if folded.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = self.candidates(&[&folded]).await?.into_iter().collect();
        let found = self.store.get_all::<Profile>(&ids).await.map_err(store_problem)?;
        let shown = found.into_iter().flatten().filter(|profile| {
            profile.standing == Standing::Active && fold(&profile.username).contains(&folded)
        });
        Ok(shown.collect())
    }
}

/// Find people by their names
#[utoipa::path(
    get, path = "/v1/users", tag = "search", params(SearchParams, QueryHeaders),
    responses((status = 200, body = Found), (status = 304), Problems)
)]
async fn search_users(
    State(queries): State<Queries>,
    QueryString(SearchParams { q, limit }): QueryString<SearchParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LIMIT).contains(&limit) {
        return Err(Problem::malformed("limit", format!("must be 1 to {LIMIT}")));
    }
    if q.trim().is_empty() || q.chars().count() > LENGTH_LIMIT {
        return Err(Problem::malformed("q", format!("must have 1 to {LENGTH_LIMIT} characters")));
    }
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, profiles::VIEW.name]).await;
    let folded = fold(q.trim());
    let words: Vec<&str> = folded.split_whitespace().take(WORDS).collect();
    let ids: Vec<String> = queries.candidates(&words).await?.into_iter().collect();
    let mut found: Vec<Profile> =
        queries.store.get_all(&ids).await.map_err(store_problem)?.into_iter().flatten().collect();
    found.retain(|profile| profile.standing == Standing::Active);
    found.sort_by_cached_key(|profile| rank(profile, &folded));
    found.truncate(limit);
    let items = found.into_iter().map(|profile| queries.person(profile)).collect();
    answer(&conditions, caught_up, &Found { items })
}

/// Lower is better: the very username, then one that begins so, then by names; among equals whoever has more followers.
fn rank(profile: &Profile, searched: &str) -> (u8, i64, String) {
    let username = fold(&profile.username);
    let closeness = match () {
        () if username == searched => 0,
        () if username.starts_with(searched) => 1,
        () => 2,
    };
    (closeness, -profile.followers, username)
}
