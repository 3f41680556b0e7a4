//! The flags of the group that the speakers form (compat.md 4.2, 6.5).

use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ArgAction;

use super::duration;

/// Flags of the group of speakers.
#[derive(Debug, Clone, clap::Args)]
pub struct MembershipArgs {
    /// Address of this node, IPv4 or IPv6, at which the speakers find each other; empty: they form
    /// no group, and know of each other through the API only
    #[arg(long, env = "METALLB_ML_BIND_ADDR", default_value = "")]
    pub ml_bindaddr: BindAddress,

    /// UDP port of the speakers' group, the same on all nodes
    #[arg(long, env = "METALLB_ML_BIND_PORT", default_value_t = 7946)]
    pub ml_bindport: u16,

    /// Directory with the key that the speakers share: file secretkey, and further files
    /// secretkey-* with keys that are accepted too; read again when it changes
    #[arg(long, env = "METALLB_ML_SECRET_KEY_PATH", value_parser = path)]
    pub ml_secret_key_path: Option<PathBuf>,

    /// Accepted for compatibility: labels of the speakers' pods
    #[arg(long, env = "METALLB_ML_LABELS")]
    pub ml_labels: Option<String>,

    /// Slower timers between speakers, for nodes that are far from each other
    #[arg(long, env = "HERALD_ML_WAN_CONFIG", action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false)]
    pub ml_wan_config: bool,

    /// File with timers between speakers, as MetalLB has it; need not exist
    #[arg(
        long,
        env = "HERALD_ML_CONFIG_FILE",
        default_value = "/etc/metallb/memberlist/config.json"
    )]
    pub ml_config_file: PathBuf,

    /// How often a speaker probes another one (60ms)
    #[arg(long, env = "HERALD_ML_PROBE_INTERVAL", value_parser = positive)]
    pub ml_probe_interval: Option<Duration>,

    /// How long a probed speaker may take to answer before others are asked to probe it (25ms);
    /// shorter than the interval
    #[arg(long, env = "HERALD_ML_PROBE_TIMEOUT", value_parser = positive)]
    pub ml_probe_timeout: Option<Duration>,

    /// How long a speaker that does not answer has to object before it is taken for down (150ms)
    #[arg(long, env = "HERALD_ML_SUSPICION", value_parser = positive)]
    pub ml_suspicion: Option<Duration>,
}

impl MembershipArgs {
    /// Where the group is spoken, if it is.
    pub fn bind(&self) -> Option<SocketAddr> {
        let address = self.ml_bindaddr.0?;
        Some(SocketAddr::new(address, self.ml_bindport))
    }

    /// The directory of the key, if one is given.
    pub fn key_directory(&self) -> Option<&Path> {
        self.ml_secret_key_path
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty())
    }
}

/// An IP address, or none if the text is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindAddress(pub Option<IpAddr>);

impl FromStr for BindAddress {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "" => Ok(Self(None)),
            text => text.parse().map(|address| Self(Some(address))),
        }
    }
}

/// Any path. Unlike clap's own parser this takes the empty one, which an unset value of a chart
/// gives.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a parser of flags")]
fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

fn positive(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err("it must be longer than 0".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: MembershipArgs,
    }

    fn parse(arguments: &[&str]) -> Result<MembershipArgs, clap::Error> {
        Cli::try_parse_from([&["herald"], arguments].concat()).map(|cli| cli.args)
    }

    fn bind(arguments: &[&str]) -> Option<SocketAddr> {
        parse(arguments).expect("accepted").bind()
    }

    #[test]
    fn the_group_is_spoken_if_there_is_an_address() {
        assert_eq!(bind(&[]), None);
        assert_eq!(bind(&["--ml-bindaddr="]), None);
        let v4 = bind(&["--ml-bindaddr=192.0.2.1"]).expect("given");
        assert_eq!(v4.to_string(), "192.0.2.1:7946");
        let v6 = bind(&["--ml-bindaddr=2001:db8::1", "--ml-bindport=7947"]);
        assert_eq!(v6.expect("given").to_string(), "[2001:db8::1]:7947");
        assert!(parse(&["--ml-bindaddr=node1"]).is_err());
    }

    #[test]
    fn an_empty_directory_is_none() {
        let directory = |arguments: &[&str]| {
            let args = parse(arguments).expect("accepted");
            args.key_directory().map(Path::to_owned)
        };
        assert_eq!(directory(&[]), None);
        assert_eq!(directory(&["--ml-secret-key-path="]), None);
        let given = directory(&["--ml-secret-key-path=/etc/ml_secret_key"]);
        assert_eq!(given, Some(PathBuf::from("/etc/ml_secret_key")));
    }

    #[test]
    fn timers_are_durations_longer_than_nothing() {
        let args = parse(&["--ml-probe-interval=100ms", "--ml-suspicion=1"]).expect("accepted");
        assert_eq!(args.ml_probe_interval, Some(Duration::from_millis(100)));
        assert_eq!(args.ml_probe_timeout, None);
        assert_eq!(args.ml_suspicion, Some(Duration::from_secs(1)));
        assert!(parse(&["--ml-probe-interval=0"]).is_err());
    }
}
