//! Sessions: which are good, and what their owner sees of them.

use events::{AccountEvent, Event, Kind, Recorded, SessionEvent};
use serde_json::json;
use views::sessions::{BY_USER, Session, VIEW};
use views::{Patch, StoreError, Writes};

use super::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Sessions;

impl Projection for Sessions {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Session, Kind::Account]
    }

    /// A session that does not end is a danger.
    fn on_failure(&self) -> OnFailure {
        OnFailure::Stop
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Session(SessionEvent::SessionStarted(event)) => {
                let client = event.client.open();
                writes.put(&Session {
                    session: event.session.to_string(),
                    user: event.user.to_string(),
                    started: time(recorded),
                    expires: event.expires.timestamp_millis(),
                    device: client.map(|client| client.device.clone()).unwrap_or_default(),
                    address: client.map(|client| client.address.clone()).unwrap_or_default(),
                    ended: false,
                    position: position(recorded),
                })?;
            }
            Event::Session(SessionEvent::SessionEnded(event)) => {
                writes.patch::<Session>(event.session.to_string(), Patch::default().set("ended", true));
            }
            Event::Account(AccountEvent::Erased(event)) => {
                for ended in [false, true] {
                    writes.delete_where::<Session>(&BY_USER, vec![json!(event.user), json!(ended)]);
                }
            }
            Event::Account(_) => {}
            Event::Username(_)
            | Event::Email(_)
            | Event::Profile(_)
            | Event::Post(_)
            | Event::Comment(_)
            | Event::Like(_)
            | Event::Follow(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use events::{
        Client, Erased, Personal, SessionEndReason, SessionEnded, SessionId, SessionStarted, UserId,
    };
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::projections::testing::{ANN, BOB, built};

    fn started(user: UserId, session: u128) -> Event {
        let client = Client { device: "Firefox".into(), address: "192.0.2.7".into() };
        let session = SessionId::new(Uuid::from_u128(session));
        let expires = DateTime::from_timestamp_millis(5).unwrap();
        SessionStarted { user, session, expires, client: Personal::Open(client) }.into()
    }

    fn ended(user: UserId, session: u128) -> Event {
        let session = SessionId::new(Uuid::from_u128(session));
        SessionEnded { user, session, reason: SessionEndReason::LoggedOut }.into()
    }

    #[tokio::test]
    async fn sessions_run_until_they_end() {
        let history = [started(ANN, 1), started(ANN, 2), started(BOB, 3), ended(ANN, 1)];
        let built = built(&Sessions, history).await;
        let of = async |user: UserId, ended: bool| {
            let query = Query::new(&VIEW, &BY_USER, vec![json!(user), json!(ended)], 10);
            let page = built.store.page_of::<Session>(query).await.unwrap();
            page.documents.into_iter().map(|session| session.position).collect::<Vec<_>>()
        };
        assert_eq!(
            (of(ANN, false).await, of(ANN, true).await, of(BOB, false).await),
            (vec![2], vec![1], vec![3])
        );
    }

    #[tokio::test]
    async fn who_is_erased_has_no_sessions() {
        let history =
            [started(ANN, 1), started(ANN, 2), started(BOB, 3), ended(ANN, 1), Erased { user: ANN }.into()];
        let built = built(&Sessions, history).await;
        assert_eq!(built.store.sizes().await.unwrap()["sessions"].documents, 1);
    }
}
