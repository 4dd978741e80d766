//! Charts of days and weeks, and recommendations of songs.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use axum::extract::State;
use axum::response::Response;
use chrono::{Datelike, Days, NaiveDate, Weekday};
use events::{Day, UserId};
use futures::future::try_join_all;
use resources::Song as SongPage;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::music::charts::{
    ChartSong, NEIGHBOURS, Neighbour, OF_SONG, SongListeners, TOP, VIEW, day_period, week_period,
};
use views::music::songs::{self, NEWEST};
use views::music::{albums, artists, library, listening};
use views::{Query, ViewStoreExt};
use web::extract::{Path, Query as Parameters};
use web::problem::{FieldCode, Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging, limit_within};
use crate::{Queries, store_problem};

const CHART_VIEWS: [&str; 5] =
    [VIEW.name, songs::VIEW.name, albums::VIEW.name, artists::VIEW.name, library::VIEW.name];
const RECOMMENDATION_VIEWS: [&str; 7] = [
    VIEW.name,
    NEIGHBOURS.name,
    library::VIEW.name,
    listening::VIEW.name,
    songs::VIEW.name,
    albums::VIEW.name,
    artists::VIEW.name,
];

/// Default and maximum number of recommendations.
const DEFAULT_LIMIT: usize = 20;
const LIMIT: usize = 50;
/// Liked songs, and recently played ones, whose neighbours are candidates: each is one read.
const SEEDS: usize = 20;
/// The newest likes and plays, which are not recommended.
const KNOWN_LIKES: usize = 500;
const LATELY_PLAYED: usize = 100;
/// Neighbours of a song that are scored, those played together most often, and the best ones that are kept.
const SCORED_NEIGHBOURS: usize = 100;
const BEST_NEIGHBOURS: usize = 50;
/// Songs played together less often than this are damped: they may be neighbours by chance.
const DAMPING: f64 = 10.0;
/// Popular and new songs that are read to fill up: some of them are known or lately played.
const FILL_UP: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_day_chart))
        .routes(routes!(list_week_chart))
        .routes(routes!(list_recommendations))
}

/// A song in a chart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChartSong)]
struct ChartSongPage {
    song: SongPage,
    /// At most 4 plays of each listener on each day count.
    #[schema(example = 42)]
    plays: i64,
    /// Number of listeners; in a week, the sum of those of its days.
    #[schema(example = 17)]
    listeners: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RecommendationKind {
    /// People who play the song in `because` also play this one.
    Because,
    /// Many people played it lately.
    Popular,
    /// It was published lately.
    New,
}

/// Why a song is recommended.
#[derive(Debug, Serialize, ToSchema)]
struct RecommendationReason {
    kind: RecommendationKind,
    /// A song that the caller likes or played; null unless `kind` is `because`.
    because: Option<SongPage>,
}

/// A song that the caller may like.
#[derive(Debug, Serialize, ToSchema)]
struct Recommendation {
    song: SongPage,
    reason: RecommendationReason,
}

/// Songs that the caller may like, the best first.
#[derive(Debug, Serialize, ToSchema)]
struct Recommendations {
    items: Vec<Recommendation>,
}

/// The requested recommendations.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RecommendationParams {
    /// Maximum number of items.
    #[param(value_type = usize, required = false, minimum = 1, maximum = 50, default = 20)]
    limit: Option<usize>,
}

/// A song to recommend, and why.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    song: String,
    /// The song whose neighbour it is.
    seed: String,
    score: f64,
}

/// How close two songs are, from 0 to 1: the cosine of their listeners, damped for pairs that are rarely played.
#[expect(clippy::cast_precision_loss, reason = "counts of listeners are far below 2^52")]
fn closeness(together: i64, listeners: i64, other_listeners: i64) -> f64 {
    let [together, one, other] =
        [together, listeners.max(together), other_listeners.max(together)].map(|count| count.max(1) as f64);
    together / (one * other).sqrt() * (together / (together + DAMPING))
}

/// The best candidate for each song; equal ones in the order of their ids.
fn strongest(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut best: HashMap<String, Candidate> = HashMap::new();
    for candidate in candidates {
        match best.get(&candidate.song) {
            Some(known) if known.score >= candidate.score => {}
            _ => {
                best.insert(candidate.song.clone(), candidate);
            }
        }
    }
    let mut best: Vec<Candidate> = best.into_values().collect();
    best.sort_unstable_by(by_score);
    best
}

fn by_score(one: &Candidate, other: &Candidate) -> Ordering {
    other.score.total_cmp(&one.score).then_with(|| one.song.cmp(&other.song))
}

impl Queries {
    async fn chart(
        &self,
        period: String,
        paging: &Paging,
        viewer: Option<Session>,
    ) -> Result<PageOf<ChartSongPage>, Problem> {
        let query = Query::new(&VIEW, &TOP, vec![json!(period)], paging.limit);
        let found = self.page_of::<ChartSong>(query, paging).await?;
        let ids: Vec<String> = found.documents.iter().map(|of| of.song.clone()).collect();
        let songs = self.listed_songs(&ids, viewer.map(|session| session.user)).await?;
        let items = songs.into_iter().zip(found.documents).filter_map(|(song, of)| {
            Some(ChartSongPage { song: song?, plays: of.plays, listeners: of.listeners })
        });
        Ok(paging.page(items.collect(), found.next.as_ref(), &TOP))
    }

    /// Public songs by id, in this order. A chart discloses no song that lists do not show.
    async fn listed_songs(
        &self,
        ids: &[String],
        viewer: Option<UserId>,
    ) -> Result<Vec<Option<SongPage>>, Problem> {
        let found = self.store.get_all::<songs::Song>(ids).await.map_err(store_problem)?;
        let listed = found.into_iter().map(|song| song.filter(|song| song.listed));
        self.show_songs(listed.collect(), viewer).await
    }

    /// The best neighbours of a song.
    async fn neighbours(&self, seed: &str) -> Result<Vec<Candidate>, Problem> {
        let query = Query::new(&NEIGHBOURS, &OF_SONG, vec![json!(seed)], SCORED_NEIGHBOURS);
        let found = self.store.page_of::<Neighbour>(query).await.map_err(store_problem)?.documents;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let songs: Vec<String> =
            [seed.to_owned()].into_iter().chain(found.iter().map(|of| of.neighbour.clone())).collect();
        let listeners = self.store.get_all::<SongListeners>(&songs).await.map_err(store_problem)?;
        let mut listeners = listeners.into_iter().map(|of| of.map_or(0, |of| of.listeners));
        let own = listeners.next().unwrap_or_default();
        let candidate = |(Neighbour { song, neighbour, together }, others)| Candidate {
            song: neighbour,
            seed: song,
            score: closeness(together, own, others),
        };
        let mut candidates: Vec<Candidate> = found.into_iter().zip(listeners).map(candidate).collect();
        candidates.sort_unstable_by(by_score);
        candidates.truncate(BEST_NEIGHBOURS);
        Ok(candidates)
    }

    /// Songs of the newest week that has a chart, this one or one of the two before: days are closed late.
    async fn popular(&self) -> Result<Vec<String>, Problem> {
        let mut monday = self.clock.now().date_naive().week(Weekday::Mon).first_day();
        for _ in 0..3 {
            let period = week_period(&Day::new(monday).to_string());
            let query = Query::new(&VIEW, &TOP, vec![json!(period)], FILL_UP);
            let found = self.store.page_of::<ChartSong>(query).await.map_err(store_problem)?.documents;
            if !found.is_empty() {
                return Ok(found.into_iter().map(|of| of.song).collect());
            }
            monday = monday.checked_sub_days(Days::new(7)).unwrap_or(monday);
        }
        Ok(Vec::new())
    }

    async fn recommendations(&self, user: UserId, limit: usize) -> Result<Vec<Recommendation>, Problem> {
        let (liked, plays, popular) = futures::try_join!(
            self.liked_songs(user, KNOWN_LIKES),
            self.latest_plays(user, LATELY_PLAYED),
            self.popular()
        )?;
        let mut seen = HashSet::new();
        let played: Vec<String> =
            plays.into_iter().map(|play| play.song).filter(|song| seen.insert(song.clone())).collect();
        let known: HashSet<&String> = liked.iter().chain(&played).collect();
        let seeds: HashSet<&String> = liked.iter().take(SEEDS).chain(played.iter().take(SEEDS)).collect();
        let neighbours = try_join_all(seeds.into_iter().map(|seed| self.neighbours(seed))).await?;
        let mut candidates = strongest(neighbours.into_iter().flatten().collect());
        candidates.retain(|candidate| !known.contains(&candidate.song));

        let new = Query::new(&songs::VIEW, &NEWEST, vec![json!(true)], FILL_UP);
        let new = self.store.keys(&new).await.map_err(store_problem)?;
        let because = candidates.into_iter().map(|of| (of.song, RecommendationKind::Because, Some(of.seed)));
        let popular = popular.into_iter().map(|song| (song, RecommendationKind::Popular, None));
        let new = new.into_iter().map(|song| (song, RecommendationKind::New, None));
        let mut added = HashSet::new();
        let mut chosen: Vec<(String, RecommendationKind, Option<String>)> =
            because.chain(popular).chain(new).collect();
        chosen.retain(|(song, ..)| !known.contains(song) && added.insert(song.clone()));
        // Some may not be listed any more.
        chosen.truncate(limit + FILL_UP);

        let ids: Vec<String> = chosen.iter().map(|(song, ..)| song.clone()).collect();
        let shown = self.listed_songs(&ids, Some(user)).await?;
        let shown: Vec<_> =
            shown.into_iter().zip(chosen).filter_map(|(song, why)| Some((song?, why))).take(limit).collect();
        let seeds: Vec<String> = shown.iter().filter_map(|(_, (_, _, seed))| seed.clone()).collect();
        let mut seeds = self.songs(&seeds, Some(user)).await?.into_iter();
        let show = |(song, (_, kind, seed)): (SongPage, (String, RecommendationKind, Option<String>))| {
            let because = seed.and_then(|_| seeds.next().flatten());
            Recommendation { song, reason: RecommendationReason { kind, because } }
        };
        Ok(shown.into_iter().map(show).collect())
    }
}

/// List the chart of a day, most plays first
///
/// A day (UTC) has a chart 48 hours after its end; until then the list is empty. Songs that are not listed any more are
/// left out.
#[utoipa::path(
    get, path = "/v1/charts/{day}", tag = "charts", security((), ("token" = [])),
    params(
        ("day" = String, Path, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-02-03"), PageParams,
        QueryHeaders
    ),
    responses((status = 200, body = PageOf<ChartSongPage>), (status = 304), Problems)
)]
async fn list_day_chart(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(day): Path<Day>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &CHART_VIEWS).await;
    answer(&conditions, caught_up, &queries.chart(day_period(&day.to_string()), &paging, viewer).await?)
}

/// List the chart of a week, most plays first
///
/// The week from a Monday to a Sunday (UTC), as far as its days have charts.
#[utoipa::path(
    get, path = "/v1/charts/weeks/{monday}", tag = "charts", security((), ("token" = [])),
    params(
        ("monday" = String, Path, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-02-02"), PageParams,
        QueryHeaders
    ),
    responses((status = 200, body = PageOf<ChartSongPage>), (status = 304), Problems)
)]
async fn list_week_chart(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(monday): Path<Day>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    if !is_monday(monday.date()) {
        return Err(Problem::malformed("monday", FieldCode::OutOfRange, "must be a Monday"));
    }
    let caught_up = queries.catch_up(&conditions, &CHART_VIEWS).await;
    answer(&conditions, caught_up, &queries.chart(week_period(&monday.to_string()), &paging, viewer).await?)
}

fn is_monday(date: NaiveDate) -> bool {
    date.weekday() == Weekday::Mon
}

/// List songs that the user may like
///
/// Songs that others play on the same days as songs that the user likes or played lately, each with the song it is
/// recommended for. Popular and new songs follow. Songs that the user likes or played lately are left out.
#[utoipa::path(
    get, path = "/v1/me/recommendations", tag = "charts", security(("token" = [])),
    params(RecommendationParams, QueryHeaders),
    responses((status = 200, body = Recommendations), (status = 304), Problems)
)]
async fn list_recommendations(
    State(queries): State<Queries>,
    session: Session,
    Parameters(RecommendationParams { limit }): Parameters<RecommendationParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let limit = limit_within(limit, DEFAULT_LIMIT, LIMIT)?;
    let caught_up = queries.catch_up(&conditions, &RECOMMENDATION_VIEWS).await;
    let items = queries.recommendations(session.user, limit).await?;
    answer(&conditions, caught_up, &Recommendations { items })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(song: &str, seed: &str, score: f64) -> Candidate {
        Candidate { song: song.into(), seed: seed.into(), score }
    }

    #[test]
    fn strongest_seed_explains_a_song() {
        let candidates = vec![
            candidate("b", "x", 0.2),
            candidate("a", "x", 0.2),
            candidate("c", "x", 0.3),
            candidate("a", "y", 0.1),
            candidate("c", "y", 0.5),
        ];
        let expected = [candidate("c", "y", 0.5), candidate("a", "x", 0.2), candidate("b", "x", 0.2)];
        assert_eq!(strongest(candidates), expected);
    }

    #[test]
    fn frequent_neighbours_are_closer_than_those_by_chance() {
        // Always together, but rarely; and often together.
        assert!(closeness(3, 3, 3) < closeness(50, 80, 80));
        // A song that everybody plays is close to none.
        assert!(closeness(50, 80, 10_000) < closeness(50, 80, 80));
        assert!((0.0..=1.0).contains(&closeness(1_000_000, 1_000_000, 1_000_000)));
        assert!(closeness(3, 0, 0).is_finite());
    }
}
