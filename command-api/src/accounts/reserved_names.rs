//! Reserved usernames: an account with one of them could pose as the service.

use std::collections::HashSet;

use events::fold_name;

/// One name a line; lines that begin with `#` are comments.
const BUILT_IN: &str = include_str!("reserved_names.txt");

/// The built-in names, and those that the operator has added.
#[derive(Debug, Clone)]
pub struct ReservedUsernames(HashSet<String>);

impl ReservedUsernames {
    /// The built-in names and these.
    pub fn with(additional: impl IntoIterator<Item = String>) -> Self {
        let built_in = BUILT_IN.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
        let mut names: HashSet<String> = built_in.chain(additional).map(|name| comparable(&name)).collect();
        // A line without a letter or digit reserves nothing.
        names.remove("");
        Self(names)
    }

    pub(crate) fn contains(&self, username: &str) -> bool {
        self.0.contains(&comparable(username))
    }
}

/// The folded form that claims use, without separators: `Ad_min` is read as `admin`.
fn comparable(name: &str) -> String {
    fold_name(name).chars().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_in_any_spelling_are_recognised() {
        let reserved = ReservedUsernames::with(["Acme.Support".to_owned(), "  ".to_owned()]);
        for name in [
            "admin",
            "ADMIN",
            " Ad_min ",
            "a.d.m.i.n",
            "\u{ff41}dmin",
            "admin_",
            "acmesupport",
            "ACME-support",
        ] {
            assert!(reserved.contains(name), "{name}");
        }
        for name in ["ann", "adminann", "administrating", "_", ""] {
            assert!(!reserved.contains(name), "{name}");
        }
        assert!(!ReservedUsernames::with([]).contains("acmesupport"));
    }

    #[test]
    fn built_in_names_are_plain_and_unique() {
        let names: Vec<&str> =
            BUILT_IN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        for name in &names {
            assert_eq!(comparable(name), **name);
        }
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
