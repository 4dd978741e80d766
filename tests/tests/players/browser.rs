//! Pages of our own in a headless Chromium. A page is served from an origin of its own, and posts one report when it is done.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tests::folder::Folder;
use tests::servers::{ServerProcess, player};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

/// How long a page may take on a busy machine.
const PAGE_LIMIT: Duration = Duration::from_mins(3);

/// The pages under `tests/pages`, on a port that is their origin.
#[derive(Debug)]
pub(crate) struct Pages {
    port: u16,
    report: Mutex<oneshot::Receiver<Value>>,
}

type Reported = Arc<Mutex<Option<oneshot::Sender<Value>>>>;

impl Pages {
    pub(crate) async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, receiver) = oneshot::channel();
        let take = async |State(reported): State<Reported>, Json(report): Json<Value>| {
            if let Some(sender) = reported.lock().await.take() {
                // Fails only if the test is over.
                let _ = sender.send(report);
            }
            StatusCode::NO_CONTENT
        };
        let routes = Router::new()
            .route("/seeking.html", get(async || Html(include_str!("../../pages/seeking.html"))))
            .route("/spotifymern.html", get(async || Html(include_str!("../../pages/spotifymern.html"))))
            .route("/report", post(take))
            .with_state(Arc::new(Mutex::new(Some(sender))));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { port, report: Mutex::new(receiver) }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What the page has reported.
    pub(crate) async fn report(&self, browser: &Browser) -> Value {
        let mut report = self.report.lock().await;
        let reported = timeout(PAGE_LIMIT, &mut *report).await;
        reported
            .unwrap_or_else(|elapsed| {
                panic!("{elapsed}: no report from the page:\n{}", browser.process.printed())
            })
            .unwrap()
    }
}

/// A browser that shows one page.
#[derive(Debug)]
pub(crate) struct Browser {
    process: ServerProcess,
    _folder: Folder,
}

impl Browser {
    /// Opens a page, which reads `input` from its address.
    pub(crate) fn open(pages: &Pages, page: &str, input: &Value) -> Result<Self> {
        let folder = Folder::new()?;
        let input = serde_json::to_string(input)?.replace('%', "%25").replace('"', "%22").replace(' ', "%20");
        let arguments = [
            // Its sandbox needs rights that a container may lack; it shows nothing but our own page.
            "--no-sandbox".to_owned(),
            "--autoplay-policy=no-user-gesture-required".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-background-networking".to_owned(),
            "--enable-logging=stderr".to_owned(),
            // Keeps it open.
            "--remote-debugging-port=0".to_owned(),
            format!("--user-data-dir={}", folder.path().join("profile").display()),
            format!("{}/{page}#{input}", pages.origin()),
        ];
        let home = [("HOME".to_owned(), folder.path().display().to_string())];
        let log = folder.path().join("chromium.log");
        let process = ServerProcess::start(&chromium()?, &arguments, &home, &log)?;
        Ok(Self { process, _folder: folder })
    }
}

fn chromium() -> Result<PathBuf> {
    player("chromium-headless-shell")
}
