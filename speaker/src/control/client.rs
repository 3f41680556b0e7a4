//! The user's side of `herald bgp`.

use std::io::{self, BufRead as _, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::SOCKET;
use super::answers::{Neighbor, Part, Request, Route};
use super::args::{BgpArgs, Question};
use super::print;

/// How long to wait for a part of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers.
    #[error(
        "no speaker answers at {}: {error}; ask on the node, or in the speaker's pod, as the \
         speaker's user, and name its directory with --state-dir if it is another one",
        path.display()
    )]
    NoSpeaker {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The answer broke off.
    #[error("the speaker's answer broke off: {0}")]
    BrokeOff(io::Error),
    /// The answer is none that this program knows.
    #[error("the speaker's answer cannot be read: {0}; is it of another version?")]
    Odd(serde_json::Error),
    /// The speaker does not know what to answer.
    #[error("{0}")]
    Refused(String),
    /// There is no session of that name.
    #[error("there is no BGP session with {asked:?} on this node; there are: {there}")]
    NoSuchNeighbor {
        /// What was asked for.
        asked: String,
        /// The names of those that there are.
        there: String,
    },
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Write(io::Error),
}

/// Asks the speaker of this node, and writes what it says to `out`.
///
/// # Errors
///
/// See [`AskError`]. That `out` is closed early is none: the user has read enough.
pub fn ask(args: &BgpArgs, out: &mut dyn Write) -> Result<(), AskError> {
    match asked(args, out) {
        Err(AskError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn asked(args: &BgpArgs, out: &mut dyn Write) -> Result<(), AskError> {
    let path = args.state_dir.join(SOCKET);
    let all = neighbors(&path)?;
    let chosen = |asked: Option<&str>| match asked {
        None => Ok(all.clone()),
        Some(asked) => choose(&all, asked),
    };
    let written = match &args.question {
        Question::Summary if args.json => print::json(out, &all),
        Question::Summary => print::summary(out, &all),
        Question::Neighbors { neighbor } => {
            let chosen = chosen(neighbor.as_deref())?;
            if args.json {
                print::json(out, &chosen)
            } else {
                print::neighbors(out, &chosen)
            }
        }
        Question::Routes { neighbor } => {
            let mut told = Vec::new();
            for neighbor in chosen(neighbor.as_deref())? {
                let routes = routes(&path, &neighbor.name)?;
                told.push(print::Told { neighbor, routes });
            }
            if args.json {
                print::json(out, &told)
            } else {
                print::routes(out, &told)
            }
        }
    };
    written.and_then(|()| out.flush()).map_err(AskError::Write)
}

fn choose(all: &[Neighbor], asked: &str) -> Result<Vec<Neighbor>, AskError> {
    let chosen = all.iter().filter(|neighbor| neighbor.is_called(asked));
    let chosen: Vec<_> = chosen.cloned().collect();
    if chosen.is_empty() {
        let there: Vec<_> = all.iter().map(|it| it.name.as_str()).collect();
        return Err(AskError::NoSuchNeighbor {
            asked: asked.to_owned(),
            there: if there.is_empty() {
                "none".to_owned()
            } else {
                there.join(", ")
            },
        });
    }
    Ok(chosen)
}

fn neighbors(path: &Path) -> Result<Vec<Neighbor>, AskError> {
    let mut all = Vec::new();
    request(path, &Request::Neighbors {}, |part| {
        if let Part::Neighbors(more) = part {
            all.extend(more);
        }
    })?;
    Ok(all)
}

fn routes(path: &Path, neighbor: &str) -> Result<Vec<Route>, AskError> {
    let neighbor = neighbor.to_owned();
    let mut all = Vec::new();
    request(path, &Request::Routes { neighbor }, |part| {
        if let Part::Routes(more) = part {
            all.extend(more);
        }
    })?;
    all.sort_unstable_by_key(|route| route.prefix);
    // Where the table has changed between two parts a prefix may be in both.
    all.dedup_by_key(|route| route.prefix);
    Ok(all)
}

/// Hands all parts of the answer to `take`.
fn request(path: &Path, request: &Request, mut take: impl FnMut(Part)) -> Result<(), AskError> {
    let no_speaker = |error| AskError::NoSpeaker {
        path: path.to_owned(),
        error,
    };
    let mut stream = UnixStream::connect(path).map_err(no_speaker)?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .map_err(no_speaker)?;
    let mut line = serde_json::to_vec(request).map_err(AskError::Odd)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(no_speaker)?;
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(AskError::BrokeOff)?;
        match serde_json::from_str(&line).map_err(AskError::Odd)? {
            Part::End => return Ok(()),
            Part::Error(error) => return Err(AskError::Refused(error)),
            part => take(part),
        }
    }
    Err(AskError::BrokeOff(ended()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_speaker_the_error_says_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let args = BgpArgs {
            question: Question::Summary,
            state_dir: directory.path().to_owned(),
            json: false,
        };
        let error = ask(&args, &mut Vec::new()).expect_err("nobody is there");
        let text = error.to_string();
        assert!(text.contains("herald.sock"), "{text}");
        assert!(text.contains("--state-dir"), "{text}");
    }
}
