//! Whatever happens: in the end each peer has exactly what the table has for it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::rib::{Rib, Told, told};
use super::table::{marked, negotiated, own, v4, v6, view_of};
use crate::routes::{Addresses, Audience, OutboundId, Path, Table, View};
use crate::wire::{Asn, Families, Family, Negotiated, Prefix};

const NAMES: [&str; 3] = ["a", "b", "c"];
const PREFIXES: u32 = 24;

#[derive(Debug, Clone)]
enum Step {
    Set(u32, Vec<u8>),
    Remove(u32),
    Replace(Vec<(u32, Vec<u8>)>),
    Poll(usize, usize),
    Refresh(usize, bool),
    Drain(usize, bool),
    Renumber(usize, bool),
    Restart(usize),
    Complete(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let prefix = 0..PREFIXES;
    let paths = || prop::collection::vec(0..8_u8, 0..3);
    let route = (0..PREFIXES, paths());
    let session = || 0..NAMES.len();
    prop_oneof![
        8 => (prefix.clone(), paths()).prop_map(|(prefix, paths)| Step::Set(prefix, paths)),
        4 => prefix.prop_map(Step::Remove),
        1 => prop::collection::vec(route, 0..20).prop_map(Step::Replace),
        8 => (session(), 1..200_usize).prop_map(|(session, budget)| Step::Poll(session, budget)),
        1 => (session(), any::<bool>()).prop_map(|(session, v6)| Step::Refresh(session, v6)),
        1 => (session(), any::<bool>()).prop_map(|(session, on)| Step::Drain(session, on)),
        1 => (session(), any::<bool>()).prop_map(|(session, on)| Step::Renumber(session, on)),
        1 => session().prop_map(Step::Restart),
        1 => any::<bool>().prop_map(Step::Complete),
    ]
}

fn prefix(number: u32) -> Prefix {
    if number.is_multiple_of(2) {
        v4(number)
    } else {
        v6(number)
    }
}

/// Eight paths: two for all, the others for one or two sessions; some differ only in what is not
/// told to some of the sessions.
fn path(number: u8) -> Path {
    let mut path = marked(u32::from(number / 2));
    path.attributes.local_pref = Some(u32::from(number));
    path.audience = match number {
        0 | 1 => Audience::Everyone,
        2 | 3 => Audience::only(["a"]),
        4 | 5 => Audience::only(["b", "c"]),
        _ => Audience::only(["a", "c"]),
    };
    path
}

fn paths(numbers: &[u8]) -> Vec<Path> {
    numbers.iter().copied().map(path).collect()
}

/// One is an external peer, one an internal one, and one has IPv4 only and small messages by an old
/// speaker.
fn view(session: usize) -> View {
    let negotiated = match session {
        0 => negotiated(),
        1 => Negotiated {
            peer_as: Asn(65_001),
            enhanced_route_refresh: false,
            message_limit: 65_535,
            ..negotiated()
        },
        _ => Negotiated {
            families: Families::only(Family::Ipv4Unicast),
            four_octet_as: false,
            ..negotiated()
        },
    };
    view_of(NAMES[session], negotiated)
}

struct World {
    table: Table,
    model: BTreeMap<Prefix, Vec<Path>>,
    sessions: Vec<(OutboundId, View, Rib)>,
}

impl World {
    fn new() -> Self {
        let mut table = Table::new();
        let sessions = (0..NAMES.len())
            .map(|session| (table.open(view(session)), view(session), Rib::new()))
            .collect();
        Self {
            table,
            model: BTreeMap::new(),
            sessions,
        }
    }

    fn set(&mut self, prefix: Prefix, paths: Vec<Path>) {
        self.table.set(prefix, &paths);
        if paths.is_empty() {
            self.model.remove(&prefix);
        } else {
            self.model.insert(prefix, paths);
        }
    }

    fn poll(&mut self, session: usize, budget: usize) {
        let (id, _, rib) = &mut self.sessions[session];
        let mut bytes = Vec::new();
        let written = self.table.poll_messages(*id, budget, &mut bytes);
        let before = rib.updates;
        rib.push(&bytes);
        assert_eq!(
            u64::try_from(rib.updates - before).unwrap(),
            written.updates
        );
    }

    fn change_view(&mut self, session: usize, change: impl FnOnce(&mut View)) {
        let (id, view, _) = &mut self.sessions[session];
        change(view);
        self.table.set_view(*id, view.clone());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Set(number, numbers) => self.set(prefix(number), paths(&numbers)),
            Step::Remove(number) => {
                self.table.remove(prefix(number));
                self.model.remove(&prefix(number));
            }
            Step::Replace(routes) => {
                self.model = routes
                    .iter()
                    .map(|(number, numbers)| (prefix(*number), paths(numbers)))
                    .filter(|(_, paths)| !paths.is_empty())
                    .collect();
                let routes = self.model.iter();
                self.table
                    .replace(routes.map(|(prefix, paths)| (*prefix, &paths[..])));
            }
            Step::Poll(session, budget) => self.poll(session, budget),
            Step::Refresh(session, v6) => {
                let family = if v6 {
                    Family::Ipv6Unicast
                } else {
                    Family::Ipv4Unicast
                };
                self.table.refresh(self.sessions[session].0, family);
            }
            Step::Drain(session, on) => self.change_view(session, |view| view.draining = on),
            Step::Renumber(session, on) => self.change_view(session, |view| {
                view.addresses = if on {
                    own()
                } else {
                    Addresses { v6: None, ..own() }
                };
            }),
            Step::Restart(session) => {
                let view = self.sessions[session].1.clone();
                self.table.close(self.sessions[session].0);
                self.sessions[session] = (self.table.open(view.clone()), view, Rib::new());
            }
            Step::Complete(complete) => self.table.set_complete(complete),
        }
    }

    /// What a peer should have.
    fn expected(&self, session: usize) -> BTreeMap<Prefix, Told> {
        let (_, view, _) = &self.sessions[session];
        let mut expected = BTreeMap::new();
        for (prefix, paths) in &self.model {
            let path = paths.iter().find(|path| path.audience.contains(&view.name));
            let attributes =
                path.and_then(|path| view.attributes(Family::of(*prefix), &path.attributes));
            if let Some(attributes) = attributes {
                expected.insert(*prefix, told(&view.negotiated, &attributes, *prefix));
            }
        }
        expected
    }

    fn check(&mut self) {
        self.table.set_complete(true);
        for session in 0..self.sessions.len() {
            self.poll(session, usize::MAX);
            let (id, view, rib) = &self.sessions[session];
            assert_eq!(rib.routes, self.expected(session), "session {session}");
            let wanted = |family| self.table.wanted(*id, family);
            let wanted: usize = Family::ALL.into_iter().map(wanted).sum();
            assert_eq!(wanted, rib.routes.len(), "session {session}");
            assert_eq!(self.table.session(&view.name), Some(*id));
            assert_eq!(rib.needless, 0, "withdrawals of what the peer never had");
            assert!(self.table.is_synchronized(*id));
            assert_eq!(self.table.waiting(*id), 0);
            let mut ends = rib.ends.clone();
            ends.sort_unstable();
            let families: Vec<_> = view.negotiated.families.iter().collect();
            assert_eq!(ends, families, "one End-of-RIB each");
            for family in Family::ALL {
                let has = |prefix: &&Prefix| Family::of(**prefix) == family;
                let count = rib.routes.keys().filter(has).count();
                assert_eq!(self.table.told(*id, family), count);
            }
            assert_eq!(self.table.advertised(*id).count(), rib.routes.len());
        }
        assert_eq!(self.table.len(), self.model.len());
        let (_, view, _) = &self.sessions[0];
        let for_first = |paths: &&Vec<Path>| paths.iter().any(|p| p.audience.contains(&view.name));
        let meant = self.model.values().filter(for_first).count();
        let counted = self.table.meant_for(&view.name, Families::BOTH);
        assert_eq!(counted, meant);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn each_peer_ends_with_exactly_what_the_table_has_for_it(
        steps in prop::collection::vec(step(), 0..120),
        more in prop::collection::vec(step(), 0..40),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.check();
        for step in more {
            world.take(step);
        }
        world.check();
        world.take(Step::Replace(Vec::new()));
        world.check();
        assert_eq!(world.table.distinct_paths(), 0);
    }
}
