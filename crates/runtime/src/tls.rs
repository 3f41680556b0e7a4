//! TLS of the servers that the daemons run.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ResolvesServerCert, WantsServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ServerConfig};

use crate::args::{CommonArgs, TlsVersion};
use crate::certificate::Pair;

/// Why a server has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate that is there cannot be used.
    #[error("cannot use the certificate of the metrics server: {0}")]
    Certificate(String),
    /// No certificate could be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// `--tls-cipher-suites` names something unknown.
    #[error("--tls-cipher-suites: {0:?} is not supported; supported are {known}", known = suites().join(", "))]
    CipherSuite(String),
    /// `--tls-curve-preferences` names something unknown.
    #[error(
        "--tls-curve-preferences: {0:?} is not supported; supported are X25519, CurveP256, CurveP384"
    )]
    Curve(String),
    /// The parts do not fit.
    #[error("unusable TLS configuration: {0}")]
    Config(#[from] rustls::Error),
}

/// The server side of TLS as the flags want it, with a certificate that may change.
pub fn resolving(
    args: &CommonArgs,
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, TlsError> {
    Ok(builder(args)?.with_cert_resolver(certificates))
}

fn builder(args: &CommonArgs) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, TlsError> {
    let versions: &[&rustls::SupportedProtocolVersion] = match args.tls_min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    Ok(
        ServerConfig::builder_with_provider(Arc::new(provider(args)?))
            .with_protocol_versions(versions)?
            .with_no_client_auth(),
    )
}

/// A certificate chain and its private key, both PEM, as a server presents them. The error says which
/// of the two cannot be used, and why.
pub fn certified_key(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("the private key is not PEM: {error}"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map_err(|error| format!("certificate and private key cannot be used: {error}"))
}

/// A certificate that nobody else signed.
pub(crate) fn self_signed() -> Result<Pair, TlsError> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    Ok(Pair {
        chain: made.cert.pem().into_bytes(),
        key: made.signing_key.serialize_pem().into_bytes(),
    })
}

fn provider(args: &CommonArgs) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    let wanted: Vec<&str> = non_empty(&args.tls_cipher_suites);
    if !wanted.is_empty() {
        let known = suites();
        if let Some(unknown) = wanted.iter().find(|name| !known.iter().any(|k| k == *name)) {
            return Err(TlsError::CipherSuite((*unknown).to_owned()));
        }
        // As in Go, the list is about TLS 1.2 only: the suites of 1.3 are always there.
        provider.cipher_suites.retain(|suite| {
            suite.tls13().is_some() || wanted.contains(&suite_name(*suite).as_str())
        });
    }
    let curves = non_empty(&args.tls_curve_preferences);
    if !curves.is_empty() {
        provider.kx_groups = curves.into_iter().map(curve).collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

fn non_empty(list: &[String]) -> Vec<&str> {
    list.iter()
        .map(|entry| entry.trim())
        .filter(|entry| !entry.is_empty())
        .collect()
}

fn suites() -> Vec<String> {
    ring::ALL_CIPHER_SUITES
        .iter()
        .map(|suite| suite_name(*suite))
        .collect()
}

/// The IANA name; rustls prefixes those of TLS 1.3 with the version.
fn suite_name(suite: rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

fn curve(name: &str) -> Result<&'static dyn SupportedKxGroup, TlsError> {
    match name {
        "X25519" | "29" => Ok(ring::kx_group::X25519),
        "CurveP256" | "P256" | "23" => Ok(ring::kx_group::SECP256R1),
        "CurveP384" | "P384" | "24" => Ok(ring::kx_group::SECP384R1),
        _ => Err(TlsError::Curve(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::certificate::Presented;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn config(arguments: &[&str]) -> Result<ServerConfig, TlsError> {
        let args = Cli::parse_from([&["herald"], arguments].concat()).common;
        resolving(&args, Arc::new(Presented::default()))
    }

    #[test]
    fn a_self_signed_certificate_can_be_presented() {
        let made = self_signed().expect("made");
        assert_eq!(Presented::default().present(made), Ok(true));
    }

    #[test]
    fn lists_choose_and_unknown_names_are_refused() {
        config(&[
            "--tls-min-version=TLS12",
            "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "--tls-curve-preferences=CurveP256,29",
        ])
        .expect("usable");
        assert!(matches!(
            config(&["--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"]),
            Err(TlsError::CipherSuite(_))
        ));
        assert!(matches!(
            config(&["--tls-curve-preferences=CurveP521"]),
            Err(TlsError::Curve(_))
        ));
    }
}
