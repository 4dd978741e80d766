//! What users listen to: plays that count, private sessions that record nothing, and deletions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use events::{
    Day, Event, ListenEvent, ListeningEvent, LogError, MusicEvent, Personal, PlayDeleted, PlayId, Played,
    PlaysDeleted, Position, PrivateSessionEnded, PrivateSessionStarted, Recorded, SongId, SongPlayed,
    Subject, UserId,
};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path, Query};
use web::problem::{FieldCode, FieldProblem, Problem, Problems};
use web::sessions::Session;

use super::songs::SongState;
use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};

/// Songs up to this length never count.
const LONGEST_UNCOUNTED: u64 = 30_000;
/// A song counts when half of it or this long was played, whichever is first. Milliseconds.
const ALWAYS_ENOUGH: u64 = 4 * 60_000;
/// Plays of a song whose starts are less than its length apart, and less than this many seconds, are one play.
const SAME_PLAY: i64 = 10 * 60;
/// Tolerance for clients whose clocks are ahead.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// Plays of earlier years are mistakes of clients: no scrobbler existed.
const FIRST_YEAR: i32 = 2002;
/// Maximum number of plays per request: an offline client sends several requests.
const PLAYS_LIMIT: usize = 500;
/// Maximum number of plays of a user on one day before a request: 24 hours of songs of 86 seconds.
const DAY_LIMIT: usize = 1000;
/// Songs of a request that are read at the same time.
const READ_AT_ONCE: usize = 16;
/// Minutes of a private session.
const SESSION_MINUTES: std::ops::RangeInclusive<u32> = 1..=24 * 60;
const DEFAULT_SESSION_MINUTES: u32 = 6 * 60;
/// Past private sessions that late plays are checked against, the newest ones.
const PAST_SESSIONS: usize = 1000;

// ---------------------------------------------------------------- decisions

/// Why a play is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayRejected {
    TooShort,
    PrivateSession,
    NoSong,
    TooEarly,
    InFuture,
    DayFull,
}

/// A play as a client reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedPlay {
    pub song: SongId,
    pub started: DateTime<Utc>,
    /// Milliseconds.
    pub listened: u64,
}

/// The plays of one user on one day, and the user's private sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Listening {
    /// Also deleted ones: a client that reports them again does not bring them back.
    known: BTreeSet<PlayId>,
    deleted: BTreeSet<PlayId>,
    private: PrivateSessions,
}

/// Spans in which nothing is recorded, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PrivateSessions(Vec<(DateTime<Utc>, DateTime<Utc>)>);

impl Fold for PrivateSessions {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Listening(event)) = &recorded.event else { return };
        let now = recorded.envelope.time;
        match event {
            ListeningEvent::PrivateSessionStarted(event) => match self.active_at(now) {
                Some((_, until)) => *until = event.until,
                None => {
                    if self.0.len() == PAST_SESSIONS {
                        self.0.remove(0);
                    }
                    self.0.push((now, event.until));
                }
            },
            ListeningEvent::PrivateSessionEnded(_) => {
                if let Some((_, until)) = self.active_at(now) {
                    *until = now;
                }
            }
            ListeningEvent::PlaysDeleted(_) => {}
        }
    }
}

impl PrivateSessions {
    fn active_at(&mut self, now: DateTime<Utc>) -> Option<&mut (DateTime<Utc>, DateTime<Utc>)> {
        self.0.last_mut().filter(|(_, until)| *until > now)
    }

    /// Whether a private session lasts now.
    fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.0.last().is_some_and(|(_, until)| *until > now)
    }

    /// Whether any private session overlaps a span.
    fn overlaps(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> bool {
        self.0.iter().any(|(start, end)| *start < until && from < *end)
    }
}

impl Fold for Listening {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Music(MusicEvent::Listen(ListenEvent::SongPlayed(event))) => {
                self.known.insert(event.play);
            }
            Event::Music(MusicEvent::Listen(ListenEvent::PlayDeleted(event))) => {
                self.deleted.insert(event.play);
            }
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => {
                self.private.apply(recorded);
            }
        }
    }
}

/// The time before which, and from which on, a play cannot have started.
fn check_start(started: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), PlayRejected> {
    let earliest = Utc.with_ymd_and_hms(FIRST_YEAR, 1, 1, 0, 0, 0).single();
    if earliest.is_some_and(|earliest| started < earliest) {
        Err(PlayRejected::TooEarly)
    } else if started > now + CLOCK_TOLERANCE {
        Err(PlayRejected::InFuture)
    } else {
        Ok(())
    }
}

/// How long the song was played, if the play can count. `duration` is the length of the song, if the user can see it.
fn check(reported: ReportedPlay, duration: Option<u64>, now: DateTime<Utc>) -> Result<u64, PlayRejected> {
    check_start(reported.started, now)?;
    let duration = duration.ok_or(PlayRejected::NoSong)?;
    // A client may count pauses or repetitions.
    let listened = reported.listened.min(duration);
    if duration <= LONGEST_UNCOUNTED || listened < (duration.div_ceil(2)).min(ALWAYS_ENOUGH) {
        return Err(PlayRejected::TooShort);
    }
    Ok(listened)
}

/// Plays of a song of this many milliseconds are one play if less than this many seconds are between their starts.
fn same_play(duration: u64) -> i64 {
    i64::try_from(duration / 1000).unwrap_or(i64::MAX).min(SAME_PLAY)
}

/// Records a play that counts. Streaming never counts. `same` are the ids of plays of this song whose start is so near that
/// they are the same one: players report a play again after a pause.
fn play(
    state: &Listening,
    user: UserId,
    id: PlayId,
    same: impl IntoIterator<Item = PlayId>,
    reported: ReportedPlay,
    duration: Option<u64>,
    now: DateTime<Utc>,
) -> Result<Option<Event>, PlayRejected> {
    let listened = check(reported, duration, now)?;
    let ReportedPlay { song, started, .. } = reported;
    let is_known = |id: &PlayId| state.known.contains(id);
    if !state.known.is_empty() && (is_known(&id) || same.into_iter().any(|same| is_known(&same))) {
        return Ok(None);
    }
    let listening = TimeDelta::milliseconds(i64::try_from(listened).unwrap_or(i64::MAX));
    let ended = started.checked_add_signed(listening).unwrap_or(started);
    if state.private.is_active(now) || state.private.overlaps(started, ended) {
        return Err(PlayRejected::PrivateSession);
    }
    if state.known.len() >= DAY_LIMIT {
        return Err(PlayRejected::DayFull);
    }
    let played = Personal::Open(Played { song, started: started.timestamp_millis(), listened });
    Ok(Some(SongPlayed { user, day: Day::of(started), play: id, played }.into()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionRejected {
    NoPlay,
}

impl From<DeletionRejected> for Problem {
    fn from(rejected: DeletionRejected) -> Self {
        match rejected {
            DeletionRejected::NoPlay => Self::not_found("There is no such play on this day"),
        }
    }
}

fn delete_play(
    state: &Listening,
    user: UserId,
    day: Day,
    play: PlayId,
) -> Result<Option<Event>, DeletionRejected> {
    if !state.known.contains(&play) {
        return Err(DeletionRejected::NoPlay);
    }
    Ok((!state.deleted.contains(&play)).then(|| PlayDeleted { user, day, play }.into()))
}

/// Starts a private session, or changes the end of the active one.
fn start_session(user: UserId, until: DateTime<Utc>) -> Event {
    PrivateSessionStarted { user, until }.into()
}

fn end_session(state: &PrivateSessions, user: UserId, now: DateTime<Utc>) -> Option<Event> {
    state.is_active(now).then(|| PrivateSessionEnded { user }.into())
}

// ----------------------------------------------------------------- commands

/// What became of a reported play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayOutcome {
    pub id: PlayId,
    pub day: Day,
    /// True if it was recorded now, false if it was known before.
    pub result: Result<bool, PlayRejected>,
}

impl Commands {
    /// Records plays, each once. Returns what became of each, in order, and the outcomes of the appends.
    pub async fn record_plays(
        &self,
        context: &Context,
        user: UserId,
        plays: &[ReportedPlay],
    ) -> Result<(Vec<PlayOutcome>, Vec<Outcome>), CommandError<PlayRejected>> {
        let now = context.now;
        // The ids of plays recognise repetitions, also those without a key.
        let context = &context.clone().without_idempotency_key();
        let durations = self.durations(user, plays).await?;
        let duration_of = |song: &SongId| durations.get(song).copied().flatten();
        let ids: Vec<PlayId> = plays.iter().map(|reported| self.play_id(user, reported)).collect();
        let mut of_days: BTreeMap<Day, Vec<(usize, PlayId)>> = BTreeMap::new();
        let (mut results, mut appended) = (BTreeMap::new(), Vec::new());
        let (mut first_of, mut starts_of) = (HashMap::new(), HashMap::new());
        for (place, (reported, &id)) in plays.iter().zip(&ids).enumerate() {
            if *first_of.entry(id).or_insert(place) != place {
                // Reported twice in one request.
                continue;
            }
            let duration = duration_of(&reported.song);
            match check(*reported, duration, now) {
                Ok(_) => {
                    let starts: &mut Vec<i64> = starts_of.entry(reported.song).or_default();
                    let (start, length) = (reported.started.timestamp(), same_play(duration.unwrap_or(0)));
                    if starts.iter().any(|other| (other - start).abs() < length) {
                        results.insert(id, Ok(false));
                        continue;
                    }
                    starts.push(start);
                    of_days.entry(Day::of(reported.started)).or_default().push((place, id));
                }
                // Days of refused plays are not read.
                Err(rejected) => {
                    results.insert(id, Err(rejected));
                }
            }
        }
        for (day, of_day) in of_days {
            let decide = |&(place, id): &(usize, PlayId)| {
                let reported = plays[place];
                let duration = duration_of(&reported.song);
                move |state: &Listening| {
                    let same = self.plays_within(user, reported, duration.unwrap_or(0));
                    play(state, user, id, same, reported, duration, now)
                }
            };
            let decisions: Vec<_> = of_day.iter().map(decide).collect();
            let (target, others) = (Subject::Listen(user, day), [Subject::Listening(user)]);
            let outcomes = self.execute_series(context, target, &others, &decisions).await?;
            for ((_, id), outcome) in of_day.into_iter().zip(outcomes) {
                results.insert(id, outcome.map(|outcome| outcome.changed));
                appended.extend(outcome.ok().filter(|outcome| outcome.position > Position::START));
            }
        }
        let outcome = |(place, (reported, id)): (usize, (&ReportedPlay, PlayId))| {
            let result = results.get(&id).copied().unwrap_or(Ok(false));
            let is_repeated = first_of.get(&id) != Some(&place);
            let result = if is_repeated { result.map(|_| false) } else { result };
            PlayOutcome { id, day: Day::of(reported.started), result }
        };
        Ok((plays.iter().zip(ids).enumerate().map(outcome).collect(), appended))
    }

    /// The ids of plays of this song that start less than its length before or after this one. So the log need not tell which
    /// song was played.
    fn plays_within(
        &self,
        user: UserId,
        reported: ReportedPlay,
        duration: u64,
    ) -> impl Iterator<Item = PlayId> {
        (1..same_play(duration)).flat_map(|seconds| [seconds, -seconds]).filter_map(move |seconds| {
            let started = reported.started.checked_add_signed(TimeDelta::seconds(seconds))?;
            Some(self.play_id(user, &ReportedPlay { started, ..reported }))
        })
    }

    /// Derived with a secret, so that the log discloses no song. Starts are compared by second, since some clients round
    /// them; no song that counts can start twice in one.
    fn play_id(&self, user: UserId, reported: &ReportedPlay) -> PlayId {
        let (user, song) = (user.uuid(), reported.song.uuid());
        let started = reported.started.timestamp().to_be_bytes();
        let parts = [&b"play"[..], user.as_bytes(), song.as_bytes(), &started];
        PlayId::new(self.log.keys().derive_id(&parts))
    }

    /// The lengths of the songs in milliseconds; none for those that the user cannot see. A song that is removed at the
    /// same moment is still played.
    async fn durations(
        &self,
        user: UserId,
        plays: &[ReportedPlay],
    ) -> Result<HashMap<SongId, Option<u64>>, LogError> {
        let songs: BTreeSet<SongId> = plays.iter().map(|play| play.song).collect();
        let read = stream::iter(songs).map(|song| async move {
            let state = self.read_whole_state::<SongState>(Subject::Song(song)).await?;
            Ok((song, state.visible_to(user).map(|published| published.file.duration)))
        });
        read.buffer_unordered(READ_AT_ONCE).try_collect().await
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(report_plays, delete_plays))
        .routes(routes!(delete_one_play))
        .routes(routes!(start_private_session, end_private_session))
}

/// Plays to record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPlays {
    /// 1 to 500 plays in any order.
    #[schema(min_items = 1, max_items = 500)]
    plays: Vec<NewPlay>,
}

/// A play, reported when it ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPlay {
    /// Id of the song.
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    song: SongId,
    /// When it started. A client that was offline reports its plays later.
    #[schema(example = "2026-02-03T20:15:00Z")]
    started_at: DateTime<Utc>,
    /// How long the song was played in milliseconds, without pauses.
    #[schema(value_type = i64, minimum = 0, example = 180_000)]
    listened_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum PlayStatus {
    /// The play is recorded.
    Counted,
    /// The play was recorded before, or deleted since.
    AlreadyKnown,
    /// The song is not longer than 30 seconds, or neither half of it nor 4 minutes were played.
    TooShort,
    /// A private session lasts or lasted.
    PrivateSession,
    /// See `reason`.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum RefusalReason {
    /// There is no such song, or the caller cannot see it.
    UnknownSong,
    /// The play started before 2002.
    TooEarly,
    /// The play starts in the future.
    InFuture,
    /// The day has 1,000 plays.
    DayFull,
}

/// What became of a reported play.
#[derive(Debug, Serialize, ToSchema)]
struct ReportedPlayStatus {
    /// Id of the play, the same each time that it is reported.
    id: String,
    /// The day of its start in UTC.
    #[schema(example = "2026-02-03")]
    day: String,
    status: PlayStatus,
    /// Null unless the play is refused.
    reason: Option<RefusalReason>,
}

impl From<PlayOutcome> for ReportedPlayStatus {
    fn from(PlayOutcome { id, day, result }: PlayOutcome) -> Self {
        let (status, reason) = match result {
            Ok(true) => (PlayStatus::Counted, None),
            Ok(false) => (PlayStatus::AlreadyKnown, None),
            Err(PlayRejected::TooShort) => (PlayStatus::TooShort, None),
            Err(PlayRejected::PrivateSession) => (PlayStatus::PrivateSession, None),
            Err(PlayRejected::NoSong) => (PlayStatus::Refused, Some(RefusalReason::UnknownSong)),
            Err(PlayRejected::TooEarly) => (PlayStatus::Refused, Some(RefusalReason::TooEarly)),
            Err(PlayRejected::InFuture) => (PlayStatus::Refused, Some(RefusalReason::InFuture)),
            Err(PlayRejected::DayFull) => (PlayStatus::Refused, Some(RefusalReason::DayFull)),
        };
        Self { id: id.to_string(), day: day.to_string(), status, reason }
    }
}

/// What became of each reported play.
#[derive(Debug, Serialize, ToSchema)]
struct PlaysReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// In the order of the request.
    plays: Vec<ReportedPlayStatus>,
}

/// Rejections are answered play by play.
impl From<PlayRejected> for Problem {
    fn from(rejected: PlayRejected) -> Self {
        Self::internal(format!("a rejected play ended its request: {rejected:?}"))
    }
}

/// Report plays
///
/// A play counts if its song is longer than 30 seconds, and half of it or 4 minutes were played. Streaming a song counts
/// nothing. Plays of the same song whose starts are less than its length apart (at most ten minutes) are one play. So every
/// request can be repeated without a key: `Idempotency-Key` is ignored, and the answer to a repetition says `already-known`.
#[utoipa::path(
    post, path = "/v1/me/plays", tag = "listening", request_body = NewPlays, security(("token" = [])),
    params(CommandHeaders),
    responses((status = 200, body = PlaysReceipt), (status = 202, body = PlaysReceipt), Problems)
)]
async fn report_plays(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(NewPlays { plays }): Json<NewPlays>,
) -> Result<Response, Problem> {
    if !(1..=PLAYS_LIMIT).contains(&plays.len()) {
        let code = if plays.is_empty() { FieldCode::Empty } else { FieldCode::TooMany };
        let message = format!("must be 1 to {PLAYS_LIMIT} plays");
        return Err(Problem::invalid(vec![FieldProblem::new("plays", code, message)]));
    }
    let reported: Vec<ReportedPlay> = plays
        .into_iter()
        .map(|NewPlay { song, started_at, listened_ms }| ReportedPlay {
            song,
            started: started_at,
            listened: listened_ms,
        })
        .collect();
    let user = session.user;
    let (plays, outcomes) = commands.record_plays(&context.with_actor(user), user, &reported).await?;
    let settled = commands.settle(prefer, &outcomes).await;
    let receipt = settled.receipt(outcomes.iter().any(|outcome| outcome.changed));
    let body = PlaysReceipt { receipt, plays: plays.into_iter().map(Into::into).collect() };
    Ok(settled.answer(StatusCode::OK, axum::Json(body)))
}

/// The day of the play.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PlayDay {
    /// The `day` of the play.
    #[param(value_type = String, pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", example = "2026-02-03")]
    day: Day,
}

/// Delete a play
///
/// It disappears from the history and all counts of the user. The chart of a day that is already closed keeps it.
#[utoipa::path(
    delete, path = "/v1/me/plays/{play}", tag = "listening", security(("token" = [])),
    params(("play" = String, Path, pattern = "^[0-9a-f]{32}$"), PlayDay, CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_one_play(
    State(commands): State<Commands>,
    session: Session,
    Path(id): Path<PlayId>,
    Query(PlayDay { day }): Query<PlayDay>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let context = context.with_actor(user).with_payload([day.to_string().as_bytes()]);
    let decide = |state: &Listening| delete_play(state, user, day, id);
    let outcome = commands.execute(&context, Subject::Listen(user, day), &[], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// The plays to delete; all without a bound.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Span {
    /// Delete plays that started at this time or later.
    #[param(value_type = String, required = false, format = DateTime, example = "2026-02-01T00:00:00Z")]
    from: Option<DateTime<Utc>>,
    /// Delete plays that started before this time.
    #[param(value_type = String, required = false, format = DateTime, example = "2026-03-01T00:00:00Z")]
    until: Option<DateTime<Utc>>,
}

/// Delete plays
///
/// Deletes all plays that started in a span, or the whole history.
#[utoipa::path(
    delete, path = "/v1/me/plays", tag = "listening", security(("token" = [])), params(Span, CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_plays(
    State(commands): State<Commands>,
    session: Session,
    Query(Span { from, until }): Query<Span>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    // No play starts later.
    let latest = context.now + CLOCK_TOLERANCE + TimeDelta::seconds(1);
    let from = from.unwrap_or(DateTime::UNIX_EPOCH).max(DateTime::UNIX_EPOCH);
    let until = until.map_or(latest, |until| until.min(latest));
    if from >= until {
        let bad =
            FieldProblem::new("from", FieldCode::OutOfRange, "must be before `until` and not in the future");
        return Err(Problem::invalid(vec![bad]));
    }
    let payload = [from, until].map(|time| time.timestamp_millis().to_be_bytes());
    let context = context.with_actor(user).with_payload([&payload[0][..], &payload[1][..]]);
    let event = || Event::from(PlaysDeleted { user, from, until });
    let decide = |_: &PrivateSessions| Ok::<_, Infallible>(Some(event()));
    let outcome = commands.execute(&context, Subject::Listening(user), &[], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// How long the private session lasts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPrivateSession {
    /// 6 hours by default; at most 24 hours.
    #[schema(minimum = 1, maximum = 1440, example = 60)]
    minutes: Option<u32>,
}

/// Start a private session
///
/// While it lasts, no play is recorded, also not later. A second request changes the end of the session.
#[utoipa::path(
    put, path = "/v1/me/private-session", tag = "listening", request_body = NewPrivateSession,
    security(("token" = [])), params(CommandHeaders), responses(ReceiptAnswers, Problems)
)]
async fn start_private_session(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(NewPrivateSession { minutes }): Json<NewPrivateSession>,
) -> Result<Response, Problem> {
    let minutes = minutes.unwrap_or(DEFAULT_SESSION_MINUTES);
    if !SESSION_MINUTES.contains(&minutes) {
        let message = format!("must be {} to {}", SESSION_MINUTES.start(), SESSION_MINUTES.end());
        return Err(Problem::invalid(vec![FieldProblem::new("minutes", FieldCode::OutOfRange, message)]));
    }
    let user = session.user;
    let until = context.now + TimeDelta::minutes(minutes.into());
    let context = context.with_actor(user).with_payload([&minutes.to_be_bytes()[..]]);
    let decide = |_: &PrivateSessions| Ok::<_, Infallible>(Some(start_session(user, until)));
    let outcome = commands.execute(&context, Subject::Listening(user), &[], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// End the private session
#[utoipa::path(
    delete, path = "/v1/me/private-session", tag = "listening", security(("token" = [])), params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn end_private_session(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let context = context.with_actor(user);
    let decide = |state: &PrivateSessions| Ok::<_, Infallible>(end_session(state, user, context.now));
    let outcome = commands.execute(&context, Subject::Listening(user), &[], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));
    const PLAY: PlayId = PlayId::new(Uuid::from_u128(0x91));
    /// A play of the same song that starts within the length of the song.
    const NEAR: PlayId = PlayId::new(Uuid::from_u128(0xea));
    const MINUTE: u64 = 60_000;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 2, 3, 12, 0, 0).unwrap()
    }

    fn ago(minutes: i64) -> DateTime<Utc> {
        now() - TimeDelta::minutes(minutes)
    }

    fn decide(
        state: &Listening,
        started: DateTime<Utc>,
        listened: u64,
        duration: Option<u64>,
    ) -> Result<Option<Event>, PlayRejected> {
        play(state, ANN, PLAY, [NEAR], ReportedPlay { song: SONG, started, listened }, duration, now())
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with decisions")]
    fn recorded(started: DateTime<Utc>, listened: u64) -> Result<Option<Event>, PlayRejected> {
        let played = Played { song: SONG, started: started.timestamp_millis(), listened };
        let day = Day::of(started);
        Ok(Some(SongPlayed { user: ANN, day, play: PLAY, played: Personal::Open(played) }.into()))
    }

    #[test]
    fn play_counts_after_half_of_the_song_or_four_minutes() {
        let started = ago(10);
        for (duration, listened, counts) in [
            (30_000, 30_000, false),
            (30_001, 15_001, true),
            (30_001, 15_000, false),
            (3 * MINUTE, 90_000, true),
            (3 * MINUTE, 89_999, false),
            (20 * MINUTE, 4 * MINUTE, true),
            (20 * MINUTE, 4 * MINUTE - 1, false),
        ] {
            let expected = if counts { recorded(started, listened) } else { Err(PlayRejected::TooShort) };
            assert_eq!(decide(&Listening::default(), started, listened, Some(duration)), expected);
        }
        let repeated = decide(&Listening::default(), started, 9 * MINUTE, Some(3 * MINUTE));
        assert_eq!(repeated, recorded(started, 3 * MINUTE), "at most the length of the song");
    }

    #[test]
    fn late_play_belongs_to_the_day_of_its_start() {
        let started = ago(3 * 24 * 60);
        assert_eq!(decide(&Listening::default(), started, MINUTE, Some(MINUTE)), recorded(started, MINUTE));
        let none = Listening::default();
        let at = |started| decide(&none, started, MINUTE, Some(MINUTE));
        let first = Utc.with_ymd_and_hms(2002, 1, 1, 0, 0, 0).unwrap();
        assert!(at(first).is_ok());
        assert_eq!(at(first - TimeDelta::milliseconds(1)), Err(PlayRejected::TooEarly));
        assert_eq!(at(DateTime::UNIX_EPOCH), Err(PlayRejected::TooEarly));
        assert!(at(now() + CLOCK_TOLERANCE).is_ok());
        assert_eq!(at(now() + CLOCK_TOLERANCE + TimeDelta::seconds(1)), Err(PlayRejected::InFuture));
    }

    #[test]
    fn same_play_is_recorded_once_also_after_its_deletion() {
        let mut state = Listening { known: BTreeSet::from([PLAY]), ..Listening::default() };
        assert_eq!(decide(&state, ago(10), MINUTE, Some(MINUTE)), Ok(None));
        let near = Listening { known: BTreeSet::from([NEAR]), ..Listening::default() };
        assert_eq!(decide(&near, ago(10), MINUTE, Some(MINUTE)), Ok(None), "it starts within the other");
        let day = Day::of(now());
        let deleted = Event::from(PlayDeleted { user: ANN, day, play: PLAY });
        assert_eq!(delete_play(&state, ANN, day, PLAY), Ok(Some(deleted)));
        state.deleted.insert(PLAY);
        assert_eq!(delete_play(&state, ANN, day, PLAY), Ok(None));
        assert_eq!(decide(&state, ago(10), MINUTE, Some(MINUTE)), Ok(None));
        let unknown = delete_play(&Listening::default(), ANN, day, PLAY);
        assert_eq!(unknown, Err(DeletionRejected::NoPlay));
    }

    #[test]
    fn unknown_songs_and_more_plays_than_fit_into_a_day_are_refused() {
        let none = Listening::default();
        assert_eq!(decide(&none, ago(10), MINUTE, None), Err(PlayRejected::NoSong));
        let plays = (0..DAY_LIMIT).map(|n| PlayId::new(Uuid::from_u128(0x1000 + n as u128)));
        let full = Listening { known: plays.collect(), ..Listening::default() };
        assert_eq!(decide(&full, ago(10), MINUTE, Some(MINUTE)), Err(PlayRejected::DayFull));
    }

    fn folded(events: &[(i64, Event)]) -> Listening {
        let mut state = Listening::default();
        for (minutes_ago, event) in events {
            let envelope = events::Envelope {
                id: events::EventId::new(Uuid::nil()),
                event_type: event.wire_name().into(),
                source: "test".into(),
                time: ago(*minutes_ago),
                subject: event.subject(),
                actor: None,
                correlation: Uuid::nil(),
                causation: None,
                traceparent: None,
            };
            state.apply(&Recorded { position: Position(1), envelope, event: event.clone() });
        }
        state
    }

    #[test]
    fn private_session_records_nothing_now_or_later() {
        let until = |minutes_ago| start_session(ANN, ago(minutes_ago));
        let ended = || Event::from(PrivateSessionEnded { user: ANN });
        let at = |state: &Listening, minutes_ago| decide(state, ago(minutes_ago), MINUTE, Some(MINUTE));
        let private = Err(PlayRejected::PrivateSession);
        let active = folded(&[(60, until(-60))]);
        assert_eq!(at(&active, 10), private);
        assert_eq!(at(&active, 200), private, "nothing is recorded while it lasts");
        assert_eq!(end_session(&active.private, ANN, now()), Some(ended()));
        for past in [folded(&[(60, until(-60)), (30, ended())]), folded(&[(60, until(0)), (59, until(30))])] {
            assert_eq!(at(&past, 45), private);
            assert_eq!(at(&past, 10), recorded(ago(10), MINUTE));
            assert_eq!(at(&past, 62), recorded(ago(62), MINUTE));
            assert_eq!(decide(&past, ago(62), 3 * MINUTE, Some(3 * MINUTE)), private, "it overlaps");
            assert_eq!(end_session(&past.private, ANN, now()), None);
        }
        assert_eq!(end_session(&PrivateSessions::default(), ANN, now()), None);
    }
}
