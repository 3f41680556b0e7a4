//! A directory in which somebody else keeps the certificate, as cert-manager does in a Secret that is
//! mounted.

use std::io::ErrorKind;

use herald_runtime::certificate::Directory;
use herald_runtime::lease::Leadership;

use super::inject::Targets;
use super::{Found, Unsettled};

/// The file with the authorities that signed the certificate.
const AUTHORITIES: &str = "ca.crt";

/// Reads the directory. The leader has `BGPPeer`s converted under its certificate: nobody else can
/// know the namespace that the CRD has to name.
pub(in crate::webhook) struct Mounted {
    /// `--cert-dir`.
    pub(in crate::webhook) directory: Directory,
    /// Only what nobody else looks after.
    pub(in crate::webhook) targets: Targets,
    pub(in crate::webhook) leadership: Leadership,
}

impl Mounted {
    /// The certificate to present.
    pub(super) async fn look(&self) -> Result<Found, String> {
        let pair = self.directory.read().await?;
        let path = self.directory.path.join(AUTHORITIES);
        let told = match tokio::fs::read_to_string(&path).await {
            Ok(bundle) if self.leadership.is_leader() => {
                let told = self.targets.trust(&bundle, &self.leadership).await;
                told.map(drop)
            }
            Ok(_) => Ok(()),
            // Then the API server trusts it without being told, or is told by others.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        };
        Ok(Found {
            pair: Some(pair),
            unsettled: told.err().map(Unsettled::Failed),
        })
    }
}
