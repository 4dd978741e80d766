//! What is measured, each with Chorus and the bare engine in turns.

mod accounts;
mod catch_up;
mod freshness;
mod http_load;
mod photos;
mod scaling;
mod uploads;

pub(crate) use accounts::{accounts, tokens};
pub(crate) use catch_up::catch_up;
pub(crate) use freshness::freshness;
pub(crate) use http_load::http_load;
pub(crate) use photos::photos;
pub(crate) use scaling::scaling;
pub(crate) use uploads::uploads;

use crate::table::Ratio;

/// Everything that a run has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What is wanted: contests with this in their names; if none is given, all.
    pub(crate) only: Option<String>,
    pub(crate) ratios: Vec<Ratio>,
    /// What, on which engine, and how much.
    pub(crate) figures: Vec<(String, &'static str, String)>,
}

impl Findings {
    pub(crate) fn want(&self, what: &str) -> bool {
        self.only.as_deref().is_none_or(|text| what.contains(text))
    }
}

#[expect(clippy::print_stderr, reason = "progress of a long run")]
pub(crate) fn progress(what: &str) {
    eprintln!("… {what}");
}
