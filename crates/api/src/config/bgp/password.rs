//! Passwords of sessions (compat.md 1.8, rule 13).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::config::problem::Fault;
use crate::kinds::BGPPeerSpec;
use crate::slim::Secret;

/// The key of TCP MD5 (RFC 2385). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<[u8]>);

impl Password {
    /// The key of these octets; `None` if there are none, or more than 80.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let fits = (1..=LONGEST).contains(&octets.len());
        fits.then(|| Self(octets.into()))
    }

    /// The octets of the key, 1 to 80 of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// As much of a Secret as a password needs. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordSecret {
    kind: String,
    password: Option<Arc<[u8]>>,
}

impl PasswordSecret {
    /// A Secret of this `type`, with what it has under the key `password`.
    pub fn new(kind: impl Into<String>, password: Option<&[u8]>) -> Self {
        Self {
            kind: kind.into(),
            password: password.map(Arc::from),
        }
    }
}

impl From<&Secret> for PasswordSecret {
    fn from(secret: &Secret) -> Self {
        let password = secret.data.password.as_ref();
        Self::new(
            secret.type_.as_deref().unwrap_or_default(),
            password.map(|password| password.0.0.as_slice()),
        )
    }
}

impl fmt::Debug for PasswordSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordSecret({:?})", self.kind)
    }
}

const KEY: &str = "password";
const KIND: &str = Secret::BASIC_AUTH;
/// `TCP_MD5SIG_MAXKEYLEN` of Linux.
const LONGEST: usize = 80;

/// The password of a peer, from its object or from the Secret that it names. The Secret is looked
/// for among those of the peer's own namespace, whatever namespace the reference has.
pub(super) fn password(
    spec: &BGPPeerSpec,
    secrets: &BTreeMap<String, PasswordSecret>,
) -> Result<Option<Password>, Fault> {
    const REFERENCE: &str = "spec.passwordSecret";
    let reference = spec.password_secret.as_ref().map(|secret| &secret.name);
    let Some(name) = reference.filter(|name| !name.is_empty()) else {
        let password = Some(spec.password.as_bytes()).filter(|password| !password.is_empty());
        return password
            .map(|password| of_length("spec.password", password))
            .transpose();
    };
    if !spec.password.is_empty() {
        return Err(Fault::new(
            REFERENCE,
            "can not have both password and secret ref set: remove one of them",
        ));
    }
    let Some(secret) = secrets.get(name) else {
        // Others than of this type are not read, so which of the two it is nobody knows.
        let message = format!(
            "secret ref not found: there is no Secret {name:?} of type {KIND} in the namespace of the \
             BGPPeer; if there is one of another type that is a secret type mismatch, make it anew \
             with this one"
        );
        return Err(Fault::waiting(REFERENCE, message));
    };
    if secret.kind != KIND {
        let message = format!(
            "secret type mismatch on Secret {name:?}: its type is {:?}, make it {KIND:?}",
            secret.kind
        );
        return Err(Fault::new(REFERENCE, message));
    }
    match secret.password.as_deref() {
        None | Some([]) => {
            let message =
                format!("password not specified in the secret {name:?}: set its key {KEY:?}");
            Err(Fault::new(REFERENCE, message))
        }
        Some(password) => of_length(REFERENCE, password).map(Some),
    }
}

fn of_length(field: &str, password: &[u8]) -> Result<Password, Fault> {
    Password::new(password).ok_or_else(|| {
        let message = format!(
            "the password is {} bytes long: TCP MD5 takes 1 to {LONGEST}",
            password.len()
        );
        Fault::new(field, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_ever_printed() {
        let secret = PasswordSecret::new(KIND, Some(b"hunter2"));
        let password = of_length("spec.password", b"hunter2").expect("short");
        assert_eq!(password.as_bytes(), b"hunter2");
        assert_eq!(Password::new(b""), None);
        assert_eq!(Password::new(&[b'x'; 81]), None);
        assert!(!format!("{secret:?} {password:?}").contains("hunter2"));
    }
}
