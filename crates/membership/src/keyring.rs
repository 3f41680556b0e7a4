//! The keys that members share.

use std::fmt;
use std::sync::Arc;

use ring::hkdf;

/// What tells which key of a keyring sealed a datagram.
pub(crate) type KeyId = [u8; 4];

/// How many keys a keyring may have.
const MOST: usize = 8;

/// The secrets that datagrams are sealed and opened with: one seals, all open. To change the key
/// without a gap, first let all members accept the new one, then seal with it, then drop the old.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyring {
    /// The first seals. Never empty.
    keys: Arc<[Key]>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    id: KeyId,
    secret: Vec<u8>,
}

impl Keyring {
    /// A keyring that seals with the first of `secrets` and opens with all. The secrets are taken
    /// as they are in the Secret (compat.md 4.2), whatever their encoding.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, KeyError> {
        let mut keys: Vec<Key> = Vec::new();
        for secret in secrets {
            let secret = secret.as_ref();
            if secret.len() < 16 {
                return Err(KeyError::TooShort(secret.len()));
            }
            let key = Key {
                id: key_id(secret),
                secret: secret.to_vec(),
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        match keys.len() {
            0 => Err(KeyError::Empty),
            1..=MOST => Ok(Self { keys: keys.into() }),
            many => Err(KeyError::TooMany(many)),
        }
    }

    /// The id of the key that seals.
    pub(crate) fn primary(&self) -> KeyId {
        self.keys.first().map_or([0; 4], |key| key.id)
    }

    /// The key for one purpose, named by `info`, of the secret with this id.
    pub(crate) fn derive(&self, id: KeyId, salt: &[u8], info: &[&[u8]]) -> Option<[u8; 32]> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        Some(expand(&key.secret, salt, info))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| key.id))
            .finish()
    }
}

fn key_id(secret: &[u8]) -> KeyId {
    let [a, b, c, d, ..] = expand(secret, b"herald membership", &[b"key id"]);
    [a, b, c, d]
}

/// HKDF-SHA256 (RFC 5869).
fn expand(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .expect("32 bytes are one block of SHA-256, which HKDF can always give");
    out
}

/// Why secrets cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("the membership Secret has no key: add one under `secretkey`")]
    Empty,
    /// There are too many.
    #[error("the membership Secret has {0} keys: keep at most 8")]
    TooMany(usize),
    /// One could be guessed.
    #[error("a key of the membership Secret has {0} bytes: use at least 16")]
    TooShort(usize),
}
