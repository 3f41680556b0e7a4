//! What all tests that run Herald's own drivers have in common.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use herald_announce::bgp::{Announcement, Attributes, Path, Peers};
use herald_api::config::bgp::{BgpPeer, Connection, PeerAsn, PeerEndpoint, Timers};
use herald_lab::Netns;
use herald_model::Cidr;

/// The AS of all speakers here.
pub(crate) const ASN: u32 = 65001;

/// Runs something on a thread of its own in a namespace.
pub(crate) fn in_thread(
    netns: &Netns,
    run: impl AsyncFnOnce() -> Result<()> + Send + 'static,
) -> JoinHandle<Result<()>> {
    let netns = netns.clone();
    thread::spawn(move || {
        netns.run(|| -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(run())
        })?
    })
}

/// Waits until it has ended, and says how; nothing if that was done before.
pub(crate) fn join(thread: &mut Option<JoinHandle<Result<()>>>) -> Result<()> {
    match thread.take() {
        Some(thread) => thread.join().map_err(|_| anyhow!("the thread panicked"))?,
        None => Ok(()),
    }
}

/// A peer that is dialled.
pub(crate) fn peer(name: &str, address: IpAddr, asn: u32) -> BgpPeer {
    BgpPeer {
        name: name.to_owned(),
        my_asn: ASN,
        peer_asn: PeerAsn::Number(asn),
        local_asn: None,
        endpoint: PeerEndpoint::Address(address),
        port: 179,
        source_address: None,
        timers: Timers {
            connect: Duration::from_secs(1),
            ..Timers::default()
        },
        router_id: None,
        node_selectors: Vec::new(),
        password: None,
        bfd: None,
        graceful_restart: false,
        ebgp_multi_hop: false,
        ttl_security: None,
        connection: Connection::Outbound,
        vrf: String::new(),
        dual_stack: true,
    }
}

/// What a Service with these prefixes announces to all, if any; with a number of endpoints as weight or
/// without.
pub(crate) fn announcement(
    prefixes: &[Cidr],
    attributes: &Attributes,
    weight: Option<u32>,
) -> Option<Announcement> {
    let path = Arc::new(Path {
        peers: Peers::All,
        attributes: attributes.clone(),
        ending: false,
        weighted: weight.is_some(),
    });
    let routes = prefixes.iter().map(|prefix| (*prefix, Arc::clone(&path)));
    let announcement = Announcement {
        routes: routes.collect(),
        endpoints: weight.unwrap_or(1),
    };
    Some(announcement).filter(|announcement| !announcement.routes.is_empty())
}
