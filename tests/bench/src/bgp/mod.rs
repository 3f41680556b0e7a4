//! How fast routes get to routers, what that takes, and how soon a node that is cut off is known:
//! Herald's sessions beside BIRD, `GoBGP` and MetalLB, in one run.

mod args;
mod counter;
mod document;
mod ground;
mod part;
mod rows;
mod sample;
mod sender;
mod table;
mod wire;

use anyhow::Result;

pub(crate) use self::args::BgpArgs;
use self::args::Part;
use self::part::{cut, load, memory, one_more, routes, sessions, withdrawals};
use self::sample::{Figure, Key, Receiver, Samples};
use self::sender::Sender;

/// Measures all parts and prints the tables.
pub(crate) fn run(args: &BgpArgs) -> Result<()> {
    let mut samples = Samples::open(args.results())?;
    for round in 1..=args.rounds() {
        for part in args.parts() {
            eprintln!("round {round} of {}: {part:?}", args.rounds());
            for work in works(part, args) {
                work.up_to(round, args, &mut samples);
            }
            if let Some(path) = args.document() {
                // After every part, so that an interrupted run leaves what it has.
                document::write(path, args, &samples)?;
            }
        }
    }
    if let Some(path) = args.document() {
        document::write(path, args, &samples)?;
    }
    crate::print(&table::table(&rows::rows(&samples)))?;
    Ok(())
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Work {
    part: Part,
    /// The figure whose samples tell how often it was measured.
    key: Key,
    /// Samples of it in a round.
    tries: usize,
}

/// The speakers that have BFD.
const WITH_BFD: [Sender; 2] = [Sender::Herald, Sender::Bird];

/// What there is to do for a part, in an order in which nobody is always first.
fn works(part: Part, args: &BgpArgs) -> Vec<Work> {
    use Receiver::{Bird, Frr, Wire};
    let routers = [Frr, Bird];
    let most = args.most_routes();
    let (figure, senders, receivers, sizes, tries) = match part {
        Part::Routes => (
            Figure::Announced,
            &Sender::ALL[..],
            &[Wire, Frr, Bird][..],
            args.routes().to_vec(),
            1,
        ),
        Part::Sessions => (
            Figure::Established,
            &Sender::ALL[..4],
            &[Wire][..],
            vec![0],
            sessions::TRIES,
        ),
        Part::Memory => (
            Figure::Resident,
            &Sender::ALL[..],
            &[Wire][..],
            vec![most],
            1,
        ),
        Part::Withdrawals => (
            Figure::Lost,
            &[Sender::Herald, Sender::Bird, Sender::Metallb][..],
            &routers[..],
            [&withdrawals::GOING[..], &[most]].concat(),
            1,
        ),
        Part::OneMore => (
            Figure::OneMore,
            &Sender::ALL[..4],
            &[Wire][..],
            vec![one_more::EXISTING],
            one_more::TRIES,
        ),
        Part::Cut => (
            Figure::Gone,
            &WITH_BFD[..],
            &routers[..],
            vec![1],
            cut::TRIES,
        ),
        Part::Load => (Figure::Downs, &WITH_BFD[..], &[Bird][..], vec![most], 1),
    };
    let mut works = Vec::new();
    for routes in sizes {
        for receiver in receivers {
            for sender in args.senders(senders) {
                let key = Key {
                    figure,
                    sender,
                    receiver: *receiver,
                    routes,
                };
                works.push(Work { part, key, tries });
            }
        }
    }
    works
}

impl Work {
    /// Measures until there are the samples of so many rounds; once more at most than that takes.
    fn up_to(self, round: usize, args: &BgpArgs, samples: &mut Samples) {
        let Key {
            sender,
            receiver,
            routes,
            ..
        } = self.key;
        // What takes minutes is done once.
        let round = if self.part == Part::Load { 1 } else { round };
        let wanted = round * self.tries;
        let mut failed = false;
        while samples.count(self.key) < wanted {
            let outcome = match self.part {
                Part::Routes => routes::measure(sender, receiver, routes, samples),
                Part::Sessions => sessions::measure(sender, samples),
                Part::Memory => memory::measure(sender, routes, samples),
                Part::Withdrawals => withdrawals::measure(sender, receiver, routes, samples),
                Part::OneMore => one_more::measure(sender, samples),
                Part::Cut => cut::measure(sender, receiver, samples),
                Part::Load => load::measure(sender, routes, args.duration(), samples),
            };
            let Err(error) = outcome else {
                continue;
            };
            eprintln!("{sender}, {routes} routes, {receiver}: {error:#}");
            if failed {
                break;
            }
            failed = true;
        }
    }
}
