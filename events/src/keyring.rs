//! Keys in use: wrapped ones from the vault, opened with the deployment's master key and remembered while they
//! are in demand.

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

use crate::personal::DataKey;
use crate::{ClaimHash, KeyName, KeyState, KeyVault, UserId, VaultError};

/// People whose keys are remembered: 64 bytes each, so a few MiB at most.
const KEYS_REMEMBERED: usize = 100_000;
/// First byte of a wrapped key: which layout the rest has.
const WRAP_VERSION: u8 = 1;
/// Bytes of a master key's hash that stand in a wrapped key, to tell which master key wrapped it.
const MASTER_ID_LENGTH: usize = 8;

/// The deployment's own secrets in the vault: see [`KeyRing::open`].
const SECRETS: [&str; 3] = ["names", "ids", "links"];

/// The deployment's master keys: the first wraps new keys, all of them open old ones.
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
    /// One key a line, 32 bytes in base64; empty lines and lines that begin with `#` are passed over.
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

    /// A new key, in the form that [`parse`](Self::parse) takes.
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
            return Err(corrupt(format!(
                "the key of {name} is wrapped in a way that this program does not know"
            )));
        };
        let Some((id, sealed)) = rest.split_first_chunk::<MASTER_ID_LENGTH>() else {
            return Err(corrupt(format!("the key of {name} is cut short")));
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

/// Data keys of people and the deployment's secrets, ready for use.
#[derive(Debug)]
pub struct KeyRing {
    vault: Arc<dyn KeyVault>,
    master: MasterKeys,
    people: Cache<UserId, DataKey>,
    /// Whose keys are of no use any more, whatever the vault still has: 16 bytes for each whose erasure was heard.
    erased: RwLock<HashSet<UserId>>,
    names: DataKey,
    ids: DataKey,
    links: DataKey,
}

/// What whoever holds a mailed link may do with it.
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

/// The token in a mailed link: whose it is, and a keyed hash of what it is for. Its text is 64 hexadecimal digits.
#[derive(Clone, Copy)]
pub struct MailedToken {
    pub user: UserId,
    tag: [u8; 16],
}

impl MailedToken {
    /// None if the text is no such token.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, tag) = (text.get(..32)?, text.get(32..)?);
        let tag: ClaimHash = tag.parse().ok()?;
        Some(Self { user: user.parse().ok()?, tag: tag.uuid().into_bytes() })
    }

    /// The text that stands in the link. It is a secret: it must not be logged or kept.
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
    /// Opens the vault's secrets, making those that are not there yet.
    ///
    /// # Errors
    /// [`VaultError::Corrupt`] if the master keys do not belong to this vault.
    pub async fn open(vault: Arc<dyn KeyVault>, master: MasterKeys) -> Result<Self, VaultError> {
        let [names, ids, links] = SECRETS;
        let names = secret(&*vault, &master, names).await?;
        let ids = secret(&*vault, &master, ids).await?;
        let links = secret(&*vault, &master, links).await?;
        Ok(Self {
            vault,
            master,
            people: Cache::new(KEYS_REMEMBERED),
            erased: RwLock::default(),
            names,
            ids,
            links,
        })
    }

    /// How many people have ever been given a key, erased ones included.
    pub(crate) async fn people(&self) -> Result<u64, VaultError> {
        Ok(self.vault.count().await?.saturating_sub(SECRETS.len() as u64))
    }

    pub(crate) async fn close(&self) -> Result<(), VaultError> {
        self.vault.close().await
    }

    /// The keyed hash under which a username or an address may stand in the log. What differs only in letter
    /// case or in the composition of its characters is one name.
    pub fn claim_hash(&self, name: &str) -> ClaimHash {
        ClaimHash::new(mac(&self.names, &[fold_name(name).as_bytes()]))
    }

    /// The id that the same parts always give, and that nobody else can foretell (UUIDv8).
    pub fn derive_id(&self, parts: &[&[u8]]) -> Uuid {
        Uuid::new_v8(mac(&self.ids, parts))
    }

    /// The token of the link that is mailed on behalf of a request. Nothing in the log or the views makes it without the
    /// deployment's secret.
    pub fn mailed_token(&self, purpose: LinkPurpose, user: UserId, request: Uuid) -> MailedToken {
        let tag = mac(&self.links, &[purpose.as_bytes(), user.uuid().as_bytes(), request.as_bytes()]);
        MailedToken { user, tag }
    }

    /// Whether a token is the one of this request. How long it takes tells nothing of how far it is right.
    pub fn is_mailed_token(&self, token: &MailedToken, purpose: LinkPurpose, request: Uuid) -> bool {
        let right = self.mailed_token(purpose, token.user, request);
        right.tag.iter().zip(token.tag).fold(0, |differ, (right, given)| differ | (right ^ given)) == 0
    }

    /// The keys of people whose data is to be opened, in the order asked for; `None` where it is destroyed, or its person
    /// is known to be erased.
    ///
    /// # Errors
    /// [`VaultError::Corrupt`] for a person without a key that was ever made: sealed data without a key means
    /// that the vault is not the one that belongs to the log.
    pub(crate) async fn opening(&self, people: &[UserId]) -> Result<Vec<Option<DataKey>>, VaultError> {
        let remembered = |&person: &UserId| self.people.get(&person).filter(|_| !self.is_erased(person));
        let mut keys: Vec<Option<DataKey>> = people.iter().map(remembered).collect();
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
                    self.remember(people[i], &key);
                    keys[i] = Some(key);
                }
                KeyState::Destroyed => {}
                KeyState::Absent => {
                    return Err(corrupt(format!("there is no key of person {} in this vault", people[i])));
                }
            }
        }
        Ok(keys)
    }

    /// The key that seals a person's new data, made on first use; `None` if it is destroyed, or the person is known to be
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
            self.remember(person, key);
        }
        Ok(key)
    }

    /// Destroys a person's key: what is sealed with it can be read by nobody any more.
    pub async fn destroy(&self, person: UserId) -> Result<(), VaultError> {
        self.vault.destroy(KeyName::Person(person)).await?;
        self.forget(person);
        Ok(())
    }

    /// From here on nothing of this person is opened or sealed in this process, also as long as the vault still has the key:
    /// to be called wherever the `Erased` event of its person is heard.
    pub fn forget(&self, person: UserId) {
        self.erased.write().unwrap_or_else(PoisonError::into_inner).insert(person);
        self.people.remove(&person);
    }

    /// Unless its person was erased while it was fetched.
    fn remember(&self, person: UserId, key: &DataKey) {
        self.people.insert(person, key.clone());
        if self.is_erased(person) {
            self.people.remove(&person);
        }
    }

    fn is_erased(&self, person: UserId) -> bool {
        self.erased.read().unwrap_or_else(PoisonError::into_inner).contains(&person)
    }
}

/// A username or address as it is compared: what differs only in letter case or in the composition of its characters
/// is one.
pub fn fold_name(name: &str) -> String {
    name.trim().nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// HMAC-SHA-256 over a list of parts, cut to 128 bits.
fn mac(key: &DataKey, parts: &[&[u8]]) -> [u8; 16] {
    // HMAC takes a shorter key as one block filled up with zeros (RFC 2104).
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key.as_bytes());
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*block).into());
    for part in parts {
        // Lengths first, so that no two lists of parts run together to the same bytes.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let tag = mac.finalize().into_bytes();
    std::array::from_fn(|i| tag[i])
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

/// The key under a name, made if it is not there yet; `None` if it is destroyed.
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
        KeyState::Absent => Err(corrupt(format!("the vault kept no key of {name}"))),
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
    async fn names_that_read_the_same_share_one_claim() {
        let folder = tempfile::tempdir().unwrap();
        let ring = ring(folder.path(), &MasterKeys::generate()).await.unwrap();
        assert_eq!(ring.claim_hash("Alice"), ring.claim_hash(" aLICE "));
        assert_eq!(ring.claim_hash("J\u{fc}rgen"), ring.claim_hash("JU\u{308}RGEN"));
        assert_ne!(ring.claim_hash("alice"), ring.claim_hash("alicf"));
    }

    #[tokio::test]
    async fn hashes_and_ids_stay_the_same_after_a_restart_and_a_new_master_key() {
        let folder = tempfile::tempdir().unwrap();
        let old = MasterKeys::generate();
        let before = ring(folder.path(), &old).await.unwrap();
        let (hash, id) = (before.claim_hash("alice"), before.derive_id(&[b"a", b"b"]));
        let both = format!("# the new one first\n{}{}", *MasterKeys::generate(), *old);
        let after = ring(folder.path(), &both).await.unwrap();
        assert_eq!((after.claim_hash("alice"), after.derive_id(&[b"a", b"b"])), (hash, id));
        assert_ne!(after.derive_id(&[b"ab", b""]), id);
    }

    #[tokio::test]
    async fn a_mailed_token_is_good_for_its_own_request_only() {
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
    async fn a_vault_does_not_open_with_a_foreign_master_key() {
        let folder = tempfile::tempdir().unwrap();
        ring(folder.path(), &MasterKeys::generate()).await.unwrap();
        let refused = ring(folder.path(), &MasterKeys::generate()).await;
        assert!(matches!(refused, Err(VaultError::Corrupt(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_destroyed_key_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let ring = ring(folder.path(), &MasterKeys::generate()).await.unwrap();
        assert!(ring.sealing(user(1)).await.unwrap().is_some());
        ring.destroy(user(1)).await.unwrap();
        assert!(ring.sealing(user(1)).await.unwrap().is_none());
        assert!(ring.opening(&[user(1)]).await.unwrap()[0].is_none());
        assert!(matches!(ring.opening(&[user(2)]).await, Err(VaultError::Corrupt(_))));
    }

    #[tokio::test]
    async fn what_is_forgotten_is_not_asked_of_the_vault_again() {
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
        // The vault has it until it is destroyed.
        let elsewhere = ring(folder.path(), &master).await.unwrap();
        assert!(elsewhere.opening(&[user(1)]).await.unwrap()[0].is_some());
    }

    #[test]
    fn a_bad_master_key_file_is_named_by_line() {
        assert_eq!(MasterKeys::parse("\n# none\n").unwrap_err(), MasterKeysError::Empty);
        let text = format!("{}short\n", *MasterKeys::generate());
        assert_eq!(MasterKeys::parse(&text).unwrap_err(), MasterKeysError::BadLine(2));
    }
}
