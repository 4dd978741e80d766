//! The private part of an account, visible to its owner only.

use events::{AccountEvent, AccountsEvent, Event, Kind, Recorded, Role};
use views::accounts::account::{Account, VIEW};
use views::{Patch, StoreError, Writes};

use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Accounts;

impl Projection for Accounts {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Account]
    }

    /// A missed revocation of a role is a security risk.
    fn on_failure(&self) -> OnFailure {
        OnFailure::Stop
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let Event::Accounts(AccountsEvent::Account(event)) = &recorded.event else { return Ok(()) };
        let user = event.user().to_string();
        match event {
            AccountEvent::SignedUp(event) => {
                // Erased users have no document.
                if let Some(person) = event.person.open() {
                    writes.put(&Account {
                        user,
                        email: person.email.clone(),
                        email_verified: false,
                        artist: false,
                        moderator: false,
                        admin: false,
                    })?;
                }
            }
            AccountEvent::EmailVerified(_) => {
                writes.patch::<Account>(user, Patch::default().set("email_verified", true));
            }
            AccountEvent::EmailChanged(event) => {
                if let Some(address) = event.address.open() {
                    let patch =
                        Patch::default().set("email", address.clone()).set("email_verified", event.verified);
                    writes.patch::<Account>(user, patch);
                }
            }
            AccountEvent::RoleGranted(event) => {
                writes.patch::<Account>(user, Patch::default().set(field(event.role), true));
            }
            AccountEvent::RoleRevoked(event) => {
                writes.patch::<Account>(user, Patch::default().set(field(event.role), false));
            }
            AccountEvent::Erased(_) => writes.delete::<Account>(user),
            AccountEvent::UsernameChanged(_)
            | AccountEvent::EmailVerificationRequested(_)
            | AccountEvent::SessionsEnded(_)
            | AccountEvent::PasswordChanged(_)
            | AccountEvent::PasswordResetRequested(_)
            | AccountEvent::EmailChangeRequested(_)
            | AccountEvent::Deactivated(_)
            | AccountEvent::Reactivated(_)
            | AccountEvent::Suspended(_)
            | AccountEvent::Reinstated(_)
            | AccountEvent::ClaimAbandoned(_) => {}
        }
        Ok(())
    }
}

const fn field(role: Role) -> &'static str {
    match role {
        Role::Artist => "artist",
        Role::Moderator => "moderator",
        Role::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use events::{App, EmailChanged, EmailVerified, Erased, Personal, RoleGranted, RoleRevoked};
    use views::ViewStoreExt;

    use super::*;
    use crate::testing::{ANN, BOB, built, signed_up};

    #[tokio::test]
    async fn account_has_its_current_address_and_roles() {
        let email = "00000000000000000000000000000002".parse().unwrap();
        let address = Personal::Open("lee@example.org".to_owned());
        let history = [
            signed_up(ANN, "ann"),
            EmailVerified { user: ANN, email }.into(),
            RoleGranted { user: ANN, role: Role::Moderator }.into(),
            RoleGranted { user: ANN, role: Role::Admin }.into(),
            RoleRevoked { user: ANN, role: Role::Admin }.into(),
            EmailChanged { user: ANN, email, address, verified: false, kept: None, app: App::Chorus }.into(),
        ];
        let built = built(&Accounts, history).await;
        let account: Account = built.store.get(&ANN.to_string()).await.unwrap().unwrap();
        assert_eq!((account.email.as_str(), account.email_verified), ("lee@example.org", false));
        assert_eq!((account.artist, account.moderator, account.admin), (false, true, false));
    }

    #[tokio::test]
    async fn erased_account_has_no_document() {
        let built =
            built(&Accounts, [signed_up(ANN, "ann"), signed_up(BOB, "bob"), Erased { user: ANN }.into()])
                .await;
        assert_eq!(built.store.get::<Account>(&ANN.to_string()).await.unwrap(), None);
        assert!(built.store.get::<Account>(&BOB.to_string()).await.unwrap().is_some());
    }
}
