//! The search index of users: words of names, all parts of usernames, and random keys. Deactivated and suspended
//! users are not found until they are active again.

use events::{AccountEvent, AccountsEvent, Event, Kind, ProfileEvent, Recorded, UserId};
use serde_json::json;
use views::accounts::profiles::AccountStatus;
use views::accounts::search::{
    BY_SOURCE, List, Source, Term, VIEW, random_key, terms_of_name, terms_of_username,
};
use views::{Document, Patch, PatchEach, StoreError, View, Writes};

use super::profiles::status_after;
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Search;

impl Projection for Search {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Account, Kind::Profile]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            // Inactive users can change names, and must not be found afterwards.
            Event::Accounts(AccountsEvent::Account(AccountEvent::UsernameChanged(event))) => {
                vec![(&VIEW, random_key_term(event.user).key())]
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::ProfileEdited(event))) => {
                vec![(&VIEW, random_key_term(event.user).key())]
            }
            Event::Accounts(
                AccountsEvent::Account(_)
                | AccountsEvent::Profile(_)
                | AccountsEvent::Username(_)
                | AccountsEvent::Email(_)
                | AccountsEvent::Session(_),
            )
            | Event::Social(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes)?,
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::ProfileEdited(event))) => {
                if let Some(details) = event.details.open() {
                    let terms = terms_of_name(&details.firstname, &details.lastname);
                    replace(writes, event.user, Source::Name, terms)?;
                }
            }
            Event::Accounts(
                AccountsEvent::Profile(_)
                | AccountsEvent::Username(_)
                | AccountsEvent::Email(_)
                | AccountsEvent::Session(_),
            )
            | Event::Social(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

fn account(event: &AccountEvent, writes: &mut Writes) -> Result<(), StoreError> {
    match event {
        AccountEvent::SignedUp(event) => {
            if let Some(person) = event.person.open() {
                let name = terms_of_name(&person.firstname, &person.lastname);
                put(writes, event.user, Source::Username, terms_of_username(&person.username), true)?;
                put(writes, event.user, Source::Name, name, true)?;
                writes.put(&random_key_term(event.user))?;
            }
        }
        AccountEvent::UsernameChanged(event) => {
            if let Some(spelling) = event.spelling.open() {
                replace(writes, event.user, Source::Username, terms_of_username(spelling))?;
            }
        }
        AccountEvent::Erased(event) => {
            // Also deleted by key, so that later events of the batch see it.
            writes.delete::<Term>(random_key_term(event.user).key());
            for source in Source::ALL {
                writes.delete_where::<Term>(&BY_SOURCE, vec![json!(event.user), json!(source)]);
            }
        }
        AccountEvent::Deactivated(_)
        | AccountEvent::Suspended(_)
        | AccountEvent::Reactivated(_)
        | AccountEvent::Reinstated(_) => {
            if let Some(status) = status_after(event) {
                stand(writes, event.user(), status == AccountStatus::Active);
            }
        }
        AccountEvent::EmailVerificationRequested(_)
        | AccountEvent::EmailVerified(_)
        | AccountEvent::SessionsEnded(_)
        | AccountEvent::PasswordChanged(_)
        | AccountEvent::PasswordResetRequested(_)
        | AccountEvent::EmailChangeRequested(_)
        | AccountEvent::EmailChanged(_)
        | AccountEvent::RoleGranted(_)
        | AccountEvent::RoleRevoked(_)
        | AccountEvent::ClaimAbandoned(_) => {}
    }
    Ok(())
}

/// Each user has exactly one random key. Its `active` equals that of all their terms.
fn random_key_term(user: UserId) -> Term {
    let user = user.to_string();
    Term { term: random_key(&user), user, list: List::RandomKeys, source: Source::Id, active: true }
}

fn stand(writes: &mut Writes, user: UserId, active: bool) {
    let patch = Patch::default().set("active", active);
    // Also patched by key, so that later events of the batch see it.
    writes.patch::<Term>(random_key_term(user).key(), patch.clone());
    for source in Source::ALL {
        writes.patch_each(PatchEach {
            over: &VIEW,
            index: &BY_SOURCE,
            equals: vec![json!(user), json!(source)],
            into: &VIEW,
            key: None,
            patch: patch.clone(),
        });
    }
}

/// Skips erased users.
fn replace(
    writes: &mut Writes,
    user: UserId,
    source: Source,
    terms: Vec<(List, String)>,
) -> Result<(), StoreError> {
    let Some(Term { active, .. }) = writes.get(&random_key_term(user).key())? else { return Ok(()) };
    writes.delete_where::<Term>(&BY_SOURCE, vec![json!(user), json!(source)]);
    put(writes, user, source, terms, active)
}

fn put(
    writes: &mut Writes,
    user: UserId,
    source: Source,
    terms: Vec<(List, String)>,
    active: bool,
) -> Result<(), StoreError> {
    let user = user.to_string();
    let put = |(list, term)| writes.put(&Term { term, user: user.clone(), list, source, active });
    terms.into_iter().try_for_each(put)
}

#[cfg(test)]
mod tests {
    use events::{
        Deactivated, Erased, Personal, ProfileDetails, ProfileEdited, Reactivated, Reinstated, Suspended,
        UsernameChanged,
    };
    use views::accounts::search::random_keys_from;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, built, signed_up};

    async fn of(built: &Built, query: Query) -> Vec<(String, bool)> {
        let page = built.store.page_of::<Term>(query).await.unwrap();
        page.documents.into_iter().map(|term| (term.term, term.user == ANN.to_string())).collect()
    }

    async fn found(built: &Built, prefix: &str) -> Vec<(String, bool)> {
        of(built, List::Words.query(50).with_prefix(prefix)).await
    }

    #[tokio::test]
    async fn users_are_found_by_prefixes_of_their_names() {
        let built = built(&Search, [signed_up(ANN, "Ann_Lee.7"), signed_up(BOB, "bob")]).await;
        assert_eq!(found(&built, "ann_l").await, [("ann_lee.7".to_owned(), true)]);
        assert_eq!(found(&built, "lee").await, [("lee".to_owned(), true)]);
        assert_eq!(found(&built, "elan").await.len(), 2, "both are called Élan");
        assert_eq!(found(&built, "bo").await, [("bob".to_owned(), false)]);
        assert_eq!(of(&built, List::Usernames.query(9).with_prefix("lee")).await, []);
        let part = List::Endings.query(9).with_prefix("n_le");
        assert_eq!(of(&built, part).await, [("n_lee.7".to_owned(), true)]);
    }

    fn renamed(user: UserId, name: &str) -> Event {
        let username = "00000000000000000000000000000003".parse().unwrap();
        UsernameChanged { user, username, spelling: Personal::Open(name.into()) }.into()
    }

    fn edited(user: UserId, firstname: &str) -> Event {
        let details = ProfileDetails { firstname: firstname.into(), ..ProfileDetails::default() };
        ProfileEdited { user, details: Personal::Open(details) }.into()
    }

    #[tokio::test]
    async fn renamed_user_is_found_by_the_new_name_only() {
        let history = [signed_up(ANN, "ann"), renamed(ANN, "cat"), edited(ANN, "Zoë")];
        let view = built(&Search, history.clone()).await;
        for (prefix, hits) in [("ann", 0), ("marie", 0), ("elan", 0), ("cat", 1), ("zoe", 1)] {
            assert_eq!(found(&view, prefix).await.len(), hits, "{prefix}");
        }
        let erased: Event = Erased { user: ANN }.into();
        let view = built(&Search, history.into_iter().chain([erased, renamed(ANN, "ann")])).await;
        assert_eq!(view.store.sizes().await.unwrap()["search"].documents, 0);
    }

    #[tokio::test]
    async fn inactive_user_is_not_found() {
        let mut history = vec![signed_up(ANN, "ann"), signed_up(BOB, "bob")];
        let all = async |history: &Vec<Event>| {
            let view = built(&Search, history.clone()).await;
            let part = List::Endings.query(9).with_prefix("a");
            (
                found(&view, "").await.len(),
                of(&view, part).await.len(),
                of(&view, random_keys_from(0, 9)).await.len(),
            )
        };
        assert_eq!(all(&history).await, (8, 1, 2));
        history.push(Deactivated { user: ANN }.into());
        history.push(renamed(ANN, "anna"));
        history.push(edited(ANN, "Anna"));
        assert_eq!(all(&history).await, (4, 0, 1), "nor by the names chosen meanwhile");
        history.push(Reactivated { user: ANN }.into());
        assert_eq!(all(&history).await, (6, 2, 2));
        history.push(Suspended { user: ANN, reason: Personal::Erased }.into());
        history.push(edited(BOB, ""));
        assert_eq!(all(&history).await, (1, 0, 1));
        history.push(Reinstated { user: ANN }.into());
        assert_eq!(all(&history).await, (3, 2, 2));
    }
}
