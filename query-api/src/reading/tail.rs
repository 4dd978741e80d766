//! Follows the log for starts and ends of sessions.

use std::sync::Arc;

use events::{AccountsEvent, Batch, Event, Filter, Kind, LogError, Position, Recorded, SessionEvent};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use views::StoreError;
use views::accounts::sessions::VIEW;
use web::health::{Check, check};
use web::sessions::{ActiveSession, SessionRevocation};

use crate::Queries;

/// Maximum number of events per batch.
const BATCH: usize = 500;

impl Queries {
    /// Starts to follow the log, from the checkpoint of the session view until shutdown. If that view is not built yet, it
    /// follows as soon as it is; until then no session is accepted.
    ///
    /// # Errors
    /// If the view store holds invalid data.
    pub async fn follow_log(&self, tasks: &Tasks) -> Result<(), StoreError> {
        let known = match self.store.checkpoint(VIEW.name).await {
            Ok(checkpoint) => {
                self.sessions.accept();
                Some(checkpoint)
            }
            Err(error) if error.is_outage() => None,
            Err(error) => return Err(error),
        };
        let queries = self.clone();
        tasks.spawn_until_stopping("tail of the read side", async move {
            if let Err(error) = queries.follow_from(known).await {
                tracing::error!(error, "cannot follow the log any further: restart this process");
            }
        });
        Ok(())
    }

    /// From a position, or else from the checkpoint of the session view once it is there.
    async fn follow_from(&self, known: Option<u64>) -> Result<(), String> {
        let checkpoint = || self.store.checkpoint(VIEW.name);
        let from = match known {
            Some(known) => known,
            None => {
                let from =
                    retry_until_available("the view of sessions", checkpoint, StoreError::is_outage).await;
                let from = from.map_err(|error| with_causes(&error))?;
                // What the view says from now on is at least of this position, and everything after it is followed.
                self.sessions.accept();
                from
            }
        };
        self.listen(Position(from)).await.map_err(|error| with_causes(&error))
    }

    /// For `/readyz`.
    pub fn check_views(&self) -> Check {
        let store = Arc::clone(&self.store);
        check(move || {
            let store = Arc::clone(&store);
            async move { store.check().await.map_err(|error| with_causes(&error)) }
        })
    }

    /// For `/readyz`.
    pub fn check_media(&self) -> Check {
        let media = Arc::clone(&self.media);
        check(move || {
            let media = Arc::clone(&media);
            async move { media.check().await.map_err(|error| with_causes(&error)) }
        })
    }

    async fn listen(&self, from: Position) -> Result<(), LogError> {
        let mut follow = self.log.listen(Filter::kinds(&[Kind::Session, Kind::Account]), from);
        while let Some(batch) = follow.next_batch(BATCH).await {
            let Batch { events, unreadable, .. } = batch?;
            for unreadable in unreadable {
                tracing::error!(error = with_causes(&unreadable.error), "an event cannot be decoded");
            }
            for stored in events {
                match Recorded::sealed(stored) {
                    Ok(recorded) => self.apply(&recorded),
                    // A newer program may write unknown events; the known ones must still be processed.
                    Err(error) => {
                        tracing::error!(error = with_causes(&error), "an event cannot be decoded");
                    }
                }
            }
        }
        Ok(())
    }

    fn apply(&self, recorded: &Recorded) {
        let position = recorded.position.0;
        match &recorded.event {
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionStarted(event))) => {
                let seen = recorded.envelope.time;
                let active = ActiveSession { began: position, seen };
                self.sessions.record(event.user, event.session, Some(active));
            }
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionSeen(event))) => {
                let seen = recorded.envelope.time;
                self.sessions.record(
                    event.user,
                    event.session,
                    Some(ActiveSession { began: event.since.0, seen }),
                );
            }
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionEnded(event))) => {
                self.sessions.record(event.user, event.session, None);
                self.authenticator.end(event.session);
            }
            Event::Accounts(AccountsEvent::Account(event)) => {
                if let Some(kept) = event.ends_sessions_but() {
                    let revocation = SessionRevocation { position, kept };
                    self.authenticator.end_all(event.user(), revocation);
                }
            }
            // Not in the filter.
            _ => {}
        }
    }
}
