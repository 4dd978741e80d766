//! All metrics of Chorus, each with its description.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// A metric, as `/metrics` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    /// What it counts, and its labels.
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

const fn metric(name: &'static str, kind: MetricKind, help: &'static str) -> Metric {
    Metric { name, kind, help }
}

/// Whatever a process measures is in this list. Names are part of dashboards and alert rules (`deploy/alerts.yml`), so they
/// do not change.
pub const METRICS: &[Metric] = &[
    metric(
        "chorus_http_request_seconds",
        MetricKind::Histogram,
        "Time to answer requests, by method, route and status",
    ),
    metric("chorus_log_head", MetricKind::Gauge, "Position of the last event of the log"),
    metric(
        "chorus_log_append_seconds",
        MetricKind::Histogram,
        "Time of appends to the log, by outcome: appended, conflict, failed",
    ),
    metric(
        "chorus_log_consumers_stalled_total",
        MetricKind::Counter,
        "Consumers on NATS that delivered nothing and were replaced",
    ),
    metric(
        "chorus_command_attempts_total",
        MetricKind::Counter,
        "Events that commands tried to append, by kind of subject",
    ),
    metric(
        "chorus_command_conflicts_total",
        MetricKind::Counter,
        "Attempts that failed because the subject had changed since it was read, by kind of subject",
    ),
    metric(
        "chorus_projection_passed",
        MetricKind::Gauge,
        "Position up to which the view contains all events, by projection",
    ),
    metric(
        "chorus_projection_behind",
        MetricKind::Gauge,
        "Events of any kind between this position and the end of the log, by projection",
    ),
    metric(
        "chorus_projection_lag_seconds",
        MetricKind::Gauge,
        "Age of the oldest event that waits, 0 if none does, by projection",
    ),
    metric(
        "chorus_projection_unmoved_seconds",
        MetricKind::Gauge,
        "Time without progress although events wait, by projection",
    ),
    metric(
        "chorus_projection_event_time_seconds",
        MetricKind::Gauge,
        "Unix time of the newest event in the view, by projection",
    ),
    metric("chorus_projection_stopped", MetricKind::Gauge, "1 if it has stopped or panicked, by projection"),
    metric(
        "chorus_projection_stalled",
        MetricKind::Gauge,
        "1 if events wait and it has not moved for 30 s, by projection",
    ),
    metric(
        "chorus_projection_generation",
        MetricKind::Gauge,
        "Number of the generation of its views that serves, by projection",
    ),
    metric("chorus_projection_parked", MetricKind::Gauge, "Events that are parked now, by projection"),
    metric(
        "chorus_projection_parked_total",
        MetricKind::Counter,
        "Events that this process has parked, by projection",
    ),
    metric(
        "chorus_projection_panics_total",
        MetricKind::Counter,
        "Panics, after each of which it restarts, by projection",
    ),
    metric("chorus_projection_batch_events", MetricKind::Histogram, "Events per commit, by projection"),
    metric(
        "chorus_projection_commit_seconds",
        MetricKind::Histogram,
        "Time of commits to the view store, by projection",
    ),
    metric(
        "chorus_reaction_passed",
        MetricKind::Gauge,
        "Position up to which all effects are done, by reaction",
    ),
    metric(
        "chorus_reaction_parked_total",
        MetricKind::Counter,
        "Events that this process has parked, by reaction",
    ),
    metric("chorus_mails_waiting", MetricKind::Gauge, "Mails that are neither sent nor given up"),
    metric("chorus_mails_sent_total", MetricKind::Counter, "Mails that were sent, by template"),
    metric("chorus_mails_failed_total", MetricKind::Counter, "Attempts that failed, by template"),
    metric(
        "chorus_mails_given_up_total",
        MetricKind::Counter,
        "Mails that are no longer tried, by template and reason",
    ),
    metric(
        "chorus_mail_notices_unreadable_total",
        MetricKind::Counter,
        "Bounces and complaints that cannot be read",
    ),
    metric("chorus_stories_waiting", MetricKind::Gauge, "Stories that have not ended yet"),
    metric("chorus_stories_expired_total", MetricKind::Counter, "Stories that have ended"),
    metric("chorus_chart_plays_tracked", MetricKind::Gauge, "Plays of open days in memory"),
    metric(
        "chorus_chart_plays_left_out_total",
        MetricKind::Counter,
        "Plays beyond the limit, which the charts leave out",
    ),
    metric("chorus_chart_days_closed_total", MetricKind::Counter, "Days whose charts are closed"),
    metric("chorus_media_deleted_total", MetricKind::Counter, "Files deleted with their content"),
    metric("chorus_media_collected_total", MetricKind::Counter, "Files deleted because no event claims them"),
    metric(
        "chorus_media_collection_refused",
        MetricKind::Gauge,
        "Unclaimed files, if they are too many to be deleted",
    ),
    metric("chorus_songs_analysed_total", MetricKind::Counter, "Songs that were measured"),
    metric("chorus_analyses_given_up_total", MetricKind::Counter, "Songs that cannot be measured"),
    metric("chorus_task_panics_total", MetricKind::Counter, "Tasks that ended by a panic, by task"),
];

/// Describes all metrics to the recorder.
pub(super) fn describe() {
    for Metric { name, kind, help } in METRICS {
        match kind {
            MetricKind::Counter => describe_counter!(*name, *help),
            MetricKind::Gauge => describe_gauge!(*name, *help),
            MetricKind::Histogram => describe_histogram!(*name, *help),
        }
    }
}
