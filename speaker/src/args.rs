//! The flags of `herald speaker` (compat.md 6.5).

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use herald_runtime::args::{CommonArgs, InactiveFlag};

mod membership;

pub use membership::{BindAddress, MembershipArgs};

/// Flags of `herald speaker`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Flags of both daemons
    #[command(flatten)]
    pub common: CommonArgs,

    /// Name of the node this speaker runs on
    #[arg(long, env = "METALLB_NODE_NAME")]
    pub node_name: String,

    /// Announce also from nodes with the label
    /// node.kubernetes.io/exclude-from-external-load-balancers
    #[arg(long, env = "HERALD_IGNORE_EXCLUDE_LB", action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false)]
    pub ignore_exclude_lb: bool,

    /// File with the key announcedInterfacesToExclude: regular expressions of interface names that
    /// are not announced on; read again when it changes
    #[arg(
        long,
        env = "HERALD_L2_EXCLUDE_FILE",
        default_value = "/etc/metallb/excludel2.yaml"
    )]
    pub l2_exclude_file: PathBuf,

    /// Announce every address again in this period (30s, 5m), by gratuitous ARP and unsolicited
    /// neighbor advertisements; 0 turns it off
    #[arg(long, env = "METALLB_GRATUITOUS_ARP_INTERVAL", default_value = "0",
          value_parser = duration)]
    pub gratuitous_arp_interval: Duration,

    /// Accepted for compatibility and ignored, as by MetalLB
    #[arg(long, env = "METALLB_HOST")]
    pub host: Option<String>,

    /// Flags of the group of speakers
    #[command(flatten)]
    pub membership: MembershipArgs,

    /// Directory for what the speaker needs to start while the API is away; made if it does not
    /// exist
    #[arg(long, env = "HERALD_STATE_DIR", default_value = "/var/lib/herald")]
    pub state_dir: PathBuf,

    /// How long to answer on after SIGTERM, at most, until others have taken over
    #[arg(long, env = "HERALD_HANDOVER_LIMIT", default_value = "5s", value_parser = duration)]
    pub handover_limit: Duration,

    /// How long to announce on with BGP after SIGTERM, as a path that is to be passed over
    /// (RFC 8326), so that routers without graceful restart find others before it is withdrawn
    #[arg(long, env = "HERALD_BGP_SHUTDOWN_WAIT", default_value = "2s", value_parser = duration)]
    pub bgp_shutdown_wait: Duration,

    /// TCP port for BGP peers that connect, open only while there is one that may
    #[arg(long, env = "HERALD_BGP_LISTEN_PORT", default_value_t = 179,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub bgp_listen_port: u16,

    /// Accepted for compatibility: namespace of frr-k8s
    #[arg(long, env = "FRRK8S_NAMESPACE")]
    pub frrk8s_namespace: Option<String>,

    /// Accepted for compatibility: hand passwords on to frr-k8s
    #[arg(long, env = "HERALD_FRRK8S_SECRET_PASSTHROUGH", action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false)]
    pub frrk8s_secret_passthrough: bool,

    /// Accepted for compatibility: milliseconds that changes of BGP would be gathered for
    #[arg(long, env = "METALLB_BGP_DEBOUNCE_TIMEOUT")]
    pub bgp_debounce_timeout: Option<u64>,
}

impl Args {
    /// The flags that were given but do nothing yet.
    pub fn inactive(&self) -> Vec<InactiveFlag> {
        const AT_ONCE: &str = "every change is told to the routers at once";
        const FRR: &str = "there is one built-in BGP engine";
        let given = [
            (self.host.is_some(), "--host", "it is deprecated"),
            (
                self.membership.ml_labels.is_some(),
                "--ml-labels",
                "speakers find each other by the nodes' addresses, not by their pods",
            ),
            (self.frrk8s_namespace.is_some(), "--frrk8s-namespace", FRR),
            (
                self.frrk8s_secret_passthrough,
                "--frrk8s-secret-passthrough",
                FRR,
            ),
            (
                self.bgp_debounce_timeout.is_some(),
                "--bgp-debounce-timeout",
                AT_ONCE,
            ),
        ];
        let own = given
            .into_iter()
            .filter(|(given, ..)| *given)
            .map(|(_, flag, why)| InactiveFlag { flag, why });
        self.common.inactive().into_iter().chain(own).collect()
    }
}

/// A Go duration; a bare number counts seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let duration: herald_api::Duration = text
        .parse()
        .map_err(|error: herald_api::DurationError| error.to_string())?;
    duration
        .to_std()
        .ok_or_else(|| "a period cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(arguments: &[&str]) -> Result<Args, clap::Error> {
        let base = ["herald", "--node-name=n1"];
        Cli::try_parse_from([&base, arguments].concat()).map(|cli| cli.args)
    }

    #[test]
    fn the_flags_of_a_metallb_speaker_are_accepted_with_one_warning_each() {
        let args = parse(&[
            "--host=10.0.0.1",
            "--ml-bindaddr=10.0.0.1",
            "--ml-bindport=7946",
            "--ml-labels=app=metallb",
            "--ml-secret-key-path=/etc/ml_secret_key",
            "--ml-wan-config=false",
            "--frrk8s-namespace=frr",
            "--frrk8s-secret-passthrough=true",
            "--bgp-debounce-timeout=3000",
        ]);
        assert_eq!(args.expect("accepted").inactive().len(), 5);
        assert!(parse(&[]).expect("accepted").inactive().is_empty());
    }

    #[test]
    fn booleans_are_written_as_in_go() {
        for (argument, value) in [
            ("--ignore-exclude-lb", true),
            ("--ignore-exclude-lb=true", true),
            ("--ignore-exclude-lb=false", false),
        ] {
            assert_eq!(
                parse(&[argument]).expect("accepted").ignore_exclude_lb,
                value
            );
        }
    }

    #[test]
    fn the_refresh_is_a_go_duration_or_seconds() {
        let period = |text: &str| {
            let argument = format!("--gratuitous-arp-interval={text}");
            parse(&[&argument]).map(|args| args.gratuitous_arp_interval)
        };
        assert_eq!(period("1m30s").expect("valid"), Duration::from_secs(90));
        assert_eq!(period("15").expect("valid"), Duration::from_secs(15));
        assert_eq!(period("0").expect("valid"), Duration::ZERO);
        assert!(period("soon").is_err());
        assert!(period("-5s").is_err());
    }

    #[test]
    fn state_and_handover_have_defaults() {
        let args = parse(&[]).expect("accepted");
        assert_eq!(args.state_dir, PathBuf::from("/var/lib/herald"));
        assert_eq!(args.handover_limit, Duration::from_secs(5));
        assert_eq!(args.bgp_shutdown_wait, Duration::from_secs(2));
        let args = parse(&["--handover-limit=1500ms"]).expect("accepted");
        assert_eq!(args.handover_limit, Duration::from_millis(1500));
        assert_eq!(args.bgp_listen_port, 179);
        let args = parse(&["--bgp-listen-port=1179"]).expect("accepted");
        assert_eq!(args.bgp_listen_port, 1179);
        parse(&["--bgp-listen-port=0"]).expect_err("no port");
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_help() {
        let command = Cli::command();
        for argument in command
            .get_arguments()
            .filter(|a| a.get_long() != Some("help"))
        {
            assert!(argument.get_env().is_some(), "{argument} has no variable");
            assert!(argument.get_help().is_some(), "{argument} has no help");
        }
    }
}
