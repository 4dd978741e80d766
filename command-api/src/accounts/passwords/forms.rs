//! Preparation of passwords for hashing, so that the composition of their characters does not matter.

use unicode_normalization::UnicodeNormalization;

/// Applies the OpaqueString profile (RFC 8265, section 4.2): every space is U+0020, and characters are composed (NFC).
pub fn prepare(password: &str) -> String {
    password.chars().map(|c| if is_wide_space(c) { ' ' } else { c }).nfc().collect()
}

/// Characters of the category Zs other than U+0020.
const fn is_wide_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// The forms of a password that may have been hashed: the prepared form first, then those of earlier versions, which hashed
/// the password as sent, on the routes of other apps with `&lt;` in place of `<`. Most passwords have one form. The number of
/// forms depends on the password alone.
pub(super) fn stored_forms(password: &str) -> Vec<String> {
    let mut forms = vec![prepare(password)];
    for form in [password.to_owned(), password.replace('<', "&lt;")] {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spaces_and_composition_make_no_difference() {
        for (typed, prepared) in [
            ("pass word", "pass word"),
            ("pass\u{a0}word", "pass word"),
            ("pass\u{3000}word\u{2003}", "pass word "),
            ("\u{e9}t\u{e9}", "\u{e9}t\u{e9}"),
            ("e\u{301}te\u{301}", "\u{e9}t\u{e9}"),
            // Unlike in names, case and compatibility forms matter.
            ("\u{ff30}\u{fb01}", "\u{ff30}\u{fb01}"),
        ] {
            assert_eq!(prepare(typed), prepared, "{typed:?}");
        }
    }

    #[test]
    fn ordinary_passwords_have_one_stored_form() {
        assert_eq!(stored_forms("correct horse & battery"), ["correct horse & battery"]);
        assert_eq!(stored_forms("\u{e9}t\u{e9}"), ["\u{e9}t\u{e9}"]);
        assert_eq!(stored_forms("e\u{301}"), ["\u{e9}", "e\u{301}"]);
        assert_eq!(stored_forms("a<b"), ["a<b", "a&lt;b"]);
        assert_eq!(stored_forms("e\u{301}<"), ["\u{e9}<", "e\u{301}<", "e\u{301}&lt;"]);
    }

    proptest! {
        #[test]
        fn preparation_is_idempotent(password in any::<String>()) {
            let prepared = prepare(&password);
            prop_assert_eq!(prepare(&prepared), prepared);
        }

        #[test]
        fn ascii_is_not_changed(password in "[ -~]{0,40}") {
            prop_assert_eq!(prepare(&password), password);
        }
    }
}
