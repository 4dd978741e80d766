//! The events of Chorus and the log: ids and subjects, one enum of events per kind of subject, the envelope, personal
//! data that is sealed before it is stored, the [`EventLog`] port and its two adapters. This crate knows neither HTTP
//! nor views nor decisions.
//!
//! Start with [`Event`], then [`EventLog`] (the port), then [`SealedLog`] (the interface for the rest of Chorus).

mod envelope;
mod event;
#[cfg(test)]
mod fixtures;
mod keyring;
mod log;
mod log_health;
mod lost_events;
mod open;
#[cfg(test)]
mod outside_input;
mod personal;
mod progress;
mod raw;
mod reveal;
pub mod samples;
mod sealed_log;
mod subject;
mod tail_buffer;
mod upcast;
mod vault;

mod accounts;
mod mails;
mod music;
mod operations;
mod social;

#[cfg(feature = "nats")]
mod jetstream;
mod sqlite;

pub use self::sqlite::{Contents, LogFiles, SqliteLog, SqliteVault};
pub use accounts::*;
pub use envelope::{EVENT_SOURCE, Envelope, Message, Stored};
pub use event::{AccountsEvent, Event, MailsEvent, MusicEvent, OperationsEvent, SocialEvent, UnknownEvent};
pub use ids::*;
#[cfg(feature = "nats")]
pub use jetstream::{JetStreamLog, JetStreamSettings, JetStreamVault};
pub use keyring::{KeyRing, LinkPurpose, MailedToken, MasterKeys, MasterKeysError, fold_name};
pub use log::{
    AppendError, Batch, EventLog, Filter, Follow, Freshness, LogError, Progress, Unreadable, Urgency,
};
pub use lost_events::VaultMismatch;
pub use mails::*;
pub use music::*;
pub use open::{OpenError, Opened, log_files, open, open_read_only, open_sealed};
pub use operations::*;
pub use personal::{Ciphertext, Personal};
pub use progress::ProgressTracker;
pub use raw::{Attributes, RAW_LIMIT, RawEvent, RawFollow};
pub use reveal::{ERASED_MARK, HIDDEN_MARK, SEALED_MARK, masked};
pub use sealed_log::{Draft, Recorded, SealedLog};
pub use social::*;
pub use subject::{Content, Kind, ParseSubjectError, RatedItem, Subject};
pub use vault::{KeyName, KeyState, KeyVault, VaultError};
