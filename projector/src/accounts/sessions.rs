//! Sessions: which are valid, and what their owner sees of them.

use events::{AccountEvent, AccountsEvent, Client, Event, Kind, Recorded, SessionEvent, UserId};
use serde_json::json;
use views::accounts::sessions::{BY_USER, Session, VIEW};
use views::{Copy, FanOut, KeyPart, Patch, StoreError, View, Writes};

use crate::accounts::markers;
use crate::engine::projection::{position, time};
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

    /// A session that does not end is a security risk.
    fn on_failure(&self) -> OnFailure {
        OnFailure::Stop
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let Event::Accounts(AccountsEvent::Session(SessionEvent::SessionStarted(event))) = &recorded.event
        else {
            return Vec::new();
        };
        vec![markers::account_key(&VIEW, event.user)]
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionStarted(event))) => {
                // Sessions of erased users are not shown.
                let Some(Client { device, address }) = event.client.open() else { return Ok(()) };
                // The event may follow a concurrent erasure.
                if markers::is_erased(&VIEW, event.user, writes)? {
                    return Ok(());
                }
                writes.put(&Session {
                    session: event.session.to_string(),
                    user: event.user.to_string(),
                    started: time(recorded),
                    seen: time(recorded),
                    expires: event.expires.timestamp_millis(),
                    device: device.clone(),
                    device_family: without_versions(device),
                    address: address.clone(),
                    ended: false,
                    position: position(recorded),
                })?;
            }
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionSeen(event))) => {
                let patch = Patch::default().set("seen", time(recorded));
                writes.patch::<Session>(event.session.to_string(), patch);
            }
            Event::Accounts(AccountsEvent::Session(SessionEvent::SessionEnded(event))) => {
                writes.patch::<Session>(event.session.to_string(), Patch::default().set("ended", true));
            }
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
                for ended in [false, true] {
                    writes.delete_where::<Session>(&BY_USER, vec![json!(event.user), json!(ended)]);
                }
                markers::mark_erased(&VIEW, event.user, writes);
            }
            Event::Accounts(AccountsEvent::Account(event)) => {
                if let Some(kept) = event.ends_sessions_but() {
                    end_all(writes, event.user());
                    if let Some(kept) = kept {
                        writes.patch::<Session>(kept.to_string(), Patch::default().set("ended", false));
                    }
                }
            }
            Event::Accounts(
                AccountsEvent::Username(_) | AccountsEvent::Email(_) | AccountsEvent::Profile(_),
            )
            | Event::Social(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

/// Rewrites every active session of a user as ended.
fn end_all(writes: &mut Writes, user: UserId) {
    let same =
        ["session", "user", "started", "seen", "expires", "device", "device_family", "address", "position"];
    writes.fan_out(FanOut {
        over: &VIEW,
        index: &BY_USER,
        equals: vec![json!(user), json!(false)],
        limit: None,
        into: &VIEW,
        key: vec![KeyPart::Field("session")],
        document: [("ended".to_owned(), json!(true))].into_iter().collect(),
        copies: same.map(|field| Copy { from: field, to: field }).to_vec(),
    });
}

fn without_versions(device: &str) -> String {
    device.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | '_')).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use events::{
        Erased, PasswordChangeReason, PasswordChanged, Personal, Role, RoleGranted, SessionEndReason,
        SessionEnded, SessionId, SessionStarted,
    };
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, built};

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
    async fn session_is_listed_as_active_until_it_ends() {
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
    async fn password_change_ends_other_sessions_and_a_rehash_none() {
        let changed = |reason, kept: Option<u128>| {
            let kept = kept.map(|session| SessionId::new(Uuid::from_u128(session)));
            PasswordChanged { user: ANN, password_hash: Personal::Open("$".into()), reason, kept }.into()
        };
        let history = [
            started(ANN, 1),
            started(ANN, 2),
            started(BOB, 3),
            changed(PasswordChangeReason::Chosen, Some(2)),
            started(ANN, 4),
            changed(PasswordChangeReason::Rehashed, None),
        ];
        let built = built(&Sessions, history).await;
        let running = async |user: UserId| {
            let query = Query::new(&VIEW, &BY_USER, vec![json!(user), json!(false)], 10);
            let page = built.store.page_of::<Session>(query).await.unwrap();
            page.documents.into_iter().map(|session| session.position).collect::<Vec<_>>()
        };
        assert_eq!((running(ANN).await, running(BOB).await), (vec![5, 2], vec![3]));
        let ended: Session =
            built.store.get(&SessionId::new(Uuid::from_u128(1)).to_string()).await.unwrap().unwrap();
        assert!(ended.ended && ended.device == "Firefox" && ended.position == 1, "{ended:?}");
    }

    #[tokio::test]
    async fn role_change_ends_all_sessions() {
        let history = [started(ANN, 1), RoleGranted { user: ANN, role: Role::Admin }.into(), started(ANN, 2)];
        let built = built(&Sessions, history).await;
        let query = Query::new(&VIEW, &BY_USER, vec![json!(ANN), json!(false)], 10);
        let page = built.store.page_of::<Session>(query).await.unwrap();
        assert_eq!(page.documents.iter().map(|session| session.position).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn browser_update_keeps_the_device_family() {
        let firefox = |version| {
            format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}) Gecko/20100101 Firefox/{version}")
        };
        assert_eq!(without_versions(&firefox("128.0")), without_versions(&firefox("131.0.2")));
        let on_windows = firefox("128.0").replace("X11; Linux x86_64", "Windows NT 10.0");
        assert_ne!(without_versions(&firefox("128.0")), without_versions(&on_windows));
    }

    #[tokio::test]
    async fn erased_user_has_no_sessions() {
        let history =
            [started(ANN, 1), started(ANN, 2), started(BOB, 3), ended(ANN, 1), Erased { user: ANN }.into()];
        let built = built(&Sessions, history).await;
        assert_eq!(built.count(&VIEW).await, 1);
    }

    /// Commands read the account without a lock.
    #[tokio::test]
    async fn session_concurrent_with_the_erasure_of_its_user_is_ignored() {
        let built = built(&Sessions, [Erased { user: ANN }.into(), started(ANN, 1)]).await;
        assert_eq!(built.count(&VIEW).await, 0);
    }
}
