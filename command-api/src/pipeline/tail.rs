//! Follows the log to end sessions, to drop the keys of erased users and to invalidate the subject cache.

use std::sync::{Arc, PoisonError};

use events::{
    AccountEvent, AccountsEvent, Batch, Event, Filter, Kind, LogError, MailsEvent, Position, Recorded,
    SessionEvent, SocialEvent,
};
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use web::health::{Check, check, detailed_check};

use crate::Commands;
use crate::accounts::sessions::revocation;
use crate::pipeline::subject_cache;

/// Events per batch.
const BATCH: usize = 500;

impl Commands {
    /// Follows the log from its end until the process shuts down, and starts what else a serving process does regularly.
    ///
    /// # Errors
    /// If the log cannot be reached now.
    pub async fn follow_log(&self, tasks: &Tasks) -> Result<(), LogError> {
        let (commands, from) = (self.clone(), self.log.raw().head().await?);
        tasks.spawn_until_stopping("tail of the write side", async move {
            if let Err(error) = commands.listen(from).await {
                tracing::error!(
                    error = with_causes(&error),
                    "cannot follow the log any further: restart this process"
                );
            }
        });
        if self.uploads.is_some() {
            let commands = self.clone();
            tasks.spawn_until_stopping("abandoned uploads", async move {
                if let Some(spool) = &commands.uploads {
                    spool.collect_regularly(&*commands.clock).await;
                }
            });
        }
        let used = self.last_seen_receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(used) = used {
            let commands = self.clone();
            tasks.spawn_until_stopping("last use of sessions", async move {
                commands.record_last_seen(used).await;
            });
        }
        Ok(())
    }

    /// For `/readyz`.
    pub fn check_log(&self) -> Check {
        let log = self.log.clone();
        detailed_check(move || {
            let log = log.clone();
            async move { log.health().await }
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
        let mut kinds = vec![Kind::Session];
        kinds.extend_from_slice(subject_cache::KINDS);
        let mut follow = self.log.raw().listen(Filter::kinds(&kinds), from);
        while let Some(batch) = follow.next_batch(BATCH).await {
            let Batch { events, unreadable, .. } = batch?;
            for unreadable in unreadable {
                tracing::error!(error = with_causes(&unreadable.error), "an event cannot be decoded");
            }
            for stored in events {
                let (subject, position) = (stored.message.envelope.subject, stored.position);
                self.subject_cache.changed(subject, position);
                if !matches!(subject.kind(), Kind::Session | Kind::Account) {
                    continue;
                }
                match Recorded::sealed(stored) {
                    Ok(recorded) => self.apply_event(&recorded),
                    // A newer version may write events that are unknown here. The others must still be applied.
                    Err(error) => {
                        tracing::error!(error = with_causes(&error), "an event cannot be decoded");
                    }
                }
            }
        }
        Ok(())
    }

    fn apply_event(&self, recorded: &Recorded) {
        match &recorded.event {
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionEnded(event))) => {
                self.authenticator.end(event.session);
            }
            Event::Accounts(AccountsEvent::Account(event)) => {
                if let Some(revocation) = revocation(event, recorded.position) {
                    self.authenticator.end_all(event.user(), revocation);
                }
                if let AccountEvent::Erased(event) = event {
                    self.log.keys().forget(event.user);
                }
            }
            Event::Accounts(AccountsEvent::Session(
                SessionEvent::SessionStarted(_) | SessionEvent::SessionSeen(_),
            )) => {}
            Event::Accounts(
                AccountsEvent::Username(_) | AccountsEvent::Email(_) | AccountsEvent::Profile(_),
            )
            | Event::Social(
                SocialEvent::Post(_)
                | SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::Story(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Music(_)
            | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_))
            | Event::Operations(_) => {}
        }
    }
}
