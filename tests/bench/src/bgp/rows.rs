//! The rows of the table: what the samples come to, and the targets.

use super::part::{load, memory, one_more, withdrawals};
use super::sample::{Figure, Key, Receiver, Samples};
use super::sender::Sender;
use super::table::Row;
use crate::figures::Unit;
use crate::stats::median;

/// All rows for which there are samples.
pub(crate) fn rows(samples: &Samples) -> Vec<Row> {
    let look = Look(samples);
    let mut rows = Vec::new();
    for routes in samples.sizes(Figure::Announced) {
        for (figure, word) in [
            (Figure::Announced, "announced"),
            (Figure::Replaced, "replaced"),
            (Figure::Withdrawn, "withdrawn"),
        ] {
            for receiver in [Receiver::Wire, Receiver::Frr, Receiver::Bird] {
                rows.push(look.speed(figure, receiver, routes, word));
            }
        }
        for (figure, fewest, word) in [
            (Figure::AnnounceUpdates, Figure::FewestAnnounce, "announce"),
            (Figure::ReplaceUpdates, Figure::FewestAnnounce, "replace"),
            (Figure::WithdrawUpdates, Figure::FewestWithdraw, "withdraw"),
        ] {
            rows.push(look.updates(figure, fewest, routes, word));
        }
    }
    rows.extend(look.sessions());
    for routes in samples.sizes(Figure::Resident) {
        rows.extend(look.memory(routes));
    }
    for routes in samples.sizes(Figure::Lost) {
        rows.push(look.kept(Receiver::Frr, routes));
        rows.push(look.kept(Receiver::Bird, routes));
    }
    rows.extend(look.one_more());
    rows.push(look.gone(Receiver::Frr, 0.230, "≤ 230 ms"));
    rows.push(look.gone(Receiver::Bird, 0.150, "≤ 150 ms"));
    for routes in samples.sizes(Figure::Downs) {
        rows.push(look.downs(routes));
    }
    rows.retain(|row| row.cells.iter().any(|cell| !cell.is_empty()));
    rows
}

struct Look<'a>(&'a Samples);

impl Look<'_> {
    fn values(
        &self,
        figure: Figure,
        sender: Sender,
        receiver: Receiver,
        routes: usize,
    ) -> Vec<f64> {
        self.0.values(Key {
            figure,
            sender,
            receiver,
            routes,
        })
    }

    fn median(
        &self,
        figure: Figure,
        sender: Sender,
        receiver: Receiver,
        routes: usize,
    ) -> Option<f64> {
        median(&self.values(figure, sender, receiver, routes))
    }

    fn worst(
        &self,
        figure: Figure,
        sender: Sender,
        receiver: Receiver,
        routes: usize,
    ) -> Option<f64> {
        let values = self.values(figure, sender, receiver, routes);
        values.into_iter().reduce(f64::max)
    }

    /// Herald's median divided by BIRD's.
    fn to_bird(&self, figure: Figure, receiver: Receiver, routes: usize) -> Option<f64> {
        let of = |sender| self.median(figure, sender, receiver, routes);
        Some(of(Sender::Herald)? / of(Sender::Bird).filter(|value| *value > 0.0)?)
    }

    /// A cell for everybody; "not possible" for who was asked in vain.
    fn cells(
        &self,
        figure: Figure,
        receiver: Receiver,
        routes: usize,
        text: impl Fn(&[f64]) -> String,
    ) -> [String; Sender::ALL.len()] {
        Sender::ALL.map(|sender| {
            let key = Key {
                figure,
                sender,
                receiver,
                routes,
            };
            let values = self.0.values(key);
            match values.as_slice() {
                [] if self.0.count(key) > 0 => "session lost".to_owned(),
                [] => String::new(),
                values => text(values),
            }
        })
    }

    fn speed(&self, figure: Figure, receiver: Receiver, routes: usize, word: &str) -> Row {
        let of = |sender| self.median(figure, sender, receiver, routes);
        let as_bird = at_most(of(Sender::Herald), of(Sender::Bird).map(|time| time * 2.0));
        let (target, met) = if receiver == Receiver::Wire {
            let as_gobgp = at_most(of(Sender::Herald), of(Sender::Gobgp).map(|time| time / 5.0));
            (
                "≤ 2 × BIRD, ≤ ⅕ × GoBGP, a path a call",
                as_bird.zip(as_gobgp).map(|(one, other)| one && other),
            )
        } else {
            ("≤ 2 × BIRD", as_bird)
        };
        let place = match receiver {
            Receiver::Wire => "on the wire".to_owned(),
            asked => format!("at {asked}"),
        };
        Row {
            what: format!("{routes} /32 {word}, {place}"),
            cells: self.cells(figure, receiver, routes, seconds),
            ratio: self.to_bird(figure, receiver, routes),
            target,
            met,
        }
    }

    fn updates(&self, figure: Figure, fewest: Figure, routes: usize, word: &str) -> Row {
        let of = |figure| self.worst(figure, Sender::Herald, Receiver::Wire, routes);
        let optimum = of(fewest);
        Row {
            what: format!(
                "UPDATEs that {word} {routes} /32 (at least {} are needed)",
                optimum.map_or_else(String::new, |count| format!("{count:.0}"))
            ),
            cells: self.cells(figure, Receiver::Wire, routes, greatest),
            ratio: None,
            target: "≤ 1.2 × the fewest",
            met: at_most(of(figure), optimum.map(|count| count * 1.2)),
        }
    }

    fn sessions(&self) -> [Row; 2] {
        let figures = [
            (
                Figure::Established,
                "a session, from the wish to Established",
            ),
            (Figure::Opened, "of that, after the router has accepted"),
        ];
        figures.map(|(figure, what)| {
            let of = |sender| self.median(figure, sender, Receiver::Wire, 0);
            let judged = figure == Figure::Established;
            let met = at_most(of(Sender::Herald), of(Sender::Metallb));
            Row {
                what: what.to_owned(),
                cells: self.cells(figure, Receiver::Wire, 0, seconds),
                ratio: self.to_bird(figure, Receiver::Wire, 0),
                target: if judged { "≤ MetalLB" } else { "" },
                met: met.filter(|_| judged),
            }
        })
    }

    fn memory(&self, routes: usize) -> [Row; 4] {
        let beside = format!("{routes} /32 to {} peers", memory::PEERS);
        let rows = [
            (Figure::Resident, "resident", 1.0, "≤ BIRD"),
            (Figure::Proportional, "proportional set", 1.0, ""),
            (Figure::Peak, "resident at most", 1.0, ""),
            (Figure::Cpu, "CPU", 2.0, "≤ 2 × BIRD"),
        ];
        rows.map(|(figure, word, times, target)| {
            let of = |sender| self.median(figure, sender, Receiver::Wire, routes);
            let met = at_most(of(Sender::Herald), of(Sender::Bird).map(|it| it * times));
            let unit = if figure == Figure::Cpu {
                Unit::Seconds
            } else {
                Unit::Bytes
            };
            let text = |values: &[f64]| median(values).map_or_else(String::new, |it| unit.text(it));
            Row {
                what: format!("{beside}: {word}"),
                cells: self.cells(figure, Receiver::Wire, routes, text),
                ratio: self.to_bird(figure, Receiver::Wire, routes),
                target,
                met: met.filter(|_| !target.is_empty()),
            }
        })
    }

    fn kept(&self, receiver: Receiver, routes: usize) -> Row {
        let of = |figure| self.worst(figure, Sender::Herald, receiver, routes);
        let cells = Sender::ALL.map(|sender| {
            let of = |figure| self.worst(figure, sender, receiver, routes);
            match (of(Figure::Lost), of(Figure::Flaps)) {
                (Some(lost), Some(flaps)) => {
                    let session = if flaps > 0.0 { "is reset" } else { "stays" };
                    format!("session {session}, {lost:.0} of the others away")
                }
                _ => String::new(),
            }
        });
        Row {
            what: format!(
                "{routes} /32 withdrawn in one go, {} others at {receiver}",
                withdrawals::KEPT
            ),
            cells,
            ratio: None,
            target: "session stays, none away",
            met: of(Figure::Lost)
                .zip(of(Figure::Flaps))
                .map(|(lost, flaps)| lost + flaps == 0.0),
        }
    }

    fn one_more(&self) -> [Row; 2] {
        let routes = one_more::EXISTING;
        let beside = format!("one route more beside {routes}, {} peers", memory::PEERS);
        let of = |figure| self.worst(figure, Sender::Herald, Receiver::Wire, routes);
        [
            Row {
                what: format!("{beside}: on the wire to all, median and worst"),
                cells: self.cells(Figure::OneMore, Receiver::Wire, routes, with_worst),
                ratio: self.to_bird(Figure::OneMore, Receiver::Wire, routes),
                target: "≤ 20 ms",
                met: at_most(of(Figure::OneMore), Some(0.020)),
            },
            Row {
                what: format!("{beside}: UPDATEs a peer"),
                cells: self.cells(Figure::OneMoreUpdates, Receiver::Wire, routes, greatest),
                ratio: None,
                target: "1",
                met: at_most(of(Figure::OneMoreUpdates), Some(1.0)),
            },
        ]
    }

    fn gone(&self, receiver: Receiver, limit: f64, target: &'static str) -> Row {
        Row {
            what: format!(
                "silent cut until {receiver}'s route is gone, BFD 50 ms × 3, median and worst"
            ),
            cells: self.cells(Figure::Gone, receiver, 1, with_worst),
            ratio: self.to_bird(Figure::Gone, receiver, 1),
            target,
            met: at_most(
                self.worst(Figure::Gone, Sender::Herald, receiver, 1),
                Some(limit),
            ),
        }
    }

    fn downs(&self, routes: usize) -> Row {
        Row {
            what: format!(
                "BFD sessions of {} that went down while {routes} /32 came and went, all cores busy",
                load::SESSIONS
            ),
            cells: self.cells(Figure::Downs, Receiver::Bird, routes, greatest),
            ratio: None,
            target: "none",
            met: at_most(
                self.worst(Figure::Downs, Sender::Herald, Receiver::Bird, routes),
                Some(0.0),
            ),
        }
    }
}

fn with_worst(values: &[f64]) -> String {
    let worst = values.iter().copied().reduce(f64::max).unwrap_or_default();
    format!("{}, {}", seconds(values), Unit::Seconds.text(worst))
}

fn seconds(values: &[f64]) -> String {
    median(values).map_or_else(String::new, |value| Unit::Seconds.text(value))
}

fn greatest(values: &[f64]) -> String {
    let greatest = values.iter().copied().reduce(f64::max);
    greatest.map_or_else(String::new, |value| format!("{value:.0}"))
}

fn at_most(value: Option<f64>, limit: Option<f64>) -> Option<bool> {
    Some(value? <= limit?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: &[(Figure, Sender, &[Option<f64>])], routes: usize) -> Samples {
        let mut samples = Samples::default();
        for (figure, sender, values) in of {
            let key = Key {
                figure: *figure,
                sender: *sender,
                receiver: Receiver::Wire,
                routes,
            };
            for value in *values {
                samples.add(key, *value).expect("kept nowhere");
            }
        }
        samples
    }

    fn row(samples: &Samples, what: &str) -> Row {
        let mut rows = rows(samples);
        rows.retain(|row| row.what.contains(what));
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    #[test]
    fn on_the_wire_herald_is_compared_with_two() {
        let with = |herald, gobgp| {
            let of: [(_, _, &[Option<f64>]); 3] = [
                (
                    Figure::Announced,
                    Sender::Herald,
                    &[Some(herald), Some(9.0), Some(0.0)],
                ),
                (Figure::Announced, Sender::Bird, &[Some(0.010)]),
                (Figure::Announced, Sender::Gobgp, &[Some(gobgp)]),
            ];
            row(&samples(&of, 10), "announced, on the wire").met
        };
        assert_eq!(with(0.020, 0.100), Some(true));
        assert_eq!(with(0.021, 0.200), Some(false), "more than twice BIRD's");
        assert_eq!(with(0.019, 0.090), Some(false), "less than 5 times faster");
    }

    #[test]
    fn what_cannot_be_done_is_said_and_what_is_not_known_is_not_judged() {
        let of: [(_, _, &[Option<f64>]); 3] = [
            (Figure::Announced, Sender::Herald, &[Some(0.1)]),
            (Figure::Withdrawn, Sender::Herald, &[Some(0.1)]),
            (Figure::Withdrawn, Sender::Metallb, &[None]),
        ];
        let row = row(&samples(&of, 10), "withdrawn, on the wire");
        assert_eq!(row.cells[2], "session lost");
        assert_eq!((row.cells[1].as_str(), row.met), ("", None));
    }

    #[test]
    fn the_greatest_number_of_updates_is_judged() {
        let with = |updates| {
            let of: [(_, _, &[Option<f64>]); 3] = [
                (Figure::Announced, Sender::Herald, &[Some(0.1)]),
                (
                    Figure::AnnounceUpdates,
                    Sender::Herald,
                    &[Some(10.0), Some(updates)],
                ),
                (Figure::FewestAnnounce, Sender::Herald, &[Some(10.0)]),
            ];
            row(&samples(&of, 10), "UPDATEs that announce").met
        };
        assert_eq!(with(12.0), Some(true));
        assert_eq!(with(13.0), Some(false));
    }

    #[test]
    fn a_route_away_or_a_session_reset_is_one_too_many() {
        let with = |lost, flaps| {
            let mut samples = Samples::default();
            for (figure, value) in [(Figure::Lost, lost), (Figure::Flaps, flaps)] {
                let key = Key {
                    figure,
                    sender: Sender::Herald,
                    receiver: Receiver::Frr,
                    routes: 815,
                };
                samples.add(key, Some(0.0)).expect("kept nowhere");
                samples.add(key, Some(value)).expect("kept nowhere");
            }
            row(&samples, "815 /32 withdrawn").met
        };
        assert_eq!(with(0.0, 0.0), Some(true));
        assert_eq!(with(1.0, 0.0), Some(false));
        assert_eq!(with(0.0, 1.0), Some(false));
    }

    #[test]
    fn the_latest_of_all_cuts_and_one_false_down_are_judged() {
        let with = |figure, routes, value| {
            let mut samples = Samples::default();
            let key = Key {
                figure,
                sender: Sender::Herald,
                receiver: Receiver::Bird,
                routes,
            };
            for value in [0.0, value] {
                samples.add(key, Some(value)).expect("kept nowhere");
            }
            row(&samples, "BFD").met
        };
        assert_eq!(with(Figure::Gone, 1, 0.150), Some(true));
        assert_eq!(with(Figure::Gone, 1, 0.151), Some(false));
        assert_eq!(with(Figure::Downs, 10, 0.0), Some(true));
        assert_eq!(with(Figure::Downs, 10, 1.0), Some(false));
    }

    #[test]
    fn the_slowest_of_all_is_judged_where_one_route_is_added() {
        let of: [(_, _, &[Option<f64>]); 2] = [
            (Figure::OneMore, Sender::Herald, &[Some(0.001), Some(0.021)]),
            (
                Figure::OneMoreUpdates,
                Sender::Herald,
                &[Some(1.0), Some(1.0)],
            ),
        ];
        let samples = samples(&of, one_more::EXISTING);
        assert_eq!(row(&samples, "median and worst").met, Some(false));
        assert_eq!(row(&samples, "UPDATEs a peer").met, Some(true));
    }
}
