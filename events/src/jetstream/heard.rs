use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::{Filter, Kind, Position};

/// Kinds of the newest events that are remembered.
const KEPT: usize = 8192;

/// What this process has heard of the log, from whatever source: how far it goes, and of what kind its newest events
/// are. What one follower was delivered tells all others that it is not for them.
#[derive(Debug)]
pub(super) struct Heard {
    head: watch::Sender<Position>,
    kinds: Mutex<BTreeMap<Position, Kind>>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { head: watch::channel(Position::START).0, kinds: Mutex::default() }
    }
}

impl Heard {
    /// The log goes at least this far.
    pub(super) fn of(&self, position: Position) {
        self.head.send_if_modified(|head| {
            let newer = position > *head;
            *head = position.max(*head);
            newer
        });
    }

    /// An event of this kind stands there.
    pub(super) fn of_event(&self, position: Position, kind: Kind) {
        {
            let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
            kinds.insert(position, kind);
            if kinds.len() > KEPT {
                kinds.pop_first();
            }
        }
        self.of(position);
    }

    pub(super) fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// How far a follower may go from a position because every event until there is known not to be for it.
    pub(super) fn nothing_for(&self, filter: &Filter, after: Position) -> Position {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let mut passed = after;
        for (position, kind) in kinds.range(after.next()..) {
            if *position != passed.next() || filter.takes(*kind) {
                break;
            }
            passed = *position;
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_passes_what_is_known_not_to_be_for_it_and_nothing_else() {
        let (heard, filter) = (Heard::default(), Filter::kinds(&[Kind::Post]));
        let passes = |after| heard.nothing_for(&filter, Position(after)).0;
        assert_eq!(passes(0), 0, "nothing is known");
        for (position, kind) in
            [(1, Kind::Like), (2, Kind::Follow), (4, Kind::Like), (5, Kind::Post), (6, Kind::Like)]
        {
            heard.of_event(Position(position), kind);
        }
        assert_eq!(passes(0), 2, "what stands at 3 is not known");
        assert_eq!(passes(3), 4, "what stands at 5 is for it");
        assert_eq!(passes(5), 6);
        assert_eq!(passes(6), 6);
        heard.of(Position(9));
        assert_eq!(
            (*heard.head().borrow(), passes(6)),
            (Position(9), 6),
            "how far the log goes says nothing of kinds"
        );
    }
}
