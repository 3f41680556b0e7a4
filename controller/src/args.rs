//! Flags of `herald controller` (compat.md 6.5).

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use herald_runtime::args::{CommonArgs, InactiveFlag};

/// Flags of `herald controller`.
#[derive(Debug, Clone, Args)]
pub struct ControllerArgs {
    /// The flags that the speaker has too.
    #[command(flatten)]
    pub common: CommonArgs,

    /// Let replicas elect one that acts, by the Lease herald-controller; off only where exactly one
    /// runs
    #[arg(long, env = "HERALD_LEADER_ELECT", default_value_t = true,
          num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// Status writes under way at the same time
    #[arg(long, env = "HERALD_STATUS_WRITES", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub status_writes: u16,

    /// enabled, disabled, or onlywebhook, with which nothing is allocated
    #[arg(long, env = "HERALD_WEBHOOK_MODE", value_enum, default_value_t = WebhookMode::Enabled)]
    pub webhook_mode: WebhookMode,

    /// Secret to be made, if it is not there, with the key that the speakers seal with what they
    /// tell each other; default: none is made
    #[arg(long, env = "METALLB_ML_SECRET_NAME")]
    pub ml_secret_name: Option<String>,

    /// Deployment of the controller, which becomes the owner of that Secret and of the Lease;
    /// default: they have none
    #[arg(long, env = "METALLB_DEPLOYMENT")]
    pub deployment: Option<String>,

    /// Port of the webhooks (HTTPS)
    #[arg(long, env = "HERALD_WEBHOOK_PORT", default_value_t = 9443,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub webhook_port: u16,

    /// Leave the certificate of the webhooks, and who trusts it, to somebody else: it is read from
    /// --cert-dir
    #[arg(long, env = "HERALD_DISABLE_CERT_ROTATION", default_value_t = false,
          num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    pub disable_cert_rotation: bool,

    /// Directory with tls.crt and tls.key of the webhooks, read again when they change; only with
    /// --disable-cert-rotation
    #[arg(
        long,
        env = "HERALD_CERT_DIR",
        default_value = "/tmp/k8s-webhook-server/serving-certs"
    )]
    pub cert_dir: PathBuf,

    /// Service that the API server reaches the webhooks by: the certificate is for it
    #[arg(
        long,
        env = "HERALD_CERT_SERVICE_NAME",
        default_value = "metallb-webhook-service"
    )]
    pub cert_service_name: String,

    /// Secret that the certificate of the webhooks is kept in, made if it is not there
    #[arg(
        long,
        env = "HERALD_WEBHOOK_SECRET",
        default_value = "metallb-webhook-cert"
    )]
    pub webhook_secret: String,

    /// `ValidatingWebhookConfiguration` that is told to trust the certificate
    #[arg(
        long,
        env = "HERALD_WEBHOOK_CONFIGURATION",
        default_value = "metallb-webhook-configuration"
    )]
    pub webhook_configuration: String,

    /// Have the API server convert `BGPPeer`s by the webhooks where nothing else converts them; false
    /// takes that back
    #[arg(long, env = "HERALD_WEBHOOK_CONVERSION", default_value_t = true,
          num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = clap::ArgAction::Set)]
    pub webhook_conversion: bool,

    /// Accepted for compatibility; the webhooks are served with HTTP/1.1
    #[arg(long, env = "HERALD_WEBHOOK_HTTP2",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub webhook_http2: Option<bool>,
}

/// `--webhook-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WebhookMode {
    /// Allocation and webhooks.
    Enabled,
    /// Allocation only.
    Disabled,
    /// Webhooks only.
    Onlywebhook,
}

impl ControllerArgs {
    /// The flags that were given but do nothing yet.
    pub fn inactive(&self) -> Vec<InactiveFlag> {
        let http2 = InactiveFlag {
            flag: "--webhook-http2",
            why: "the webhooks are served with HTTP/1.1",
        };
        let own = (self.webhook_http2 == Some(true)).then_some(http2);
        self.common.inactive().into_iter().chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        controller: ControllerArgs,
    }

    fn parse(arguments: &[&str]) -> ControllerArgs {
        Cli::parse_from([&["herald"], arguments].concat()).controller
    }

    #[test]
    fn leader_election_is_on_unless_turned_off() {
        assert!(parse(&[]).leader_elect);
        assert!(parse(&["--leader-elect"]).leader_elect);
        assert!(!parse(&["--leader-elect=false"]).leader_elect);
    }

    #[test]
    fn a_deployment_written_for_metallb_is_accepted_without_a_warning() {
        let args = parse(&[
            "--port=9120",
            "--health-probe-port=17472",
            "--log-level=info",
            "--webhook-mode=enabled",
            "--tls-min-version=VersionTLS13",
            "--disable-cert-rotation",
            "--webhook-http2=false",
            "--cert-service-name=metallb-webhook-service",
        ]);
        assert!(args.inactive().is_empty(), "{:?}", args.inactive());
        assert!(args.disable_cert_rotation);
        let flags = parse(&["--webhook-http2", "--webhook-mode=onlywebhook"]).inactive();
        assert_eq!(flags.len(), 1);
        assert_eq!(flags[0].flag, "--webhook-http2");
    }

    #[test]
    fn the_webhooks_have_the_names_that_metallb_gives_them() {
        let args = parse(&[]);
        assert_eq!(args.webhook_mode, WebhookMode::Enabled);
        assert_eq!(args.webhook_port, 9443);
        assert!(!args.disable_cert_rotation);
        assert_eq!(args.cert_service_name, "metallb-webhook-service");
        assert_eq!(args.webhook_secret, "metallb-webhook-cert");
        assert_eq!(args.webhook_configuration, "metallb-webhook-configuration");
        assert!(args.webhook_conversion);
        assert!(!parse(&["--webhook-conversion=false"]).webhook_conversion);
    }
}
