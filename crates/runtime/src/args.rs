//! The flags that both daemons have (compat.md 6.5), each also an environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::debug;
use crate::logging::{LogFormat, LogLevel};

/// Flags of both `herald controller` and `herald speaker`.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// Port of the metrics server (path /metrics); 0 turns it off
    #[arg(long, env = "HERALD_PORT", default_value_t = 9120)]
    pub port: u16,

    /// Port of /healthz and /readyz (HTTP); 0 turns them off
    #[arg(long, env = "HERALD_HEALTH_PROBE_PORT", default_value_t = 17472)]
    pub health_probe_port: u16,

    /// How much to log
    #[arg(long, env = "HERALD_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,

    /// One JSON object a line, or lines for people
    #[arg(long, env = "HERALD_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Handle Services of exactly this spec.loadBalancerClass; empty: those without a class
    #[arg(long, env = "HERALD_LB_CLASS", default_value = "")]
    pub lb_class: String,

    /// Namespace that Herald runs in and that the custom resources are read from; default: the
    /// namespace of the pod's service account
    #[arg(long, env = "METALLB_NAMESPACE")]
    pub namespace: Option<String>,

    /// Name of the pod this process runs in; default: the host's name
    #[arg(long, env = "METALLB_POD_NAME")]
    pub pod_name: Option<String>,

    /// Kubeconfig file, for use outside a cluster; default: the pod's service account
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Directory with tls.crt and tls.key of the metrics server, read again when they change;
    /// default: a self-signed certificate made at start
    #[arg(long, env = "HERALD_METRICS_CERT_DIR")]
    pub metrics_cert_dir: Option<PathBuf>,

    /// Who may read the metrics, and whether TLS is spoken
    #[arg(long, env = "HERALD_METRICS_SECURITY", value_enum,
          default_value_t = MetricsSecurity::Authorized)]
    pub metrics_security: MetricsSecurity,

    /// Lowest TLS version that the metrics server accepts
    #[arg(long, env = "HERALD_TLS_MIN_VERSION", value_enum, default_value_t = TlsVersion::Tls13)]
    pub tls_min_version: TlsVersion,

    /// TLS 1.2 cipher suites of the metrics server, comma separated, by IANA name; default: all
    /// that are considered safe
    #[arg(long, env = "HERALD_TLS_CIPHER_SUITES", value_delimiter = ',')]
    pub tls_cipher_suites: Vec<String>,

    /// Key exchange groups of the metrics server in order of preference, comma separated, by name
    /// (`X25519`, `CurveP256`, `CurveP384`) or number; default: all three
    #[arg(long, env = "HERALD_TLS_CURVE_PREFERENCES", value_delimiter = ',')]
    pub tls_curve_preferences: Vec<String>,

    /// Address and port, on loopback, to serve all that was decided and why at (HTTP, path
    /// /debug/state); default: nowhere
    #[arg(long, env = "HERALD_DEBUG_BIND_ADDRESS", value_parser = debug::loopback)]
    pub debug_bind_address: Option<SocketAddr>,

    /// Accepted for compatibility; profiling comes with a later release
    #[arg(long, env = "HERALD_PPROF_BIND_ADDRESS")]
    pub pprof_bind_address: Option<String>,

    /// Accepted for compatibility: native, frr or frr-k8s; Herald has one BGP engine
    #[arg(long, env = "METALLB_BGP_TYPE", hide = true)]
    pub bgp_type: Option<String>,
}

/// `--metrics-security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricsSecurity {
    /// HTTPS for those whom the API server knows and allows to get /metrics
    Authorized,
    /// HTTPS for everybody
    Tls,
    /// HTTP for everybody
    None,
}

/// A TLS version as `--tls-min-version` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[value(name = "TLS12", alias = "VersionTLS12")]
    Tls12,
    /// TLS 1.3.
    #[value(name = "TLS13", alias = "VersionTLS13")]
    Tls13,
}

impl CommonArgs {
    /// The flags of this set that were given but do nothing yet, for one warning each.
    pub fn inactive(&self) -> Vec<InactiveFlag> {
        let mut flags = Vec::new();
        if self
            .pprof_bind_address
            .as_deref()
            .is_some_and(|a| !a.is_empty())
        {
            flags.push(InactiveFlag {
                flag: "--pprof-bind-address",
                why: "profiling is not served yet",
            });
        }
        if self.bgp_type.as_deref().is_some_and(|t| t != "native") {
            flags.push(InactiveFlag {
                flag: "METALLB_BGP_TYPE",
                why: "there is one built-in BGP engine",
            });
        }
        flags
    }

    /// The name this process has among its replicas: the pod's, else the host's.
    pub fn identity(&self) -> String {
        self.pod_name
            .clone()
            .filter(|name| !name.is_empty())
            .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
            .map_or_else(|| "herald".to_owned(), |name| name.trim().to_owned())
    }
}

/// A flag that is accepted so that a deployment written for MetalLB starts unchanged, but that does
/// nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InactiveFlag {
    /// The flag as the user writes it.
    pub flag: &'static str,
    /// What happens instead.
    pub why: &'static str,
}

impl InactiveFlag {
    /// Logs the one warning that this flag is worth.
    pub fn warn(self) {
        tracing::warn!(
            event = "flagInactive",
            flag = self.flag,
            why = self.why,
            "flag accepted for compatibility, but without effect"
        );
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn parse(arguments: &[&str]) -> CommonArgs {
        Cli::parse_from([&["herald"], arguments].concat()).common
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let common = parse(&[]);
        assert_eq!(common.port, 9120);
        assert_eq!(common.health_probe_port, 17472);
        assert_eq!(common.log_level, LogLevel::Info);
        assert_eq!(common.lb_class, "");
        assert_eq!(common.tls_min_version, TlsVersion::Tls13);
        assert_eq!(common.metrics_security, MetricsSecurity::Authorized);
        assert!(common.inactive().is_empty());
    }

    #[test]
    fn lists_are_split_at_commas() {
        let common = parse(&["--tls-curve-preferences=X25519,CurveP256"]);
        assert_eq!(common.tls_curve_preferences, ["X25519", "CurveP256"]);
    }

    #[test]
    fn flags_of_later_work_are_named_once_given() {
        let flags = parse(&["--pprof-bind-address=127.0.0.1:6060"]).inactive();
        assert_eq!(flags.len(), 1);
        assert_eq!(flags[0].flag, "--pprof-bind-address");
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_help() {
        use clap::CommandFactory;
        for argument in Cli::command()
            .get_arguments()
            .filter(|a| a.get_long() != Some("help"))
        {
            assert!(argument.get_env().is_some(), "{argument} has no variable");
            assert!(argument.get_help().is_some(), "{argument} has no help");
        }
    }
}
