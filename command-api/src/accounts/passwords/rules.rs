//! Which passwords are accepted: long enough, not among the most common ones, and not the user's own name or address.
//! There are no rules about kinds of characters, since such rules make passwords worse.
//! Source: <https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver>.

use std::collections::HashSet;
use std::sync::LazyLock;

use events::fold_name;

use super::forms::prepare;
use crate::pipeline::text::PASSWORD;
use web::problem::{FieldCode, Refused};

/// Lower case, sorted; lines that begin with `#` name the source.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("common.txt").lines().filter(|line| !line.starts_with('#')).collect());

/// The prepared password, if a user with these names and addresses may choose it. Spaces count and are kept.
///
/// # Errors
/// The rule that the password breaks.
pub(crate) fn check(password: &str, own: &[&str]) -> Result<String, Refused> {
    let (shortest, longest) = (PASSWORD.start(), PASSWORD.end());
    let password = prepare(password);
    let length = password.chars().count();
    if !PASSWORD.contains(&length) {
        let code = if length < *shortest { FieldCode::TooShort } else { FieldCode::TooLong };
        return Err(Refused::new(code, format!("must have {shortest} to {longest} characters")));
    }
    let folded = fold_name(&password);
    if COMMON.contains(folded.as_str()) {
        let message = "is one of the most common passwords: choose another one";
        return Err(Refused::new(FieldCode::TooCommon, message));
    }
    let own_words = own.iter().flat_map(|word| {
        let word = fold_name(word);
        let before_at = word.split_once('@').map(|(local, _)| local.to_owned());
        [Some(word), before_at]
    });
    if own_words.flatten().any(|word| !word.is_empty() && word == folded) {
        return Err(Refused::new(FieldCode::TooCommon, "must not be your own name or address"));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_password_names_the_broken_rule() {
        let own = ["Ann.Archer", "annabelle.lee@example.org", "Annabelle", "Lee", "Annabelle Lee"];
        let broken = |password: &str| check(password, &own).unwrap_err().message;
        assert!(broken("1234567").contains("8 to 128"));
        assert!(broken(&"x".repeat(129)).contains("8 to 128"));
        for common in ["password", "PassWord1", "12345678", "qwertyuiop", "\u{ff50}assword"] {
            assert!(broken(common).contains("most common"), "{common}");
        }
        for own in ["ann.archer", "ANN.ARCHER", "annabelle.lee@EXAMPLE.org", "Annabelle.Lee", "annabelle lee"]
        {
            assert!(broken(own).contains("your own"), "{own}");
        }
    }

    #[test]
    fn other_passwords_are_accepted_unchanged() {
        for good in ["correct horse battery", " eight ch", &"\u{1f40e}".repeat(8), &"x".repeat(128)] {
            assert_eq!(check(good, &["ann", "", "ann@example.org"]).as_deref(), Ok(good));
        }
    }

    #[test]
    fn common_passwords_are_folded() {
        assert!(COMMON.len() > 8000);
        assert!(COMMON.iter().all(|word| fold_name(word) == *word));
    }
}
