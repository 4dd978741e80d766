use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// A process is not ready if a projection has pending events and has not moved for this long.
const STANDSTILL: Duration = Duration::from_secs(10);

/// The state of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectionState {
    Starting,
    /// It is running; the view contains all events up to this position.
    Following(u64),
    /// Another process builds this view and has reached this position. This process takes over when that one stops.
    Standby(u64),
    /// It met an unrecoverable error, given here.
    Stopped(String),
}

/// The states of all projections of a process.
#[derive(Debug, Clone, Default)]
pub struct Statuses(Arc<Mutex<BTreeMap<&'static str, Status>>>);

#[derive(Debug, Clone)]
struct Status {
    state: ProjectionState,
    /// The last known position.
    position: u64,
    /// The last known head of the log.
    head: u64,
    /// Since when the projection has pending events and has not moved.
    behind_since: Option<Instant>,
}

impl Status {
    fn set(&mut self, state: ProjectionState) {
        if let ProjectionState::Following(position) | ProjectionState::Standby(position) = &state
            && *position != self.position
        {
            self.position = *position;
            // The projection has moved.
            self.behind_since = None;
        }
        self.state = state;
    }

    fn behind(&self) -> u64 {
        self.head.saturating_sub(self.position)
    }

    fn unmoved(&self, now: Instant) -> Duration {
        self.behind_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn problem(&self, name: &str, now: Instant) -> Option<String> {
        match &self.state {
            ProjectionState::Stopped(why) => Some(format!("{name} has stopped: {why}")),
            ProjectionState::Starting | ProjectionState::Following(_) if self.unmoved(now) >= STANDSTILL => {
                let (position, behind) = (self.position, self.behind());
                let seconds = self.unmoved(now).as_secs();
                Some(format!("{name} has stood at {position} for {seconds} s, {behind} behind the log's end"))
            }
            ProjectionState::Starting | ProjectionState::Following(_) | ProjectionState::Standby(_) => None,
        }
    }

    fn to_json(&self, now: Instant) -> Value {
        let state = match self.state {
            ProjectionState::Starting => "starting",
            ProjectionState::Following(_) => "following",
            ProjectionState::Standby(_) => "standby",
            ProjectionState::Stopped(_) => "stopped",
        };
        let (position, behind, unmoved) = (self.position, self.behind(), self.unmoved(now).as_secs());
        json!({ "state": state, "position": position, "behind": behind, "unmoved_seconds": unmoved })
    }
}

impl Statuses {
    pub(crate) fn set(&self, projection: &'static str, state: ProjectionState) {
        self.known()
            .entry(projection)
            .or_insert(Status { state: ProjectionState::Starting, position: 0, head: 0, behind_since: None })
            .set(state);
    }

    /// Records the current head of the log.
    pub(crate) fn set_head(&self, head: u64, now: Instant) {
        for (name, status) in &mut *self.known() {
            status.head = head;
            if status.position >= head {
                status.behind_since = None;
            } else {
                status.behind_since.get_or_insert(now);
            }
            #[expect(clippy::cast_precision_loss, reason = "a number for a chart")]
            metrics::gauge!("chorus_projection_behind", "projection" => *name).set(status.behind() as f64);
            metrics::gauge!("chorus_projection_unmoved_seconds", "projection" => *name)
                .set(status.unmoved(now).as_secs_f64());
        }
    }

    pub(crate) fn state(&self, projection: &str) -> Option<ProjectionState> {
        self.known().get(projection).map(|status| status.state.clone())
    }

    pub fn all(&self) -> BTreeMap<&'static str, ProjectionState> {
        self.known().iter().map(|(name, status)| (*name, status.state.clone())).collect()
    }

    /// For `/readyz`: names the projections that have stopped or stalled.
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

    /// For `/readyz`: for each projection its state, its position, its lag behind the head, and for how many seconds
    /// it has been stalled.
    pub fn details(&self) -> Value {
        self.details_at(Instant::now())
    }

    fn details_at(&self, now: Instant) -> Value {
        let known = self.known();
        let details = known.iter().map(|(name, status)| ((*name).to_owned(), status.to_json(now)));
        Value::Object(details.collect::<Map<_, _>>())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<&'static str, Status>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn stalled_projection_with_pending_events_is_not_ready() {
        let (statuses, start) = (Statuses::default(), Instant::now());
        let ready = |at, head| {
            statuses.set_head(head, start + second(at));
            statuses.ready_at(start + second(at))
        };
        statuses.set("posts", ProjectionState::Following(7));
        // An idle projection is not stalled, however long it is idle.
        ready(0, 7).unwrap();
        ready(3600, 7).unwrap();
        ready(3600, 8).unwrap();
        ready(3609, 12).unwrap();
        let problem = ready(3610, 12).unwrap_err();
        assert_eq!(problem, "posts has stood at 7 for 10 s, 5 behind the log's end");
        let expected = json!({ "state": "following", "position": 7, "behind": 5, "unmoved_seconds": 10 });
        assert_eq!(statuses.details_at(start + second(3610)), json!({ "posts": expected }));
        // Any progress counts, however far behind the projection is.
        statuses.set("posts", ProjectionState::Following(8));
        ready(3611, 12).unwrap();
        ready(3620, 12).unwrap();
        statuses.set("posts", ProjectionState::Following(12));
        ready(4000, 12).unwrap();
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
        assert!(builder.ready_at(start + STANDSTILL).unwrap_err().starts_with("posts has stood at 0"));
        builder.set("posts", ProjectionState::Stopped("no disk".into()));
        assert_eq!(builder.ready_at(start).unwrap_err(), "posts has stopped: no disk");
    }
}
