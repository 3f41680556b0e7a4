//! Certificates of servers that may change while they run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls;

/// How often a place with a certificate is looked at.
pub const PERIOD: Duration = Duration::from_secs(10);
/// The file with the certificate and those that it was signed by, and its key in a Secret.
pub const CERTIFICATE: &str = "tls.crt";
/// The same of its private key.
pub const KEY: &str = "tls.key";

/// A certificate with those that it was signed by, and its private key; both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate first.
    pub chain: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(..)")
    }
}

/// What a server presents now: nothing, and so no handshake succeeds, until it is told. Clones are of
/// one server.
#[derive(Clone, Default)]
pub struct Presented {
    now: Arc<RwLock<Option<Now>>>,
}

struct Now {
    pair: Pair,
    key: Arc<CertifiedKey>,
}

impl Presented {
    /// Presents this from now on; false if that is what is presented already. An error says what is
    /// wrong with it, and changes nothing.
    pub fn present(&self, pair: Pair) -> Result<bool, String> {
        let is_new = |now: &Now| now.pair != pair;
        if !self.read(|now| now.is_none_or(is_new)) {
            return Ok(false);
        }
        let key = Arc::new(tls::certified_key(&pair.chain, &pair.key)?);
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        *now = Some(Now { pair, key });
        Ok(true)
    }

    fn read<R>(&self, f: impl FnOnce(Option<&Now>) -> R) -> R {
        f(self
            .now
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref())
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(..)")
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.read(|now| now.map(|now| Arc::clone(&now.key)))
    }
}

/// A directory with the files [`CERTIFICATE`] and [`KEY`], as a Secret is mounted.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// The flag that names it, for errors.
    pub flag: &'static str,
}

impl Directory {
    /// What is in the files now. The error names the file and the flag.
    pub async fn read(&self) -> Result<Pair, String> {
        let read = async |name: &str| {
            let path: &Path = &self.path.join(name);
            tokio::fs::read(path).await.map_err(|error| {
                let (path, flag) = (path.display(), self.flag);
                format!("{path}: {error}; {flag} must have {CERTIFICATE} and {KEY}")
            })
        };
        Ok(Pair {
            chain: read(CERTIFICATE).await?,
            key: read(KEY).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        Pair {
            chain: made.cert.pem().into_bytes(),
            key: made.signing_key.serialize_pem().into_bytes(),
        }
    }

    #[test]
    fn what_does_not_fit_together_does_not_replace_what_is_presented() {
        let presented = Presented::default();
        let (old, new) = (pair(), pair());
        assert!(presented.read(|now| now.is_none()));
        assert_eq!(presented.present(old.clone()), Ok(true));
        assert_eq!(presented.present(old.clone()), Ok(false));
        // As files that are replaced one after the other are for a moment.
        let mixed = Pair {
            chain: new.chain.clone(),
            key: old.key.clone(),
        };
        presented.present(mixed).expect_err("not a pair");
        assert!(presented.read(|now| now.is_some_and(|now| now.pair == old)));
        assert_eq!(presented.present(new), Ok(true));
    }

    #[tokio::test]
    async fn a_missing_file_is_named_with_its_flag() {
        let directory = Directory {
            path: "/nonexistent".into(),
            flag: "--cert-dir",
        };
        let error = directory.read().await.expect_err("no such directory");
        assert!(error.contains("/nonexistent/tls.crt"), "{error}");
        assert!(error.contains("--cert-dir must have"), "{error}");
    }
}
