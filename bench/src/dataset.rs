//! A dataset with a skewed follow graph: a few users are followed by half of all users, most by hardly anyone.

use std::collections::HashSet;

use events::{
    App, CommentId, Commented, Event, Followed, Image, MediaId, NewPerson, Personal, PostId, PostLiked,
    PostPublished, PostText, SignedUp, UserId,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// The share of users who follow the most popular one.
const MOST_POPULAR: f64 = 0.8;
/// The number of popular users.
pub(crate) const POPULAR: usize = 10;
/// Followers decrease by rank: `(1 + rank / FLAT) ^ -STEEP`. Of 20,000 users, four have more than 10,000 followers, the
/// median has six, and there are about 480,000 follows.
const FLAT: f64 = 8.0;
const STEEP: f64 = 1.2;

const FIRST: &[&str] = &[
    "Ann", "Bo", "Carla", "Deniz", "Élodie", "Fatima", "Goran", "Hana", "Ines", "Jürgen", "Kofi", "Lena",
    "Mia", "Noor", "Olga", "Paulo", "Quinn", "Rosa", "Søren", "Tomás", "Uma", "Vera", "Wei", "Zoë",
];
const LAST: &[&str] = &[
    "Lee",
    "Okafor",
    "Nguyễn",
    "Lindström",
    "Kowalska",
    "Straße",
    "García",
    "Ferrari",
    "Yılmaz",
    "Haddad",
    "Ivanova",
    "Moreau",
    "Tanaka",
    "Silva",
    "Novák",
    "Øster",
];

/// Generates the events of a dataset, deterministically by seed.
pub(crate) struct Dataset {
    rng: StdRng,
    ids: u64,
    /// Most popular first.
    pub(crate) people: Vec<UserId>,
    pub(crate) usernames: Vec<String>,
    /// Posts and their authors, in publication order.
    pub(crate) posts: Vec<(PostId, UserId)>,
    /// The newest posts, which have likes and comments.
    pub(crate) active_posts: Vec<(PostId, UserId)>,
}

impl Dataset {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            ids: 0,
            people: Vec::new(),
            usernames: Vec::new(),
            posts: Vec::new(),
            active_posts: Vec::new(),
        }
    }

    pub(crate) fn sign_up(&mut self, people: usize) -> Vec<Event> {
        (0..people).filter_map(|n| self.person(n)).collect()
    }

    fn person(&mut self, n: usize) -> Option<Event> {
        let user = UserId::new(self.id());
        let first = *FIRST.choose(&mut self.rng)?;
        let last = *LAST.choose(&mut self.rng)?;
        let plain = |name: &str| name.chars().filter(char::is_ascii_alphabetic).collect::<String>();
        let username = format!("{}.{}{n}", plain(first), plain(last)).to_lowercase();
        let mut claim = || Uuid::from_u128(self.rng.random()).simple().to_string().parse().ok();
        let (claimed, email) = (claim()?, claim()?);
        self.people.push(user);
        self.usernames.push(username.clone());
        let person = NewPerson {
            email: format!("{username}@example.org"),
            username,
            password_hash: String::new(),
            firstname: first.to_owned(),
            lastname: last.to_owned(),
        };
        let person = Personal::Open(person);
        Some(SignedUp { user, username: claimed, email, app: App::Chorus, person }.into())
    }

    /// The follows of all users, shuffled so that those of one user are spread out.
    pub(crate) fn follow(&mut self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        for rank in 0..self.people.len() {
            let followee = self.people[rank];
            let followers: Vec<UserId> =
                self.people.sample(&mut self.rng, followers(rank, self.people.len())).copied().collect();
            let of_others = followers.into_iter().filter(|follower| *follower != followee);
            events.extend(of_others.map(|follower| Event::from(Followed { follower, followee })));
        }
        rand::seq::SliceRandom::shuffle(&mut events[..], &mut self.rng);
        events
    }

    /// Each of these users follows this many users and, like the others, most of the ten most popular.
    pub(crate) fn follows_by(&mut self, followers: &[UserId], each: usize) -> Vec<Event> {
        let mut follows = HashSet::new();
        for &follower in followers {
            for (rank, &popular) in self.people.iter().enumerate().take(POPULAR) {
                if self.rng.random_range(0..self.people.len()) < self::followers(rank, self.people.len()) {
                    follows.insert((follower, popular));
                }
            }
            for _ in 0..each {
                // The minimum of two draws favours popular users.
                let rank = self
                    .rng
                    .random_range(0..self.people.len())
                    .min(self.rng.random_range(0..self.people.len()));
                follows.insert((follower, self.people[rank]));
            }
        }
        let mut follows: Vec<_> = follows.into_iter().collect();
        follows.sort_unstable();
        follows.into_iter().map(|(follower, followee)| Followed { follower, followee }.into()).collect()
    }

    pub(crate) fn publish(&mut self, posts: usize) -> Vec<Event> {
        (0..posts).filter_map(|_| self.post()).collect()
    }

    fn post(&mut self) -> Option<Event> {
        let author = *self.people.choose(&mut self.rng)?;
        let (post, media) = (PostId::new(self.id()), MediaId::new(self.id()));
        let text = Personal::Open(PostText { caption: Some("First light".into()), ..PostText::default() });
        self.posts.push((post, author));
        let images = vec![Image { media, width: 1080, height: 1350 }];
        Some(PostPublished { post, author, images, text }.into())
    }

    /// A random sample of users.
    pub(crate) fn some(&mut self, count: usize) -> Vec<UserId> {
        self.people.sample(&mut self.rng, count).copied().collect()
    }

    /// Likes and comments on the newest posts, with these averages per post.
    pub(crate) fn engage(&mut self, newest: usize, likes: usize, comments: usize) -> Vec<Event> {
        self.active_posts = self.posts[self.posts.len().saturating_sub(newest)..].to_vec();
        let mut events: Vec<Event> = Vec::new();
        for (post, post_author) in self.active_posts.clone() {
            let many = self.rng.random_range(0..=2 * likes);
            let likers = self.some(many);
            events.extend(likers.into_iter().map(|user| Event::from(PostLiked { post, user, post_author })));
            let many = self.rng.random_range(0..=2 * comments);
            for author in self.some(many) {
                let (comment, text) = (CommentId::new(self.id()), Personal::Open("What a light!".to_owned()));
                let (reply_to, reply_to_author) = (None, None);
                events.push(
                    Commented { post, comment, author, post_author, reply_to, reply_to_author, text }.into(),
                );
            }
        }
        events
    }

    /// Ids are time-ordered like those of Chorus, one millisecond apart.
    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128((u128::from(1_700_000_000_000 + self.ids) << 80) | (self.rng.random::<u128>() >> 48))
    }
}

/// The number of followers at this rank.
fn followers(rank: usize, people: usize) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of people, far below where it matters"
    )]
    {
        (MOST_POPULAR * people as f64 * (1.0 + rank as f64 / FLAT).powf(-STEEP)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::followers;

    #[test]
    fn few_users_have_most_followers() {
        let of_all: Vec<usize> = (0..20_000).map(|rank| followers(rank, 20_000)).collect();
        let popular = of_all.iter().filter(|&&followers| followers > 10_000).count();
        let (middle, all): (usize, usize) = (of_all[10_000], of_all.iter().sum());
        assert!((3..=9).contains(&popular) && (1..20).contains(&middle), "{popular} {middle}");
        assert!((300_000..700_000).contains(&all), "{all}");
    }
}
