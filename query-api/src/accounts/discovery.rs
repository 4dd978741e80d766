//! Discovering unknown users: at random, and through followed users.

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use axum::response::Response;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use rand::seq::SliceRandom;
use resources::Person;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles::{self, Profile};
use views::accounts::search::{Term, VIEW, random_keys_from};
use views::social::follows::{self, Follow};
use views::{StoreError, ViewStore, ViewStoreExt};
use web::extract::Query as QueryString;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::accounts::profiles::ListedPerson;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::limit_within;
use crate::reading::random::draw;
use crate::social::follows::Side;
use crate::{Queries, store_problem};

/// Default and maximum number of users in an answer.
const DEFAULT_LIMIT: usize = 20;
const LIMIT: usize = 50;
/// How many followed users are examined, and how many of their followings: the newest of both. This bounds the cost
/// of an answer.
const FRIENDS: usize = 64;
const NAMED_BY_EACH: usize = 64;
/// How many of these are looked up at once to check visibility.
const RANKED_AT_ONCE: usize = 100;
/// Concurrent reads per answer.
const IN_FLIGHT: usize = 8;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(discover_users)).routes(routes!(list_people_you_may_know))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LimitParams {
    #[param(value_type = usize, required = false, minimum = 1, maximum = 50, default = 20)]
    limit: Option<usize>,
}

impl LimitParams {
    fn limit(&self) -> Result<usize, Problem> {
        limit_within(self.limit, DEFAULT_LIMIT, LIMIT)
    }
}

/// Random users.
#[derive(Debug, Serialize, ToSchema)]
struct RandomUsers {
    items: Vec<ListedPerson>,
}

/// Suggested users, those with the most common friends first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserSuggestions)]
struct MayKnow {
    items: Vec<Acquaintance>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserSuggestion)]
struct Acquaintance {
    #[serde(flatten)]
    listed: ListedPerson,
    /// Number of the caller's considered followings that follow this user.
    friends_in_common: usize,
}

impl Queries {
    /// Random distinct active users; fewer only if there are fewer.
    pub async fn random_users(&self, count: usize) -> Result<Vec<Profile>, Problem> {
        let ids = random_ids(&*self.store, count, rand::random).await.map_err(store_problem)?;
        let mut people = self.active_people(ids).await?;
        people.shuffle(&mut rand::rng());
        Ok(people)
    }

    /// Ids of users followed by a user's followings, with the number of these followings, highest first, without the
    /// user.
    async fn friends_of_friends(&self, user: &str) -> Result<Vec<(String, usize)>, Problem> {
        let friends = self.newest_ids(Side::Followings, user, FRIENDS).await?;
        let asked = stream::iter(friends)
            .map(async |friend: String| self.newest_ids(Side::Followings, &friend, NAMED_BY_EACH).await);
        let named: Vec<Vec<String>> = asked.buffer_unordered(IN_FLIGHT).try_collect().await?;
        let mut in_common: HashMap<String, usize> = HashMap::new();
        for id in named.into_iter().flatten().filter(|id| id != user) {
            *in_common.entry(id).or_default() += 1;
        }
        let mut ranked: Vec<(String, usize)> = in_common.into_iter().collect();
        ranked.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
        Ok(ranked)
    }

    /// Removes users whom the user follows or has requested to follow, and invisible users.
    async fn may_know(
        &self,
        session: Session,
        ranked: Vec<(String, usize)>,
        limit: usize,
    ) -> Result<Vec<Acquaintance>, Problem> {
        let user = session.user.to_string();
        let mut found: Vec<(Person, usize)> = Vec::with_capacity(limit);
        for some in ranked.chunks(RANKED_AT_ONCE) {
            let keys: Vec<String> = some.iter().map(|(other, _)| follows::key(&user, other)).collect();
            let known = self.store.get_all::<Follow>(&keys).await.map_err(store_problem)?;
            let unknown = || some.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(one, _)| one);
            let people = self.people(unknown().map(|(id, _)| id.clone())).await?;
            found.extend(
                unknown().filter_map(|(id, friends_in_common)| {
                    Some((people.get(id)?.clone(), *friends_in_common))
                }),
            );
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        let (people, in_common): (Vec<Person>, Vec<usize>) = found.into_iter().unzip();
        let listed = self.with_relationships(people, Some(session)).await?.into_iter().zip(in_common);
        Ok(listed.map(|(listed, friends_in_common)| Acquaintance { listed, friends_in_common }).collect())
    }
}

/// List random users
#[utoipa::path(
    get, path = "/v1/users/discover", tag = "search", security((), ("token" = [])), params(LimitParams, QueryHeaders),
    responses((status = 200, body = RandomUsers), (status = 304), Problems)
)]
async fn discover_users(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    QueryString(params): QueryString<LimitParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let limit = params.limit()?;
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, profiles::VIEW.name]).await;
    let found = queries.random_users(limit).await?;
    let people = found.into_iter().map(|profile| queries.person(profile)).collect();
    let items = queries.with_relationships(people, viewer).await?;
    answer(&conditions, caught_up, &RandomUsers { items })
}

/// Suggest users to follow
///
/// Lists users who are followed by users that the caller follows. Considers the newest 64 followings of the caller and the
/// newest 64 followings of each of them.
#[utoipa::path(
    get, path = "/v1/me/people-you-may-know", tag = "search", security(("token" = [])),
    params(LimitParams, QueryHeaders),
    responses((status = 200, body = MayKnow), (status = 304), Problems)
)]
async fn list_people_you_may_know(
    State(queries): State<Queries>,
    session: Session,
    QueryString(params): QueryString<LimitParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let limit = params.limit()?;
    let caught_up = queries.catch_up(&conditions, &[follows::VIEW.name, profiles::VIEW.name]).await;
    let user = session.user.to_string();
    let ranked = queries.friends_of_friends(&user).await?;
    let items = queries.may_know(session, ranked, limit).await?;
    answer(&conditions, caught_up, &MayKnow { items })
}

/// Random ids of distinct active users; fewer only if there are fewer.
async fn random_ids(
    store: &dyn ViewStore,
    count: usize,
    random: impl FnMut() -> u64,
) -> Result<BTreeSet<String>, StoreError> {
    let page = |place: u64, limit: usize| {
        let terms = store.page_of::<Term>(random_keys_from(place, limit));
        let users = terms.map_ok(|page| page.documents.into_iter().map(|term| term.user).collect());
        users.boxed()
    };
    draw(count, random, page).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use views::accounts::search::{List, Source, random_key};
    use views::{Commit, SqliteViews, Writes};

    use super::*;

    async fn of_people(people: usize) -> (SqliteViews, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteViews::open(&folder.path().join("views.db"), views::all()).await.unwrap();
        let (mut rng, mut writes) = (StdRng::seed_from_u64(1), Writes::default());
        for n in 0..people {
            let user = format!("{:032x}", rng.random::<u128>());
            // One of the users is inactive.
            let (term, active) = (random_key(&user), n > 0);
            writes.put(&Term { term, user, list: List::RandomKeys, source: Source::Id, active }).unwrap();
        }
        let (writes, parked) = (Arc::new(writes.into_list()), Vec::new());
        let commit = Commit { projection: VIEW.name, writes, parked, expected: 0, checkpoint: 1 };
        store.commit(commit).await.unwrap();
        (store, folder)
    }

    #[tokio::test]
    async fn every_active_user_is_chosen_eventually_and_never_twice_at_once() {
        for (people, count) in [(61, 5), (1, 5), (4, 5), (6, 5), (7, 5), (30, 29), (18, 17)] {
            let (store, _folder) = of_people(people).await;
            let (mut rng, mut ever) = (StdRng::seed_from_u64(2), HashMap::<String, usize>::new());
            let rounds = 400;
            for _ in 0..rounds {
                let ids = random_ids(&store, count, || rng.random()).await.unwrap();
                assert_eq!(ids.len(), count.min(people - 1));
                for id in ids {
                    *ever.entry(id).or_default() += 1;
                }
            }
            assert_eq!(ever.len(), people - 1, "{count} of {people}");
            // The expected number is one; no user is chosen far more often.
            let fair = rounds * count.min(people - 1) / (people - 1).max(1);
            assert!(ever.values().all(|&times| times * 4 > fair && times < fair * 4), "{fair}: {ever:?}");
        }
    }
}
