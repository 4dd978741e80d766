//! Waits until projectors have made the switches that a verb has asked for, of all families at the same time, and
//! records each in the log.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use events::{GenerationRolledBack, GenerationSwitched, Position};
use tokio::signal::unix::{Signal, SignalKind, signal};
use views::generations::{GenerationState, Generations};
use views::{Family, Views};

use super::{ANSWER_LIMIT, Notice, POLL, Recorder, say};

/// How long a verb waits for a switch; a generation that is far behind is caught up first.
const SWITCH_LIMIT: Duration = Duration::from_mins(10);

/// A switch that was asked for in the record of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switch {
    pub(super) family: &'static Family,
    pub(super) to: u64,
    pub(super) act: Act,
}

/// Why the switch was asked for, with the generation that served then.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Rebuild { from: Option<u64> },
    Rollback { from: u64 },
}

/// How the waiting for a switch ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Made {
        /// The generation that is kept to switch back to.
        kept: Option<u64>,
    },
    /// No projector has answered. The request stays, as it does after the next two.
    Unanswered,
    Late,
    Interrupted,
    /// The switch will not be made.
    Gone(&'static str),
}

/// Notices Ctrl-C from now on: the process is not ended by it any more.
pub(super) fn interrupts() -> Result<Signal> {
    signal(SignalKind::interrupt()).context("handling Ctrl-C")
}

/// Waits until each switch is made, or is left to a projector that starts later.
///
/// # Errors
/// If one is not made in time or not any more, or the waiting is interrupted. The others are waited for and recorded
/// before.
pub(super) async fn wait_for(
    views: &Views,
    recorder: &Recorder,
    switches: Vec<Switch>,
    mut interrupts: Signal,
) -> Result<()> {
    let since = Instant::now();
    let mut notice = Notice::new(
        "waiting for a projector (or `chorus serve`) to make the switch: without one, the next that starts makes it. \
         Ctrl-C ends the waiting, not the switch",
    );
    let (mut waiting, mut problems, mut is_interrupted) = (switches, Vec::new(), false);
    loop {
        views.refresh().await.context("the switch stays asked for")?;
        let mut unfinished = Vec::new();
        for switch in waiting {
            match switch.end(views.record(switch.family).as_ref(), since.elapsed(), is_interrupted) {
                None => unfinished.push(switch),
                Some(end) => problems.extend(switch.finish(&end, views, recorder).await?),
            }
        }
        waiting = unfinished;
        if waiting.is_empty() {
            break;
        }
        notice.give_if_due()?;
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = interrupts.recv() => is_interrupted = true,
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

impl Switch {
    /// How the waiting ends by what the record says; none if it goes on.
    fn end(&self, record: Option<&Generations>, waited: Duration, is_interrupted: bool) -> Option<End> {
        let Some(record) = record else { return Some(End::Gone("its record is gone")) };
        if record.serving == Some(self.to) {
            return Some(End::Made { kept: record.previous });
        }
        // The first generation of a family serves without being asked for.
        let is_asked = record.wanted == Some(self.to) || record.serving.is_none();
        match record.get(self.to).map(|generation| generation.state) {
            None | Some(GenerationState::Dropping) => Some(End::Gone("the generation was dropped")),
            _ if !is_asked => Some(End::Gone("another switch was asked for meanwhile")),
            _ if is_interrupted => Some(End::Interrupted),
            Some(GenerationState::Ready) if waited > ANSWER_LIMIT => Some(End::Unanswered),
            _ if waited > SWITCH_LIMIT => Some(End::Late),
            _ => None,
        }
    }

    /// Records the switch and says how it ended. Returns what is an error.
    async fn finish(&self, end: &End, views: &Views, recorder: &Recorder) -> Result<Option<String>> {
        let (name, to) = (self.family.name, self.to);
        if !matches!(end, End::Gone(_)) {
            self.record(views, recorder).await?;
        }
        match end {
            End::Made { kept } => {
                let kept = kept.map_or_else(String::new, |kept| {
                    format!("; generation {kept} is kept for `chorus rollback {name}`")
                });
                say(&format!("{name}: generation {to} serves now{kept}"))?;
                Ok(None)
            }
            End::Unanswered => {
                say(&format!("{name}: no projector runs, so generation {to} serves when one starts"))?;
                Ok(None)
            }
            End::Late => Ok(Some(format!(
                "{name}: generation {to} does not catch up, and serves as soon as it does: `chorus views` and the \
                 projector's log say why"
            ))),
            End::Interrupted => Ok(Some(format!(
                "{name}: the waiting was interrupted; the switch stays asked for, so generation {to} serves as soon \
                 as a projector has made it"
            ))),
            End::Gone(why) => Ok(Some(format!("{name}: {why}"))),
        }
    }

    /// Records who asked for the switch, and why.
    pub(super) async fn record(&self, views: &Views, recorder: &Recorder) -> Result<()> {
        let Self { family, to, act } = *self;
        let (name, version) = (family.name.to_owned(), family.version.into());
        let generation = views.open(family, to).await?;
        let position = Position(generation.checkpoint(family.name).await?);
        match act {
            Act::Rebuild { from } => {
                let switched = |operation, note| GenerationSwitched {
                    operation,
                    family: name,
                    version,
                    from,
                    to,
                    position,
                    note,
                };
                recorder.record(switched).await
            }
            Act::Rollback { from } => {
                let rolled_back = |operation, note| GenerationRolledBack {
                    operation,
                    family: name,
                    version,
                    from,
                    to,
                    position,
                    note,
                };
                recorder.record(rolled_back).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use views::generations::Generation;

    use super::*;

    static POSTS: Family = Family { name: "posts", version: 1, views: &[] };
    const SWITCH: Switch = Switch { family: &POSTS, to: 2, act: Act::Rebuild { from: Some(1) } };
    const SECOND: Duration = Duration::from_secs(1);
    const LATER: Duration = Duration::from_secs(7);

    /// Generation 2 in this state, beside another one.
    fn record(serving: Option<u64>, wanted: Option<u64>, state: GenerationState) -> Generations {
        let generation = |number, state| Generation { number, state, builder: None };
        Generations {
            serving,
            wanted,
            generations: vec![generation(1, GenerationState::Adopted), generation(2, state)],
            ..Generations::default()
        }
    }

    fn end(record: &Generations, waited: Duration) -> Option<End> {
        SWITCH.end(Some(record), waited, false)
    }

    #[test]
    fn projector_that_does_not_answer_is_waited_for_a_while() {
        let ready = record(Some(1), Some(2), GenerationState::Ready);
        assert_eq!(end(&ready, SECOND), None);
        assert_eq!(end(&ready, LATER), Some(End::Unanswered));
        // One that has answered may take longer.
        let adopted = record(Some(1), Some(2), GenerationState::Adopted);
        assert_eq!(end(&adopted, LATER), None);
        assert_eq!(end(&adopted, SWITCH_LIMIT + SECOND), Some(End::Late));
        // The first generation of a family.
        assert_eq!(end(&record(None, None, GenerationState::Ready), LATER), Some(End::Unanswered));
    }

    #[test]
    fn switch_is_made_when_the_generation_serves() {
        let made = record(Some(2), None, GenerationState::Adopted);
        let made = Generations { previous: Some(1), ..made };
        for waited in [SECOND, SWITCH_LIMIT + SECOND] {
            assert_eq!(end(&made, waited), Some(End::Made { kept: Some(1) }));
        }
        assert_eq!(SWITCH.end(Some(&made), SECOND, true), Some(End::Made { kept: Some(1) }));
    }

    #[test]
    fn interrupted_waiting_leaves_the_request() {
        let adopted = record(Some(1), Some(2), GenerationState::Adopted);
        assert_eq!(SWITCH.end(Some(&adopted), SECOND, true), Some(End::Interrupted));
    }

    #[test]
    fn switch_that_is_not_made_any_more_is_not_waited_for() {
        let is_gone = |record: Option<&Generations>| {
            assert!(matches!(SWITCH.end(record, SECOND, true), Some(End::Gone(_))), "{record:?}");
        };
        is_gone(None);
        is_gone(Some(&record(Some(1), Some(3), GenerationState::Adopted)));
        is_gone(Some(&record(Some(1), None, GenerationState::Adopted)));
        is_gone(Some(&record(Some(1), None, GenerationState::Dropping)));
        let mut dropped = record(Some(1), Some(2), GenerationState::Ready);
        dropped.generations.pop();
        is_gone(Some(&dropped));
    }
}
