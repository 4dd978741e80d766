//! How long requests took, as a metric for each method, route and status.

use std::time::Duration;

use http::{Method, StatusCode};

const NAME: &str = "chorus_http_request_seconds";

/// `route` is the pattern, not the path, so that ids in paths do not make a metric each.
pub(super) fn record(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let (route, status) = (route.to_owned(), status.as_str().to_owned());
    metrics::histogram!(NAME, "method" => known(method), "route" => route, "status" => status).record(took);
}

/// Clients can invent methods: those, and methods that no route has, share one label.
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
    fn requests_are_counted_by_method_route_and_status() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let made_up = Method::from_bytes(b"MAKEUP").unwrap();
        metrics::with_local_recorder(&recorder, || {
            let took = Duration::from_millis(3);
            record(&Method::GET, "/a", StatusCode::OK, took);
            record(&Method::GET, "/a", StatusCode::OK, took);
            record(&Method::GET, "/a", StatusCode::NOT_FOUND, took);
            record(&Method::PUT, "/a", StatusCode::OK, took);
            record(&Method::GET, "/b", StatusCode::OK, took);
            record(&made_up, "/b", StatusCode::OK, took);
        });
        let rendered = recorder.handle().render();
        let counted = |method: &str, route: &str, status: &str, times: usize| {
            let line = format!(
                "{NAME}_count{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {times}\n"
            );
            assert!(rendered.contains(&line), "{line}{rendered}");
        };
        counted("GET", "/a", "200", 2);
        counted("GET", "/a", "404", 1);
        counted("PUT", "/a", "200", 1);
        counted("GET", "/b", "200", 1);
        counted("other", "/b", "200", 1);
    }
}
