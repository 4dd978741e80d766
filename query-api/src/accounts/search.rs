//! Searching users by name: by prefixes of words, and by any part of a username.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use axum::response::Response;
use events::fold_name;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles::{self, BY_USERNAME, Profile};
use views::accounts::search::{
    List, Term, VIEW, fold, folded_words, plain_apostrophes, split_at_apostrophes,
};
use views::social::follows::{self, Circle};
use views::{PageOf, Query, ViewStoreExt};
use web::extract::Query as QueryString;
use web::problem::{FieldCode, Problem, Problems};
use web::sessions::Session;

use crate::accounts::profiles::ListedPerson;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::limit_within;
use crate::{Queries, store_problem};

/// Default and maximum number of users in an answer.
const DEFAULT_LIMIT: usize = 20;
const LIMIT: usize = 50;
/// Maximum number of users examined for the username prefix and for each word.
const CANDIDATES: usize = 300;
/// Maximum number of users with a part in their username: as many as ids in a list.
const PARTS_LIMIT: usize = 5000;
/// Maximum number of words of a query, and of characters.
const WORDS: usize = 5;
const LENGTH_LIMIT: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(search_users)).routes(routes!(search_usernames))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SearchParams {
    /// Prefixes of words of a name or username, in any letter case, with or without accents.
    #[param(min_length = 1, max_length = 100, example = "ann le")]
    q: String,
    #[param(value_type = usize, required = false, minimum = 1, maximum = 50, default = 20)]
    limit: Option<usize>,
}

/// The users found, best match first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserSearchResults)]
struct Found {
    items: Vec<ListedPerson>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PartParams {
    /// A part of a username, in any letter case.
    #[param(min_length = 1, max_length = 100, example = "nn_l")]
    part: String,
}

/// The users found, ordered by username.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsernameSearchResults)]
struct FoundByPart {
    items: Vec<ListedPerson>,
    /// False if there may be further matches beyond the 5,000 that are examined.
    complete: bool,
}

impl Queries {
    async fn terms(&self, query: Query) -> Result<PageOf<Term>, Problem> {
        self.store.page_of(query).await.map_err(store_problem)
    }

    /// All users with this part in their username, in any letter case, by username; and whether the list is complete.
    /// The query is plain text.
    pub async fn people_by_username_part(&self, part: &str) -> Result<(Vec<Profile>, bool), Problem> {
        let folded = fold(part);
        if folded.is_empty() {
            return Ok((Vec::new(), true));
        }
        let page = self.terms(List::Endings.query(PARTS_LIMIT).with_prefix(&folded)).await?;
        let ids = page.documents.into_iter().map(|term| term.user).collect();
        let mut found = self.active_people(ids).await?;
        // The name may have changed since the search view was read.
        found.retain(|profile| fold(&profile.username).contains(&folded));
        found.sort_by(|a, b| (&a.folded_username, &a.user).cmp(&(&b.folded_username, &b.user)));
        Ok((found, page.next.is_none()))
    }

    /// The best matches for some words. Exact as long as one of the words has fewer matches than the limit.
    async fn people_by_words(&self, searched: &Searched, limit: usize) -> Result<Vec<Profile>, Problem> {
        let named = fold_name(&searched.whole);
        let named = Query::new(&profiles::VIEW, &BY_USERNAME, vec![json!(named)], 1);
        let usernames = List::Usernames.query(CANDIDATES).with_prefix(&searched.whole);
        let words = searched.words.iter().map(|word| List::Words.query(CANDIDATES).with_prefix(word));
        let (named, usernames, words) = futures::try_join!(
            async { self.store.page_of::<Profile>(named).await.map_err(store_problem) },
            self.terms(usernames),
            try_join_all(words.map(|query| self.terms(query))),
        )?;
        let mut ids: BTreeSet<String> = named.documents.into_iter().map(|profile| profile.user).collect();
        ids.extend(usernames.documents.into_iter().map(|term| term.user));
        // Matches contain all words, so the complete matches of the rarest word are sufficient.
        let rarest = words.iter().filter(|page| page.next.is_none()).min_by_key(|page| page.documents.len());
        let looked_at = rarest.map_or(&words[..], std::slice::from_ref);
        ids.extend(looked_at.iter().flat_map(|page| &page.documents).map(|term| term.user.clone()));

        let keys: Vec<String> = ids.iter().cloned().collect();
        let (found, circles) = futures::try_join!(self.active_people(ids), async {
            self.store.get_all::<Circle>(&keys).await.map_err(store_problem)
        })?;
        let followers: HashMap<String, i64> =
            circles.into_iter().flatten().map(|circle| (circle.user, circle.followers)).collect();
        let mut ranked: Vec<_> = found
            .into_iter()
            .filter_map(|profile| {
                let closeness = searched.closeness(&profile)?;
                let followers = followers.get(&profile.user).copied().unwrap_or(0);
                let rank = (closeness, Reverse(followers), fold(&profile.username), profile.user.clone());
                Some((rank, profile))
            })
            .collect();
        ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(ranked.into_iter().take(limit).map(|(_, profile)| profile).collect())
    }
}

/// The rank of a name, best first. Ties are ordered by follower count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Username,
    BeginningOfUsername,
    WholeWords,
    BeginningsOfWords,
}

/// The folded query.
#[derive(Debug)]
struct Searched {
    whole: String,
    words: Vec<String>,
}

impl Searched {
    fn of(text: &str) -> Self {
        let whole = plain_apostrophes(&fold(text.trim()));
        let words = whole.split_whitespace().flat_map(split_at_apostrophes).take(WORDS);
        let words = words.map(str::to_owned).collect();
        Self { whole, words }
    }

    /// None if the user does not match.
    fn closeness(&self, profile: &Profile) -> Option<Closeness> {
        let username = fold(&profile.username);
        if username == self.whole {
            return Some(Closeness::Username);
        }
        if username.starts_with(&self.whole) {
            return Some(Closeness::BeginningOfUsername);
        }
        let texts = [&profile.username, &profile.firstname, &profile.lastname];
        let theirs: Vec<String> = texts.into_iter().flat_map(|text| folded_words(text)).collect();
        let each = |fits: fn(&str, &str) -> bool| {
            self.words.iter().all(|word| theirs.iter().any(|their| fits(their, word)))
        };
        if each(|their, word| their == word) {
            return Some(Closeness::WholeWords);
        }
        each(|their, word| their.starts_with(word)).then_some(Closeness::BeginningsOfWords)
    }
}

/// A query text within the limits.
pub(crate) fn check(field: &str, text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() || text.chars().count() > LENGTH_LIMIT {
        let code = if text.trim().is_empty() { FieldCode::Empty } else { FieldCode::TooLong };
        return Err(Problem::malformed(field, code, format!("must have 1 to {LENGTH_LIMIT} characters")));
    }
    Ok(())
}

/// Search users by name
///
/// The exact username comes first, then usernames with this prefix, then matches of whole words of names, then matches of
/// prefixes of words. Ties are ordered by the number of followers.
#[utoipa::path(
    get, path = "/v1/users", tag = "search", security((), ("token" = [])), params(SearchParams, QueryHeaders),
    responses((status = 200, body = Found), (status = 304), Problems)
)]
async fn search_users(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    QueryString(SearchParams { q, limit }): QueryString<SearchParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let limit = limit_within(limit, DEFAULT_LIMIT, LIMIT)?;
    check("q", &q)?;
    let views = [VIEW.name, profiles::VIEW.name, follows::VIEW.name];
    let caught_up = queries.catch_up(&conditions, &views).await;
    let searched = Searched::of(&q);
    // A lone accent folds to an empty text.
    let found = match searched.words.is_empty() {
        true => Vec::new(),
        false => queries.people_by_words(&searched, limit).await?,
    };
    let people = found.into_iter().map(|profile| queries.person(profile)).collect();
    let items = queries.with_relationships(people, viewer).await?;
    answer(&conditions, caught_up, &Found { items })
}

/// Search users by a part of the username
#[utoipa::path(
    get, path = "/v1/users/by-username", tag = "search", security((), ("token" = [])), params(PartParams, QueryHeaders),
    responses((status = 200, body = FoundByPart), (status = 304), Problems)
)]
async fn search_usernames(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    QueryString(PartParams { part }): QueryString<PartParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    check("part", &part)?;
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, profiles::VIEW.name]).await;
    let (found, complete) = queries.people_by_username_part(&part).await?;
    let people = found.into_iter().map(|profile| queries.person(profile)).collect();
    let items = queries.with_relationships(people, viewer).await?;
    answer(&conditions, caught_up, &FoundByPart { items, complete })
}

#[cfg(test)]
mod tests {
    use views::accounts::profiles::AccountStatus;

    use super::*;

    fn closeness(searched: &str) -> Option<Closeness> {
        let profile = Profile {
            user: "1".into(),
            username: "Ann_Lee".into(),
            folded_username: "ann_lee".into(),
            firstname: "Zoë Marie".into(),
            lastname: "Straße".into(),
            bio: "harbour".into(),
            photo: None,
            private: false,
            status: AccountStatus::Active,
            joined: 0,
            position: 1,
            posts: 0,
        };
        Searched::of(searched).closeness(&profile)
    }

    #[test]
    fn exact_username_ranks_before_prefixes_and_words() {
        assert_eq!(closeness(" ANN_lee "), Some(Closeness::Username));
        assert_eq!(closeness("ann_"), Some(Closeness::BeginningOfUsername));
        assert_eq!(closeness("lee zoe STRASSE"), Some(Closeness::WholeWords));
        assert_eq!(closeness("zo mar"), Some(Closeness::BeginningsOfWords));
        for other in ["nn", "ann zoo", "harbour", "a.n", "ann_lee2", "%", "oë"] {
            assert_eq!(closeness(other), None, "{other}");
        }
        assert!(Closeness::Username < Closeness::BeginningOfUsername);
    }
}
