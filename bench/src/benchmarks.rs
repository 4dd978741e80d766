//! The benchmarks. Chorus and the baseline take turns in each.

mod accounts;
mod catch_up;
mod freshness;
mod http_load;
mod music;
mod operators;
mod photos;
mod rebuild;
mod scaling;
mod uploads;

pub(crate) use accounts::{accounts, tokens};
pub(crate) use catch_up::catch_up;
pub(crate) use freshness::freshness;
pub(crate) use http_load::http_load;
pub(crate) use music::music;
pub(crate) use operators::operators;
pub(crate) use photos::photos;
pub(crate) use rebuild::rebuild;
pub(crate) use scaling::scaling;
pub(crate) use uploads::uploads;

use crate::table::Ratio;

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Selects comparisons with this text in their names; all if none is given.
    pub(crate) only: Option<String>,
    pub(crate) ratios: Vec<Ratio>,
    /// Name, engine and value.
    pub(crate) figures: Vec<(String, &'static str, String)>,
}

impl Findings {
    pub(crate) fn selects(&self, what: &str) -> bool {
        self.only.as_deref().is_none_or(|text| what.contains(text))
    }
}

#[expect(clippy::print_stderr, reason = "progress of a long run")]
pub(crate) fn progress(what: &str) {
    eprintln!("… {what}");
}
