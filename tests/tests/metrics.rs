//! Every metric is declared with its description, and alert rules use declared metrics only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use service::telemetry::{METRICS, Metric, MetricKind};
use tests::chorus::Chorus;

/// Declared metrics that a healthy journey on SQLite without stories, deletions and refused mails does not produce.
const RARE: &[&str] = &[
    "chorus_analyses_given_up_total",
    "chorus_chart_days_closed_total",
    "chorus_chart_plays_left_out_total",
    "chorus_command_conflicts_total",
    "chorus_log_consumers_stalled_total",
    "chorus_mail_notices_unreadable_total",
    "chorus_mails_failed_total",
    "chorus_mails_given_up_total",
    "chorus_media_collected_total",
    "chorus_media_collection_refused",
    "chorus_media_deleted_total",
    "chorus_projection_panics_total",
    "chorus_projection_parked_total",
    "chorus_reaction_parked_total",
    "chorus_songs_analysed_total",
    "chorus_stories_expired_total",
    "chorus_task_panics_total",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The metrics that a process exposes: kind and description by name.
fn exposed(text: &str) -> BTreeMap<String, (String, String)> {
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
        let [what, name, rest] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let entry = found.entry(name.to_owned()).or_default();
        match what {
            "TYPE" => rest.clone_into(&mut entry.0),
            "HELP" => rest.clone_into(&mut entry.1),
            _ => panic!("{line}"),
        }
    }
    found
}

const fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exposed_metrics_are_declared_with_their_descriptions() {
    let chorus = Chorus::standalone().await.unwrap();
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn over the lake").await;
    api.like(&ann, &post).await.expect(200);
    chorus.settle().await.unwrap();
    let text =
        tests::waiting::found(std::time::Duration::from_secs(30), "all metrics are there", async || {
            let text = api.get("/metrics").await.expect(200).text();
            let found = exposed(&text);
            // Projections are measured one after the other, as their views are found.
            let of_posts = text.lines().any(|line| line == NOT_STALLED);
            METRICS
                .iter()
                .all(|metric| RARE.contains(&metric.name) || found.contains_key(metric.name))
                .then_some(text)
                .filter(|_| of_posts)
        })
        .await;
    let found = exposed(&text);
    for (name, (found_kind, help)) in &found {
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else {
            panic!("{name} is not declared in METRICS");
        };
        assert_eq!((found_kind.as_str(), help.as_str()), (kind(metric), metric.help), "{name}");
    }
    // Of all samples, such as the buckets of a histogram.
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(found.contains_key(family(name, &found)), "{line} has no description");
    }
}

const NOT_STALLED: &str = "chorus_projection_stalled{projection=\"posts\"} 0";

/// The metric of a sample: without the suffix that histograms add.
fn family<'a>(sample: &'a str, found: &BTreeMap<String, (String, String)>) -> &'a str {
    let suffixes = ["_bucket", "_count", "_sum"];
    let stem = suffixes.iter().find_map(|suffix| sample.strip_suffix(suffix));
    stem.filter(|stem| found.contains_key(*stem)).unwrap_or(sample)
}

/// The names in the code that records metrics.
fn recorded(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            recorded(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("telemetry/metric_list.rs")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let literals = text.split('"');
            names.extend(literals.filter(|literal| is_name(literal)).map(str::to_owned));
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with("chorus_") && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[test]
fn declared_metrics_are_recorded_somewhere() {
    let mut names = BTreeSet::new();
    for folder in [
        "command-api/src",
        "projector/src",
        "events/src",
        "crates/web/src",
        "crates/service/src",
        "views/src",
    ] {
        recorded(&root().join(folder), &mut names);
    }
    let declared: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(declared.len(), METRICS.len(), "a name is declared twice");
    let dead: Vec<_> = declared.iter().filter(|name| !names.contains(**name)).collect();
    assert!(dead.is_empty(), "nothing records {dead:?}");
    // Counters of faults, which no journey shows.
    let measured = |name: &&String| {
        ["_total", "_seconds", "_events", "_parked", "_stalled", "_stopped"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
    };
    let undeclared: Vec<_> =
        names.iter().filter(measured).filter(|name| !declared.contains(name.as_str())).collect();
    assert!(undeclared.is_empty(), "{undeclared:?} are not declared in METRICS");
}

#[test]
fn alert_rules_use_declared_metrics() {
    let rules = std::fs::read_to_string(root().join("deploy/alerts.yml")).unwrap();
    let words = rules.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let used: BTreeSet<&str> = words.filter(|word| is_name(word)).collect();
    assert!(used.len() > 8, "{used:?}");
    let all = METRICS.iter().map(|metric| (metric.name.to_owned(), <(String, String)>::default())).collect();
    let unknown: Vec<_> =
        used.iter().filter(|name| !METRICS.iter().any(|metric| metric.name == family(name, &all))).collect();
    assert!(unknown.is_empty(), "no metrics of Chorus: {unknown:?}");
}
