//! What a peer has been told, for those who ask.

use std::sync::Arc;

use herald_bgp::routes::Table;
use herald_bgp::wire::Attributes;
use herald_model::Cidr;
use tokio::sync::oneshot;

/// How many places of the table one answer looks at: that takes a fraction of a millisecond, which
/// the sessions can wait.
const PART: usize = 2048;

/// Asks what a peer has been told. The answer is a part of it, and says how to ask for the next one.
#[derive(Debug)]
pub struct Question {
    /// The name of its `BGPPeer`.
    pub peer: String,
    /// [`Advertised::next`] of the part before; 0 for the first one.
    pub from: usize,
    /// Takes the answer; dropped without one if there is no session.
    pub answer: oneshot::Sender<Advertised>,
}

/// A part of what a peer has been told, in no order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advertised {
    /// The routes.
    pub routes: Vec<(Cidr, Arc<Attributes>)>,
    /// Where the next part begins; `None` if this is the last one.
    pub next: Option<usize>,
}

/// Who has left meanwhile gets no answer.
pub(super) fn answer(question: Question, table: &Table) {
    if let Some(session) = table.session(&question.peer) {
        let (routes, next) = table.advertised_part(session, question.from, PART);
        let _ = question.answer.send(Advertised { routes, next });
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use herald_bgp::routes::{Addresses, Path, View};
    use herald_bgp::wire::{Asn, BgpId, Families, Negotiated};

    use super::*;

    fn view(name: &str) -> View {
        let local = IpAddr::from([192, 0, 2, 1]);
        let negotiated = Negotiated {
            local_as: Asn(65_001),
            peer_as: Asn(65_002),
            peer_id: BgpId([192, 0, 2, 2].into()),
            hold_time: 90,
            families: Families::BOTH,
            extended_next_hop: false,
            four_octet_as: true,
            route_refresh: true,
            enhanced_route_refresh: false,
            message_limit: 4096,
            graceful_restart: None,
            notification_restart: false,
            long_lived_graceful_restart: None,
            peer_role: None,
        };
        View::new(name, Arc::new(negotiated), local, Addresses::default())
    }

    fn ask(table: &Table, peer: &str, from: usize) -> Option<Advertised> {
        let (sender, mut receiver) = oneshot::channel();
        let question = Question {
            peer: peer.to_owned(),
            from,
            answer: sender,
        };
        answer(question, table);
        receiver.try_recv().ok()
    }

    #[test]
    fn the_parts_together_are_what_the_peer_was_told() {
        let mut table = Table::new();
        let session = table.open(view("tor"));
        table.open(view("other"));
        let count = u32::try_from(PART * 2 + 7).expect("few");
        for n in 0..count {
            let [_, a, b, c] = n.to_be_bytes();
            let prefix = Cidr::new(IpAddr::from([20, a, b, c]), 32).expect("valid");
            table.set(prefix, &[Path::default()]);
        }
        table.poll_messages(session, usize::MAX, &mut Vec::new());
        let (mut found, mut next) = (Vec::new(), Some(0));
        let mut parts = 0;
        while let Some(from) = next {
            let part = ask(&table, "tor", from).expect("a session");
            assert!(part.routes.len() <= PART);
            found.extend(part.routes.into_iter().map(|(prefix, _)| prefix));
            next = part.next;
            parts += 1;
        }
        assert_eq!(parts, 3);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), count as usize);
        let other = ask(&table, "other", 0).expect("a session");
        assert!(other.routes.is_empty(), "it has been told nothing yet");
        assert!(ask(&table, "nobody", 0).is_none());
    }
}
