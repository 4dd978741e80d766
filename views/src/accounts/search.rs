//! The search index of users: words of names, all parts of usernames, and random keys.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use crate::{Cursor, Direction, Document, Index, Layout, Query, View};

pub const VIEW: View =
    View { name: "search", indexes: &[&BY_TERM, &BY_SOURCE], layout: Layout::Clustered, personal: &["term"] };

/// Terms of one list by prefix, of active or inactive users.
pub const BY_TERM: Index =
    Index { name: "by_term", equals: &["list", "active"], order: "term", direction: Direction::Ascending };
/// Terms of one user from one source.
pub const BY_SOURCE: Index =
    Index { name: "by_source", equals: &["user", "source"], order: "term", direction: Direction::Ascending };
/// A search term of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Folded: see [`fold`].
    pub term: String,
    pub user: String,
    pub list: List,
    pub source: Source,
    /// False while the user is deactivated or suspended: then they are not found.
    pub active: bool,
}

/// The list of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// The whole username, found by prefix.
    Usernames,
    /// A word of a name or username, found by prefix.
    Words,
    /// A suffix of a username, so that any part of it is the prefix of a suffix.
    Endings,
    /// A random number, to draw random users.
    #[serde(rename = "lots")]
    RandomKeys,
}

/// The origin of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Username,
    Name,
    Id,
}

impl List {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Usernames => "usernames",
            Self::Words => "words",
            Self::Endings => "endings",
            Self::RandomKeys => "lots",
        }
    }

    /// Terms of active users in this list, in order.
    pub fn query(self, limit: usize) -> Query {
        Query::new(&VIEW, &BY_TERM, vec![self.as_str().into(), true.into()], limit)
    }
}

impl Source {
    pub const ALL: [Self; 3] = [Self::Username, Self::Name, Self::Id];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Name => "name",
            Self::Id => "id",
        }
    }
}

impl Document for Term {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        format!("{}.{}.{}.{}", self.user, self.source.as_str(), self.list.as_str(), self.term)
    }
}

/// All terms of a username.
pub fn terms_of_username(username: &str) -> Vec<(List, String)> {
    let folded = fold(username);
    let endings = folded.char_indices().map(|(place, _)| (List::Endings, folded[place..].to_owned()));
    let words = folded_words(username).into_iter().map(|word| (List::Words, word));
    let terms = endings.chain(words).chain([(List::Usernames, folded.clone())]);
    let mut terms: Vec<(List, String)> = terms.collect();
    terms.sort_by(|a, b| (a.0.as_str(), &a.1).cmp(&(b.0.as_str(), &b.1)));
    terms.dedup();
    terms
}

/// All terms of first and last name.
pub fn terms_of_name(firstname: &str, lastname: &str) -> Vec<(List, String)> {
    let mut words = [folded_words(firstname), folded_words(lastname)].concat();
    words.sort_unstable();
    words.dedup();
    words.into_iter().map(|word| (List::Words, word)).collect()
}

/// Hexadecimal digits of a random key: the trailing digits of an id are random; the leading ones are not.
const RANDOM_KEY_DIGITS: usize = 15;

/// The random key of a user.
pub fn random_key(user: &str) -> String {
    user.chars().skip(user.len().saturating_sub(RANDOM_KEY_DIGITS)).collect()
}

/// A place among random keys. Places of random numbers are evenly spread.
pub fn random_place(number: u64) -> Cursor {
    Cursor::from(format!("{:0RANDOM_KEY_DIGITS$x}", number >> 4))
}

/// Random keys from a place on.
pub fn random_keys_from(number: u64, limit: usize) -> Query {
    List::RandomKeys.query(limit).after(Some(random_place(number)))
}

/// The words of a text and its space-separated parts, in lower case and without accents. `Ann_Lee` is found by
/// `ann_lee`, `ann` and `lee`.
pub fn folded_words(text: &str) -> Vec<String> {
    let folded = fold(text);
    let mut words: Vec<String> = Vec::new();
    for whole in folded.split_whitespace() {
        let parts = whole.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        words.extend([whole].into_iter().chain(parts.filter(|part| *part != whole)).map(str::to_owned));
    }
    words
}

/// Lower case without accents; letters without a decomposition are mapped to what people type: `Élan` matches `elan`,
/// `Øre` matches `ore`, `Straße` matches `STRASSE`. Marks that form another letter are kept.
pub fn fold(text: &str) -> String {
    let plain = text.nfkd().filter(|&c| !is_accent(c)).flat_map(char::to_lowercase);
    let mut folded = String::with_capacity(text.len());
    for c in plain {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'ħ' => folded.push('h'),
            'ŧ' => folded.push('t'),
            'ı' => folded.push('i'),
            'ς' => folded.push('σ'),
            c => folded.push(c),
        }
    }
    folded
}

/// A folded text with the apostrophe that people type in place of a typographic one. The index keeps what was written, so a
/// query looks for the [parts](split_at_apostrophes) of a word instead.
pub fn plain_apostrophes(folded: &str) -> String {
    folded.replace(['\u{2018}', '\u{2019}', '\u{02bc}'], "'")
}

/// The parts of a word of a query, which are in the index whatever apostrophe the word has there; the word itself if it has none.
pub fn split_at_apostrophes(word: &str) -> impl Iterator<Item = &str> {
    word.split('\'').filter(|part| !part.is_empty())
}

/// Combining accents and vowel points. Vowel signs (class 0), nuktas (7), kana voicing marks (8) and viramas (9) form
/// other letters or syllables.
fn is_accent(c: char) -> bool {
    !matches!(canonical_combining_class(c), 0 | 7 | 8 | 9)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_folded_and_split() {
        assert_eq!(folded_words("Ann_Lee.7  Élan"), ["ann_lee.7", "ann", "lee", "7", "elan"]);
        assert_eq!(folded_words("JÜRGEN Ｗｉｄｅ"), ["jurgen", "wide"]);
        assert_eq!(folded_words(" "), Vec::<String>::new());
        assert_eq!(folded_words("山田"), ["山田"]);
    }

    #[test]
    fn letters_without_decomposition_are_mapped() {
        for (written, typed) in [
            ("Straße", "STRASSE"),
            ("Łódź", "lodz"),
            ("Øre", "ore"),
            ("Ægir", "AEGIR"),
            ("Þór", "thor"),
            ("Đorđe", "dorde"),
            ("İpek", "ipek"),
            ("Kıvanç", "kivanc"),
            ("Σίσυφος", "σισυφοσ"),
            ("Việt Nguyễn", "viet nguyen"),
            ("ﬁn", "fin"),
        ] {
            assert_eq!(fold(written), fold(typed), "{written}");
        }
        for (one, other) in [("が", "か"), ("ば", "ぱ"), ("कि", "का")] {
            assert_ne!(fold(one), fold(other));
        }
    }

    #[test]
    fn any_part_of_a_username_is_the_prefix_of_a_suffix() {
        let terms = terms_of_username("An.An");
        let of =
            |wanted: List| terms.iter().filter(move |(list, _)| *list == wanted).map(|(_, t)| t.as_str());
        assert_eq!(of(List::Usernames).collect::<Vec<_>>(), ["an.an"]);
        assert_eq!(of(List::Endings).collect::<Vec<_>>(), [".an", "an", "an.an", "n", "n.an"]);
        assert_eq!(of(List::Words).collect::<Vec<_>>(), ["an", "an.an"]);
        assert_eq!(
            terms_of_name("Ann Lee", "Lee-Élan"),
            [
                (List::Words, "ann".to_owned()),
                (List::Words, "elan".to_owned()),
                (List::Words, "lee".to_owned()),
                (List::Words, "lee-elan".to_owned()),
            ]
        );
    }

    proptest! {
        /// Names and queries are folded independently, and must match.
        #[test]
        fn folding_is_idempotent_for_any_text(text in "\\PC{0,40}|.{0,40}") {
            let words = folded_words(&text);
            for word in &words {
                prop_assert!(!word.is_empty() && !word.contains(char::is_whitespace), "{word:?}");
                prop_assert_eq!(&fold(word), word);
            }
            let whole: Vec<String> = fold(&text).split_whitespace().map(str::to_owned).collect();
            prop_assert!(whole.iter().all(|word| words.contains(word)), "{whole:?} {words:?}");
        }

        #[test]
        fn any_part_of_a_username_finds_it(username in "[a-zA-Z0-9_.]{3,30}|\\PC{1,20}", from in 0..20_usize, length in 1..20_usize) {
            let folded: Vec<char> = fold(&username).chars().collect();
            let part: String = folded.iter().skip(from).take(length).collect();
            let terms = terms_of_username(&username);
            let found = terms.iter().any(|(list, term)| *list == List::Endings && term.starts_with(&part));
            prop_assert!(found || part.is_empty(), "{part:?} of {username:?}");
        }
    }
}
