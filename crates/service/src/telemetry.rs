//! Telemetry: log lines, spans and metrics.

mod metric_list;
mod outages;

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

pub use self::metric_list::{METRICS, Metric, MetricKind};
use self::outages::Outages;
use crate::config::{TelemetrySettings, TraceFormat};
use crate::shutdown::Tasks;

/// How often histograms are drained, so that they do not grow between two scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// Buckets of all duration histograms, in seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets of all histograms of numbers of events.
const EVENTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0];

/// Renders the metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// In the text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Starts writing log lines to standard error and recording metrics. Once per process.
///
/// # Errors
/// If it was already started.
pub fn start(
    settings: &TelemetrySettings,
    tasks: &Tasks,
) -> Result<Metrics, Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&settings.trace)?;
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(|line| !tells_requests(line)));
    let outages = Outages::default();
    match settings.trace_format {
        TraceFormat::Text => registry.with(lines.with_filter(outages.clone())).try_init()?,
        TraceFormat::Json => {
            registry.with(lines.json().flatten_event(true).with_filter(outages.clone())).try_init()?;
        }
    }
    tasks.spawn_until_stopping("outages in the log lines", outages.summarise_every_minute());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), EVENTS)?
        .install_recorder()?;
    metric_list::describe();
    let metrics = Metrics(handle);
    let upkeep = metrics.clone();
    tasks.spawn_until_stopping("metrics upkeep", async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.0.run_upkeep();
        }
    });
    Ok(metrics)
}

/// At verbose levels, AWS clients log whole requests: addresses, and the content of mails.
fn tells_requests(line: &Metadata<'_>) -> bool {
    line.target().starts_with("aws_") && *line.level() > Level::INFO
}

/// An error with all its causes, for a log line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
