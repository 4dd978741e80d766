//! How long requests took, as a metric for each method, route and status.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::Histogram;

const NAME: &str = "chorus_http_request_seconds";

/// The histograms that have been needed, by route, so that none is looked for by its labels again.
#[derive(Debug, Default)]
pub(super) struct Timings(RwLock<HashMap<String, Vec<Timing>>>);

#[derive(Debug)]
struct Timing {
    method: &'static str,
    status: StatusCode,
    histogram: Histogram,
}

impl Timings {
    /// Under the route as it is written, so that ids in paths do not make a metric each.
    pub(super) fn record(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = known(method);
        let seconds = took.as_secs_f64();
        let same = |timing: &&Timing| timing.status == status && timing.method == method;
        let timings = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(timing) = timings.get(route).and_then(|timings| timings.iter().find(same)) {
            return timing.histogram.record(seconds);
        }
        drop(timings);
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        let histogram = metrics::histogram!(NAME, &labels);
        histogram.record(seconds);
        let mut timings = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let timings = timings.entry(route.to_owned()).or_default();
        if !timings.iter().any(|timing| same(&timing)) {
            timings.push(Timing { method, status, histogram });
        }
    }
}

/// A client may make up methods; those, and the ones that no route has, are one.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn every_request_is_counted_where_it_belongs() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let made_up = Method::from_bytes(b"MAKEUP").unwrap();
        metrics::with_local_recorder(&recorder, || {
            let timings = Timings::default();
            let took = Duration::from_millis(3);
            timings.record(&Method::GET, "/a", StatusCode::OK, took);
            timings.record(&Method::GET, "/a", StatusCode::OK, took);
            timings.record(&Method::GET, "/a", StatusCode::NOT_FOUND, took);
            timings.record(&Method::PUT, "/a", StatusCode::OK, took);
            timings.record(&Method::GET, "/b", StatusCode::OK, took);
            timings.record(&made_up, "/b", StatusCode::OK, took);
        });
        let told = recorder.handle().render();
        let counted = |method: &str, route: &str, status: &str, times: usize| {
            let line = format!(
                "{NAME}_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {times}\n"
            );
            assert!(told.contains(&line), "{line}{told}");
        };
        counted("GET", "/a", "200", 2);
        counted("GET", "/a", "404", 1);
        counted("PUT", "/a", "200", 1);
        counted("GET", "/b", "200", 1);
        counted("other", "/b", "200", 1);
    }
}
