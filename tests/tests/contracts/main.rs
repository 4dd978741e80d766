//! Every adapter held to its contract, on real engines.
#![allow(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

mod log_on_jetstream;
mod log_on_sqlite;
mod media;
mod views_on_mongo;
mod views_on_sqlite;

use events::{Envelope, EventId, Message, PostId, Subject, UserId};
use std::sync::Arc;

use tests::contracts::views as contract;
use uuid::Uuid;
use views::ViewStore;

/// What stands in the fixtures `log-v1.*`: a log as the first version of Chorus wrote it.
fn written_v1() -> Vec<Message> {
    let id = Uuid::from_u128;
    let (post, ann, bob) = (PostId::new(id(0x90)), UserId::new(id(0xa)), UserId::new(id(0xb)));
    let event = |n: u128, event_type: &'static str, subject, body: &str| Message {
        envelope: Envelope {
            id: EventId::new(id(n)),
            event_type: event_type.into(),
            source: "chorus".into(),
            time: chrono::DateTime::from_timestamp_micros(1_795_000_000_123_456).unwrap(),
            subject,
            actor: Some(ann),
            correlation: id(0xc0 + n),
            causation: (n == 3).then(|| EventId::new(id(2))),
            traceparent: (n == 1).then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        },
        body: body.to_owned().into(),
    };
    let liked = format!(r#"{{"post":"{post}","user":"{bob}","post_author":"{ann}"}}"#);
    vec![
        event(1, "like.liked.v1", Subject::Like(post, bob), &liked),
        event(2, "post.deleted.v1", Subject::Post(post), &format!(r#"{{"post":"{post}","author":"{ann}"}}"#)),
        event(3, "like.unliked.v1", Subject::Like(post, bob), &liked),
    ]
}

async fn keeps_the_contract_of_the_view_store(store: &Arc<dyn ViewStore>, twin: &Arc<dyn ViewStore>) {
    contract::documents_are_read_back_as_they_were_put(&**store).await;
    contract::a_commit_is_all_or_nothing_and_moves_its_checkpoint(&**store).await;
    contract::of_two_workers_on_one_projection_one_is_fenced_off(store, twin).await;
    contract::writes_to_several_views_stand_or_fall_together(store).await;
    contract::a_patch_sets_and_counts_and_leaves_the_rest(&**store).await;
    contract::a_deletion_takes_what_it_names_and_nothing_else(&**store).await;
    contract::what_an_index_needs_may_be_missing_come_and_go(&**store).await;
    contract::pages_are_in_order_and_none_is_missing_or_twice(&**store).await;
    contract::a_value_is_a_value_and_never_an_operator(&**store).await;
    contract::a_prefix_finds_what_begins_with_it(&**store).await;
    contract::pages_stay_exact_while_documents_come_and_go(store).await;
    contract::a_fan_out_puts_a_document_for_each_one_found(&**store).await;
    contract::what_was_fanned_out_is_deleted_in_the_same_way(&**store).await;
    contract::each_document_that_is_named_is_patched_once(&**store).await;
    contract::writes_do_together_what_they_do_one_by_one(&**store).await;
    contract::documents_are_counted_as_they_would_be_found(&**store).await;
    contract::every_query_uses_its_index(&**store, contract::VIEWS, false).await;
    contract::a_scan_finds_every_document_once_in_the_order_of_keys(&**store).await;
    contract::what_is_parked_is_kept_with_its_reason(&**store).await;
    contract::sizes_are_told(&**store).await;
}
