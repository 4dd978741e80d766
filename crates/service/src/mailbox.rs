//! The canonical form of email addresses for mails and claims: ASCII, with internationalised domains in Punycode.
//! Whether an address exists is only known by sending a mail.

use email_address::{EmailAddress, Options};

/// Maximum length of an address in bytes (RFC 5321).
const LIMIT: usize = 254;
/// Prefix of a Punycode label.
const PUNYCODE: &str = "xn--";

/// The ASCII form of an address; none if mail cannot be sent to it. Local parts that are not ASCII are rejected,
/// since the mail service does not support them. ASCII domains are kept as typed.
pub fn ascii_form(address: &str) -> Option<String> {
    let (local, domain) = address.trim().rsplit_once('@')?;
    if !local.is_ascii() || local.starts_with('"') {
        return None;
    }
    let is_plain = domain.is_ascii() && !domain.to_ascii_lowercase().contains(PUNYCODE);
    let domain = if is_plain { domain.to_owned() } else { idna::domain_to_ascii_strict(domain).ok()? };
    // The crate allows more characters than host names have.
    if !domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
        return None;
    }
    // Only IP addresses end in a number.
    if domain.rsplit('.').next()?.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let address = format!("{local}@{domain}");
    let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
    let is_valid = EmailAddress::parse_with_options(&address, options).is_ok();
    (is_valid && address.len() <= LIMIT).then_some(address)
}

/// The address with its domain in Unicode, as earlier versions may have claimed it.
pub fn unicode_form(address: &str) -> Option<String> {
    let (local, domain) = address.rsplit_once('@')?;
    let (domain, decoded) = idna::domain_to_unicode(domain);
    decoded.ok().map(|()| format!("{local}@{domain}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn valid_addresses_have_one_ascii_form() {
        for good in [
            "ann@example.org",
            "Ann+x@Mail.Example.ORG",
            "a@b.co",
            "o'neil.ann_lee-x@example.org",
            "a@1.example",
        ] {
            assert_eq!(ascii_form(good).as_deref(), Some(good));
        }
        for typed in [
            "ann@exämple.org",
            " ann@EXÄMPLE.org ",
            "ann@exa\u{308}mple.org",
            "ann@xn--exmple-cua.org",
            "ann@XN--EXMPLE-CUA.org",
        ] {
            assert_eq!(ascii_form(typed).as_deref(), Some("ann@xn--exmple-cua.org"), "{typed}");
        }
        assert_eq!(ascii_form("ann@\u{ff45}xample.org").as_deref(), Some("ann@example.org"));
        let longest = format!("{}@{}.org", "a".repeat(64), "b".repeat(63));
        assert_eq!(ascii_form(&longest).as_deref(), Some(&*longest));
    }

    #[test]
    fn invalid_addresses_are_none() {
        let (long_local, long_label) =
            (format!("{}@example.org", "a".repeat(65)), format!("a@{}.org", "b".repeat(64)));
        let long_unicode_label = format!("a@{}.org", "ä".repeat(60));
        let long = format!("a@{}.org", ["b"; 130].join("."));
        for bad in [
            "",
            "ann",
            "ann@",
            "@example.org",
            "ann@example",
            ".ann@example.org",
            "ann.@example.org",
            "ann..lee@example.org",
            "a b@example.org",
            "a@b..org",
            "a@b.org.",
            "a@-b.org",
            "a@b-.org",
            "a@b_c.org",
            "a@b.org\r\nBcc: x@y.org",
            "a@b.org\0",
            "a,b@c.org",
            "a@b@c.org",
            "<a@b.org>",
            "Ann <a@b.org>",
            "\"a b\"@c.org",
            "a@[192.0.2.1]",
            "a@192.0.2.1",
            "änn@example.org",
            "a\u{202e}b@c.org",
            "a\u{200b}@c.org",
            "a@c\u{200d}.org",
            "a@xn--a.org",
            &long_local,
            &long_label,
            &long_unicode_label,
            &long,
        ] {
            assert_eq!(ascii_form(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn unicode_form_is_the_typed_form() {
        assert_eq!(unicode_form("ann@xn--exmple-cua.org").as_deref(), Some("ann@exämple.org"));
        assert_eq!(unicode_form("ann@example.org").as_deref(), Some("ann@example.org"));
    }

    proptest! {
        #[test]
        fn ascii_form_is_idempotent(text in "[a-zA-Z.@+äß-]{0,12}@[a-zA-ZäßЖ.-]{1,12}\\.(org|РФ|\\PC{1,3})") {
            if let Some(address) = ascii_form(&text) {
                prop_assert!(address.bytes().all(|b| b.is_ascii_graphic()), "{address:?}");
                prop_assert_eq!(ascii_form(&address), Some(address));
            }
        }
    }
}
