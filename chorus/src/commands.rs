//! The write side for operator commands: without a server, on the stores of one that may be running.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use command_api::{Commands, ReservedUsernames};
use events::{MasterKeys, ProgressTracker};
use service::clock;
use service::config::{LogSettings, MediaSettings, PlaceSettings, Problems, SameSite, Secret};
use service::shutdown::Tasks;
use web::limits::Limits;
use web::session_cookies::SessionCookies;
use web::tokens::SigningKeys;

/// Opens log and media store.
///
/// # Errors
/// If the master key is missing, or a store cannot be opened.
pub(crate) async fn open(
    place: &PlaceSettings,
    log: &LogSettings,
    media: &MediaSettings,
) -> Result<Commands> {
    let mut problems = Problems::default();
    let make = || Secret::new(MasterKeys::generate().as_str());
    let parse = |text: &Secret| MasterKeys::parse(text.reveal());
    place.prepare().with_context(|| format!("creating the folder {}", place.data.display()))?;
    let master = log.master_keys().read(place, make, parse, &mut problems);
    problems.none_or()?;
    let master = master.context("the master key is missing")?;
    let credentials = log.place.nats_credentials_file.clone();
    let log = events::open_sealed(&log.place.url(place), credentials, &master)
        .await
        .context("opening the event log")?;
    let media = media::open(&media.url(place))
        .await
        .map_err(anyhow::Error::msg)
        .context("opening the media store")?;
    let (tracker, _) = ProgressTracker::follow(&**log.raw());
    Ok(Commands::new(command_api::Parts {
        log,
        tracker,
        // Unused: nothing waits for views.
        view_wait: Duration::ZERO,
        media,
        // Unused: this process serves no log-ins.
        signing: Arc::new(SigningKeys::parse(&SigningKeys::generate())?),
        clock: clock::system(),
        session_length: chrono::TimeDelta::zero(),
        session_cookies: Arc::new(SessionCookies::new([], SameSite::Lax)),
        reserved_usernames: ReservedUsernames::with([]),
        limits: Limits::none(),
        public_url: String::new(),
        uploads: None,
        tasks: Tasks::default(),
    })?)
}
