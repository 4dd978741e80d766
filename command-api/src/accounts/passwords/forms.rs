//! The one form in which a password is hashed, however a keyboard or a paste composes its characters.

use unicode_normalization::UnicodeNormalization;

/// As the OpaqueString profile says (RFC 8265, section 4.2): every space is U+0020, and characters are composed (NFC).
pub fn prepare(password: &str) -> String {
    password.chars().map(|c| if is_wide_space(c) { ' ' } else { c }).nfc().collect()
}

/// What is in the category Zs, other than U+0020.
const fn is_wide_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// The forms of a password that a stored hash may have been made from: the prepared one first, then those of earlier versions,
/// which hashed what was sent, on the routes of other apps with `&lt;` in place of `<`. Most passwords have one form. How many
/// there are depends on the password alone.
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
            // Unlike in names, case and compatibility forms do.
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
        fn a_prepared_password_is_prepared(password in any::<String>()) {
            let prepared = prepare(&password);
            prop_assert_eq!(prepare(&prepared), prepared);
        }

        #[test]
        fn ascii_stays_as_typed(password in "[ -~]{0,40}") {
            prop_assert_eq!(prepare(&password), password);
        }
    }
}
