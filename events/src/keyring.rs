//! Keys in use: wrapped keys from the vault, unwrapped with the deployment's master key and cached. Destroying a
//! user's key makes their data unreadable (crypto-shredding).

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::personal::{CannotOpen, DataKey, Sealable};
use crate::{
    ClaimHash, KeyName, KeyState, KeyVault, OperationId, OperatorNote, Personal, UserId, VaultError,
};

/// Maximum number of cached keys: 64 bytes each, a few MiB in total.
const CACHED_KEYS: usize = 100_000;
/// The first byte of a wrapped key: the version of its format.
const WRAP_VERSION: u8 = 1;
/// Length of the master key's hash in a wrapped key, which identifies the master key.
const MASTER_ID_LENGTH: usize = 8;

/// The deployment's secrets in the vault: see [`KeyRing::open`].
const SECRETS: [&str; 3] = ["names", "ids", "links"];

/// The deployment's master keys: the first one wraps new keys, all of them unwrap old ones.
#[derive(Clone)]
pub struct MasterKeys(Vec<(MasterId, DataKey)>);

type MasterId = [u8; MASTER_ID_LENGTH];

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKeys({})", self.0.len())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MasterKeysError {
    #[error(
        "there is no master key: give at least one line of 32 bytes in base64 (`openssl rand -base64 32`)"
    )]
    Empty,
    #[error("line {0} is not 32 bytes in base64")]
    BadLine(usize),
}

impl MasterKeys {
    /// One key per line, 32 bytes in base64; empty lines and lines that start with `#` are skipped.
    pub fn parse(text: &str) -> Result<Self, MasterKeysError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes =
                Zeroizing::new(STANDARD.decode(line).map_err(|_| MasterKeysError::BadLine(index + 1))?);
            let key = DataKey::from_bytes(&bytes).ok_or(MasterKeysError::BadLine(index + 1))?;
            keys.push((master_id(&key), key));
        }
        if keys.is_empty() { Err(MasterKeysError::Empty) } else { Ok(Self(keys)) }
    }

    /// A new key, in the format of [`parse`](Self::parse).
    pub fn generate() -> Zeroizing<String> {
        Zeroizing::new(format!("{}\n", STANDARD.encode(DataKey::generate().as_bytes())))
    }

    fn wrap(&self, name: KeyName, key: &DataKey) -> Result<Vec<u8>, VaultError> {
        let (id, master) = &self.0[0];
        let sealed = master.seal_bytes(key.as_bytes(), name.to_string().as_bytes()).map_err(corrupt)?;
        let mut wrapped = vec![WRAP_VERSION];
        wrapped.extend_from_slice(id);
        wrapped.extend_from_slice(&sealed);
        Ok(wrapped)
    }

    fn unwrap(&self, name: KeyName, wrapped: &[u8]) -> Result<DataKey, VaultError> {
        let Some((&WRAP_VERSION, rest)) = wrapped.split_first() else {
            return Err(corrupt(format!("the key of {name} is wrapped in an unknown format")));
        };
        let Some((id, sealed)) = rest.split_first_chunk::<MASTER_ID_LENGTH>() else {
            return Err(corrupt(format!("the key of {name} is truncated")));
        };
        let Some((_, master)) = self.0.iter().find(|(known, _)| known == id) else {
            return Err(corrupt(format!(
                "the key of {name} was wrapped by another master key: the master key file does not belong to this vault"
            )));
        };
        let bytes = master.open_bytes(sealed, name.to_string().as_bytes()).map_err(corrupt)?;
        DataKey::from_bytes(&bytes).ok_or_else(|| corrupt(format!("the key of {name} has a wrong length")))
    }
}

fn master_id(key: &DataKey) -> MasterId {
    let hash = Sha256::digest(key.as_bytes());
    std::array::from_fn(|i| hash[i])
}

fn corrupt(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> VaultError {
    VaultError::Corrupt(source.into())
}

/// Data keys of users and the deployment's secrets, ready for use.
#[derive(Debug)]
pub struct KeyRing {
    vault: Arc<dyn KeyVault>,
    master: MasterKeys,
    people: Cache<UserId, DataKey>,
    /// Erased users, whose keys are ignored even if the vault still has them: 16 bytes for each erasure seen.
    erased: RwLock<HashSet<UserId>>,
    names: DataKey,
    ids: DataKey,
    links: DataKey,
}

/// The action that a mailed link permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkPurpose {
    VerifyEmail,
    ResetPassword,
    ChangeEmail,
}

impl LinkPurpose {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::VerifyEmail => b"verify-email",
            Self::ResetPassword => b"reset-password",
            Self::ChangeEmail => b"change-email",
        }
    }
}

/// The token in a mailed link: the user, and a keyed hash of the purpose. The text form has 64 hexadecimal digits.
#[derive(Clone, Copy)]
pub struct MailedToken {
    pub user: UserId,
    tag: [u8; 16],
}

impl MailedToken {
    /// None if the text is not a token.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, tag) = (text.get(..32)?, text.get(32..)?);
        let tag: ClaimHash = tag.parse().ok()?;
        Some(Self { user: user.parse().ok()?, tag: tag.uuid().into_bytes() })
    }

    /// The text in the link. It is a secret: it must not be logged or stored.
    pub fn reveal(&self) -> String {
        format!("{}{}", self.user, Uuid::from_bytes(self.tag).simple())
    }
}

impl std::fmt::Debug for MailedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MailedToken({}, …)", self.user)
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl KeyRing {
    /// Opens the vault's secrets and creates missing ones.
    ///
    /// # Errors
    /// [`VaultError::Corrupt`] if the master keys do not belong to this vault.
    pub async fn open(vault: Arc<dyn KeyVault>, master: MasterKeys) -> Result<Self, VaultError> {
        let [names, ids, links] = SECRETS;
        let names = secret(&*vault, &master, names).await?;
        let ids = secret(&*vault, &master, ids).await?;
        let links = secret(&*vault, &master, links).await?;
        Ok(Self::with(vault, master, [names, ids, links]))
    }

    /// Like [`open`](Self::open), but creates nothing.
    ///
    /// # Errors
    /// [`VaultError::Corrupt`] also if a secret does not exist: no server has used this vault.
    pub async fn open_existing(vault: Arc<dyn KeyVault>, master: MasterKeys) -> Result<Self, VaultError> {
        let states = vault.get(&SECRETS.map(KeyName::Secret)).await?;
        let mut secrets = Vec::with_capacity(SECRETS.len());
        for (purpose, state) in SECRETS.into_iter().zip(states) {
            let name = KeyName::Secret(purpose);
            let KeyState::Present(wrapped) = state else {
                return Err(corrupt(format!(
                    "the secret `{purpose}` is not in this key vault: no server has used it yet"
                )));
            };
            secrets.push(master.unwrap(name, &wrapped)?);
        }
        let secrets = secrets.try_into().map_err(|_| corrupt("the key vault answered incompletely"))?;
        Ok(Self::with(vault, master, secrets))
    }

    fn with(vault: Arc<dyn KeyVault>, master: MasterKeys, [names, ids, links]: [DataKey; 3]) -> Self {
        Self { vault, master, people: Cache::new(CACHED_KEYS), erased: RwLock::default(), names, ids, links }
    }

    /// The number of users who were ever given a key, including erased ones.
    pub(crate) async fn people(&self) -> Result<u64, VaultError> {
        Ok(self.vault.count().await?.saturating_sub(SECRETS.len() as u64))
    }

    pub(crate) async fn close(&self) -> Result<(), VaultError> {
        self.vault.close().await
    }

    /// The keyed hash of a username or address for the log. Letter case and Unicode composition make no difference.
    pub fn claim_hash(&self, name: &str) -> ClaimHash {
        ClaimHash::new(mac(&self.names, &[fold_name(name).as_bytes()]))
    }

    /// A deterministic id of these parts that others cannot predict (UUIDv8).
    pub fn derive_id(&self, parts: &[&[u8]]) -> Uuid {
        Uuid::new_v8(mac(&self.ids, parts))
    }

    /// The token of the link that is mailed for a request. Computing it requires the deployment's secret.
    pub fn mailed_token(&self, purpose: LinkPurpose, user: UserId, request: Uuid) -> MailedToken {
        let tag = mac(&self.links, &[purpose.as_bytes(), user.uuid().as_bytes(), request.as_bytes()]);
        MailedToken { user, tag }
    }

    /// Whether a token belongs to this request. Compares in constant time.
    pub fn is_mailed_token(&self, token: &MailedToken, purpose: LinkPurpose, request: Uuid) -> bool {
        let right = self.mailed_token(purpose, token.user, request);
        right.tag.iter().zip(token.tag).fold(0, |differ, (right, given)| differ | (right ^ given)) == 0
    }

    /// Seals an operator's note, bound to its operation.
    pub(crate) fn seal_note(
        &self,
        operation: OperationId,
        note: &OperatorNote,
    ) -> Result<Personal<OperatorNote>, CannotOpen> {
        let mut sealed = Personal::Open(note.clone());
        sealed.seal(&self.note_key(), note_bound_to(operation).as_bytes())?;
        Ok(sealed)
    }

    /// The key of operators' notes: derived from a secret of the deployment, so that the vault needs no new entry,
    /// which older programs would count as a user's key.
    pub(crate) fn note_key(&self) -> DataKey {
        DataKey::from_array(full_mac(&self.ids, &[b"operator notes"]))
    }

    /// The keys to unseal these users' data, in order; `None` if the key is destroyed or the user is known to be
    /// erased.
    ///
    /// # Errors
    /// [`VaultError::Corrupt`] for a user who never had a key: sealed data without a key means that the vault does
    /// not belong to the log.
    pub(crate) async fn opening(&self, people: &[UserId]) -> Result<Vec<Option<DataKey>>, VaultError> {
        let cached = |&person: &UserId| self.people.get(&person).filter(|_| !self.is_erased(person));
        let mut keys: Vec<Option<DataKey>> = people.iter().map(cached).collect();
        let missing: Vec<usize> =
            (0..people.len()).filter(|&i| keys[i].is_none() && !self.is_erased(people[i])).collect();
        if missing.is_empty() {
            return Ok(keys);
        }
        let names: Vec<KeyName> = missing.iter().map(|&i| KeyName::Person(people[i])).collect();
        for (&i, state) in missing.iter().zip(self.vault.get(&names).await?) {
            match state {
                KeyState::Present(wrapped) => {
                    let key = self.master.unwrap(KeyName::Person(people[i]), &wrapped)?;
                    self.cache(people[i], &key);
                    keys[i] = Some(key);
                }
                KeyState::Destroyed => {}
                KeyState::Absent => {
                    return Err(corrupt(format!("there is no key of user {} in this vault", people[i])));
                }
            }
        }
        Ok(keys)
    }

    /// The key to seal a user's new data, created on first use; `None` if it is destroyed or the user is known to be
    /// erased.
    pub(crate) async fn sealing(&self, person: UserId) -> Result<Option<DataKey>, VaultError> {
        if self.is_erased(person) {
            return Ok(None);
        }
        if let Some(key) = self.people.get(&person) {
            return Ok(Some(key));
        }
        let name = KeyName::Person(person);
        let key = created(&*self.vault, &self.master, name).await?;
        if let Some(key) = &key {
            self.cache(person, key);
        }
        Ok(key)
    }

    /// Destroys a user's key: data sealed with it becomes unreadable.
    pub async fn destroy(&self, person: UserId) -> Result<(), VaultError> {
        self.vault.destroy(KeyName::Person(person)).await?;
        self.forget(person);
        Ok(())
    }

    /// Those of these people whose key can still be read.
    ///
    /// # Errors
    /// If the vault cannot be read.
    pub async fn undestroyed(&self, people: &[UserId]) -> Result<Vec<UserId>, VaultError> {
        let names: Vec<KeyName> = people.iter().map(|&person| KeyName::Person(person)).collect();
        let states = self.vault.get(&names).await?;
        let found = people.iter().zip(states).filter(|(_, state)| matches!(state, KeyState::Present(_)));
        Ok(found.map(|(person, _)| *person).collect())
    }

    /// Stops unsealing and sealing data of this user in this process, even if the vault still has the key. Must be
    /// called for every `Erased` event that the process reads.
    pub fn forget(&self, person: UserId) {
        self.erased.write().unwrap_or_else(PoisonError::into_inner).insert(person);
        self.people.remove(&person);
    }

    /// Unless the user was erased while the key was fetched.
    fn cache(&self, person: UserId, key: &DataKey) {
        self.people.insert(person, key.clone());
        if self.is_erased(person) {
            self.people.remove(&person);
        }
    }

    fn is_erased(&self, person: UserId) -> bool {
        self.erased.read().unwrap_or_else(PoisonError::into_inner).contains(&person)
    }
}

/// The folded form of a username or address: without differences of letter case and Unicode composition.
pub fn fold_name(name: &str) -> String {
    name.trim().nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// An operator's note does not open in another operation.
pub(crate) fn note_bound_to(operation: OperationId) -> String {
    format!("operation {operation}")
}

/// HMAC-SHA-256 over a list of parts, truncated to 128 bits.
fn mac(key: &DataKey, parts: &[&[u8]]) -> [u8; 16] {
    let tag = full_mac(key, parts);
    std::array::from_fn(|i| tag[i])
}

fn full_mac(key: &DataKey, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    // HMAC pads a short key to one block with zeros (RFC 2104).
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key.as_bytes());
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*block).into());
    for part in parts {
        // Length prefixes make the encoding of the parts unambiguous.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

async fn secret(
    vault: &dyn KeyVault,
    master: &MasterKeys,
    purpose: &'static str,
) -> Result<DataKey, VaultError> {
    created(vault, master, KeyName::Secret(purpose))
        .await?
        .ok_or_else(|| corrupt(format!("the secret `{purpose}` has been destroyed")))
}

/// The key of a name, created if it does not exist; `None` if it is destroyed.
async fn created(
    vault: &dyn KeyVault,
    master: &MasterKeys,
    name: KeyName,
) -> Result<Option<DataKey>, VaultError> {
    let mut state = vault.get(&[name]).await?.pop().unwrap_or(KeyState::Absent);
    if state == KeyState::Absent {
        state = vault.create(name, master.wrap(name, &DataKey::generate())?).await?;
    }
    match state {
        KeyState::Present(wrapped) => master.unwrap(name, &wrapped).map(Some),
        KeyState::Destroyed => Ok(None),
        KeyState::Absent => Err(corrupt(format!("the vault did not store a key of {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteVault;

    async fn ring(folder: &std::path::Path, master: &str) -> Result<KeyRing, VaultError> {
        let vault = Arc::new(SqliteVault::open(&folder.join("keys.db")).unwrap());
        KeyRing::open(vault, MasterKeys::parse(master).unwrap()).await
    }

    fn user(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn equivalent_names_share_one_claim() {
        let folder = tempfile::tempdir().unwrap();
        let ring = ring(folder.path(), &MasterKeys::generate()).await.unwrap();
        assert_eq!(ring.claim_hash("Alice"), ring.claim_hash(" aLICE "));
        assert_eq!(ring.claim_hash("J\u{fc}rgen"), ring.claim_hash("JU\u{308}RGEN"));
        assert_ne!(ring.claim_hash("alice"), ring.claim_hash("alicf"));
    }

    #[tokio::test]
    async fn hashes_and_ids_survive_restart_and_new_master_key() {
        let folder = tempfile::tempdir().unwrap();
        let old = MasterKeys::generate();
        let before = ring(folder.path(), &old).await.unwrap();
        let (hash, id) = (before.claim_hash("alice"), before.derive_id(&[b"a", b"b"]));
        let both = format!("# the new key first\n{}{}", *MasterKeys::generate(), *old);
        let after = ring(folder.path(), &both).await.unwrap();
        assert_eq!((after.claim_hash("alice"), after.derive_id(&[b"a", b"b"])), (hash, id));
        assert_ne!(after.derive_id(&[b"ab", b""]), id);
    }

    #[tokio::test]
    async fn mailed_token_is_valid_for_its_own_request_only() {
        let folder = tempfile::tempdir().unwrap();
        let ring = ring(folder.path(), &MasterKeys::generate()).await.unwrap();
        let request = Uuid::from_u128(7);
        let text = ring.mailed_token(LinkPurpose::ResetPassword, user(1), request).reveal();
        assert_eq!(text.len(), 64);
        let token = MailedToken::parse(&text).unwrap();
        assert_eq!(token.user, user(1));
        assert!(ring.is_mailed_token(&token, LinkPurpose::ResetPassword, request));
        assert!(!ring.is_mailed_token(&token, LinkPurpose::ChangeEmail, request));
        assert!(!ring.is_mailed_token(&token, LinkPurpose::ResetPassword, Uuid::from_u128(8)));
        let somebody_elses = MailedToken { user: user(2), ..token };
        assert!(!ring.is_mailed_token(&somebody_elses, LinkPurpose::ResetPassword, request));
        for wrong in ["", "x", &text[1..], &format!("{text}0"), &text.to_uppercase(), &"\u{e9}".repeat(32)] {
            assert!(MailedToken::parse(wrong).is_none() || *wrong == *text, "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&text[32..]));
    }

    #[tokio::test]
    async fn vault_rejects_a_foreign_master_key() {
        let folder = tempfile::tempdir().unwrap();
        ring(folder.path(), &MasterKeys::generate()).await.unwrap();
        let refused = ring(folder.path(), &MasterKeys::generate()).await;
        assert!(matches!(refused, Err(VaultError::Corrupt(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn destroyed_key_is_not_recreated() {
        let folder = tempfile::tempdir().unwrap();
        let ring = ring(folder.path(), &MasterKeys::generate()).await.unwrap();
        assert!(ring.sealing(user(1)).await.unwrap().is_some());
        ring.destroy(user(1)).await.unwrap();
        assert!(ring.sealing(user(1)).await.unwrap().is_none());
        assert!(ring.opening(&[user(1)]).await.unwrap()[0].is_none());
        assert!(matches!(ring.opening(&[user(2)]).await, Err(VaultError::Corrupt(_))));
    }

    #[tokio::test]
    async fn forgotten_user_causes_no_vault_request() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKeys::generate();
        let here = ring(folder.path(), &master).await.unwrap();
        for person in [user(1), user(2)] {
            here.sealing(person).await.unwrap();
        }
        here.forget(user(1));
        let opened = here.opening(&[user(1), user(2)]).await.unwrap();
        assert_eq!(opened.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
        assert!(here.sealing(user(1)).await.unwrap().is_none());
        // The vault still has the key.
        let elsewhere = ring(folder.path(), &master).await.unwrap();
        assert!(elsewhere.opening(&[user(1)]).await.unwrap()[0].is_some());
    }

    #[test]
    fn bad_master_key_file_is_reported_by_line() {
        assert_eq!(MasterKeys::parse("\n# none\n").unwrap_err(), MasterKeysError::Empty);
        let text = format!("{}short\n", *MasterKeys::generate());
        assert_eq!(MasterKeys::parse(&text).unwrap_err(), MasterKeysError::BadLine(2));
    }
}
