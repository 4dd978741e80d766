use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// How long a view may stand at one position, with events behind it in the log, before its process counts as not ready.
const STANDSTILL: Duration = Duration::from_secs(10);

/// How a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectionState {
    Starting,
    /// It takes in what comes; everything up to here is in its view.
    Following(u64),
    /// Another process builds this view, up to here when it was last looked at; this one takes over if that one ends.
    StandingBy(u64),
    /// It met something it cannot go on from; why.
    Stopped(String),
}

/// How all projections of a process are doing.
#[derive(Debug, Clone, Default)]
pub struct Statuses(Arc<Mutex<BTreeMap<&'static str, Status>>>);

#[derive(Debug, Clone)]
struct Status {
    state: ProjectionState,
    /// Where it was last known to be.
    position: u64,
    /// Where the log was last seen to end.
    head: u64,
    /// While the log goes on behind it: since when it has been where it is.
    behind_since: Option<Instant>,
}

impl Status {
    fn set(&mut self, state: ProjectionState) {
        if let ProjectionState::Following(position) | ProjectionState::StandingBy(position) = &state
            && *position != self.position
        {
            self.position = *position;
            // Wherever the next look finds it, it has moved.
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
            ProjectionState::Starting | ProjectionState::Following(_) | ProjectionState::StandingBy(_) => {
                None
            }
        }
    }

    fn told(&self, now: Instant) -> Value {
        let state = match self.state {
            ProjectionState::Starting => "starting",
            ProjectionState::Following(_) => "following",
            ProjectionState::StandingBy(_) => "standing by",
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

    /// Takes in where the log ends at present.
    pub(crate) fn observe(&self, head: u64, now: Instant) {
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

    /// For `/readyz`: names the projections that have stopped, and those that stand still while the log goes on.
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

    /// For `/readyz`: of each projection its state, its position, how many positions it is behind the end of the log, and
    /// for how many seconds it has not moved meanwhile.
    pub fn details(&self) -> Value {
        self.details_at(Instant::now())
    }

    fn details_at(&self, now: Instant) -> Value {
        let known = self.known();
        let told = known.iter().map(|(name, status)| ((*name).to_owned(), status.told(now)));
        Value::Object(told.collect::<Map<_, _>>())
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
    fn a_view_that_stands_still_is_not_ready_while_there_is_something_to_take_in() {
        let (statuses, start) = (Statuses::default(), Instant::now());
        let ready = |at, head| {
            statuses.observe(head, start + second(at));
            statuses.ready_at(start + second(at))
        };
        statuses.set("posts", ProjectionState::Following(7));
        // Nothing has happened for an hour: that is no standstill.
        ready(0, 7).unwrap();
        ready(3600, 7).unwrap();
        ready(3600, 8).unwrap();
        ready(3609, 12).unwrap();
        let problem = ready(3610, 12).unwrap_err();
        assert_eq!(problem, "posts has stood at 7 for 10 s, 5 behind the log's end");
        let told = json!({ "state": "following", "position": 7, "behind": 5, "unmoved_seconds": 10 });
        assert_eq!(statuses.details_at(start + second(3610)), json!({ "posts": told }));
        // It moves, however far behind it is.
        statuses.set("posts", ProjectionState::Following(8));
        ready(3611, 12).unwrap();
        ready(3620, 12).unwrap();
        statuses.set("posts", ProjectionState::Following(12));
        ready(4000, 12).unwrap();
    }

    #[test]
    fn only_the_process_that_builds_a_view_is_not_ready_when_it_stands_still() {
        let (builder, other, start) = (Statuses::default(), Statuses::default(), Instant::now());
        builder.set("posts", ProjectionState::Starting);
        other.set("posts", ProjectionState::StandingBy(0));
        for statuses in [&builder, &other] {
            statuses.observe(1, start);
        }
        other.ready_at(start + STANDSTILL).unwrap();
        assert!(builder.ready_at(start + STANDSTILL).unwrap_err().starts_with("posts has stood at 0"));
        builder.set("posts", ProjectionState::Stopped("no disk".into()));
        assert_eq!(builder.ready_at(start).unwrap_err(), "posts has stopped: no disk");
    }
}
