//! Tokens: JWTs signed with Ed25519. One process holds the private keys; the others verify with the public ones. Keys
//! rotate by id (`kid`): a new key is inserted first in the file, and old keys stay behind it until their tokens have
//! expired.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use ids::{SessionId, SongId, UserId};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use service::config::Secret;

/// An Ed25519 private key in PKCS #8 has this prefix, then its 32 bytes (RFC 8410).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Maximum length of a token.
const LENGTH_LIMIT: usize = 2048;

/// The claims of a token: user, session and expiry. Times are seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub sub: UserId,
    pub sid: SessionId,
    pub iat: i64,
    pub exp: i64,
}

/// The claims of a link to a song, for players that cannot send a token. Without `sid` it is no session, and without `song` a
/// session's token is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkClaims {
    /// Who may play the song.
    pub sub: UserId,
    pub song: SongId,
    pub exp: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFileError {
    #[error("holds no private key (`openssl genpkey -algorithm ed25519` makes one)")]
    Empty,
    #[error("key {0} is not an Ed25519 private key in PEM")]
    BadKey(usize),
}

/// The private keys.
pub struct SigningKeys {
    first: (String, EncodingKey),
    public: JwkSet,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKeys({})", self.first.0)
    }
}

impl SigningKeys {
    /// One or more private keys in PEM: the first one signs.
    pub fn parse(pem: &Secret) -> Result<Self, KeyFileError> {
        const END: &str = "-----END PRIVATE KEY-----";
        let mut first = None;
        let mut keys = Vec::new();
        for (index, block) in
            pem.reveal().split_inclusive(END).filter(|block| block.contains("-----")).enumerate()
        {
            let bad = |_| KeyFileError::BadKey(index + 1);
            let key = EncodingKey::from_ed_pem(block.trim().as_bytes()).map_err(bad)?;
            let mut jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA).map_err(bad)?;
            let id = jwk.thumbprint(ThumbprintHash::SHA256).map_err(bad)?;
            jwk.common.key_id = Some(id.clone());
            jwk.common.public_key_use = Some(PublicKeyUse::Signature);
            keys.push(jwk);
            first.get_or_insert((id, key));
        }
        Ok(Self { first: first.ok_or(KeyFileError::Empty)?, public: JwkSet { keys } })
    }

    /// A new private key, in the format of [`parse`](Self::parse).
    pub fn generate() -> Secret {
        let der = [PKCS8_PREFIX.as_slice(), &rand::random::<[u8; 32]>()].concat();
        Secret::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der)
        ))
    }

    /// The public keys, as in `/.well-known/jwks.json` (RFC 7517).
    pub fn public(&self) -> &JwkSet {
        &self.public
    }

    /// # Errors
    /// Only if signing itself fails, which is a bug.
    pub fn sign(
        &self,
        user: UserId,
        session: SessionId,
        now: DateTime<Utc>,
        expires: DateTime<Utc>,
    ) -> Result<String, SignError> {
        self.sign_claims(&Claims { sub: user, sid: session, iat: now.timestamp(), exp: expires.timestamp() })
    }

    /// Signs a link with which anybody plays a song as this user does.
    ///
    /// # Errors
    /// Only if signing itself fails, which is a bug.
    pub fn sign_link(&self, user: UserId, song: SongId, expires: DateTime<Utc>) -> Result<String, SignError> {
        self.sign_claims(&LinkClaims { sub: user, song, exp: expires.timestamp() })
    }

    fn sign_claims(&self, claims: &impl Serialize) -> Result<String, SignError> {
        let (id, key) = &self.first;
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok(jsonwebtoken::encode(&header, claims, key)?)
    }
}

#[derive(Debug, Error)]
#[error("a token could not be signed")]
pub struct SignError(#[from] jsonwebtoken::errors::Error);

/// Why a token is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    #[error("the token is not one of ours")]
    Invalid,
    #[error("the token was signed with a key that is not known here")]
    UnknownKey,
    #[error("the token has expired")]
    Expired,
}

/// The public keys.
pub struct VerifyingKeys {
    keys: HashMap<String, DecodingKey>,
    set: JwkSet,
}

impl Default for VerifyingKeys {
    fn default() -> Self {
        Self::of(&JwkSet { keys: Vec::new() })
    }
}

impl std::fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}

impl VerifyingKeys {
    /// The Ed25519 keys of a set; others are ignored.
    pub fn of(set: &JwkSet) -> Self {
        let ours = set.keys.iter().filter_map(|jwk| {
            let ed25519 = matches!(jwk.algorithm, AlgorithmParameters::OctetKeyPair(_))
                && jwk.common.key_algorithm.is_none_or(|algorithm| algorithm == KeyAlgorithm::EdDSA);
            let key = if ed25519 { DecodingKey::from_jwk(jwk).ok()? } else { return None };
            Some((jwk.common.key_id.clone()?, key))
        });
        Self { keys: ours.collect(), set: set.clone() }
    }

    /// Verifies the signature and the expiry at `now`. Only EdDSA is accepted, whatever the token says.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        let claims: Claims = self.verified(token)?;
        if claims.exp <= now.timestamp() { Err(TokenError::Expired) } else { Ok(claims) }
    }

    /// As [`verify`](Self::verify), for a link.
    pub fn verify_link(&self, token: &str, now: DateTime<Utc>) -> Result<LinkClaims, TokenError> {
        let claims: LinkClaims = self.verified(token)?;
        if claims.exp <= now.timestamp() { Err(TokenError::Expired) } else { Ok(claims) }
    }

    fn verified<T: DeserializeOwned + Clone>(&self, token: &str) -> Result<T, TokenError> {
        if token.len() > LENGTH_LIMIT {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::Invalid);
        }
        let key = header.kid.and_then(|id| self.keys.get(&id)).ok_or(TokenError::UnknownKey)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The time comes from our clock, and is checked by the callers.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let decoded = jsonwebtoken::decode::<T>(token, key, &validation);
        decoded.map(|decoded| decoded.claims).map_err(|_| TokenError::Invalid)
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key set that they come from.
    pub fn set(&self) -> &JwkSet {
        &self.set
    }
}

/// The session that a token claims, unverified: only for look-ups that are verified afterwards.
pub(crate) fn claimed_session(token: &str) -> Option<SessionId> {
    if token.len() > LENGTH_LIMIT {
        return None;
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(token).ok().map(|claims| claims.sid)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const USER: UserId = UserId::new(Uuid::from_u128(0xa));
    const SESSION: SessionId = SessionId::new(Uuid::from_u128(0x5));

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_secs(1_800_000_000).unwrap()
    }

    fn signed(keys: &SigningKeys) -> String {
        keys.sign(USER, SESSION, now(), now() + TimeDelta::days(30)).unwrap()
    }

    fn keys() -> SigningKeys {
        SigningKeys::parse(&SigningKeys::generate()).unwrap()
    }

    #[test]
    fn token_is_valid_until_it_expires() {
        let keys = keys();
        let (token, public) = (signed(&keys), VerifyingKeys::of(keys.public()));
        let claims = public.verify(&token, now()).unwrap();
        assert_eq!((claims.sub, claims.sid), (USER, SESSION));
        assert_eq!(claimed_session(&token), Some(SESSION));
        assert!(public.verify(&token, now() + TimeDelta::days(30) - TimeDelta::seconds(1)).is_ok());
        assert_eq!(public.verify(&token, now() + TimeDelta::days(30)), Err(TokenError::Expired));
    }

    #[test]
    fn link_is_no_session_and_a_session_is_no_link() {
        let song = SongId::new(Uuid::from_u128(0x50));
        let (keys, end) = (keys(), now() + TimeDelta::hours(1));
        let (link, public) = (keys.sign_link(USER, song, end).unwrap(), VerifyingKeys::of(keys.public()));
        assert_eq!(
            public.verify_link(&link, now()),
            Ok(LinkClaims { sub: USER, song, exp: end.timestamp() })
        );
        assert_eq!(public.verify_link(&link, end), Err(TokenError::Expired));
        assert_eq!(public.verify(&link, now()), Err(TokenError::Invalid));
        assert_eq!(public.verify_link(&signed(&keys), now()), Err(TokenError::Invalid));
        let other = VerifyingKeys::of(self::keys().public());
        assert_eq!(other.verify_link(&link, now()), Err(TokenError::UnknownKey));
    }

    #[test]
    fn new_key_signs_while_old_tokens_stay_valid() {
        let (old, new) = (SigningKeys::generate(), SigningKeys::generate());
        let token = signed(&SigningKeys::parse(&old).unwrap());
        let rotated = SigningKeys::parse(&Secret::new(format!("{}{}", new.reveal(), old.reveal()))).unwrap();
        let public = VerifyingKeys::of(rotated.public());
        assert!(public.verify(&token, now()).is_ok());
        let only_new = VerifyingKeys::of(SigningKeys::parse(&new).unwrap().public());
        assert!(only_new.verify(&signed(&rotated), now()).is_ok());
        assert_eq!(only_new.verify(&token, now()), Err(TokenError::UnknownKey));
    }

    #[test]
    fn jwks_contains_only_public_keys() {
        let keys = keys();
        let json = serde_json::to_value(keys.public()).unwrap();
        assert_eq!(json["keys"][0]["kty"], "OKP");
        assert!(json["keys"][0].get("d").is_none());
        let set: JwkSet = serde_json::from_value(json).unwrap();
        assert!(VerifyingKeys::of(&set).verify(&signed(&keys), now()).is_ok());
    }

    #[test]
    fn tokens_with_another_key_or_algorithm_are_rejected() {
        let keys = keys();
        let public = VerifyingKeys::of(keys.public());
        let good = signed(&keys);
        let kid = keys.first.0.clone();
        let claims = Claims { sub: USER, sid: SESSION, iat: 0, exp: i64::MAX };
        let forged_with = |algorithm, key: &EncodingKey| {
            let header = Header { kid: Some(kid.clone()), ..Header::new(algorithm) };
            jsonwebtoken::encode(&header, &claims, key).unwrap()
        };
        let AlgorithmParameters::OctetKeyPair(pair) = &keys.public().keys[0].algorithm else { panic!() };
        // The public key used as a shared secret.
        let hs256 = forged_with(
            Algorithm::HS256,
            &EncodingKey::from_base64_secret(&STANDARD.encode(&pair.x)).unwrap(),
        );
        let foreign = forged_with(Algorithm::EdDSA, &self::keys().first.1);
        let (head, rest) = good.split_once('.').unwrap();
        let (body, signature) = rest.split_once('.').unwrap();
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let none =
            format!("{}.{body}.", url.encode(json!({ "alg": "none", "typ": "JWT", "kid": kid }).to_string()));
        let other_body = url
            .encode(json!({ "sub": USER, "sid": SESSION, "iat": 0, "exp": 9_999_999_999_i64 }).to_string());
        let tampered = format!("{head}.{other_body}.{signature}");
        let unsigned = format!("{head}.{body}.");
        for forged in [
            &hs256,
            &foreign,
            &none,
            &tampered,
            &unsigned,
            "",
            "null",
            "undefined",
            "a.b.c",
            &"x".repeat(9000),
        ] {
            let refused = public.verify(forged, now());
            assert!(
                matches!(refused, Err(TokenError::Invalid | TokenError::UnknownKey)),
                "{forged}: {refused:?}"
            );
        }
    }

    #[test]
    fn bad_key_file_is_reported() {
        let parse = |text: &str| SigningKeys::parse(&Secret::new(text)).unwrap_err();
        assert_eq!(parse(""), KeyFileError::Empty);
        let good = SigningKeys::generate();
        let second = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(parse(&format!("{}{second}", good.reveal())), KeyFileError::BadKey(2));
    }

    proptest! {
        #[test]
        fn any_text_is_rejected(
            text in "\\PC{0,80}|[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}",
            header in "\\{\"alg\":\"(none|EdDSA|HS256|[a-z]{0,5})\"(,\"kid\":(null|1|\"\\PC{0,9}\"))?\\}",
            claims in "\\{(\"(sub|sid|iat|exp)\":(-?[0-9]{1,30}|\"[0-9a-f]{32}\"|null|\\{\\})(,)?){0,4}\\}",
        ) {
            let public = VerifyingKeys::of(keys().public());
            let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let formed = format!("{}.{}.{}", url.encode(header), url.encode(claims), url.encode([7; 64]));
            for token in [text, formed] {
                prop_assert!(public.verify(&token, now()).is_err());
                // Used only for look-ups, so any result is fine; it must not fail.
                let _ = claimed_session(&token);
            }
        }

        #[test]
        fn modified_token_is_rejected(
            place in any::<prop::sample::Index>(), other in "[A-Za-z0-9_.=+/ -]", is_inserted in any::<bool>(),
        ) {
            let keys = keys();
            let good = signed(&keys);
            let place = place.index(good.len());
            let end = if is_inserted { place } else { place + 1 };
            let changed = [&good[..place], &other, &good[end..]].concat();
            let verified = VerifyingKeys::of(keys.public()).verify(&changed, now());
            prop_assert_eq!(verified.is_ok(), changed == good, "{}", changed);
        }

        #[test]
        fn any_text_is_a_key_file_or_rejected(
            text in "\\PC{0,60}",
            block in "-----BEGIN (PRIVATE|PUBLIC) KEY-----\n[A-Za-z0-9+/=\n]{0,80}\n-----END (PRIVATE|PUBLIC) KEY-----\n?",
            is_after_a_good_one in any::<bool>(),
        ) {
            let good = SigningKeys::generate();
            let before = if is_after_a_good_one { good.reveal() } else { "" };
            let parsed = SigningKeys::parse(&Secret::new([before, &block].concat()));
            prop_assert!(parsed.is_err());
            prop_assert_eq!(SigningKeys::parse(&Secret::new(text.as_str())).unwrap_err(), KeyFileError::Empty);
        }
    }
}
