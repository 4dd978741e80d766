//! How long views stall after their worker was killed in a transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use events::{
    Draft, Event, EventId, Followed, Personal, Position, PostId, PostPublished, PostText, SealedLog, UserId,
    time_ordered_id,
};
use rand::RngExt;
use service::clock::{Clock, SystemClock};
use tests::chorus::{Chorus, Service};
use tests::waiting::found;
use uuid::Uuid;

use crate::rounds;

/// `CHORUS_TEST_KILLS` overrides it.
const KILLS: usize = 5;
/// Half of MongoDB's timeout of an abandoned transaction.
const RESUME_LIMIT: Duration = Duration::from_secs(30);
/// Each post is fanned out to this many feeds: transactions take long, and most kills fall into one.
const FOLLOWERS: u32 = 300;
const POST_EVERY: Duration = Duration::from_millis(40);
/// The projections that write for each post.
const PROJECTIONS: [&str; 2] = ["posts", "feeds"];

fn user(n: u32) -> UserId {
    UserId::new(Uuid::from_u128(0x1000 + u128::from(n)))
}

async fn append(log: &SealedLog, event: impl Into<Event>) {
    let now = SystemClock.now();
    let draft = Draft {
        id: EventId::new(time_ordered_id(now)),
        time: now,
        actor: None,
        correlation: Uuid::from_u128(1),
        causation: None,
        traceparent: None,
        event: event.into(),
    };
    log.append(draft, Position::START).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn views_resume_after_each_kill_of_the_projector() {
    let kills = rounds("CHORUS_TEST_KILLS", KILLS);
    let mut chorus = Chorus::distributed_with(&[("CHORUS_FAN_OUT_LIMIT", "100000")]).await.unwrap();
    let (log, views) = (chorus.log().await.unwrap(), chorus.views().await.unwrap());
    let author = user(0);
    for n in 1..=FOLLOWERS {
        append(&log, Followed { follower: user(n), followee: author }).await;
    }
    let stop = AtomicBool::new(false);
    let publish = async {
        while !stop.load(Ordering::Relaxed) {
            let post = PostId::new(Uuid::from_u128(rand::rng().random()));
            let text = Personal::Open(PostText::default());
            append(&log, PostPublished { post, author, images: vec![], text }).await;
            tokio::time::sleep(POST_EVERY).await;
        }
    };
    let kill = async {
        let mut took = Vec::new();
        for _ in 0..kills {
            let pause = Duration::from_millis(rand::rng().random_range(200..1200));
            tokio::time::sleep(pause).await;
            tokio::task::block_in_place(|| chorus.kill(Service::Projector)).unwrap();
            let since = Instant::now();
            let mut before = Vec::new();
            for projection in PROJECTIONS {
                before.push((projection, views.checkpoint(projection).await.unwrap()));
            }
            chorus.start_again(Service::Projector).await.unwrap();
            for (projection, before) in before {
                found(RESUME_LIMIT, projection, async || {
                    (views.checkpoint(projection).await.unwrap() > before).then_some(())
                })
                .await;
            }
            took.push(since.elapsed().as_secs_f64());
        }
        stop.store(true, Ordering::Relaxed);
        took
    };
    let ((), mut took) = tokio::join!(publish, kill);
    took.sort_by(f64::total_cmp);
    let abandoned = chorus.printed(Service::Projector).matches("ending an abandoned transaction").count();
    println!("{kills} kills, {abandoned} transactions abandoned; the views resumed after {took:.1?} s");
}
