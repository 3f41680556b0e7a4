//! Who answers for an address: every distinct Ethernet address, not just the first.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::spawn_blocking;

use super::frame::{Advertisement, Arp, Solicitation};
use super::socket::{Mac, PacketSocket, mac_of};
use crate::lab::Lab;
use crate::net::address::CLIENT;

/// How long a probe listens after its last question.
const WINDOW: Duration = Duration::from_millis(150);

/// The kind of neighbour solicitation that a probe sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    /// To the solicited-node group, with the source link-layer address option.
    #[default]
    Multicast,
    /// To the solicited-node group, without the option.
    MulticastWithoutOption,
    /// To this host alone, with the option.
    Unicast(Mac),
    /// To this host alone, without the option.
    UnicastWithoutOption(Mac),
    /// Duplicate address detection: from `::`, without the option.
    Duplicate,
}

impl Lab {
    /// The Ethernet address of a part's interface.
    pub fn mac(&self, part: &str, interface: &str) -> Result<Mac> {
        mac_of(&self.netns(part), interface)
    }

    /// Opens a packet socket on a part's interface: to send frames, and to see every frame.
    pub fn packet_socket(&self, part: &str, interface: &str) -> Result<PacketSocket> {
        PacketSocket::open(&self.netns(part), interface)
    }

    /// Sends one frame, as it is, from a part's interface.
    pub fn send_frame(&self, part: &str, interface: &str, frame: &[u8]) -> Result<()> {
        self.packet_socket(part, interface)?.send(frame)
    }

    /// Every Ethernet address that answers for an address on the LAN, asked from the client, by
    /// ARP or NDP: one is right, none is an outage, two is a split.
    pub async fn owners(&self, address: IpAddr) -> Result<Vec<Mac>> {
        match address {
            IpAddr::V4(v4) => self.arp_probe("client", "lan0", v4).await,
            IpAddr::V6(v6) => self.ndp_probe("client", "lan0", v6, Ask::Multicast).await,
        }
    }

    /// The nodes whose `lan0` answers for an address; an error if a stranger does.
    pub async fn owner_nodes(&self, address: IpAddr) -> Result<Vec<String>> {
        let macs = self.owners(address).await?;
        let mut known = Vec::new();
        for node in self.nodes() {
            known.push((self.mac(&node.name, "lan0")?, node.name.clone()));
        }
        macs.iter()
            .map(|mac| {
                let node = known
                    .iter()
                    .find(|(of, _)| of == mac)
                    .map(|(_, name)| name.clone());
                node.with_context(|| format!("{mac} answers for {address} and is no node's lan0"))
            })
            .collect()
    }

    /// Asks twice by broadcast; the distinct sender addresses in the replies, in order.
    pub async fn arp_probe(&self, part: &str, interface: &str, ip: Ipv4Addr) -> Result<Vec<Mac>> {
        let socket = self.packet_socket(part, interface)?;
        let mac = socket.mac();
        let request = Arp::request(mac, CLIENT.v4, ip).to_frame();
        spawn_blocking(move || {
            probe(&socket, &request, |frame| {
                let arp = Arp::parse(frame)?;
                // A gratuitous reply is for everybody and no answer.
                let answers = arp.operation == 2 && arp.sender == ip && arp.target_mac == mac;
                answers.then_some(arp.sender_mac)
            })
        })
        .await?
    }

    /// Asks twice; the distinct Ethernet addresses in the advertisements, in order. The source of
    /// the question is the client's address, or `::` for duplicate address detection.
    pub async fn ndp_probe(
        &self,
        part: &str,
        interface: &str,
        ip: Ipv6Addr,
        ask: Ask,
    ) -> Result<Vec<Mac>> {
        let socket = self.packet_socket(part, interface)?;
        let question = Solicitation {
            mac: socket.mac(),
            source: if ask == Ask::Duplicate {
                Ipv6Addr::UNSPECIFIED
            } else {
                CLIENT.v6
            },
            target: ip,
            source_option: matches!(ask, Ask::Multicast | Ask::Unicast(_)),
            unicast: match ask {
                Ask::Unicast(mac) | Ask::UnicastWithoutOption(mac) => Some(mac),
                _ => None,
            },
            hop_limit: 255,
        }
        .to_frame();
        spawn_blocking(move || {
            probe(&socket, &question, |frame| {
                let answer = Advertisement::parse(frame)?;
                // One that is not solicited answers nobody but a question without a source.
                let answers = answer.target == ip && (answer.solicited || ask == Ask::Duplicate);
                answers.then(|| answer.target_mac.unwrap_or(answer.from))
            })
        })
        .await?
    }
}

/// Asks, listens, asks again: one lost frame must not read as "nobody".
fn probe(
    socket: &PacketSocket,
    question: &[u8],
    answer: impl Fn(&[u8]) -> Option<Mac>,
) -> Result<Vec<Mac>> {
    let mut found = BTreeSet::new();
    for _ in 0..2 {
        socket.send(question)?;
        let deadline = Instant::now() + WINDOW;
        while let Some(frame) = socket.receive(deadline)? {
            if !frame.outgoing {
                found.extend(answer(&frame.bytes));
            }
        }
    }
    Ok(found.into_iter().collect())
}
