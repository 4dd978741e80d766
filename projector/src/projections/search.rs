//! People by the words of their names.

use std::collections::BTreeSet;

use events::{AccountEvent, Event, Kind, ProfileEvent, Recorded, UserId};
use serde_json::json;
use views::search::{BY_SOURCE, Source, Term, VIEW, folded_words};
use views::{StoreError, Writes};

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

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Account(AccountEvent::SignedUp(event)) => {
                if let Some(person) = event.person.open() {
                    put(writes, event.user, Source::Username, &[&person.username])?;
                    put(writes, event.user, Source::Name, &[&person.firstname, &person.lastname])?;
                }
            }
            Event::Account(AccountEvent::UsernameChanged(event)) => {
                if let Some(spelling) = event.spelling.open() {
                    replace(writes, event.user, Source::Username, &[spelling])?;
                }
            }
            Event::Profile(ProfileEvent::ProfileEdited(event)) => {
                if let Some(details) = event.details.open() {
                    replace(writes, event.user, Source::Name, &[&details.firstname, &details.lastname])?;
                }
            }
            Event::Account(AccountEvent::Erased(event)) => {
                for source in Source::ALL {
                    writes.delete_where::<Term>(&BY_SOURCE, vec![json!(event.user), json!(source)]);
                }
            }
            Event::Account(_) | Event::Profile(_) => {}
            Event::Username(_)
            | Event::Email(_)
            | Event::Session(_)
            | Event::Post(_)
            | Event::Comment(_)
            | Event::Like(_)
            | Event::Follow(_)
            | Event::Story(_)
            | Event::StoryView(_)
            | Event::Notifications(_)
            | Event::Save(_)
            | Event::Collection(_)
            | Event::Mail(_)
            | Event::Mailbox(_) => {}
        }
        Ok(())
    }
}

fn replace(writes: &mut Writes, user: UserId, source: Source, texts: &[&str]) -> Result<(), StoreError> {
    writes.delete_where::<Term>(&BY_SOURCE, vec![json!(user), json!(source)]);
    put(writes, user, source, texts)
}

fn put(writes: &mut Writes, user: UserId, source: Source, texts: &[&str]) -> Result<(), StoreError> {
    let words: BTreeSet<String> = texts.iter().flat_map(|text| folded_words(text)).collect();
    words.into_iter().try_for_each(|term| writes.put(&Term { term, user: user.to_string(), source }))
}

#[cfg(test)]
mod tests {
    use events::{Erased, Personal, ProfileDetails, ProfileEdited, UsernameChanged};
    use views::search::BY_TERM;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::projections::testing::{ANN, BOB, Built, built, signed_up};

    async fn found(built: &Built, prefix: &str) -> Vec<(String, bool)> {
        let query = Query::new(&VIEW, &BY_TERM, Vec::new(), 50).with_prefix(prefix);
        let page = built.store.page_of::<Term>(query).await.unwrap();
        page.documents.into_iter().map(|term| (term.term, term.user == ANN.to_string())).collect()
    }

    #[tokio::test]
    async fn people_are_found_by_the_beginnings_of_their_names() {
        let built = built(&Search, [signed_up(ANN, "Ann_Lee.7"), signed_up(BOB, "bob")]).await;
        assert_eq!(found(&built, "ann_l").await, [("ann_lee.7".to_owned(), true)]);
        assert_eq!(found(&built, "lee").await, [("lee".to_owned(), true)]);
        assert_eq!(found(&built, "elan").await.len(), 2, "both are called Élan");
        assert_eq!(found(&built, "bo").await, [("bob".to_owned(), false)]);
    }

    #[tokio::test]
    async fn who_changes_a_name_is_found_by_the_new_one_only() {
        let username = "00000000000000000000000000000003".parse().unwrap();
        let details = ProfileDetails { firstname: "Zoë".into(), ..ProfileDetails::default() };
        let history = [
            signed_up(ANN, "ann"),
            UsernameChanged { user: ANN, username, spelling: Personal::Open("cat".into()) }.into(),
            ProfileEdited { user: ANN, details: Personal::Open(details) }.into(),
        ];
        let view = built(&Search, history.clone()).await;
        for (prefix, hits) in [("ann", 0), ("marie", 0), ("elan", 0), ("cat", 1), ("zoe", 1)] {
            assert_eq!(found(&view, prefix).await.len(), hits, "{prefix}");
        }
        let view = built(&Search, history.into_iter().chain([Erased { user: ANN }.into()])).await;
        assert_eq!(found(&view, "").await, []);
    }
}
