//! Reactions: side effects of events. Rebuilding a view store does not repeat their effects: each effect is recorded
//! in the log or is idempotent.

pub mod analyses;
pub mod charts;
pub mod erasures;
mod idempotent;
pub mod mailboxes;
pub mod mails;
pub mod media;
pub mod purges;
pub mod stories;

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

/// A timer that skips the ticks of a pause.
fn ticks(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
