//! Drawing random documents by their random keys.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use views::StoreError;

/// Number of adjacent random keys, of which one is chosen.
const NEIGHBOURS: usize = 16;
/// Concurrent reads per answer.
const IN_FLIGHT: usize = 8;

/// Draws distinct ids; fewer only if there are fewer. `page` lists at most so many ids from a place on, in the order of their
/// random keys.
///
/// Each id is chosen from its own range of random keys, so choices are independent, and is one of many adjacent keys, so
/// uneven gaps between keys matter little.
pub(crate) async fn draw<'a>(
    count: usize,
    mut random: impl FnMut() -> u64,
    page: impl Fn(u64, usize) -> BoxFuture<'a, Result<Vec<String>, StoreError>>,
) -> Result<BTreeSet<String>, StoreError> {
    let around = NEIGHBOURS.max(count);
    let places: Vec<u64> = (0..count).map(|_| random()).collect();
    let pages = stream::iter(places).map(|place| page(place, around));
    let mut pages = pages.buffered(IN_FLIGHT);
    let mut first: Option<Vec<String>> = None;
    let mut ids = BTreeSet::new();
    while let Some(mut found) = pages.try_next().await? {
        if found.len() < around {
            // Wrap around to the first key.
            if first.is_none() {
                first = Some(page(0, around).await?);
            }
            found.extend(first.iter().flatten().cloned());
        }
        let mut neighbours: Vec<String> =
            found.into_iter().filter(|id| !ids.contains(id)).take(NEIGHBOURS).collect();
        if !neighbours.is_empty() {
            let nth = random() % (neighbours.len() as u64);
            ids.insert(neighbours.swap_remove(usize::try_from(nth).unwrap_or(0)));
        }
    }
    Ok(ids)
}
