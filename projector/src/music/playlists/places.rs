//! Places of entries in a list: texts whose order is that of the entries. A place is a whole number of eight digits, to which digits
//! are appended where no whole number is left between two neighbours. So a move changes one document.

/// Digits in their order as text.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const BASE: u64 = 36;
/// Digits of the whole number.
const WIDTH: usize = 8;
const MIDDLE: u64 = BASE.pow(8) / 2;
const LAST: u64 = BASE.pow(8) - 1;
/// The distance of entries that are added at an end: leaves room for ten insertions in a row before a place grows.
const STEP: u64 = BASE * BASE;

/// Places longer than this are shortened when a snapshot is taken.
pub(super) const LONG: usize = 16;

/// New places for a block of entries between two neighbours, in order.
pub(super) fn between(after: Option<&str>, before: Option<&str>, count: usize) -> Vec<String> {
    let steps = || 1..=count as u64;
    match (after, before) {
        (None, None) => spread(count),
        (Some(after), None) => {
            let start = whole(after).0;
            steps().map(|step| written((start + step * STEP).min(LAST), "")).collect()
        }
        (None, Some(before)) => {
            let end = whole(before).0;
            steps().rev().map(|step| written(end.saturating_sub(step * STEP), "")).collect()
        }
        (Some(after), Some(before)) => {
            let mut places = vec![String::new(); count];
            bisect(after, before, &mut places);
            places
        }
    }
}

/// Even places for a whole list.
pub(super) fn spread(count: usize) -> Vec<String> {
    let first = MIDDLE - count as u64 / 2 * STEP;
    (0..count as u64).map(|step| written(first + step * STEP, "")).collect()
}

fn bisect(after: &str, before: &str, places: &mut [String]) {
    let half = places.len() / 2;
    let (left, rest) = places.split_at_mut(half);
    let Some((middle, right)) = rest.split_first_mut() else { return };
    *middle = midpoint(after, before);
    bisect(after, middle, left);
    bisect(middle, before, right);
}

/// A place between two others, of which the first is lower.
fn midpoint(after: &str, before: &str) -> String {
    let ((low, low_digits), (high, high_digits)) = (whole(after), whole(before));
    match high.saturating_sub(low) {
        0 => written(low, &fraction_between(low_digits, Some(high_digits))),
        1 => written(low, &fraction_between(low_digits, None)),
        apart => written(low + apart / 2, ""),
    }
}

/// Digits between two others. Neither they nor the result end with a zero, so that there always are some.
fn fraction_between(low: &str, high: Option<&str>) -> String {
    let mut digits = String::new();
    let mut low = low.bytes();
    let mut high = high.map(str::bytes);
    loop {
        let from = low.next().map_or(0, value);
        let to = high.as_mut().map_or(BASE, |high| high.next().map_or(0, value));
        match to.saturating_sub(from) {
            0 => digits.push(digit(from)),
            1 if high.as_ref().is_some_and(|high| high.len() > 0) => {
                digits.push(digit(to));
                return digits;
            }
            1 => {
                digits.push(digit(from));
                high = None;
            }
            apart => {
                digits.push(digit(from + apart / 2));
                return digits;
            }
        }
    }
}

/// The whole number of a place, and the digits behind it.
fn whole(place: &str) -> (u64, &str) {
    let (number, digits) = place.split_at_checked(WIDTH).unwrap_or((place, ""));
    (number.bytes().fold(0, |number, digit| number * BASE + value(digit)), digits)
}

fn written(mut number: u64, digits: &str) -> String {
    let mut text = [b'0'; WIDTH];
    for place in text.iter_mut().rev() {
        *place = DIGITS[usize::try_from(number % BASE).unwrap_or_default()];
        number /= BASE;
    }
    let number: String = text.iter().copied().map(char::from).collect();
    number + digits
}

fn value(digit: u8) -> u64 {
    DIGITS.iter().position(|known| *known == digit).unwrap_or_default() as u64
}

fn digit(value: u64) -> char {
    usize::try_from(value).ok().and_then(|value| DIGITS.get(value)).map_or('0', |digit| char::from(*digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn new_places_are_between_their_neighbours(
            blocks in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..20), 1..60),
        ) {
            let mut list: Vec<String> = Vec::new();
            for (at, count) in blocks {
                let at = at.index(list.len() + 1);
                let after = at.checked_sub(1).map(|before| list[before].clone());
                let new = between(after.as_deref(), list.get(at).map(String::as_str), count);
                prop_assert_eq!(new.len(), count);
                list.splice(at..at, new);
                prop_assert!(list.is_sorted_by(|one, next| one < next), "{list:?}");
            }
            prop_assert!(list.iter().all(|place| place.len() <= WIDTH || !place.ends_with('0')));
        }
    }

    /// As many insertions at one place as there are between two snapshots.
    #[test]
    fn places_stay_short_enough_for_cursors() {
        let ends = spread(2);
        for from_below in [true, false] {
            let (mut low, mut high) = (ends[0].clone(), ends[1].clone());
            for _ in 0..400 {
                let middle = between(Some(&low), Some(&high), 1).remove(0);
                assert!(low < middle && middle < high);
                if from_below { low = middle } else { high = middle }
            }
            assert!(low.len().max(high.len()) < 120, "{low} {high}");
        }
        assert!(spread(10_000).is_sorted_by(|one, next| one < next));
    }
}
