//! The people of the demo dataset and their activity, generated before anything is sent.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::songs::SONGS;

const FIRSTNAMES: &[&str] = &[
    "Ada", "Amir", "Ana", "Anouk", "Björn", "Chidi", "Clara", "Daan", "Elif", "Emeka", "Fatou", "Greta",
    "Hana", "Ines", "Ivan", "Jonas", "Kavya", "Kenji", "Lea", "Linh", "Luca", "Maya", "Mei", "Nadia", "Noah",
    "Olu", "Priya", "Rosa", "Sami", "Sofia", "Tomás", "Yara", "Zoë",
];
const LASTNAMES: &[&str] = &[
    "Abebe", "Almeida", "Bauer", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ito",
    "Jensen", "Kaya", "Kowalski", "Larsen", "Moreau", "Nguyen", "Okafor", "Peña", "Rossi", "Sato", "Silva",
    "Tanaka", "Weber", "Yılmaz",
];
const BIOS: &[&str] = &[
    "Early mornings, long walks.",
    "Film, mostly.",
    "Chasing light over water.",
    "Cook by day, hills by weekend.",
    "One lens, one notebook.",
    "Lives near the sea.",
    "Weather watcher.",
    "Trains, maps, mountains.",
    "",
    "Learning to look.",
    "Tea first. Then everything else.",
    "Somewhere between two ferries.",
];
const CAPTIONS: &[&str] = &[
    "Dawn over the lake",
    "The last light of the year",
    "Fog lifting",
    "Between two storms",
    "Nobody else up yet",
    "Worth the climb",
    "Found this on the way home",
    "Low tide",
    "First snow on the ridge",
    "Still warm at midnight",
    "The blue hour",
    "Wind from the north all week",
    "Somewhere past the second pass",
    "Quiet",
    "Again, and again different",
    "Waited an hour for this",
    "From the train window",
    "Sunday",
    "Where the road ends",
    "Two minutes later it was gone",
];
const ALTS: &[&str] = &[
    "Hills under a low sun",
    "A lake with mountains behind it",
    "Layers of hills in fog",
    "The sun over a dark ridge",
    "A wide valley at dusk",
];
const COMMENTS: &[&str] = &[
    "Lovely!",
    "Where is this?",
    "That light.",
    "I was there last spring",
    "Wow",
    "How early did you get up?",
    "Calm.",
    "This makes me want to pack a bag",
    "The colours!",
    "Beautiful shot",
    "Is that the old road?",
    "😍",
    "So quiet",
    "More of these, please",
    "I can almost hear it",
];

pub(super) struct Person {
    pub(super) username: String,
    pub(super) firstname: &'static str,
    pub(super) lastname: &'static str,
    pub(super) bio: &'static str,
}

impl Person {
    /// The account that publishes the songs, the same for every seed: an artist of the catalogue is managed by one.
    pub(super) fn label() -> Self {
        Self { username: "harbour.records".to_owned(), firstname: "Harbour", lastname: "Records", bio: "" }
    }
}

/// What one person does with the songs, by their numbers.
pub(super) struct Listener {
    pub(super) liked: Vec<usize>,
    /// In order; a song may be there twice.
    pub(super) played: Vec<usize>,
}

pub(super) struct Post {
    pub(super) author: usize,
    pub(super) caption: &'static str,
    pub(super) alt: &'static str,
}

/// An activity; people and posts by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Activity {
    Follow { follower: usize, followee: usize },
    Like { user: usize, post: usize },
    Comment { user: usize, post: usize, text: &'static str },
    Story { author: usize, alt: &'static str },
}

pub(super) struct World {
    pub(super) people: Vec<Person>,
    pub(super) posts: Vec<Post>,
    pub(super) activities: Vec<Activity>,
    /// One for each person.
    pub(super) listeners: Vec<Listener>,
}

impl World {
    /// A few people are followed by nearly all others, most by a few. The posts of the first people have the most likes.
    pub(super) fn generate(seed: u64, people: usize, posts: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world =
            Self { people: Vec::new(), posts: Vec::new(), activities: Vec::new(), listeners: Vec::new() };
        for number in 0..people {
            let (firstname, lastname) = (pick(FIRSTNAMES, &mut rng), pick(LASTNAMES, &mut rng));
            let plain = |name: &str| {
                views::accounts::search::fold(name).replace(|c: char| !c.is_ascii_alphanumeric(), "")
            };
            let username = format!("{}.{}{number}", plain(firstname), plain(lastname));
            world.people.push(Person { username, firstname, lastname, bio: pick(BIOS, &mut rng) });
        }
        for _ in 0..posts {
            let author = popular(people, &mut rng);
            world.posts.push(Post { author, caption: pick(CAPTIONS, &mut rng), alt: pick(ALTS, &mut rng) });
        }
        let mut follows = BTreeSet::new();
        for follower in 0..people {
            for _ in 0..rng.random_range(1..=people.min(12)) {
                let followee = popular(people, &mut rng);
                if followee != follower && follows.insert((follower, followee)) {
                    world.activities.push(Activity::Follow { follower, followee });
                }
            }
        }
        for (post, Post { author, .. }) in world.posts.iter().enumerate() {
            let fame = if *author < people / 5 + 1 { 3 } else { 1 };
            let likers = rng.random_range(0..=(people * fame / 4).min(people));
            for user in sample(people, likers, &mut rng) {
                world.activities.push(Activity::Like { user, post });
            }
            for _ in 0..rng.random_range(0..=2 * fame) {
                let user = rng.random_range(0..people);
                world.activities.push(Activity::Comment { user, post, text: pick(COMMENTS, &mut rng) });
            }
        }
        for author in sample(people, people / 3 + 1, &mut rng) {
            world.activities.push(Activity::Story { author, alt: pick(ALTS, &mut rng) });
        }
        for _ in 0..people {
            let liked = sample(SONGS.len(), rng.random_range(1..=3), &mut rng);
            let played = (0..rng.random_range(2..=6)).map(|_| popular(SONGS.len(), &mut rng)).collect();
            world.listeners.push(Listener { liked, played });
        }
        world
    }
}

fn pick(from: &'static [&'static str], rng: &mut StdRng) -> &'static str {
    from.choose(rng).copied().unwrap_or_default()
}

/// A random number below the count; low ones are far more frequent.
fn popular(count: usize, rng: &mut StdRng) -> usize {
    let place: f64 = rng.random::<f64>().powi(3);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index in a list"
    )]
    let number = (place * count as f64) as usize;
    number.min(count - 1)
}

/// This many distinct numbers below the count.
fn sample(count: usize, size: usize, rng: &mut StdRng) -> Vec<usize> {
    rand::seq::index::sample(rng, count, size.min(count)).into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_creates_the_same_dataset() {
        let names =
            |seed| World::generate(seed, 20, 40).people.into_iter().map(|p| p.username).collect::<Vec<_>>();
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
        assert_eq!(World::generate(1, 20, 40).activities, World::generate(1, 20, 40).activities);
    }

    #[test]
    fn generated_actions_are_valid() {
        let world = World::generate(7, 30, 50);
        let mut usernames: Vec<&String> = world.people.iter().map(|person| &person.username).collect();
        usernames.sort();
        usernames.dedup();
        assert_eq!(usernames.len(), 30);
        assert!(usernames.iter().all(|name| name.len() <= 30 && name.is_ascii()), "{usernames:?}");
        for activity in &world.activities {
            match *activity {
                Activity::Follow { follower, followee } => {
                    assert!(follower != followee && follower.max(followee) < 30);
                }
                Activity::Like { user, post } | Activity::Comment { user, post, .. } => {
                    assert!(user < 30 && post < 50);
                }
                Activity::Story { author, .. } => assert!(author < 30),
            }
        }
    }
}
