//! What a process knows about its projections: state, lag, and why one does not move.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventLog, Position};
use serde_json::{Map, Value, json};
use service::clock::{Clock, SystemClock};
use tokio::time::Instant;

/// A projection that has pending events and has not moved for this long has stalled.
const STANDSTILL: Duration = Duration::from_secs(30);
/// How often the end of the log is read to compute the lag of each view.
const LAG_INTERVAL: Duration = Duration::from_secs(2);

/// The state of a projection. That it has stalled follows from its lag: see [`Statuses::details`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectionState {
    Starting,
    /// It is running; the view contains all events up to this position.
    Following(u64),
    /// Another process builds this view and has reached this position. This process takes over when that one stops.
    Standby(u64),
    /// It met an unrecoverable error, given here.
    Stopped(String),
    /// A defect of the program, with its message. It restarts by itself.
    Panicked(String),
}

impl ProjectionState {
    /// The position that the view has, if that is known.
    pub(crate) fn passed(&self) -> Option<u64> {
        match self {
            Self::Following(passed) | Self::Standby(passed) => Some(*passed),
            Self::Starting | Self::Stopped(_) | Self::Panicked(_) => None,
        }
    }
}

/// The states of all projections of a process.
#[derive(Debug, Clone, Default)]
pub struct Statuses(Arc<Mutex<BTreeMap<String, Status>>>);

#[derive(Debug, Clone)]
struct Status {
    state: ProjectionState,
    /// Whether queries depend on it. Generations beside the serving one are shown, but do not make a process unready.
    serves: bool,
    /// The last known position.
    position: u64,
    /// The last known end of the log.
    head: u64,
    /// Since when the projection has pending events and has not moved.
    behind_since: Option<Instant>,
    /// The time of the oldest event that it has not passed.
    waiting_since: Option<DateTime<Utc>>,
    /// What it does now, and since when.
    activities: BTreeMap<&'static str, Instant>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: ProjectionState::Starting,
            serves: true,
            position: 0,
            head: 0,
            behind_since: None,
            waiting_since: None,
            activities: BTreeMap::new(),
        }
    }
}

impl Status {
    fn set(&mut self, state: ProjectionState) {
        if let Some(position) = state.passed()
            && position != self.position
        {
            self.position = position;
            // The projection has moved.
            self.behind_since = None;
            self.waiting_since = None;
        }
        self.state = state;
    }

    fn behind(&self) -> u64 {
        self.head.saturating_sub(self.position)
    }

    fn unmoved(&self, now: Instant) -> Duration {
        self.behind_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn lag(&self, time: DateTime<Utc>) -> TimeDelta {
        self.waiting_since.map_or(TimeDelta::zero(), |since| time - since).max(TimeDelta::zero())
    }

    /// Why it has stalled, if it has.
    fn stall(&self, now: Instant) -> Option<String> {
        match self.state {
            ProjectionState::Starting | ProjectionState::Following(_) => {}
            ProjectionState::Standby(_) | ProjectionState::Stopped(_) | ProjectionState::Panicked(_) => {
                return None;
            }
        }
        if self.unmoved(now) < STANDSTILL {
            return None;
        }
        let longest = self.activities.iter().min_by_key(|(_, since)| **since);
        Some(match longest {
            Some((what, since)) => {
                format!("it has been {what} for {} s", now.saturating_duration_since(*since).as_secs())
            }
            None => "it waits for events, which the log does not deliver".to_owned(),
        })
    }

    fn problem(&self, name: &str, now: Instant) -> Option<String> {
        if !self.serves {
            return None;
        }
        match &self.state {
            ProjectionState::Stopped(why) => Some(format!("{name} has stopped: {why}")),
            ProjectionState::Panicked(why) => Some(format!("{name} panicked and will restart: {why}")),
            ProjectionState::Starting if self.stall(now).is_none() => {
                // Requests do not wait for it yet: what they have written may not be found.
                Some(format!("{name} has not started yet"))
            }
            ProjectionState::Starting | ProjectionState::Following(_) | ProjectionState::Standby(_) => {
                let reason = self.stall(now)?;
                let (position, behind) = (self.position, self.behind());
                let seconds = self.unmoved(now).as_secs();
                Some(format!(
                    "{name} has stalled: it has stood at {position} for {seconds} s, {behind} behind the log's end; \
                     {reason}"
                ))
            }
        }
    }

    fn to_json(&self, now: Instant, time: DateTime<Utc>) -> Value {
        let stall = self.stall(now);
        let (state, reason) = match &self.state {
            _ if stall.is_some() => ("stalled", stall.as_ref()),
            ProjectionState::Starting => ("starting", None),
            ProjectionState::Following(_) => ("following", None),
            ProjectionState::Standby(_) => ("standby", None),
            ProjectionState::Stopped(why) => ("stopped", Some(why)),
            ProjectionState::Panicked(why) => ("panicked", Some(why)),
        };
        json!({
            "state": state,
            "reason": reason,
            "position": self.position,
            "behind": self.behind(),
            "lag_seconds": self.lag(time).num_seconds(),
            "unmoved_seconds": self.unmoved(now).as_secs(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers for charts")]
    fn measure(&self, name: &str, now: Instant, time: DateTime<Utc>) {
        if !self.serves {
            return;
        }
        metrics::gauge!("chorus_projection_behind", "projection" => name.to_owned())
            .set(self.behind() as f64);
        metrics::gauge!("chorus_projection_lag_seconds", "projection" => name.to_owned())
            .set(self.lag(time).as_seconds_f64());
        metrics::gauge!("chorus_projection_unmoved_seconds", "projection" => name.to_owned())
            .set(self.unmoved(now).as_secs_f64());
        let stalled = if self.stall(now).is_some() { 1.0 } else { 0.0 };
        metrics::gauge!("chorus_projection_stalled", "projection" => name.to_owned()).set(stalled);
    }
}

impl Statuses {
    pub(crate) fn set(&self, projection: &str, state: ProjectionState) {
        self.known().entry(projection.to_owned()).or_default().set(state);
    }

    /// As [`set`](Self::set), of a generation beside the serving one.
    pub(crate) fn set_beside(&self, generation: &str, state: ProjectionState) {
        let new = Status { serves: false, ..Status::default() };
        self.known().entry(generation.to_owned()).or_insert(new).set(state);
    }

    /// Gives generations the names of their new roles: pairs of the names before and now. What is known of them stays.
    pub(crate) fn rename(&self, roles: &[(String, String)], serving: &str) {
        let mut known = self.known();
        let taken: Vec<_> = roles.iter().map(|(before, now)| (now, known.remove(before))).collect();
        for (now, status) in taken {
            if let Some(status) = status {
                known.insert(now.clone(), Status { serves: now == serving, ..status });
            }
        }
    }

    /// Forgets a generation that is no longer fed.
    pub(crate) fn remove(&self, projection: &str) {
        self.known().remove(projection);
    }

    /// Names what a projection does until the guard is dropped: the reason if it stalls.
    pub(crate) fn doing(&self, projection: &str, what: &'static str) -> Activity {
        if let Some(status) = self.known().get_mut(projection) {
            status.activities.insert(what, Instant::now());
        }
        Activity { statuses: self.clone(), projection: projection.to_owned(), what }
    }

    /// Records the current end of the log.
    fn set_head(&self, head: u64, now: Instant) {
        for status in self.known().values_mut() {
            status.head = head;
            if status.position >= head {
                status.behind_since = None;
                status.waiting_since = None;
            } else {
                status.behind_since.get_or_insert(now);
            }
        }
    }

    /// The positions of projections whose oldest waiting event is not known.
    fn unknown_waiting(&self) -> Vec<u64> {
        let known = self.known();
        let unknown = known.values().filter(|status| status.behind() > 0 && status.waiting_since.is_none());
        unknown.map(|status| status.position).collect()
    }

    /// Records the time of the event after a position.
    fn set_waiting(&self, after: u64, time: DateTime<Utc>) {
        for status in self.known().values_mut().filter(|status| status.position == after) {
            status.waiting_since = Some(time);
        }
    }

    fn measure(&self, now: Instant, time: DateTime<Utc>) {
        for (name, status) in &*self.known() {
            status.measure(name, now, time);
        }
    }

    pub fn all(&self) -> BTreeMap<String, ProjectionState> {
        self.known().iter().map(|(name, status)| (name.clone(), status.state.clone())).collect()
    }

    /// For `/readyz`: names the projections that have stopped, panicked or stalled.
    ///
    /// # Errors
    /// If there are any.
    pub fn ready(&self) -> Result<(), String> {
        self.ready_at(Instant::now())
    }

    fn ready_at(&self, now: Instant) -> Result<(), String> {
        let known = self.known();
        let problems: Vec<String> =
            known.iter().filter_map(|(name, status)| status.problem(name, now)).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    /// For `/readyz`: for each projection its state with the reason, its position, its lag behind the end of the log in
    /// events and seconds, and for how many seconds it has not moved.
    pub fn details(&self) -> Value {
        self.details_at(Instant::now(), SystemClock.now())
    }

    fn details_at(&self, now: Instant, time: DateTime<Utc>) -> Value {
        let known = self.known();
        let details = known.iter().map(|(name, status)| (name.clone(), status.to_json(now, time)));
        Value::Object(details.collect::<Map<_, _>>())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Status>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends an activity of a projection when it is dropped.
#[derive(Debug)]
pub(crate) struct Activity {
    statuses: Statuses,
    projection: String,
    what: &'static str,
}

impl Drop for Activity {
    fn drop(&mut self) {
        if let Some(status) = self.statuses.known().get_mut(&self.projection) {
            status.activities.remove(self.what);
        }
    }
}

/// Computes the lag of all projections periodically, without an end.
pub(crate) async fn watch_lag(log: Arc<dyn EventLog>, statuses: Statuses) {
    loop {
        // During an outage of the log, the last known end stays valid.
        if let Ok(head) = log.head().await {
            statuses.set_head(head.0, Instant::now());
            #[expect(clippy::cast_precision_loss, reason = "a number for a chart")]
            metrics::gauge!("chorus_log_head").set(head.0 as f64);
        }
        let mut positions = statuses.unknown_waiting();
        positions.sort_unstable();
        positions.dedup();
        for position in positions {
            // Followers pass events of other kinds at once, so the next event is one that waits.
            let Ok(next) = log.raw(Position(position), 1).await else { break };
            let attributes = next.first().and_then(|event| event.attributes.as_ref().ok());
            if let Some(attributes) = attributes {
                statuses.set_waiting(position, attributes.time);
            }
        }
        statuses.measure(Instant::now(), SystemClock.now());
        tokio::time::sleep(LAG_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn projection_that_does_not_move_with_pending_events_has_stalled() {
        let (statuses, start) = (Statuses::default(), Instant::now());
        let ready = |at, head| {
            statuses.set_head(head, start + second(at));
            statuses.ready_at(start + second(at))
        };
        let state = |at| statuses.details_at(start + second(at), time(0))["posts"]["state"].clone();
        statuses.set("posts", ProjectionState::Following(7));
        // An idle projection is not stalled, however long it is idle.
        ready(0, 7).unwrap();
        ready(3600, 7).unwrap();
        ready(3600, 8).unwrap();
        ready(3629, 12).unwrap();
        assert_eq!(state(3629), "following");
        let problem = ready(3630, 12).unwrap_err();
        assert_eq!(
            problem,
            "posts has stalled: it has stood at 7 for 30 s, 5 behind the log's end; it waits for events, which the log \
             does not deliver"
        );
        assert_eq!(state(3630), "stalled");
        // Any progress counts, however far behind the projection is.
        statuses.set("posts", ProjectionState::Following(8));
        ready(3631, 12).unwrap();
        ready(3660, 12).unwrap();
        statuses.set("posts", ProjectionState::Following(12));
        ready(4000, 12).unwrap();
        assert_eq!(state(4000), "following");
    }

    #[test]
    fn generations_that_change_places_keep_what_is_known_of_them() {
        let statuses = Statuses::default();
        statuses.set("posts", ProjectionState::Following(7));
        statuses.set_beside("posts (generation 1)", ProjectionState::Stopped("no disk".into()));
        statuses.ready().unwrap();
        let names = |before: &str, now: &str| (before.to_owned(), now.to_owned());
        let roles = [names("posts", "posts (generation 0)"), names("posts (generation 1)", "posts")];
        for roles in [&roles[..], &[roles[1].clone(), roles[0].clone()]] {
            let statuses = Statuses(Arc::new(Mutex::new(statuses.known().clone())));
            statuses.rename(roles, "posts");
            assert_eq!(statuses.all()["posts (generation 0)"], ProjectionState::Following(7));
            assert_eq!(statuses.ready().unwrap_err(), "posts has stopped: no disk");
        }
    }

    #[test]
    fn stalled_projection_names_what_it_has_been_doing_longest() {
        let (statuses, start) = (Statuses::default(), Instant::now());
        statuses.set("posts", ProjectionState::Starting);
        statuses.set_head(1, start);
        let committing = statuses.doing("posts", "committing");
        let reading = statuses.doing("posts", "reading");
        let reason = |statuses: &Statuses| {
            statuses.details_at(start + second(31), time(0))["posts"]["reason"].as_str().unwrap().to_owned()
        };
        assert!(reason(&statuses).starts_with("it has been committing for 3"), "{}", reason(&statuses));
        drop(committing);
        assert!(reason(&statuses).starts_with("it has been reading for 3"), "{}", reason(&statuses));
        drop(reading);
        assert!(reason(&statuses).starts_with("it waits for events"), "{}", reason(&statuses));
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_waiting_event() {
        let (statuses, start) = (Statuses::default(), Instant::now());
        statuses.set("posts", ProjectionState::Following(7));
        let lag = |at| statuses.details_at(start, time(at))["posts"]["lag_seconds"].clone();
        assert_eq!(lag(100), 0);
        statuses.set_head(9, start);
        assert_eq!(statuses.unknown_waiting(), [7]);
        statuses.set_waiting(7, time(60));
        assert_eq!((lag(100), statuses.unknown_waiting()), (json!(40), vec![]));
        statuses.set("posts", ProjectionState::Following(8));
        assert_eq!((lag(100), statuses.unknown_waiting()), (json!(0), vec![8]));
        // Another process's clock may be ahead.
        statuses.set_waiting(8, time(200));
        assert_eq!(lag(100), 0);
        statuses.set("posts", ProjectionState::Following(9));
        statuses.set_head(9, start);
        assert_eq!((lag(300), statuses.unknown_waiting()), (json!(0), vec![]));
    }

    #[test]
    fn standby_process_is_ready_when_the_builder_stalls() {
        let (builder, other, start) = (Statuses::default(), Statuses::default(), Instant::now());
        builder.set("posts", ProjectionState::Starting);
        other.set("posts", ProjectionState::Standby(0));
        for statuses in [&builder, &other] {
            statuses.set_head(1, start);
        }
        other.ready_at(start + STANDSTILL).unwrap();
        assert!(builder.ready_at(start + STANDSTILL).unwrap_err().starts_with("posts has stalled: "));
        let state = |statuses: &Statuses| statuses.details_at(start, time(0))["posts"].clone();
        assert_eq!(
            (&state(&builder)["state"], &state(&other)["state"]),
            (&json!("starting"), &json!("standby"))
        );
        builder.set("posts", ProjectionState::Stopped("no disk".into()));
        assert_eq!(builder.ready_at(start).unwrap_err(), "posts has stopped: no disk");
        assert_eq!(
            (&state(&builder)["state"], &state(&builder)["reason"]),
            (&json!("stopped"), &json!("no disk"))
        );
        builder.set("posts", ProjectionState::Panicked("a defect".into()));
        assert_eq!(builder.ready_at(start).unwrap_err(), "posts panicked and will restart: a defect");
        assert_eq!(state(&builder)["state"], "panicked");
    }
}
