//! Makes certificates.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::state::Issued;

/// How long a certificate is good. The clocks of API servers may be behind by [`SKEW`].
const LIFE: Duration = Duration::from_hours(365 * 24);
/// When the next one is due.
const RENEW: Duration = Duration::from_hours(243 * 24);
const SKEW: Duration = Duration::from_hours(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Rcgen(#[from] rcgen::Error),
    /// The clock of the node shows a time that no certificate can have.
    #[error("cannot make a certificate: the clock shows {0}: set it")]
    Clock(Timestamp),
}

/// A certificate for a server of these names, signed by an authority made for it.
pub(super) fn issue(names: &[String], now: Timestamp) -> Result<Issued, IssueError> {
    let clock = || IssueError::Clock(now);
    let seconds = u64::try_from(now.as_second()).map_err(|_| clock())?;
    let since_1970 = Duration::from_secs(seconds);
    let begin = date_time_ymd(1970, 1, 1) + since_1970.saturating_sub(SKEW);
    let end = date_time_ymd(1970, 1, 1) + since_1970 + LIFE;

    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "herald");
    // Authorities of one name and different keys confuse some clients.
    name.push(
        DnType::CommonName,
        format!("herald webhook authority {seconds}"),
    );
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name = name;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    authority.not_before = begin;
    authority.not_after = end;
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut server = CertificateParams::new(names)?;
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "herald");
    server.distinguished_name = name;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    server.not_before = begin;
    server.not_after = end;
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?;
    Ok(Issued {
        authority: authority_certificate.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        begins: Some(now.checked_sub(SKEW).map_err(|_| clock())?),
        renew: now.checked_add(RENEW).map_err(|_| clock())?,
        expires: now.checked_add(LIFE).map_err(|_| clock())?,
    })
}

#[cfg(test)]
mod tests {
    use herald_runtime::tls;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    #[test]
    fn an_api_server_that_trusts_the_authority_takes_the_certificate_for_its_names_and_its_time() {
        herald_runtime::install_crypto_provider();
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        let names = ["hooks.herald-system.svc".to_owned(), "localhost".to_owned()];
        let issued = issue(&names, now).expect("made");
        let other = issue(&names, now).expect("made");
        tls::certified_key(issued.certificate.as_bytes(), issued.key.as_bytes()).expect("a pair");
        tls::certified_key(issued.certificate.as_bytes(), other.key.as_bytes())
            .expect_err("not a pair");

        let verify = |issued: &Issued, authority: &Issued, name: &'static str, second: u64| {
            let mut roots = rustls::RootCertStore::empty();
            let root = CertificateDer::from_pem_slice(authority.authority.as_bytes());
            roots.add(root.expect("PEM")).expect("an authority");
            let verifier = WebPkiServerVerifier::builder(roots.into())
                .build()
                .expect("roots");
            let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes());
            let name = ServerName::try_from(name).expect("a name");
            let time = UnixTime::since_unix_epoch(Duration::from_secs(second));
            let certificate = certificate.expect("PEM");
            verifier.verify_server_cert(&certificate, &[], &name, &[], time)
        };
        let start = 1_800_000_000;
        let end = start + LIFE.as_secs();
        for name in ["hooks.herald-system.svc", "localhost"] {
            verify(&issued, &issued, name, start).expect("trusted");
        }
        verify(&issued, &issued, "localhost", start - 3000).expect("a clock that is behind");
        verify(&issued, &issued, "localhost", end - 1).expect("still good");
        verify(&issued, &issued, "localhost", end + 1).expect_err("expired");
        verify(&issued, &issued, "other", start).expect_err("another name");
        verify(&issued, &other, "localhost", start).expect_err("another authority");
        assert!(issued.renew < issued.expires);
        let begins = issued.begins.expect("noted").as_second().cast_unsigned();
        verify(&issued, &issued, "localhost", begins).expect("good from then on");
        verify(&issued, &issued, "localhost", begins - 1).expect_err("not good yet");
    }
}
