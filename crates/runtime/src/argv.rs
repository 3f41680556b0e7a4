//! Flags as Go's flag package writes them.
//!
//! Deployments written for MetalLB say `-port=0` as well as `--port=0`; clap knows only the second.

use std::collections::HashSet;
use std::ffi::OsString;

use clap::Command;

/// Rewrites `-name` and `-name=value` to `--name` and `--name=value` wherever `name` is a long flag
/// of `command` or of one of its subcommands. Everything else, and everything after `--`, stays as
/// it is.
pub fn normalise(command: &Command, argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let known = long_flags(command);
    let mut literal = false;
    argv.into_iter()
        .map(|argument| {
            let Some(text) = argument.to_str() else {
                return argument;
            };
            literal |= text == "--";
            match single_dash_name(text) {
                Some(name) if !literal && known.contains(name) => format!("-{text}").into(),
                _ => argument,
            }
        })
        .collect()
}

/// The name in `-name` or `-name=value`; `None` for anything else, and for one-letter flags, which
/// clap reads itself.
fn single_dash_name(argument: &str) -> Option<&str> {
    let rest = argument.strip_prefix('-')?;
    let name = rest.split_once('=').map_or(rest, |(name, _)| name);
    (name.len() > 1 && !name.starts_with('-')).then_some(name)
}

fn long_flags(command: &Command) -> HashSet<String> {
    let mut names: HashSet<String> = ["help", "version"].map(str::to_owned).into();
    for argument in command.get_arguments() {
        names.extend(argument.get_long().map(str::to_owned));
        for alias in argument.get_all_aliases().unwrap_or_default() {
            names.insert(alias.to_owned());
        }
    }
    for subcommand in command.get_subcommands() {
        names.extend(long_flags(subcommand));
    }
    names
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn rewritten(arguments: &[&str]) -> Vec<String> {
        let command = Command::new("herald").subcommand(
            Command::new("controller")
                .arg(Arg::new("port").long("port").short('p'))
                .arg(Arg::new("lb-class").long("lb-class")),
        );
        normalise(&command, arguments.iter().map(OsString::from))
            .into_iter()
            .map(|argument| argument.into_string().expect("text"))
            .collect()
    }

    #[test]
    fn single_dash_long_flags_get_their_second_dash() {
        assert_eq!(
            rewritten(&["herald", "controller", "-port=0", "-lb-class", "x", "-help"]),
            [
                "herald",
                "controller",
                "--port=0",
                "--lb-class",
                "x",
                "--help"
            ]
        );
    }

    #[test]
    fn everything_else_is_left_alone() {
        let unchanged = [
            "--port=0",
            "-p",
            "0",
            "-h",
            "-unknown",
            "-1",
            "-",
            "--lb-class=a=-port",
        ];
        assert_eq!(rewritten(&unchanged), unchanged);
    }

    #[test]
    fn nothing_is_a_flag_after_two_dashes() {
        assert_eq!(
            rewritten(&["-port=1", "--", "-port=2"]),
            ["--port=1", "--", "-port=2"]
        );
    }
}
