//! What verbs ask for in the record of a family. Pure functions: a request is checked before any store is opened to be
//! changed, and again when it is made.

use views::Family;
use views::generations::{GenerationState, Generations};

/// The changed record and what was asked for, or why that is refused.
pub(super) type Request<T> = Result<(Generations, T), String>;

/// What follows from the request that a generation shall serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serve {
    /// A projector makes the switch.
    Switch { from: u64, to: u64 },
    /// The generation `to` goes on serving: the switch to `from`, which was asked for before, is cancelled.
    Cancel { from: u64, to: u64 },
    /// It serves already, and no switch is under way.
    Already { number: u64 },
}

/// A generation shall serve: by default the one that served before.
pub(super) fn serve(family: &Family, record: &Generations, generation: Option<u64>) -> Request<Serve> {
    let name = family.name;
    let Some(serving) = record.serving else {
        return Err(format!(
            "no generation of {name} serves; a projector makes the newest complete one serve by itself"
        ));
    };
    let Some(to) = generation.or(record.previous) else {
        let pending = record.wanted.map_or_else(String::new, |wanted| {
            format!(" (`--generation {serving}` cancels the switch to generation {wanted})")
        });
        return Err(format!("{name} has no generation that served before{pending}"));
    };
    if record.fed().all(|fed| fed.number != to) {
        return Err(format!("{name} has no generation {to} that could serve"));
    }
    let mut record = record.clone();
    if to == serving {
        record.gate = false;
        let asked = match record.wanted.take() {
            Some(from) if from != to => Serve::Cancel { from, to },
            _ => Serve::Already { number: to },
        };
        return Ok((record, asked));
    }
    (record.wanted, record.gate) = (Some(to), false);
    if let Some(generation) = record.get_mut(to) {
        // Projectors that run adopt it once more. Without that, nothing would tell whether one runs.
        generation.state = GenerationState::Ready;
    }
    Ok((record, Serve::Switch { from: serving, to }))
}

/// A generation shall be deleted: by default the one that served before. Returns its number.
pub(super) fn delete(
    family: &Family,
    record: &Generations,
    generation: Option<u64>,
    force: bool,
) -> Request<u64> {
    let Family { name, version, .. } = family;
    let Some(number) = generation.or(record.previous) else {
        return Err(format!("{name} version {version} has no generation that served before"));
    };
    let serves = record.serving == Some(number);
    if !force && (serves || record.wanted == Some(number)) {
        let role = if serves { "serves" } else { "is about to serve" };
        return Err(format!(
            "generation {number} of {name} version {version} {role}: with --force it is deleted all the same, and \
             running servers of that version answer 503 for these views until another generation serves"
        ));
    }
    if !force && record.building().is_some_and(|building| building.number == number) {
        return Err(format!(
            "generation {number} of {name} version {version} is being built: with --force it is deleted all the same, \
             and its builder gives up"
        ));
    }
    let mut record = record.clone();
    let Some(chosen) = record.get_mut(number) else {
        return Err(format!("{name} version {version} has no generation {number}"));
    };
    chosen.state = GenerationState::Dropping;
    record.serving = record.serving.filter(|serving| *serving != number);
    record.previous = record.previous.filter(|previous| *previous != number);
    if record.wanted == Some(number) {
        (record.wanted, record.gate) = (None, false);
    }
    Ok((record, number))
}

#[cfg(test)]
mod tests {
    use views::generations::Generation;

    use super::*;

    const POSTS: Family = Family { name: "posts", version: 3, views: &[] };

    /// Generations 1 to 3, of which the last is still being built.
    fn record(serving: Option<u64>, previous: Option<u64>, wanted: Option<u64>) -> Generations {
        let states = [GenerationState::Adopted, GenerationState::Adopted, GenerationState::Building];
        let generations =
            (1..).zip(states).map(|(number, state)| Generation { number, state, builder: None });
        let gate = wanted.is_some();
        let generations = generations.collect();
        Generations { epoch: 9, next: 4, serving, previous, wanted, gate, generations }
    }

    fn state(record: &Generations, number: u64) -> GenerationState {
        record.get(number).unwrap().state
    }

    #[test]
    fn rollback_asks_projectors_to_adopt_the_generation_again() {
        let before = record(Some(2), Some(1), None);
        for generation in [None, Some(1)] {
            let (after, asked) = serve(&POSTS, &before, generation).unwrap();
            assert_eq!(asked, Serve::Switch { from: 2, to: 1 });
            assert_eq!((after.wanted, after.gate, after.serving), (Some(1), false, Some(2)));
            assert_eq!(state(&after, 1), GenerationState::Ready);
            assert_eq!(state(&after, 2), GenerationState::Adopted);
        }
    }

    #[test]
    fn rollback_to_the_serving_generation_cancels_a_switch() {
        let (after, asked) = serve(&POSTS, &record(Some(1), None, Some(2)), Some(1)).unwrap();
        assert_eq!(asked, Serve::Cancel { from: 2, to: 1 });
        assert_eq!(after, record(Some(1), None, None));
        let (after, asked) = serve(&POSTS, &record(Some(1), None, None), Some(1)).unwrap();
        assert_eq!((after, asked), (record(Some(1), None, None), Serve::Already { number: 1 }));
    }

    #[test]
    fn generations_that_cannot_serve_are_refused() {
        let problem = |record: Generations, generation| serve(&POSTS, &record, generation).unwrap_err();
        assert_eq!(
            problem(record(Some(1), None, Some(2)), None),
            "posts has no generation that served before (`--generation 1` cancels the switch to generation 2)"
        );
        assert_eq!(problem(record(Some(1), None, None), None), "posts has no generation that served before");
        for number in [3, 7] {
            let expected = format!("posts has no generation {number} that could serve");
            assert_eq!(problem(record(Some(2), Some(1), None), Some(number)), expected);
        }
        assert!(problem(record(None, None, None), Some(1)).starts_with("no generation of posts serves"));
    }

    #[test]
    fn generation_that_serves_is_deleted_only_by_force() {
        let before = record(Some(1), None, Some(2));
        for (number, role) in [(1, "serves"), (2, "is about to serve")] {
            let problem = delete(&POSTS, &before, Some(number), false).unwrap_err();
            let expected = format!("generation {number} of posts version 3 {role}: with --force ");
            assert!(problem.starts_with(&expected), "{problem}");
        }
        let (after, number) = delete(&POSTS, &before, Some(1), true).unwrap();
        assert_eq!((number, after.serving, after.wanted, after.gate), (1, None, Some(2), true));
        assert_eq!(state(&after, 1), GenerationState::Dropping);
        let (after, number) = delete(&POSTS, &before, Some(2), true).unwrap();
        assert_eq!((number, after.serving, after.wanted, after.gate), (2, Some(1), None, false));
    }

    #[test]
    fn other_complete_generations_are_deleted_without_force() {
        let before = record(Some(2), Some(1), None);
        let (after, number) = delete(&POSTS, &before, None, false).unwrap();
        assert_eq!((number, after.serving, after.previous), (1, Some(2), None));
        assert_eq!(state(&after, 1), GenerationState::Dropping);
        let problem = delete(&POSTS, &before, Some(3), false).unwrap_err();
        assert!(problem.starts_with("generation 3 of posts version 3 is being built: "), "{problem}");
        let (after, number) = delete(&POSTS, &before, Some(3), true).unwrap();
        assert_eq!((number, after.previous), (3, Some(1)));
        let problem = |record: Generations, generation| delete(&POSTS, &record, generation, true);
        let missing = problem(before, Some(7)).unwrap_err();
        assert_eq!(missing, "posts version 3 has no generation 7");
        let missing = problem(record(Some(2), None, None), None).unwrap_err();
        assert_eq!(missing, "posts version 3 has no generation that served before");
    }
}
