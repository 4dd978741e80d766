use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectionState {
    Starting,
    /// It takes in what comes; everything up to here is in its view.
    Following(u64),
    /// Another process builds this view; this one takes over if that one ends.
    StandingBy,
    /// It met something it cannot go on from; why.
    Stopped(String),
}

/// How all projections of a process are doing.
#[derive(Debug, Clone, Default)]
pub struct Statuses(Arc<Mutex<BTreeMap<&'static str, ProjectionState>>>);

impl Statuses {
    pub(crate) fn set(&self, projection: &'static str, state: ProjectionState) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(projection, state);
    }

    pub fn all(&self) -> BTreeMap<&'static str, ProjectionState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For `/readyz`: names the projections that have stopped.
    ///
    /// # Errors
    /// If any has.
    pub fn ready(&self) -> Result<(), String> {
        let stopped: Vec<String> = self
            .all()
            .into_iter()
            .filter_map(|(name, state)| match state {
                ProjectionState::Stopped(why) => Some(format!("{name} has stopped: {why}")),
                ProjectionState::Starting | ProjectionState::Following(_) | ProjectionState::StandingBy => {
                    None
                }
            })
            .collect();
        if stopped.is_empty() { Ok(()) } else { Err(stopped.join("; ")) }
    }
}
