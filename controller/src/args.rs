//! Flags of `herald controller` (compat.md 6.5).

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

    /// enabled, disabled, or onlywebhook, with which nothing is allocated; the webhooks themselves
    /// come with a later release
    #[arg(long, env = "HERALD_WEBHOOK_MODE", value_enum)]
    pub webhook_mode: Option<WebhookMode>,

    /// Secret to be made, if it is not there, with the key that the speakers seal with what they
    /// tell each other; default: none is made
    #[arg(long, env = "METALLB_ML_SECRET_NAME")]
    pub ml_secret_name: Option<String>,

    /// Deployment of the controller, which becomes the owner of that Secret; default: it has none
    #[arg(long, env = "METALLB_DEPLOYMENT")]
    pub deployment: Option<String>,

    /// Accepted for compatibility; webhooks come with a later release
    #[arg(long, env = "HERALD_DISABLE_CERT_ROTATION",
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub disable_cert_rotation: Option<bool>,

    /// Accepted for compatibility; webhooks come with a later release
    #[arg(long, env = "HERALD_CERT_DIR")]
    pub cert_dir: Option<String>,

    /// Accepted for compatibility; webhooks come with a later release
    #[arg(long, env = "HERALD_CERT_SERVICE_NAME")]
    pub cert_service_name: Option<String>,

    /// Accepted for compatibility; webhooks come with a later release
    #[arg(long, env = "HERALD_WEBHOOK_SECRET")]
    pub webhook_secret: Option<String>,

    /// Accepted for compatibility; webhooks come with a later release
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
        const WEBHOOKS: &str = "there are no webhooks yet";
        let webhooks = matches!(
            self.webhook_mode,
            Some(WebhookMode::Enabled | WebhookMode::Onlywebhook)
        );
        let given = [
            (webhooks, "--webhook-mode", WEBHOOKS),
            (
                self.disable_cert_rotation.is_some(),
                "--disable-cert-rotation",
                WEBHOOKS,
            ),
            (self.cert_dir.is_some(), "--cert-dir", WEBHOOKS),
            (
                self.cert_service_name.is_some(),
                "--cert-service-name",
                WEBHOOKS,
            ),
            (self.webhook_secret.is_some(), "--webhook-secret", WEBHOOKS),
            (self.webhook_http2.is_some(), "--webhook-http2", WEBHOOKS),
        ];
        let own = given
            .into_iter()
            .filter(|(given, ..)| *given)
            .map(|(_, flag, why)| InactiveFlag { flag, why });
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
    fn a_deployment_written_for_metallb_is_accepted_with_one_warning_a_flag() {
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
        let flags: Vec<_> = args.inactive().iter().map(|flag| flag.flag).collect();
        assert_eq!(
            flags,
            [
                "--webhook-mode",
                "--disable-cert-rotation",
                "--cert-service-name",
                "--webhook-http2"
            ]
        );
        assert!(parse(&["--webhook-mode=disabled"]).inactive().is_empty());
    }
}
