//! People by the words of their names.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::{Direction, Document, Index, View};

pub const VIEW: View = View { name: "search", indexes: &[&BY_TERM, &BY_SOURCE] };

/// By the beginning of a term.
pub const BY_TERM: Index =
    Index { name: "by_term", equals: &[], order: "term", direction: Direction::Ascending };
/// The terms of one user from one source.
pub const BY_SOURCE: Index =
    Index { name: "by_source", equals: &["user", "source"], order: "term", direction: Direction::Ascending };

/// One word by which one user is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// As [`folded_words`] gives it.
    pub term: String,
    pub user: String,
    pub source: Source,
}

/// What a term is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Username,
    Name,
}

impl Source {
    pub const ALL: [Self; 2] = [Self::Username, Self::Name];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Name => "name",
        }
    }
}

impl Document for Term {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        format!("{}.{}.{}", self.user, self.source.as_str(), self.term)
    }
}

/// The words of a text, and what stands between two spaces as a whole: lower case, accents taken off. `Ann_Lee` is
/// found by `ann_lee`, `ann` and `lee`.
pub fn folded_words(text: &str) -> Vec<String> {
    let folded = fold(text);
    let mut words: Vec<String> = Vec::new();
    for whole in folded.split_whitespace() {
        let parts = whole.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        words.extend([whole].into_iter().chain(parts.filter(|part| *part != whole)).map(str::to_owned));
    }
    words
}

/// Lower case, without accents: `Élan` and `elan` are one.
pub fn fold(text: &str) -> String {
    text.nfkd().filter(|&c| !is_combining_mark(c)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_folded_and_found_alone() {
        assert_eq!(folded_words("Ann_Lee.7  Élan"), ["ann_lee.7", "ann", "lee", "7", "elan"]);
        assert_eq!(folded_words("JÜRGEN Ｗｉｄｅ"), ["jurgen", "wide"]);
        assert_eq!(folded_words(" "), Vec::<String>::new());
        assert_eq!(folded_words("山田"), ["山田"]);
    }

    proptest! {
        /// A name and a search for it are folded apart from each other, and must meet.
        #[test]
        fn any_text_is_found_by_its_own_words_folded_again(text in "\\PC{0,40}|.{0,40}") {
            let words = folded_words(&text);
            for word in &words {
                prop_assert!(!word.is_empty() && !word.contains(char::is_whitespace), "{word:?}");
                prop_assert_eq!(&fold(word), word);
            }
            let whole: Vec<String> = fold(&text).split_whitespace().map(str::to_owned).collect();
            prop_assert!(whole.iter().all(|word| words.contains(word)), "{whole:?} {words:?}");
        }
    }
}
