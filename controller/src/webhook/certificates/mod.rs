//! The certificate of the webhooks: read by every replica, made and changed by the leader.

mod inject;
mod issue;
mod keeper;
mod mounted;
mod state;

use std::time::Duration;

use herald_runtime::certificate::{CERTIFICATE, KEY, PERIOD, Pair, Presented};
use herald_runtime::health::Block;
use herald_runtime::supervise::TaskResult;
use tokio_util::sync::CancellationToken;

pub(super) use inject::Targets;
pub(super) use keeper::Keeper;
pub(super) use mounted::Mounted;

/// Pause after a failure, and after a change that others have to see.
const SOON: Duration = Duration::from_secs(1);
/// Where the certificate is from.
pub(super) enum Source {
    /// `--cert-dir`: somebody else looks after it and after the objects that trust it, but for the
    /// CRD.
    Directory(Box<Mounted>),
    /// A Secret that the leader looks after.
    Secret(Box<Keeper>),
}

/// What a look at the source found.
struct Found {
    /// If there is one.
    pair: Option<Pair>,
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
    failing: bool,
}

impl Certificates {
    pub(super) fn new(source: Source, presented: Presented, block: Block) -> Self {
        Self {
            source,
            presented,
            block: Some(block),
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
            Source::Directory(mounted) => mounted.look().await,
            Source::Secret(keeper) => keeper.look().await,
        };
        let outcome = found.and_then(|found| {
            if let Some(pair) = found.pair {
                self.present(pair)?;
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

    fn present(&mut self, pair: Pair) -> Result<(), String> {
        if self.presented.present(pair)? {
            tracing::info!(
                event = "certificateLoaded",
                "the webhooks have a new certificate"
            );
        }
        self.block = None;
        Ok(())
    }
}

/// Authority, certificate and key.
#[cfg(test)]
pub(super) fn issue_for_tests(names: &[String], now: jiff::Timestamp) -> (String, String, String) {
    let issued = issue::issue(names, now).expect("made");
    (issued.authority, issued.certificate, issued.key)
}
