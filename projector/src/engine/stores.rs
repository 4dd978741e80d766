use std::sync::Arc;

use anyhow::{Context, Result};
use events::{MasterKeys, SealedLog};
use media::MediaStore;
use service::config::{LogSettings, LostEventsSettings, MediaSettings, PlaceSettings, ViewSettings};
use service::retry::retry_until_available;
use views::{StoreError, Views};

use super::log::head;
use super::lost_events::{LostEvents, refuse_lost_events};

/// Settings of the stores that projections and reactions use.
#[derive(Debug, Clone, Copy)]
pub struct StoreSettings<'a> {
    pub place: &'a PlaceSettings,
    pub log: &'a LogSettings,
    pub views: &'a ViewSettings,
    pub media: &'a MediaSettings,
    pub lost_events: &'a LostEventsSettings,
}

impl StoreSettings<'_> {
    /// Opens log, views and media, refuses a log that has lost events, and registers families of views that are new. Waits for
    /// log and views during outages.
    ///
    /// # Errors
    /// If a store cannot be opened, or the log has lost events.
    pub async fn open(self, master: &MasterKeys) -> Result<(SealedLog, Views, Arc<dyn MediaStore>)> {
        let (log_url, views_url) = (self.log.place.url(self.place), self.views.url(self.place));
        let credentials = &self.log.place.nats_credentials_file;
        let open_log = || events::open_sealed(&log_url, credentials.clone(), master);
        let log = retry_until_available("the event log", open_log, events::OpenError::is_outage)
            .await
            .context("opening the event log")?;
        let open_views = || views::open(&views_url);
        let store = retry_until_available("the view store", open_views, views::OpenError::is_outage)
            .await
            .context("opening the view store")?;
        let media = media::open(&self.media.url(self.place))
            .await
            .map_err(anyhow::Error::msg)
            .context("opening the media store")?;
        let accepted = self.lost_events.accept_lost_events;
        let compare = || refuse_lost_events(&log, &store, &*media, accepted);
        retry_until_available("the event log and the view store", compare, LostEvents::is_outage)
            .await
            .context("comparing the event log with views, keys and media")?;
        let head = head(&**log.raw()).await.context("reading the end of the event log")?;
        let register = || store.register(head.0);
        retry_until_available("the view store", register, StoreError::is_outage)
            .await
            .context("registering the generations of the views")?;
        Ok((log, store, media))
    }
}
