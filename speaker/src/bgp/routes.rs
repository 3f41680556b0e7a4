//! From what is decided about a prefix to what the table of the sessions takes.

use herald_announce::bgp::{Announced, Community, ExtendedCommunity, Route};
use herald_bgp::routes::{Audience, Path, RouteAttributes};
use herald_bgp::wire;

/// The paths of a prefix: those of peers that are named go before that of all others.
pub(super) fn paths(route: &Route) -> Vec<Path> {
    let named = route.named().map(|(name, announced)| Path {
        audience: Audience::only([name]),
        attributes: attributes(announced),
    });
    let others = route.others().map(|announced| Path {
        audience: Audience::Everyone,
        attributes: attributes(announced),
    });
    named.chain(others).collect()
}

fn attributes(announced: &Announced) -> RouteAttributes {
    let from = &announced.attributes;
    let mut to = RouteAttributes {
        local_pref: from.local_pref,
        med: from.med,
        prepend: from.prepend,
        link_bandwidth: announced.weight.map(bandwidth),
        ..RouteAttributes::default()
    };
    for community in &from.communities {
        match community {
            Community::Standard(asn, value) => {
                to.communities.push(wire::Community::new(*asn, *value));
            }
            Community::Large(global, local1, local2) => to.large.push(wire::LargeCommunity {
                global: *global,
                local1: *local1,
                local2: *local2,
            }),
            Community::Extended(extended) => {
                to.extended.push(wire::ExtendedCommunity(extended.octets()));
            }
        }
    }
    to
}

/// Bytes a second that stand for a weight.
fn bandwidth(weight: u32) -> u64 {
    match ExtendedCommunity::weight(0, weight) {
        ExtendedCommunity::LinkBandwidth {
            bytes_per_second, ..
        } => bytes_per_second,
        _ => 0,
    }
}
