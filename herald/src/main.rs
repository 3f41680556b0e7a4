//! Herald announces the addresses of LoadBalancer Services on bare metal.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use herald_runtime::argv;

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
    Controller(herald_controller::ControllerArgs),
    /// Announce the Services' addresses that are this node's to announce
    Speaker(herald_speaker::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    herald_runtime::install_crypto_provider();
    let cli = Cli::parse_from(argv::normalise(&Cli::command(), std::env::args_os()));
    let outcome = match cli.command {
        Command::Controller(args) => herald_controller::run(args).await,
        Command::Speaker(args) => herald_speaker::run(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(event = "exit", "{error:#}");
            eprintln!("herald: {error:#}");
            ExitCode::FAILURE
        }
    }
}
