//! The secrets and names of a process that executes commands, read from its settings.

use events::MasterKeys;
use service::config::{AccountSettings, LogSettings, PlaceSettings, Problems, Secret, SigningSettings};
use web::tokens::SigningKeys;

use crate::accounts::reserved_names::ReservedUsernames;

#[derive(Debug)]
pub struct Secrets {
    pub master: MasterKeys,
    pub signing: SigningKeys,
    pub reserved_usernames: ReservedUsernames,
}

impl Secrets {
    /// None if a key is missing or unusable, which is then one of the problems.
    pub fn read(
        place: &PlaceSettings,
        log: &LogSettings,
        signing: &SigningSettings,
        accounts: &AccountSettings,
        problems: &mut Problems,
    ) -> Option<Self> {
        let make = || Secret::new(MasterKeys::generate().as_str());
        let parse = |text: &Secret| MasterKeys::parse(text.reveal());
        let master = log.master_keys().read(place, make, parse, problems);
        let signing = signing.keys().read(place, SigningKeys::generate, SigningKeys::parse, problems);
        let reserved_usernames = ReservedUsernames::with(accounts.reserved_usernames(problems));
        let (master, signing) = master.zip(signing)?;
        Some(Self { master, signing, reserved_usernames })
    }
}
