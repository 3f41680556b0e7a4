//! The flags of `herald bgp`.

use std::path::PathBuf;

/// Flags of `herald bgp`.
#[derive(Debug, Clone, clap::Args)]
pub struct BgpArgs {
    /// What to ask
    #[command(subcommand)]
    pub(super) question: Question,

    /// The state directory of the speaker that is asked
    #[arg(
        long,
        env = "HERALD_STATE_DIR",
        default_value = "/var/lib/herald",
        global = true
    )]
    pub(super) state_dir: PathBuf,

    /// Answer with JSON
    #[arg(long, env = "HERALD_JSON", global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, clap::Subcommand)]
pub(super) enum Question {
    /// One line for each session
    Summary,
    /// All about each session
    #[command(visible_aliases = ["neighbours", "neighbor", "neighbour"])]
    Neighbors {
        /// Only this one: the name of its `BGPPeer`, or an address
        neighbor: Option<String>,
    },
    /// The routes that neighbors have been told
    Routes {
        /// Only this neighbor: the name of its `BGPPeer`, or an address
        neighbor: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: BgpArgs,
    }

    #[test]
    fn flags_go_before_and_after_the_question() {
        let before = ["herald", "--json", "--state-dir=/tmp/x", "routes", "tor"];
        let after = ["herald", "routes", "tor", "--json", "--state-dir=/tmp/x"];
        for arguments in [before, after] {
            let args = Cli::try_parse_from(arguments).expect("valid").args;
            assert!(args.json);
            assert_eq!(args.state_dir, PathBuf::from("/tmp/x"));
            assert!(matches!(args.question, Question::Routes { neighbor: Some(n) } if n == "tor"));
        }
        let args = Cli::try_parse_from(["herald", "neighbours"]).expect("valid");
        assert!(matches!(
            args.args.question,
            Question::Neighbors { neighbor: None }
        ));
        assert!(Cli::try_parse_from(["herald"]).is_err());
    }
}
