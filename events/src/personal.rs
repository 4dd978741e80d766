//! Personal data: open in memory, sealed in the log, unreadable once the user's key is destroyed (crypto-shredding).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Generate, KeyInit, Nonce, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use zeroize::Zeroizing;

/// Length of an XChaCha20-Poly1305 nonce in bytes: long enough for random nonces without limit.
const NONCE_LENGTH: usize = 24;

/// A personal value. Only the sealed form can be serialised, so that no personal data is stored in clear text by
/// mistake. `Debug` never shows the value.
#[derive(Clone, PartialEq, Eq)]
pub enum Personal<T> {
    Open(T),
    Sealed(Ciphertext),
    /// The user's key is destroyed: the value is unreadable forever.
    Erased,
}

/// Nonce and ciphertext of XChaCha20-Poly1305 with the user's data key, bound to its event.
#[derive(Clone, PartialEq, Eq)]
pub struct Ciphertext(Vec<u8>);

impl Ciphertext {
    pub(crate) const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl<T> Personal<T> {
    /// The value, unless it is sealed or erased.
    pub fn open(&self) -> Option<&T> {
        match self {
            Self::Open(value) => Some(value),
            Self::Sealed(_) | Self::Erased => None,
        }
    }

    pub fn into_open(self) -> Option<T> {
        match self {
            Self::Open(value) => Some(value),
            Self::Sealed(_) | Self::Erased => None,
        }
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Personal::Open(…)",
            Self::Sealed(_) => "Personal::Sealed(…)",
            Self::Erased => "Personal::Erased",
        })
    }
}

impl fmt::Debug for Ciphertext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ciphertext({} bytes)", self.0.len())
    }
}

/// In the log: `{"sealed": "<base64>"}`.
#[derive(Serialize, Deserialize)]
struct SealedForm<S> {
    sealed: S,
}

impl<T> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sealed(Ciphertext(bytes)) => {
                SealedForm { sealed: STANDARD_NO_PAD.encode(bytes) }.serialize(serializer)
            }
            Self::Open(_) | Self::Erased => {
                Err(serde::ser::Error::custom("only sealed personal data can be written"))
            }
        }
    }
}

impl<'de, T> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let SealedForm { sealed } = SealedForm::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(sealed.as_ref()).map_err(serde::de::Error::custom)?;
        Ok(Self::Sealed(Ciphertext(bytes)))
    }
}

/// The bytes of a value in its sealed form, if it is one.
pub(crate) fn sealed_bytes(value: &serde_json::Value) -> Option<Vec<u8>> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    STANDARD_NO_PAD.decode(fields.get("sealed")?.as_str()?).ok()
}

/// The user's key does not open the sealed bytes, or their content is invalid.
#[derive(Debug, Error)]
#[error("personal data cannot be opened: {0}")]
pub(crate) struct CannotOpen(String);

/// The key that seals one user's data.
#[derive(Clone)]
pub(crate) struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    pub(crate) fn generate() -> Self {
        Self(Zeroizing::new(Key::generate().into()))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    pub(crate) const fn from_array(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Nonce, then ciphertext with its tag. Opening requires the same `bound_to`.
    pub(crate) fn seal_bytes(&self, plaintext: &[u8], bound_to: &[u8]) -> Result<Vec<u8>, CannotOpen> {
        let nonce = Nonce::<XChaCha20Poly1305>::generate();
        let ciphertext = XChaCha20Poly1305::new(&Key::from(*self.0))
            .encrypt(&nonce, Payload { msg: plaintext, aad: bound_to })
            .map_err(|_| CannotOpen("too long to seal".to_owned()))?;
        let mut sealed = Vec::with_capacity(NONCE_LENGTH + ciphertext.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    pub(crate) fn open_bytes(
        &self,
        sealed: &[u8],
        bound_to: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let (nonce, ciphertext) =
            sealed.split_first_chunk::<NONCE_LENGTH>().ok_or_else(|| CannotOpen("too short".to_owned()))?;
        XChaCha20Poly1305::new(&Key::from(*self.0))
            .decrypt(&Nonce::<XChaCha20Poly1305>::from(*nonce), Payload { msg: ciphertext, aad: bound_to })
            .map(Zeroizing::new)
            .map_err(|_| CannotOpen("wrong key, or changed since it was sealed".to_owned()))
    }
}

/// A [`Personal`] value without its type.
pub(crate) trait Sealable: Send {
    fn seal(&mut self, key: &DataKey, bound_to: &[u8]) -> Result<(), CannotOpen>;

    /// Unseals the value with the key, or marks it erased without one.
    fn unseal(&mut self, key: Option<&DataKey>, bound_to: &[u8]) -> Result<(), CannotOpen>;

    /// Marks the value erased, in any state.
    fn erase(&mut self);

    /// Puts a marker into all texts of an open value, for tests that search for remains.
    fn mark(&mut self, marker: &str) -> Result<(), CannotOpen>;
}

impl<T: Serialize + DeserializeOwned + Send> Sealable for Personal<T> {
    fn seal(&mut self, key: &DataKey, bound_to: &[u8]) -> Result<(), CannotOpen> {
        if let Self::Open(value) = self {
            let plaintext = Zeroizing::new(serde_json::to_vec(value).map_err(|e| CannotOpen(e.to_string()))?);
            *self = Self::Sealed(Ciphertext(key.seal_bytes(&plaintext, bound_to)?));
        }
        Ok(())
    }

    fn unseal(&mut self, key: Option<&DataKey>, bound_to: &[u8]) -> Result<(), CannotOpen> {
        if let Self::Sealed(Ciphertext(sealed)) = self {
            *self = match key {
                None => Self::Erased,
                Some(key) => {
                    let plaintext = key.open_bytes(sealed, bound_to)?;
                    // The parser's message may quote the value, so it is dropped.
                    Self::Open(serde_json::from_slice(&plaintext).map_err(|e| {
                        CannotOpen(format!("not of the expected shape, at byte {} of its JSON", e.column()))
                    })?)
                }
            };
        }
        Ok(())
    }

    fn erase(&mut self) {
        *self = Self::Erased;
    }

    fn mark(&mut self, marker: &str) -> Result<(), CannotOpen> {
        if let Self::Open(value) = self {
            let mut json = serde_json::to_value(&*value).map_err(|e| CannotOpen(e.to_string()))?;
            mark_texts(&mut json, marker);
            *self = Self::Open(serde_json::from_value(json).map_err(|e| CannotOpen(e.to_string()))?);
        }
        Ok(())
    }
}

fn mark_texts(json: &mut serde_json::Value, marker: &str) {
    match json {
        serde_json::Value::String(text) => marker.clone_into(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| mark_texts(item, marker)),
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(|field| mark_texts(field, marker));
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(text: &str, key: &DataKey) -> Personal<String> {
        let mut personal = Personal::Open(text.to_owned());
        personal.seal(key, b"event").unwrap();
        personal
    }

    #[test]
    fn opens_with_its_key_and_is_erased_without_one() {
        let key = DataKey::generate();
        let written = serde_json::to_vec(&sealed("Ann Lee", &key)).unwrap();
        assert!(!String::from_utf8_lossy(&written).contains("Ann"));

        let mut read: Personal<String> = serde_json::from_slice(&written).unwrap();
        let mut erased = read.clone();
        read.unseal(Some(&key), b"event").unwrap();
        assert_eq!(read.open().map(String::as_str), Some("Ann Lee"));
        erased.unseal(None, b"event").unwrap();
        assert_eq!(erased, Personal::Erased);
    }

    #[test]
    fn rejects_another_key_another_event_and_tampering() {
        let key = DataKey::generate();
        let personal = sealed("Ann Lee", &key);
        assert!(personal.clone().unseal(Some(&DataKey::generate()), b"event").is_err());
        assert!(personal.clone().unseal(Some(&key), b"other event").is_err());
        let Personal::Sealed(Ciphertext(mut bytes)) = personal else { panic!("not sealed") };
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            let mut changed = Personal::<String>::Sealed(Ciphertext(bytes.clone()));
            assert!(changed.unseal(Some(&key), b"event").is_err(), "byte {place}");
            bytes[place] ^= 1;
        }
        assert!(Personal::<String>::Sealed(Ciphertext(vec![1, 2, 3])).unseal(Some(&key), b"event").is_err());
    }

    #[test]
    fn open_value_cannot_be_serialised_or_shown() {
        let open = Personal::Open("Ann Lee".to_owned());
        assert!(serde_json::to_string(&open).is_err());
        assert!(!format!("{open:?}").contains("Ann"));
    }
}
