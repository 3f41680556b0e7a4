//! The certificate of the webhooks: read by every replica, made and changed by the leader.

mod inject;
mod issue;
mod keeper;
mod state;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use herald_runtime::health::Block;
use herald_runtime::supervise::TaskResult;
use herald_runtime::tls;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

pub(super) use inject::Targets;
pub(super) use keeper::Keeper;

/// How often the Secret, or the directory, is looked at.
const PERIOD: Duration = Duration::from_secs(10);
/// Pause after a failure, and after a change that others have to see.
const SOON: Duration = Duration::from_secs(1);
/// The file, and the key of the Secret, with the certificate.
const CERTIFICATE: &str = "tls.crt";
/// The same of its key.
const KEY: &str = "tls.key";

/// The certificate that is presented now.
#[derive(Clone, Default)]
pub(super) struct Presented {
    key: Arc<RwLock<Option<Arc<CertifiedKey>>>>,
}

impl Presented {
    fn set(&self, key: CertifiedKey) {
        let mut presented = self.key.write().unwrap_or_else(PoisonError::into_inner);
        *presented = Some(Arc::new(key));
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented(..)")
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let presented = self.key.read().unwrap_or_else(PoisonError::into_inner);
        presented.clone()
    }
}

/// Where the certificate is from.
pub(super) enum Source {
    /// `--cert-dir`: somebody else looks after it and after the objects that trust it.
    Directory(PathBuf),
    /// A Secret that the leader looks after.
    Secret(Box<Keeper>),
}

/// What a look at the source found.
struct Found {
    /// Certificate and key, PEM, if there are any.
    pair: Option<(Vec<u8>, Vec<u8>)>,
    /// Why the next look is due soon.
    unsettled: Option<Unsettled>,
}

/// Why a source has to be looked at again soon.
enum Unsettled {
    /// Something was written, or is about to be.
    Changing,
    /// Something failed.
    Failed(String),
}

/// Keeps the certificate that is presented up to date.
pub(super) struct Certificates {
    source: Source,
    presented: Presented,
    /// Not ready before there is one.
    block: Option<Block>,
    /// What was presented last, to be compared.
    last: Option<(Vec<u8>, Vec<u8>)>,
    failing: bool,
}

impl Certificates {
    pub(super) fn new(source: Source, presented: Presented, block: Block) -> Self {
        Self {
            source,
            presented,
            block: Some(block),
            last: None,
            failing: false,
        }
    }

    pub(super) async fn run(mut self, token: CancellationToken) -> TaskResult {
        let endless = async {
            loop {
                let pause = self.look().await;
                tokio::time::sleep(pause).await;
            }
        };
        token.run_until_cancelled(endless).await.unwrap_or(Ok(()))
    }

    /// One look at the source; the pause until the next.
    async fn look(&mut self) -> Duration {
        let found = match &self.source {
            Source::Directory(directory) => from_directory(directory).await,
            Source::Secret(keeper) => keeper.look().await,
        };
        let outcome = found.and_then(|found| {
            if let Some((chain, key)) = found.pair {
                self.present(chain, key)?;
            }
            match found.unsettled {
                None => Ok(PERIOD),
                Some(Unsettled::Changing) => Ok(SOON),
                Some(Unsettled::Failed(error)) => Err(error),
            }
        });
        match outcome {
            Ok(pause) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(
                        event = "certificateRecovered",
                        "the certificate is in order"
                    );
                }
                pause
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        event = "certificateFailed",
                        error,
                        "cannot look after the certificate of the webhooks, retrying"
                    );
                }
                SOON
            }
        }
    }

    fn present(&mut self, chain: Vec<u8>, key: Vec<u8>) -> Result<(), String> {
        let new = (chain, key);
        if self.last.as_ref() == Some(&new) {
            return Ok(());
        }
        self.presented.set(tls::certified_key(&new.0, &new.1)?);
        self.last = Some(new);
        self.block = None;
        tracing::info!(
            event = "certificateLoaded",
            "the webhooks have a new certificate"
        );
        Ok(())
    }
}

async fn from_directory(directory: &Path) -> Result<Found, String> {
    let read = async |name: &str| {
        let path = directory.join(name);
        tokio::fs::read(&path).await.map_err(|error| {
            let path = path.display();
            format!("{path}: {error}; --cert-dir must have {CERTIFICATE} and {KEY}")
        })
    };
    let pair = (read(CERTIFICATE).await?, read(KEY).await?);
    Ok(Found {
        pair: Some(pair),
        unsettled: None,
    })
}

/// Authority, certificate and key.
#[cfg(test)]
pub(super) fn issue_for_tests(names: &[String], now: jiff::Timestamp) -> (String, String, String) {
    let issued = issue::issue(names, now).expect("made");
    (issued.authority, issued.certificate, issued.key)
}
