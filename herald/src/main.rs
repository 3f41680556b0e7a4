//! Herald announces the addresses of LoadBalancer Services on bare metal.

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use herald_runtime::{argv, logging};

/// Herald gives Services of type LoadBalancer an address and makes the network send that address's
/// traffic to a right node
#[derive(Debug, Parser)]
#[command(name = "herald", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Allocate addresses of pools and write them into the Services' status
    Controller(Box<herald_controller::ControllerArgs>),
    /// Announce the Services' addresses that are this node's to announce
    Speaker(Box<herald_speaker::Args>),
    /// Ask the speaker of this node about its BGP sessions and routes
    Bgp(herald_speaker::BgpArgs),
}

/// What runs until it is told to end.
enum Daemon {
    Controller(Box<herald_controller::ControllerArgs>),
    Speaker(Box<herald_speaker::Args>),
}

/// How long the end of the process waits for what still blocks a thread: a write to a disk that
/// hangs must not keep a failed daemon from being started anew.
const LAST_WAIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    herald_runtime::install_crypto_provider();
    let cli = Cli::parse_from(argv::normalise(&Cli::command(), std::env::args_os()));
    let daemon = match cli.command {
        Command::Controller(args) => Daemon::Controller(args),
        Command::Speaker(args) => Daemon::Speaker(args),
        Command::Bgp(args) => return bgp(&args),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("herald: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let common = match &daemon {
        Daemon::Controller(args) => &args.common,
        Daemon::Speaker(args) => &args.common,
    };
    // Dropped last: the reason of the end is its last line.
    let log = logging::init(common.log_level, common.log_format);
    let outcome = runtime.block_on(async {
        match daemon {
            Daemon::Controller(args) => herald_controller::run(*args, &log).await,
            Daemon::Speaker(args) => herald_speaker::run(*args, &log).await,
        }
    });
    runtime.shutdown_timeout(LAST_WAIT);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(event = "exit", "{error:#}");
            eprintln!("herald: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asks and ends.
fn bgp(args: &herald_speaker::BgpArgs) -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match herald_speaker::ask(args, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("herald: {error}");
            ExitCode::FAILURE
        }
    }
}
