//! Results as Markdown tables.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::Measured;

/// A figure of Chorus against that of the baseline.
#[derive(Debug, Clone)]
pub(crate) struct Ratio {
    pub(crate) what: String,
    pub(crate) engine: &'static str,
    pub(crate) chorus: String,
    pub(crate) baseline: String,
    pub(crate) value: f64,
    pub(crate) bound: Bound,
    /// The absolute goal for Chorus, and whether it is reached.
    pub(crate) goal: Option<String>,
}

/// An absolute goal for Chorus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) per_second: f64,
    pub(crate) p99: Option<Duration>,
}

impl Goal {
    pub(crate) fn text(self, measured: &Measured) -> String {
        let Self { per_second, p99 } = self;
        let in_time = p99
            .is_none_or(|limit| u128::from(measured.latencies.value_at_quantile(0.99)) <= limit.as_micros());
        let reached = measured.per_second >= per_second && in_time;
        let p99 = p99.map(|p99| format!(", p99 ≤ {} ms", p99.as_millis())).unwrap_or_default();
        format!("{}{p99}{}", rate(per_second), if reached { "" } else { " **missed**" })
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// For comparison only.
    None,
}

impl Bound {
    fn text(self, ratio: f64) -> String {
        let (text, holds) = match self {
            Self::AtLeast(bound) => (format!("≥ {bound}"), ratio >= bound),
            Self::AtMost(bound) => (format!("≤ {bound}"), ratio <= bound),
            Self::None => ("–".to_owned(), true),
        };
        if holds { text } else { format!("{text} **missed**") }
    }
}

pub(crate) fn ratios(ratios: &[Ratio]) -> String {
    let mut table =
        "| what | engine | Chorus | baseline | ratio | wanted |\n|---|---|---|---|---|---|\n".to_owned();
    for Ratio { what, engine, chorus, baseline, value, bound, goal } in ratios {
        let goal = goal.as_ref().map(|goal| format!("; {goal}")).unwrap_or_default();
        let bound = bound.text(*value);
        let _ = writeln!(table, "| {what} | {engine} | {chorus} | {baseline} | {value:.2} | {bound}{goal} |");
    }
    table
}

pub(crate) fn figures(figures: &[(String, &'static str, String)]) -> String {
    let mut table = "| what | engine | figure |\n|---|---|---|\n".to_owned();
    for (what, engine, figure) in figures {
        let _ = writeln!(table, "| {what} | {engine} | {figure} |");
    }
    table
}

/// The median by rate of several rounds.
pub(crate) fn median(mut rounds: Vec<Measured>) -> Option<Measured> {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let middle = rounds.len() / 2;
    (middle < rounds.len()).then(|| rounds.swap_remove(middle))
}

pub(crate) fn rate(per_second: f64) -> String {
    format!("{per_second:.0}/s")
}

pub(crate) fn latency(latencies: &Histogram<u64>, quantile: f64) -> String {
    micros(latencies.value_at_quantile(quantile))
}

pub(crate) fn micros(micros: u64) -> String {
    if micros < 1000 {
        format!("{micros} µs")
    } else {
        format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
    }
}

pub(crate) fn nanos(time: std::time::Duration) -> String {
    format!("{}.{:02} µs", time.as_nanos() / 1000, time.as_nanos() % 1000 / 10)
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}
