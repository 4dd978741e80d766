//! Rules for texts. Text is stored as written, except for surrounding white space, the form of line ends, and marks of
//! direction that would affect other text. Control characters and marks that override the direction of text are refused.

use service::mailbox;
use web::problem::{FieldCode, FieldProblem, Problem, Refused};

/// Lengths are in Unicode scalar values, which are close to the characters that people count.
pub(crate) const USERNAME: std::ops::RangeInclusive<usize> = 3..=30;
pub const NAME_LIMIT: usize = 50;
pub const BIO_LIMIT: usize = 500;
pub(crate) const CAPTION_LIMIT: usize = 2200;
pub(crate) const ALT_LIMIT: usize = 500;
pub const COMMENT_LIMIT: usize = 1000;
pub(crate) const COLLECTION_LIMIT: usize = 100;
pub(crate) const PASSWORD: std::ops::RangeInclusive<usize> = 8..=128;

type Checked = Result<String, Refused>;

/// A username: letters, digits, `_` and `.` of ASCII, so that no two look alike.
pub fn username(text: &str) -> Checked {
    let text = text.trim();
    let (shortest, longest) = (USERNAME.start(), USERNAME.end());
    if !USERNAME.contains(&text.chars().count()) {
        let code = if text.chars().count() < *shortest { FieldCode::TooShort } else { FieldCode::TooLong };
        return Err(Refused::new(code, format!("must have {shortest} to {longest} characters")));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if !text.chars().all(good) {
        return Err(Refused::new(
            FieldCode::InvalidCharacters,
            "may have letters a to z, digits, `_` and `.`",
        ));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || text.ends_with('.') {
        let message = "must begin with a letter or a digit, and not end with `.`";
        return Err(Refused::new(FieldCode::InvalidFormat, message));
    }
    Ok(text.to_owned())
}

/// An email address that mail can be sent to, in its ASCII form.
pub fn email(text: &str) -> Checked {
    let message = "must be an email address that mail can be sent to";
    mailbox::ascii_form(text).ok_or_else(|| Refused::new(FieldCode::InvalidFormat, message))
}

/// One line.
pub fn line(text: &str, limit: usize) -> Checked {
    let text = tidy(text);
    if text.contains(['\n', '\t', '\u{2028}', '\u{2029}']) {
        return Err(Refused::new(FieldCode::InvalidFormat, "must be one line"));
    }
    free(&text, limit)
}

/// One line, not empty.
pub(crate) fn required_line(text: &str, limit: usize) -> Checked {
    line(text, limit).and_then(not_empty)
}

/// Several lines.
pub fn free(text: &str, limit: usize) -> Checked {
    let text = tidy(text);
    if text.chars().count() > limit {
        return Err(Refused::new(FieldCode::TooLong, format!("must have at most {limit} characters")));
    }
    match text.chars().find(|&c| is_refused(c)) {
        Some(c) => {
            let message = format!("must not have the character U+{:04X}", u32::from(c));
            Err(Refused::new(FieldCode::InvalidCharacters, message))
        }
        None => Ok(text),
    }
}

/// Several lines, not empty.
pub fn required(text: &str, limit: usize) -> Checked {
    free(text, limit).and_then(not_empty)
}

fn not_empty(text: String) -> Checked {
    if text.is_empty() { Err(Refused::new(FieldCode::Empty, "must not be empty")) } else { Ok(text) }
}

/// The stored form of a text: without a leading byte order mark and surrounding white space, with `\n` as every line end, and
/// with closed marks of direction. Empty if nothing of it is visible.
pub fn tidy(text: &str) -> String {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let text = balanced(&text.replace("\r\n", "\n").replace('\r', "\n"));
    if text.chars().all(|c| is_blank(c) && !is_refused(c)) { String::new() } else { text.trim().to_owned() }
}

/// Closes isolates and embeddings at the end of their line, where the bidirectional algorithm ends them too
/// (<https://www.unicode.org/reports/tr9/>), so that they do not affect surrounding text. Drops marks that close nothing.
fn balanced(text: &str) -> String {
    const POP_EMBEDDING: char = '\u{202c}';
    const POP_ISOLATE: char = '\u{2069}';
    let mut kept = String::with_capacity(text.len());
    // The closing marks of the open marks.
    let mut open: Vec<char> = Vec::new();
    for c in text.chars() {
        match c {
            // Phones wrap a copied number in an override from left to right.
            '\u{202a}' | '\u{202b}' | '\u{202d}' => open.push(POP_EMBEDDING),
            '\u{2066}'..='\u{2068}' => open.push(POP_ISOLATE),
            POP_EMBEDDING => match open.last() {
                Some(&POP_EMBEDDING) => drop(open.pop()),
                _ => continue,
            },
            POP_ISOLATE => {
                let Some(isolate) = open.iter().rposition(|close| *close == POP_ISOLATE) else { continue };
                // Embeddings within the isolate end with it.
                kept.extend(open.drain(isolate..).skip(1).rev());
            }
            '\n' | '\u{2029}' => kept.extend(open.drain(..).rev()),
            _ => {}
        }
        kept.push(c);
    }
    kept.extend(open.drain(..).rev());
    kept
}

/// Control characters except line ends and tabs, the mark that turns the following text around, and byte order marks. Joiners
/// are allowed: scripts and emoji need them.
fn is_refused(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202e}' | '\u{feff}')
}

/// Invisible characters: white space, default-ignorable code points (`Default_Ignorable_Code_Point` in
/// <https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt>), and those without a shape: the empty Braille
/// pattern, anchors of annotations and the musical null notehead.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Collects the problems with the fields of a request, so that all are reported together.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<FieldProblem>);

impl Fields {
    /// The value, or an empty one if it is invalid: then [`finish`](Self::finish) fails.
    pub(crate) fn take<T: Default>(&mut self, field: &str, checked: Result<T, Refused>) -> T {
        checked.unwrap_or_else(|refused| {
            self.0.push(FieldProblem::of(field, refused));
            T::default()
        })
    }

    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::invalid(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn usernames_are_plain() {
        for good in ["ann", "Ann_Lee.2", " ann ", "0ann", &"a".repeat(30)] {
            assert_eq!(username(good), Ok(good.trim().to_owned()));
        }
        for bad in [
            "",
            "an",
            &"a".repeat(31),
            "ann lee",
            "änn",
            "аnn",
            "_ann",
            ".ann",
            "ann.",
            "ann/lee",
            "ann\n",
            "a\u{202e}nn",
        ] {
            let refused = username(bad);
            assert!(refused.is_err() || bad.trim() == "ann", "{bad:?}: {refused:?}");
        }
    }

    #[test]
    fn email_addresses_are_converted_to_their_ascii_form() {
        assert_eq!(email(" Ann+x@Mail.example.org "), Ok("Ann+x@Mail.example.org".to_owned()));
        assert_eq!(email("ann@exämple.org"), Ok("ann@xn--exmple-cua.org".to_owned()));
        for bad in ["", "ann..lee@example.org", "änn@example.org", "a@b.org\r\nBcc: x@y.org"] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn visible_text_is_kept_and_control_characters_are_refused() {
        assert_eq!(free("  a\nb 👩‍👩‍👧 <b>&amp;</b> \u{5e9} ", 50), Ok("a\nb 👩‍👩‍👧 <b>&amp;</b> \u{5e9}".into()));
        for bad in ["a\0b", "a\u{7}b", "\u{202e}abc", "a\u{feff}b", "\0", &"x".repeat(51)] {
            assert!(free(bad, 50).is_err(), "{bad:?}");
        }
        for lines in ["a\nb", "a\rb", "a\u{2028}b"] {
            assert!(line(lines, 50).is_err(), "{lines:?}");
        }
        assert!(required(" \n ", 50).is_err());
    }

    #[test]
    fn marks_of_direction_are_closed() {
        for (typed, kept) in [
            // A number as a phone pastes it.
            ("Call \u{2066}+49 30 1234\u{2069} now", "Call \u{2066}+49 30 1234\u{2069} now"),
            ("\u{202a}+49 30 1234\u{202c}", "\u{202a}+49 30 1234\u{202c}"),
            ("\u{202d}+49 30 1234\u{202c}", "\u{202d}+49 30 1234\u{202c}"),
            ("\u{202d}abc", "\u{202d}abc\u{202c}"),
            ("\u{2067}abc", "\u{2067}abc\u{2069}"),
            ("\u{2068}a\nb", "\u{2068}a\u{2069}\nb"),
            ("\u{2066}\u{202b}a\u{2069}b", "\u{2066}\u{202b}a\u{202c}\u{2069}b"),
            ("\u{202b}\u{2066}a\u{202c}b", "\u{202b}\u{2066}ab\u{2069}\u{202c}"),
            ("a\u{2069}\u{202c}b", "ab"),
        ] {
            assert_eq!(free(typed, 50).as_deref(), Ok(kept), "{typed:?}");
        }
        assert!(free("\u{2066}abc", 4).is_err(), "the closing mark counts");
    }

    #[test]
    fn line_ends_are_normalised() {
        assert_eq!(free("a\r\nb\rc\n", 5).as_deref(), Ok("a\nb\nc"));
        let lines = "x\r\n".repeat(1100);
        assert_eq!(free(&lines, CAPTION_LIMIT).map(|text| text.len()), Ok(2199));
        assert_eq!(free("\u{feff}a", 1).as_deref(), Ok("a"));
    }

    #[test]
    fn invisible_text_is_empty() {
        for nothing in [
            "\u{200b}\u{200d}",
            "\u{3164}",
            "\u{115f}\u{1160} \u{ffa0}",
            "\u{2800}",
            "\u{e0067}\u{e007f}",
            "\u{fe0f}\u{ad}",
            "\u{2066}\u{2069}",
            "\u{feff}",
            "\u{1d159}",
            "\u{fff9} \u{fffa}\u{fffb}",
        ] {
            assert_eq!(line(nothing, 50).as_deref(), Ok(""), "{nothing:?}");
            assert!(required(nothing, 50).is_err() && required_line(nothing, 50).is_err(), "{nothing:?}");
        }
        for something in ["\u{2764}\u{fe0f}", "\u{200b}a\u{200b}", "\u{915}\u{200d}"] {
            assert_eq!(required(something, 50).as_deref(), Ok(something));
        }
    }

    #[test]
    fn all_invalid_fields_are_reported_together() {
        let mut fields = Fields::default();
        assert_eq!(fields.take("username", username("ann")), "ann");
        fields.take("email", email("x"));
        fields.take("password", line("two\nlines", 20));
        let problem = fields.finish().unwrap_err();
        assert_eq!(problem.status.as_u16(), 422);
        let named: Vec<&str> = problem.fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(named, ["email", "password"]);
    }

    type Rule = fn(&str) -> Checked;

    /// Text with characters that may do harm in headers, mails, terminals and pages.
    fn any_text() -> impl Strategy<Value = String> {
        let risky = prop::sample::select(
            &[
                "\r\n", "\r", "\0", "\u{202e}", "\u{2066}", "\u{2069}", "\u{202b}", "\u{202c}", "\u{feff}",
                "\u{3164}", "\u{2028}", "\u{200d}", "\u{85}", "@", ".", "<b>", " ", "\"", "%0d%0a",
            ][..],
        );
        prop::collection::vec(
            prop_oneof!["[a-zA-Z0-9]{1,5}", "\\PC{1,3}", ".", risky.prop_map(str::to_owned)],
            0..12,
        )
        .prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn accepted_text_is_accepted_again_unchanged(text in any_text()) {
            let rules: [(&str, Rule); 5] = [
                ("username", username),
                ("email", email),
                ("line", |text| line(text, 20)),
                ("free", |text| free(text, 20)),
                ("required", |text| required(text, 20)),
            ];
            for (name, rule) in rules {
                match rule(&text) {
                    Ok(taken) => {
                        prop_assert_eq!(rule(&taken), Ok(taken.clone()), "{}", name);
                    }
                    Err(Refused { message, .. }) => prop_assert!(message.starts_with("must ") || message.starts_with("may "), "{name}: {message}"),
                }
            }
        }

        #[test]
        fn accepted_text_cannot_break_out_of_a_header_or_reverse_a_line(text in any_text()) {
            for one_line in [username(&text), email(&text), line(&text, 50)].into_iter().flatten() {
                prop_assert!(!one_line.chars().any(char::is_control), "{one_line:?}");
                prop_assert!(!one_line.contains(['\u{202e}', '\u{2028}']), "{one_line:?}");
            }
            if let Ok(text) = free(&text, 50) {
                prop_assert!(text.chars().all(|c| !c.is_control() || "\n\t".contains(c)), "{text:?}");
            }
            if let Ok(address) = email(&text) {
                prop_assert_eq!(address.matches('@').count(), 1);
                prop_assert!(!address.contains(char::is_whitespace), "{address:?}");
            }
            if let Ok(name) = username(&text) {
                prop_assert!(name.is_ascii() && USERNAME.contains(&name.len()), "{name:?}");
            }
        }
    }
}
