//! The search index of the catalogue and of public playlists: names, words of names, and all parts of names.

use serde::{Deserialize, Serialize};

use crate::accounts::search::{fold, folded_words};
use crate::{Direction, Document, Index, Layout, Query, View};

pub const VIEW: View = View {
    name: "music_search",
    indexes: &[&BY_TERM, &OF_ITEM, &OF_OWNER],
    layout: Layout::Clustered,
    personal: &["term"],
};

/// Terms of one list of one kind of item, by prefix.
pub const BY_TERM: Index = Index {
    name: "by_term",
    equals: &["list", "kind", "shown"],
    order: "term",
    direction: Direction::Ascending,
};
/// Terms of one item.
pub const OF_ITEM: Index =
    Index { name: "of_item", equals: &["item"], order: "term", direction: Direction::Ascending };
/// Terms of the playlists of one user.
pub const OF_OWNER: Index =
    Index { name: "of_owner", equals: &["owner"], order: "term", direction: Direction::Ascending };

/// Longest indexed part of a name, in characters: the rest is found by words only.
const PART_LIMIT: usize = 60;
/// Words of an item at most, so that no item fills the index.
const WORDS_LIMIT: usize = 60;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Folded: see [`fold`].
    pub term: String,
    /// The id of the song, artist, album or playlist.
    pub item: String,
    pub kind: ItemKind,
    pub list: List,
    /// False while the item is removed or not public.
    pub shown: bool,
    /// The owner of a playlist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    Song,
    Artist,
    Album,
    Playlist,
}

/// The list of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// The whole name, found by prefix: the exact name comes first.
    Names,
    /// A word, found by prefix. Text without blanks between words (Chinese, Japanese) is indexed by pairs of characters.
    Words,
    /// A suffix of the name, so that any part of it is the prefix of a suffix.
    Endings,
}

impl ItemKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Song => "song",
            Self::Artist => "artist",
            Self::Album => "album",
            Self::Playlist => "playlist",
        }
    }
}

impl List {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Words => "words",
            Self::Endings => "endings",
        }
    }

    /// Terms of shown items in this list that begin with a text, in order.
    pub fn query(self, kind: ItemKind, prefix: &str, limit: usize) -> Query {
        let equals = vec![self.as_str().into(), kind.as_str().into(), true.into()];
        Query::new(&VIEW, &BY_TERM, equals, limit).with_prefix(prefix)
    }
}

impl Document for Term {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        format!("{}.{}.{}", self.item, self.list.as_str(), self.term)
    }
}

/// The item and the term of a key.
pub fn parts_of_key(key: &str) -> Option<(&str, &str)> {
    let (item, rest) = key.split_once('.')?;
    Some((item, rest.split_once('.')?.1))
}

/// All terms of an item with this name. `others` are found by their words only.
pub fn terms(name: &str, others: &[&str], endings: bool) -> Vec<(List, String)> {
    let folded = fold(name.trim());
    let mut terms = vec![(List::Names, folded.clone())];
    let texts = [name].into_iter().chain(others.iter().copied());
    let mut words: Vec<String> = texts.flat_map(search_words).take(WORDS_LIMIT).collect();
    words.sort_unstable();
    words.dedup();
    terms.extend(words.into_iter().map(|word| (List::Words, word)));
    if endings {
        let places = folded.char_indices().take(PART_LIMIT).map(|(place, _)| &folded[place..]);
        let mut parts: Vec<String> =
            places.map(|part| part.chars().take(PART_LIMIT).collect::<String>()).collect();
        parts.sort_unstable();
        parts.dedup();
        terms.extend(parts.into_iter().map(|part| (List::Endings, part)));
    }
    terms
}

/// The words of a text as they are indexed and searched.
pub fn search_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in folded_words(text) {
        let mut rest = word.as_str();
        let mut plain = String::new();
        while let Some(first) = rest.chars().next() {
            if !has_no_blanks(first) {
                plain.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            words.extend((!plain.is_empty()).then(|| std::mem::take(&mut plain)));
            let end = rest.find(|c: char| !has_no_blanks(c)).unwrap_or(rest.len());
            words.extend(pairs(&rest[..end]));
            rest = &rest[end..];
        }
        words.extend((!plain.is_empty()).then_some(plain));
    }
    words
}

/// Each pair of neighbouring characters, and the last one alone, so that each character begins a term.
fn pairs(run: &str) -> Vec<String> {
    let characters: Vec<char> = run.chars().collect();
    (0..characters.len()).map(|place| characters[place..].iter().take(2).collect()).collect()
}

/// Scripts that put no blanks between words: Han, kana, Hangul syllables (whose words carry endings), Thai.
fn has_no_blanks(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0e7f}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3134f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: List, terms: &[(List, String)]) -> Vec<&str> {
        terms.iter().filter(|(in_list, _)| *in_list == list).map(|(_, term)| term.as_str()).collect()
    }

    #[test]
    fn names_are_indexed_whole_by_words_and_by_endings() {
        let terms = terms("AC/DC Live", &["Mø"], true);
        assert_eq!(of(List::Names, &terms), ["ac/dc live"]);
        assert_eq!(of(List::Words, &terms), ["ac", "ac/dc", "dc", "live", "mo"]);
        assert_eq!(of(List::Endings, &terms).len(), 10);
        assert!(of(List::Endings, &terms).contains(&"dc live"));
    }

    #[test]
    fn text_without_blanks_is_indexed_by_pairs() {
        assert_eq!(search_words("東京事変"), ["東京", "京事", "事変", "変"]);
        assert_eq!(search_words("Live東京"), ["live", "東京", "京"]);
        assert_eq!(search_words("京"), ["京"]);
    }

    #[test]
    fn long_names_have_a_limited_number_of_terms() {
        let long = "x y ".repeat(1000);
        assert!(terms(&long, &[&long], true).len() <= 1 + WORDS_LIMIT + PART_LIMIT);
    }
}
