//! What was seen in the rounds of a case.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use herald_lab::Report;
use serde::{Deserialize, Serialize};

use super::case::Case;
use crate::contestant::Contestant;
use crate::stats::{median, percentile};

/// The families, as they are counted here.
pub(crate) const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// The requests of one family in one round.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Requests {
    /// How many were sent.
    pub(crate) sent: usize,
    /// How many had no answer.
    pub(crate) failed: usize,
    /// Those of them whose connection was open and was reset: they were on their way when the
    /// address moved.
    pub(crate) reset: usize,
    /// The longest time without an answer.
    pub(crate) silence: Duration,
    /// The longest time in which the client itself sent nothing.
    pub(crate) pause: Duration,
}

impl From<&Report> for Requests {
    fn from(report: &Report) -> Self {
        Self {
            sent: report.samples.len(),
            failed: report.failures().len(),
            reset: report.broken_off().len(),
            silence: report.longest_silence(),
            pause: report.longest_pause(),
        }
    }
}

/// The answers to ARP or NDP for one address in one round.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Looks {
    /// Questions.
    pub(crate) asked: usize,
    /// Those that nobody answered.
    pub(crate) silent: usize,
    /// Those that two or more answered.
    pub(crate) split: usize,
    /// Those that another node than the first owner answered.
    pub(crate) moved: usize,
}

/// One round, by family.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Requests; none in the cases that send none.
    pub(crate) requests: [Requests; 2],
    /// Requests that failed where none may, although others may: before the fault, long after it.
    pub(crate) besides: [usize; 2],
    /// Answers; none in the cases that do not ask.
    pub(crate) looks: [Looks; 2],
    /// Connections lost to an address that was not concerned.
    pub(crate) lost: usize,
    /// The gap was not over when the round was ended.
    pub(crate) unending: bool,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (family, name) in FAMILIES.into_iter().enumerate() {
            let (requests, looks) = (self.requests[family], self.looks[family]);
            write!(f, "{name}: ")?;
            if requests.sent > 0 {
                write!(
                    f,
                    "{} of {} failed, {} by a reset, gap {:.2?} (client paused {:.0?}); ",
                    requests.failed,
                    requests.sent,
                    requests.reset,
                    requests.silence,
                    requests.pause
                )?;
            }
            if self.besides[family] > 0 {
                write!(f, "{} failed besides; ", self.besides[family])?;
            }
            if looks.asked > 0 {
                write!(
                    f,
                    "of {} looks {} silent, {} split, {} elsewhere; ",
                    looks.asked, looks.silent, looks.split, looks.moved
                )?;
            }
        }
        write!(f, "{} connections lost", self.lost)
    }
}

/// All rounds of all cases.
#[derive(Debug, Default)]
pub(crate) struct Results {
    rounds: BTreeMap<(Case, Contestant), Vec<Outcome>>,
    errors: BTreeMap<(Case, Contestant), Vec<String>>,
}

impl Results {
    /// Adds a round.
    pub(crate) fn add(&mut self, case: Case, contestant: Contestant, outcome: Outcome) {
        let rounds = self.rounds.entry((case, contestant)).or_default();
        rounds.push(outcome);
    }

    /// Adds a round that could not be measured.
    pub(crate) fn add_error(&mut self, case: Case, contestant: Contestant, error: String) {
        let errors = self.errors.entry((case, contestant)).or_default();
        errors.push(error);
    }

    /// The rounds of a case of one contestant.
    pub(crate) fn rounds(&self, case: Case, contestant: Contestant) -> &[Outcome] {
        self.rounds
            .get(&(case, contestant))
            .map_or(&[], Vec::as_slice)
    }

    /// How many rounds of it could not be measured.
    pub(crate) fn errors(&self, case: Case, contestant: Contestant) -> usize {
        self.errors.get(&(case, contestant)).map_or(0, Vec::len)
    }
}

/// A gap that is longer than this only by the time in which the client itself, which got no core,
/// stood still, says nothing.
const TOO_LONG: Duration = Duration::from_millis(500);

/// The gaps of the rounds in one family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Gaps {
    /// The longest of all.
    pub(crate) worst: Duration,
    /// The one in the middle.
    pub(crate) median: Duration,
    /// At least one did not end, so the figures are too small.
    pub(crate) unending: bool,
    /// Rounds that are not counted: without the client's longest pause their gap would not be too
    /// long.
    pub(crate) left_out: usize,
}

/// The gaps of the rounds in one family; `None` without rounds that count.
pub(crate) fn gaps(rounds: &[Outcome], family: usize) -> Option<Gaps> {
    let requests = rounds.iter().map(|round| round.requests[family]);
    let counts = |of: &Requests| {
        let rest = of.silence.saturating_sub(of.pause);
        of.silence <= TOO_LONG || rest > TOO_LONG
    };
    let mut all: Vec<Duration> = requests.filter(counts).map(|of| of.silence).collect();
    let seconds: Vec<f64> = all.iter().map(Duration::as_secs_f64).collect();
    Some(Gaps {
        worst: percentile(&mut all, 100)?,
        median: Duration::from_secs_f64(median(&seconds)?),
        unending: rounds.iter().any(|round| round.unending),
        left_out: rounds.len() - all.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_those_of_the_rounds() {
        let round = |millis| Outcome {
            requests: [Requests {
                silence: Duration::from_millis(millis),
                ..Requests::default()
            }; 2],
            unending: millis > 1000,
            ..Outcome::default()
        };
        assert_eq!(gaps(&[], 0), None);
        let found = gaps(&[round(300), round(100), round(200)], 1);
        let millis = Duration::from_millis;
        let expected = Gaps {
            worst: millis(300),
            median: millis(200),
            unending: false,
            left_out: 0,
        };
        assert_eq!(found, Some(expected));
        let mut stood_still = round(700);
        for requests in &mut stood_still.requests {
            requests.pause = millis(300);
        }
        let found = gaps(&[round(300), stood_still], 0).map(|gaps| (gaps.worst, gaps.left_out));
        assert_eq!(found, Some((millis(300), 1)));
        assert_eq!(gaps(&[stood_still], 0), None);
        for requests in &mut stood_still.requests {
            requests.silence = millis(900);
        }
        let found = gaps(&[stood_still], 0).map(|gaps| (gaps.worst, gaps.left_out));
        assert_eq!(found, Some((millis(900), 0)), "too long without it");
        assert!(gaps(&[round(2000)], 0).is_some_and(|gaps| gaps.unending));
    }
}
