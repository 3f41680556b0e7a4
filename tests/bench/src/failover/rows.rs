//! The rows of the table, and whether their targets are met.

use std::time::Duration;

use super::case::{Case, Target};
use super::outcome::{FAMILIES, Gaps, Outcome, Results, gaps};
use crate::contestant::Contestant::{self, Herald, Peer};
use crate::report::aligned;

const WORST: Duration = Duration::from_millis(500);
const MEDIAN: Duration = Duration::from_millis(300);
/// In a case of many minutes one request of so many may fail besides. With the addresses on an
/// interface of the owner and no announcer at all, kube-proxy's masquerading in the lab lost 52 of
/// 224,004.
const LAB_LOSES_ONE_OF: usize = 10_000;
/// How many times MetalLB's gap is to be longer.
const BETTER: f64 = 10.0;

/// The table of the cases for which there are figures, as Markdown.
pub(crate) fn table(results: &Results) -> String {
    let mut cells = vec![["case", "", "Herald", "MetalLB", "target", "met"].map(String::from)];
    for case in Case::ALL {
        for (family, name) in FAMILIES.into_iter().enumerate() {
            let of = |contestant| results.rounds(case, contestant);
            if of(Herald).is_empty() && of(Peer).is_empty() {
                continue;
            }
            let cell = |contestant| cell(case, family, contestant, results);
            let (target, met) = (target(case), is_met(case, family, of(Herald), of(Peer)));
            cells.push([
                case.to_string(),
                name.to_owned(),
                cell(Herald),
                cell(Peer),
                target.to_owned(),
                met.map_or("", |met| if met { "yes" } else { "**no**" })
                    .to_owned(),
            ]);
        }
    }
    aligned(&cells)
}

fn target(case: Case) -> &'static str {
    match case.target() {
        Target::Gap => "≤ 500 ms, median ≤ 300 ms, a tenth of MetalLB's",
        Target::GapOnly => "≤ 500 ms, median ≤ 300 ms, besides at most what the lab loses",
        Target::NoFailure => "no failed request",
        Target::OneAnswer => "one MAC alone, no failed request",
        Target::NoMove => "no move",
    }
}

fn cell(case: Case, family: usize, contestant: Contestant, results: &Results) -> String {
    let rounds = results.rounds(case, contestant);
    let failures = results.errors(case, contestant);
    let text = match case.target() {
        _ if rounds.is_empty() && failures == 0 => return "not run".to_owned(),
        _ if rounds.is_empty() => "never steady".to_owned(),
        Target::Gap => gap_text(rounds, family),
        Target::GapOnly => {
            let besides: usize = rounds.iter().map(|round| round.besides[family]).sum();
            let sent: usize = rounds.iter().map(|round| round.requests[family].sent).sum();
            format!(
                "{}; {besides} of {sent} failed besides",
                gap_text(rounds, family)
            )
        }
        Target::NoFailure => failed_text(rounds, family),
        Target::OneAnswer => format!(
            "{}; {}",
            looks_text(rounds, family),
            failed_text(rounds, family)
        ),
        Target::NoMove => {
            let [asked, .., moved] = looks(rounds, family);
            format!("{moved} of {asked} answers from elsewhere")
        }
    };
    let lost: usize = rounds.iter().map(|round| round.lost).sum();
    let lost = if lost > 0 {
        format!("; {lost} connections to others lost")
    } else {
        String::new()
    };
    let again = if failures > 0 && !rounds.is_empty() {
        format!("; {failures} rounds not steady")
    } else {
        String::new()
    };
    text + &lost + &again
}

fn gap_text(rounds: &[Outcome], family: usize) -> String {
    let Some(gaps) = gaps(rounds, family) else {
        return String::new();
    };
    let more = if gaps.unending { "> " } else { "" };
    let left_out = match gaps.left_out {
        0 => String::new(),
        rounds => format!(" ({rounds} left out)"),
    };
    let (worst, median) = (time(gaps.worst), time(gaps.median));
    format!("{more}{worst}, median {median}{left_out}")
}

fn time(time: Duration) -> String {
    if time >= Duration::from_secs(2) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} ms", time.as_millis())
    }
}

/// Requests without an answer; apart from them those that were on their way when the address moved,
/// which no announcer can save.
fn failed_text(rounds: &[Outcome], family: usize) -> String {
    let [failed, reset, sent] = failed(rounds, family);
    let unending = rounds.iter().any(|round| round.unending);
    let unending = if unending { ", to the end" } else { "" };
    let reset = match reset {
        0 => String::new(),
        reset => format!(", {reset} reset on the way"),
    };
    format!("{failed} of {sent} failed{unending}{reset}")
}

/// Requests that failed without a reset, those with one, and all.
fn failed(rounds: &[Outcome], family: usize) -> [usize; 3] {
    let requests = rounds.iter().map(|round| round.requests[family]);
    requests.fold([0; 3], |[failed, reset, sent], round| {
        [
            failed + round.failed - round.reset,
            reset + round.reset,
            sent + round.sent,
        ]
    })
}

fn looks_text(rounds: &[Outcome], family: usize) -> String {
    let [asked, silent, split, _] = looks(rounds, family);
    if silent + split == 0 {
        format!("one in all {asked} looks")
    } else {
        format!("two in {split}, none in {silent} of {asked} looks")
    }
}

/// Questions, those without an answer, with two, and with one from elsewhere.
fn looks(rounds: &[Outcome], family: usize) -> [usize; 4] {
    let looks = rounds.iter().map(|round| round.looks[family]);
    looks.fold([0; 4], |[asked, silent, split, moved], round| {
        [
            asked + round.asked,
            silent + round.silent,
            split + round.split,
            moved + round.moved,
        ]
    })
}

/// Whether Herald meets the target; `None` as long as that cannot be said.
fn is_met(case: Case, family: usize, herald: &[Outcome], peer: &[Outcome]) -> Option<bool> {
    if herald.is_empty() {
        return None;
    }
    let own = || gaps(herald, family);
    let spared = herald.iter().all(|round| round.lost == 0);
    let besides: usize = herald.iter().map(|round| round.besides[family]).sum();
    let sent: usize = herald.iter().map(|round| round.requests[family].sent).sum();
    let [failed, ..] = failed(herald, family);
    let [_, silent, split, moved] = looks(herald, family);
    let met = match case.target() {
        Target::Gap => is_short(own()?) && is_better(own()?, gaps(peer, family)?),
        Target::GapOnly => is_short(own()?) && besides * LAB_LOSES_ONE_OF <= sent,
        Target::NoFailure => failed == 0,
        Target::OneAnswer => failed + silent + split == 0,
        Target::NoMove => moved == 0,
    };
    Some(met && spared)
}

fn is_short(gaps: Gaps) -> bool {
    !gaps.unending && gaps.worst <= WORST && gaps.median <= MEDIAN
}

fn is_better(own: Gaps, peer: Gaps) -> bool {
    peer.median.as_secs_f64() >= BETTER * own.median.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Looks, Requests};
    use super::*;

    fn gap(millis: u64) -> Outcome {
        let requests = Requests {
            sent: 100,
            failed: 3,
            silence: Duration::from_millis(millis),
            ..Requests::default()
        };
        Outcome {
            requests: [requests; 2],
            ..Outcome::default()
        }
    }

    #[test]
    fn a_gap_must_be_short_and_a_tenth_of_the_peers() {
        let met = |own: &[Outcome], peer: &[Outcome]| is_met(Case::CutSilent, 0, own, peer);
        assert_eq!(met(&[gap(290)], &[gap(5000)]), Some(true));
        assert_eq!(met(&[gap(290)], &[gap(2800)]), Some(false));
        assert_eq!(
            met(&[gap(290), gap(501), gap(200)], &[gap(9000)]),
            Some(false)
        );
        assert_eq!(met(&[gap(350)], &[gap(9000)]), Some(false));
        assert_eq!(met(&[gap(290)], &[]), None);
        let endless = Outcome {
            unending: true,
            ..gap(290)
        };
        assert_eq!(met(&[endless], &[gap(9000)]), Some(false));
    }

    #[test]
    fn where_none_may_fail_one_failure_or_lost_connection_is_too_many() {
        let met = |own| is_met(Case::Drain, 1, &[own], &[]);
        assert_eq!(met(gap(290)), Some(false));
        assert_eq!(met(Outcome::default()), Some(true));
        let lost = Outcome {
            lost: 1,
            ..Outcome::default()
        };
        assert_eq!(met(lost), Some(false));
        let mut moved = gap(20);
        for requests in &mut moved.requests {
            requests.reset = requests.failed;
        }
        assert_eq!(met(moved), Some(true));
        assert_eq!(
            failed_text(&[moved], 0),
            "0 of 100 failed, 3 reset on the way"
        );
    }

    #[test]
    fn over_minutes_no_more_may_fail_besides_than_the_lab_loses() {
        let met = |besides| {
            let mut outage = gap(290);
            outage.requests[0].sent = 66_000;
            outage.besides = [besides, 0];
            is_met(Case::Outage, 0, &[outage], &[])
        };
        assert_eq!(met(6), Some(true));
        assert_eq!(met(7), Some(false));
    }

    #[test]
    fn after_a_heal_two_answers_are_too_many_and_none_too_few() {
        let seen = |silent, split| {
            let looks = Looks {
                asked: 300,
                silent,
                split,
                moved: 40,
            };
            Outcome {
                looks: [looks; 2],
                ..Outcome::default()
            }
        };
        let met = |own| is_met(Case::Heal20, 0, &[own], &[]);
        assert_eq!(met(seen(0, 0)), Some(true));
        assert_eq!(met(seen(1, 0)), Some(false));
        assert_eq!(met(seen(0, 1)), Some(false));
        assert_eq!(is_met(Case::Busy, 0, &[seen(9, 9)], &[]), Some(false));
    }

    #[test]
    fn the_table_says_what_was_seen_of_whom() {
        let mut results = Results::default();
        results.add(Case::CutSilent, Herald, gap(290));
        results.add(Case::CutSilent, Peer, gap(5200));
        results.add(Case::Drain, Herald, gap(20));
        results.add_error(Case::Drain, Peer, "nobody answers".into());
        let table = table(&results);
        assert!(table.contains("290 ms, median 290 ms"), "{table}");
        assert!(table.contains("5.2 s, median 5.2 s"), "{table}");
        assert!(table.contains("3 of 100 failed") && table.contains("never steady"));
        assert_eq!(table.lines().count(), 6);
    }
}
