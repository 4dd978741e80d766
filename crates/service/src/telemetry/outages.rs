//! Deduplicates messages of an outage: many parts of a process report it repeatedly, and operators need to read it
//! once. Messages with the field `outage` are deduplicated by its value, for example `the log is unavailable`. The
//! first one is written; then, every minute with further messages, their number.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// Interval of summaries during an outage.
const INTERVAL: Duration = Duration::from_mins(1);
const FIELD: &str = "outage";
/// Maximum number of distinct outages; messages of further ones are all written.
const OUTAGES: usize = 100;

/// Passes the first message of an outage, and counts the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Outages(Arc<Mutex<BTreeMap<String, u64>>>);

impl Outages {
    /// Whether to write a message of an outage.
    fn admit(&self, outage: String) -> bool {
        let mut known = self.known();
        if let Some(held_back) = known.get_mut(&outage) {
            *held_back += 1;
            return false;
        }
        if known.len() < OUTAGES {
            known.insert(outage, 0);
        }
        true
    }

    /// Writes the number of suppressed messages per outage since the last summary. An outage without any is over.
    fn sum_up(&self) {
        let known = std::mem::take(&mut *self.known());
        let going_on: Vec<_> = known.into_iter().filter(|(_, held_back)| *held_back > 0).collect();
        self.known().extend(going_on.iter().map(|(outage, _)| (outage.clone(), 0)));
        for (dependency, messages) in going_on {
            tracing::warn!(dependency, messages, "the outage continues");
        }
    }

    pub(super) async fn summarise_every_minute(self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.sum_up();
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Filter<S> for Outages {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        if event.metadata().fields().field(FIELD).is_none() {
            return true;
        }
        let mut outage = Outage::default();
        event.record(&mut outage);
        outage.0.is_none_or(|outage| self.admit(outage))
    }
}

/// The value of the field.
#[derive(Default)]
struct Outage(Option<String>);

impl Visit for Outage {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == FIELD {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == FIELD {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing_subscriber::Layer;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Written {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Written {
        /// The log lines since the last call.
        fn lines(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
        }
    }

    #[test]
    fn outage_is_logged_once_and_then_every_minute_with_a_count() {
        let (outages, written) = (Outages::default(), Written::default());
        let lines = tracing_subscriber::fmt::layer().with_writer(written.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(outages.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let meet = |projections: usize, attempts: usize| {
                for n in 0..projections * attempts {
                    tracing::warn!(outage = "the log is unavailable", n, "trying again");
                }
            };
            meet(15, 20);
            let cause = std::io::Error::other("away");
            tracing::warn!(outage = %cause, "another one");
            tracing::warn!("no outage");
            let first = written.lines();
            assert_eq!(first.len(), 3, "{first:?}");
            assert!(first[0].contains("the log is unavailable") && first[0].ends_with("n=0"), "{first:?}");
            outages.sum_up();
            let summed_up = written.lines();
            assert_eq!(summed_up.len(), 1, "{summed_up:?}");
            assert!(
                summed_up[0].contains(r#"dependency="the log is unavailable" messages=299"#),
                "{summed_up:?}"
            );
            meet(1, 5);
            outages.sum_up();
            assert!(written.lines().concat().contains("messages=5"));
            // After a minute without messages, the next one counts as the first again.
            outages.sum_up();
            assert_eq!(written.lines(), [""; 0]);
            meet(2, 2);
            assert_eq!(written.lines().len(), 1);
        });
    }
}
