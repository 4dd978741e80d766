//! The contract of [`KeyVault`].

use events::{KeyName, KeyState, KeyVault, UserId};
use futures::future::join_all;
use rand::RngExt;
use uuid::Uuid;

/// Passes the name of every promise of a key vault to a macro that makes a test of each.
#[macro_export]
macro_rules! vault_promises {
    ($test:ident) => {
        $test! {
            wrapped_keys_are_stored_unchanged,
            concurrent_creates_return_the_same_key,
            a_destroyed_key_stays_destroyed,
            concurrent_destroys_destroy_every_key,
            count_includes_each_name_once_even_if_destroyed,
        }
    };
}

fn person() -> KeyName {
    KeyName::Person(UserId::new(Uuid::from_u128(rand::rng().random())))
}

async fn state(vault: &dyn KeyVault, name: KeyName) -> KeyState {
    vault.get(&[name]).await.unwrap().remove(0)
}

pub async fn wrapped_keys_are_stored_unchanged(vault: &dyn KeyVault) {
    let (ann, bob, secret) = (person(), person(), KeyName::Secret("contract"));
    assert_eq!(vault.create(ann, vec![1, 2, 3]).await.unwrap(), KeyState::Present(vec![1, 2, 3]));
    assert_eq!(vault.create(secret, vec![0, 255]).await.unwrap(), KeyState::Present(vec![0, 255]));
    let states = vault.get(&[bob, ann, secret, ann]).await.unwrap();
    let present = |bytes: &[u8]| KeyState::Present(bytes.to_vec());
    assert_eq!(states, [KeyState::Absent, present(&[1, 2, 3]), present(&[0, 255]), present(&[1, 2, 3])]);
}

pub async fn concurrent_creates_return_the_same_key(vault: &dyn KeyVault) {
    for _ in 0..5 {
        let name = person();
        let answers = join_all((0..16).map(|n| vault.create(name, vec![n; 8]))).await;
        let first = answers[0].as_ref().unwrap();
        assert!(matches!(first, KeyState::Present(_)));
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == first), "{answers:?}");
        assert_eq!(state(vault, name).await, *first);
    }
}

pub async fn a_destroyed_key_stays_destroyed(vault: &dyn KeyVault) {
    let (known, never) = (person(), person());
    vault.create(known, vec![7; 64]).await.unwrap();
    for name in [known, never] {
        vault.destroy(name).await.unwrap();
        vault.destroy(name).await.unwrap();
        assert_eq!(state(vault, name).await, KeyState::Destroyed);
        assert_eq!(vault.create(name, vec![8; 64]).await.unwrap(), KeyState::Destroyed);
        assert_eq!(state(vault, name).await, KeyState::Destroyed);
    }
}

pub async fn concurrent_destroys_destroy_every_key(vault: &dyn KeyVault) {
    let names: Vec<KeyName> = (0..16).map(|_| person()).collect();
    for &name in &names {
        vault.create(name, vec![7; 64]).await.unwrap();
    }
    let destroyed = join_all(names.iter().chain(&names).map(|&name| vault.destroy(name))).await;
    assert!(destroyed.iter().all(Result::is_ok), "{destroyed:?}");
    assert_eq!(vault.get(&names).await.unwrap(), vec![KeyState::Destroyed; names.len()]);
}

pub async fn count_includes_each_name_once_even_if_destroyed(vault: &dyn KeyVault) {
    let before = vault.count().await.unwrap();
    let (kept, destroyed) = (person(), person());
    for name in [kept, kept, destroyed] {
        vault.create(name, vec![7; 64]).await.unwrap();
    }
    vault.destroy(destroyed).await.unwrap();
    assert_eq!(vault.count().await.unwrap(), before + 2);
}

/// The same vault, opened to be read only.
pub async fn read_only_vault_reads_keys_and_refuses_changes(vault: &dyn KeyVault, read_only: &dyn KeyVault) {
    let (ann, bob) = (person(), person());
    let before = vault.count().await.unwrap();
    vault.create(ann, vec![1, 2, 3]).await.unwrap();
    assert_eq!(state(read_only, ann).await, KeyState::Present(vec![1, 2, 3]));
    assert!(read_only.create(bob, vec![1]).await.is_err());
    assert!(read_only.destroy(ann).await.is_err());
    assert_eq!(
        (state(vault, ann).await, state(vault, bob).await),
        (KeyState::Present(vec![1, 2, 3]), KeyState::Absent)
    );
    assert_eq!(read_only.count().await.unwrap(), before + 1);
}
