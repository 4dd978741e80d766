//! Both sides in one process, on the same log, views and media.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use command_api::{Commands, ReservedUsernames};
use events::{ProgressTracker, SealedLog};
use media::MediaStore;
use query_api::Queries;
use service::clock;
use service::config::{HttpSettings, LimitSettings, SigningSettings};
use service::shutdown::Tasks;
use views::ViewStore;
use web::limits::{Limits, MonotonicClock};
use web::session_cookies::SessionCookies;
use web::sessions::FixedKeys;
use web::tokens::{SigningKeys, VerifyingKeys};

use crate::Apps;

/// What both sides are built from.
#[derive(Debug)]
pub struct Parts<'a> {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
    pub media: Arc<dyn MediaStore>,
    pub tracker: ProgressTracker,
    pub signing: SigningKeys,
    pub reserved_usernames: ReservedUsernames,
    pub http_settings: &'a HttpSettings,
    pub limit_settings: &'a LimitSettings,
    pub signing_settings: &'a SigningSettings,
    /// The folder for uploads and the storage quota, if this process serves uploads.
    pub uploads: Option<(PathBuf, u64)>,
    pub tasks: &'a Tasks,
}

impl Apps {
    /// Builds both sides, and starts to follow the log.
    ///
    /// # Errors
    /// If the log cannot be followed, or the system provides no random numbers.
    pub async fn start(parts: Parts<'_>) -> Result<Self> {
        let Parts { log, store, media, tracker, signing, reserved_usernames, tasks, .. } = parts;
        let (http, signing_settings) = (parts.http_settings, parts.signing_settings);
        let raw_log = Arc::clone(log.raw());
        let keys = FixedKeys(Arc::new(VerifyingKeys::of(signing.public())));
        let session_cookies = Arc::new(SessionCookies::configured(http, signing_settings.cookie_same_site));
        let commands = Commands::new(command_api::Parts {
            log,
            tracker: tracker.clone(),
            view_wait: http.view_wait(),
            media: Arc::clone(&media),
            signing: Arc::new(signing),
            clock: clock::system(),
            session_length: signing_settings.session_length(),
            session_cookies: Arc::clone(&session_cookies),
            reserved_usernames,
            limits: Limits::new(parts.limit_settings, MonotonicClock::default()),
            public_url: http.public_url(),
            uploads: parts.uploads,
            tasks: tasks.clone(),
        })?;
        let queries = Queries::new(query_api::Parts {
            log: raw_log,
            store,
            tracker,
            view_wait: http.view_wait(),
            media,
            keys: Arc::new(keys),
            clock: clock::system(),
            public_url: http.public_url(),
            session_cookies,
            last_seen_sender: Some(commands.last_seen_sender()),
        });
        commands.follow_log(tasks).await.context("following the event log")?;
        queries.follow_log(tasks).await.context("following the event log")?;
        Ok(Self { commands, queries })
    }
}
