//! Rules for fields that the apps share, with their messages. The rules for addresses and invisible characters are those of
//! `/v1`.

use std::ops::RangeInclusive;

use command_api::accounts::passwords::prepare;
use command_api::pipeline::text;
use web::compat::{Fields, Refusal};

pub(crate) type Checked = Result<String, String>;

/// Collects the messages about invalid fields of a request, in order.
#[derive(Debug, Default)]
pub(crate) struct Messages(Vec<String>);

impl Messages {
    /// The value, or an empty one if it is invalid: then [`finish`](Self::finish) fails.
    pub(crate) fn take(&mut self, checked: Checked) -> String {
        checked.unwrap_or_else(|message| {
            self.0.push(message);
            String::new()
        })
    }

    pub(crate) fn finish(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::forbidden(self.0.join(" "))) }
    }
}

/// The text of a field; empty if it was not sent.
pub(crate) fn given(fields: &Fields, field: &str, label: &str) -> Checked {
    match fields.text(field) {
        None if fields.says(field) => Err(format!("{label} must be a text.")),
        text => Ok(text.unwrap_or_default()),
    }
}

pub(crate) fn email(fields: &Fields) -> Checked {
    let text = given(fields, "email", "Email address")?;
    if text.trim().is_empty() {
        return Err("Email address is required.".to_owned());
    }
    text::email(&text).map_err(|_| "Invalid email address.".to_owned())
}

/// A password within these lengths. Spaces count and are kept. `shorter` is the app's word for a password that is too short.
pub(crate) fn password(fields: &Fields, lengths: &RangeInclusive<usize>, shorter: &str) -> Checked {
    let text = prepare(&given(fields, "password", "Password")?);
    let (shortest, longest) = (lengths.start(), lengths.end());
    match text.chars().count() {
        0 => Err("Password is required.".to_owned()),
        length if length < *shortest => {
            Err(format!("Password cannot be {shorter} than {shortest} characters."))
        }
        length if length > *longest => Err(format!("Password cannot be longer than {longest} characters.")),
        _ => Ok(text),
    }
}

/// The repeated password.
pub(crate) fn confirmation(fields: &Fields) -> Checked {
    match fields.filled("passwordConfirm") {
        None if fields.says("passwordConfirm") => Err("Password doesn't match.".to_owned()),
        None => Err("Please confirm your password.".to_owned()),
        Some(again) if fields.text("password").is_some_and(|text| prepare(&text) == prepare(&again)) => {
            Ok(again)
        }
        Some(_) => Err("Password doesn't match.".to_owned()),
    }
}
