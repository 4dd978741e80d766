//! The app's rules for fields, and its messages for fields that break them. The rules for addresses and invisible characters
//! are those of `/v1`.

use std::ops::RangeInclusive;

use command_api::pipeline::text;
use web::compat::{Fields, Refusal};

use crate::rules::{self, Checked, Messages, given};

pub(super) use crate::rules::{confirmation, email};

/// Lengths in characters.
const NAME: RangeInclusive<usize> = 2..=16;
const USERNAME: RangeInclusive<usize> = 3..=12;
const PASSWORD: RangeInclusive<usize> = 8..=24;
const CAPTION_LIMIT: usize = 256;

/// A text of one line within these lengths.
fn required(fields: &Fields, field: &str, label: &str, lengths: &RangeInclusive<usize>) -> Checked {
    let text = text::tidy(&given(fields, field, label)?);
    let length = text.chars().count();
    let (shortest, longest) = (lengths.start(), lengths.end());
    match length {
        0 => Err(format!("{label} is required.")),
        _ if length < *shortest => Err(format!("{label} cannot be shorter than {shortest} characters.")),
        _ if length > *longest => Err(format!("{label} cannot be longer than {longest} characters.")),
        _ => text::line(&text, *longest).map_err(|problem| format!("{label} {problem}.")),
    }
}

pub(super) fn firstname(fields: &Fields) -> Checked {
    required(fields, "firstname", "Firstname", &NAME)
}

pub(super) fn lastname(fields: &Fields) -> Checked {
    required(fields, "lastname", "Lastname", &NAME)
}

pub(super) fn username(fields: &Fields) -> Checked {
    required(fields, "username", "@username", &USERNAME)
}

pub(super) fn bio(fields: &Fields) -> Checked {
    let text = given(fields, "bio", "Bio")?;
    text::free(&text, text::BIO_LIMIT).map_err(|problem| format!("Bio {problem}."))
}

/// Spaces count and are kept.
pub(super) fn password(fields: &Fields) -> Checked {
    rules::password(fields, &PASSWORD, "shorter")
}

/// A new password and its repetition.
pub(super) fn new_password(fields: &Fields) -> Result<String, Refusal> {
    let mut messages = Messages::default();
    let chosen = messages.take(password(fields));
    messages.take(confirmation(fields));
    messages.finish()?;
    Ok(chosen)
}

pub(super) fn caption(text: &str) -> Result<String, Refusal> {
    if text::tidy(text).chars().count() > CAPTION_LIMIT {
        return Err(Refusal::forbidden("The caption text must be 256 characters the most."));
    }
    text::free(text, CAPTION_LIMIT)
        .map_err(|problem| Refusal::forbidden(format!("The caption text {problem}.")))
}

pub(super) fn comment(fields: &Fields) -> Result<String, Refusal> {
    let text = fields.text("comment").unwrap_or_default();
    if text::tidy(&text).is_empty() {
        return Err(Refusal::forbidden("Comment cannot be blank."));
    }
    text::required(&text, text::COMMENT_LIMIT)
        .map_err(|problem| Refusal::forbidden(format!("Comment {problem}.")))
}

#[cfg(test)]
mod tests {
    use axum::extract::FromRequest;
    use futures::FutureExt;
    use http::Request;
    use serde_json::{Value, json};

    use super::*;

    fn fields(body: &Value) -> Fields {
        let request = Request::post("/").header("content-type", "application/json");
        let request = request.body(axum::body::Body::from(body.to_string())).unwrap();
        Fields::from_request(request, &()).now_or_never().unwrap().unwrap()
    }

    fn checked(rule: fn(&Fields) -> Checked, body: &Value) -> String {
        rule(&fields(body)).unwrap_or_else(|message| format!("! {message}"))
    }

    #[test]
    fn invalid_names_are_rejected_with_a_message() {
        let long = "x".repeat(17);
        for (value, expected) in [
            (json!(null), "! Firstname is required."),
            (json!(" "), "! Firstname is required."),
            (json!("\u{200b}\u{3164}\u{2060}"), "! Firstname is required."),
            (json!("A"), "! Firstname cannot be shorter than 2 characters."),
            (json!(long), "! Firstname cannot be longer than 16 characters."),
            (json!({ "a": 1 }), "! Firstname must be a text."),
            (json!(["a"]), "! Firstname must be a text."),
            (json!("  Ann "), "Ann"),
            (json!("x".repeat(16)), "xxxxxxxxxxxxxxxx"),
            (json!(77), "77"),
        ] {
            assert_eq!(checked(firstname, &json!({ "firstname": value })), expected);
        }
        assert_eq!(checked(lastname, &json!({})), "! Lastname is required.");
        assert_eq!(
            checked(username, &json!({ "username": "ab" })),
            "! @username cannot be shorter than 3 characters."
        );
        assert_eq!(
            checked(username, &json!({ "username": "x".repeat(13) })),
            "! @username cannot be longer than 12 characters."
        );
        assert!(checked(username, &json!({ "username": "ann\u{202e}lee" })).starts_with("! @username "));
    }

    #[test]
    fn invalid_addresses_and_passwords_are_rejected_with_a_message() {
        assert_eq!(checked(email, &json!({})), "! Email address is required.");
        assert_eq!(checked(email, &json!({ "email": "ann" })), "! Invalid email address.");
        assert_eq!(checked(email, &json!({ "email": " a@b.org " })), "a@b.org");
        for (value, expected) in [
            (json!(""), "! Password is required."),
            (json!("1234567"), "! Password cannot be shorter than 8 characters."),
            (json!("x".repeat(25)), "! Password cannot be longer than 24 characters."),
            (json!(" 234567 "), " 234567 "),
            (json!("<".repeat(24)), &"<".repeat(24)),
        ] {
            assert_eq!(checked(password, &json!({ "password": value })), expected);
        }
        let again =
            |again: Value| checked(confirmation, &json!({ "password": "a", "passwordConfirm": again }));
        assert_eq!(again(json!("")), "! Please confirm your password.");
        assert_eq!(again(json!("b")), "! Password doesn't match.");
        assert_eq!(again(json!(["a"])), "! Password doesn't match.");
        assert_eq!(again(json!("a")), "a");
    }

    #[test]
    fn captions_and_comments_are_limited_in_length() {
        assert!(caption(&"x".repeat(257)).is_err());
        assert_eq!(caption(&format!(" {} ", "x".repeat(256))).unwrap().len(), 256);
        assert_eq!(caption("").unwrap(), "");
        for body in [
            json!({}),
            json!({ "comment": "" }),
            json!({ "comment": " \n\u{3164}" }),
            json!({ "comment": {} }),
        ] {
            assert!(comment(&fields(&body)).is_err(), "{body}");
        }
        assert_eq!(comment(&fields(&json!({ "comment": " <3 " }))).unwrap(), "<3");
    }
}
