//! Changing the network while the lab runs: more interfaces, cut links, dropped packets.

use std::sync::PoisonError;

use anyhow::{Context as _, Result};
use tokio::task::spawn_blocking;

use super::address::{Addresses, LAN_PREFIX, Network};
use super::build::{address_lines, bridge_lines, netns_of, plug_lines, port_name};
use super::command::{ip_batch, nft, run};
use super::fault::{Drop as PacketDrop, script};
use crate::lab::Lab;

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The cable is pulled: the interface loses its carrier.
    Carrier,
    /// The link looks well, but every packet is lost, both ways.
    Silent,
    /// The link looks well, but what the part sends is lost.
    Mute,
    /// The link looks well, but what is sent to the part is lost.
    Deaf,
}

/// Packets that are being dropped; [`Lab::restore`] ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "without it only heal() ends the fault"]
pub struct Fault {
    ids: Vec<u64>,
}

impl Lab {
    pub(crate) async fn ip(&self, part: &str, lines: Vec<String>) -> Result<()> {
        let netns = self.netns(part);
        spawn_blocking(move || ip_batch(netns.name(), &lines)).await?
    }

    /// Plugs a new interface of a node (or other part) into a network, which is made if it is new,
    /// and brings it up, with addresses (/16 and /64) if any are given.
    pub async fn add_interface(
        &self,
        part: &str,
        interface: &str,
        network: &Network,
        addresses: Option<Addresses>,
    ) -> Result<()> {
        let sw = self.netns("sw");
        let mut lines = Vec::new();
        if run("ip", &["-n", sw.name(), "link", "show", network.bridge()]).is_err() {
            lines.extend(bridge_lines(network));
        }
        lines.extend(plug_lines(self.id(), part, interface, network));
        self.ip("sw", lines).await?;
        let lines = match addresses {
            Some(addresses) => address_lines(interface, addresses, LAN_PREFIX),
            None => vec![format!("link set {interface} up")],
        };
        self.ip(part, lines).await
    }

    /// Deletes an interface of a part.
    pub async fn delete_interface(&self, part: &str, interface: &str) -> Result<()> {
        self.ip(part, vec![format!("link del {interface}")]).await
    }

    /// Renames an interface, up or down. For the lab (cuts, drops) it keeps its first name.
    pub async fn rename_interface(&self, part: &str, from: &str, to: &str) -> Result<()> {
        // The kernel renames an interface that is up since 6.3 only.
        let lines = [
            format!("link set {from} down"),
            format!("link set {from} name {to}"),
            format!("link set {to} up"),
        ];
        self.ip(part, lines.to_vec()).await
    }

    /// Sets an interface administratively up or down, as its node sees it.
    pub async fn set_link(&self, part: &str, interface: &str, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.ip(part, vec![format!("link set {interface} {state}")])
            .await
    }

    /// Cuts the link between a part's interface and its network; [`Self::restore_link`] mends it.
    pub async fn cut_link(&self, part: &str, interface: &str, how: Cut) -> Result<()> {
        let port = self.port(part, interface).await?;
        let away = PacketDrop::all(Some(port.clone()), None);
        let back = PacketDrop::all(None, Some(port.clone()));
        match how {
            Cut::Carrier => self.ip("sw", vec![format!("link set {port} down")]).await,
            Cut::Silent => self.add_drops([away, back]).await.map(drop),
            Cut::Mute => self.add_drops([away]).await.map(drop),
            Cut::Deaf => self.add_drops([back]).await.map(drop),
        }
    }

    /// Mends a link that was cut either way.
    pub async fn restore_link(&self, part: &str, interface: &str) -> Result<()> {
        let port = self.port(part, interface).await?;
        self.change_drops(|drops| {
            drops.retain(|(_, fault)| match (&fault.from, &fault.to) {
                (Some(one), None) | (None, Some(one)) => *one != port,
                _ => true,
            });
        })
        .await?;
        self.ip("sw", vec![format!("link set {port} up")]).await
    }

    /// Drops what one part's interface sends to another's, e.g. `("n1", "lan0")` to
    /// `("client", "lan0")`. The other direction stays.
    pub async fn drop_one_way(&self, from: (&str, &str), to: (&str, &str)) -> Result<Fault> {
        let (from, to) = (
            self.port(from.0, from.1).await?,
            self.port(to.0, to.1).await?,
        );
        self.add_drops([PacketDrop::all(Some(from), Some(to))])
            .await
    }

    /// Drops what goes between two parts' interfaces, both ways.
    pub async fn drop_between(&self, one: (&str, &str), other: (&str, &str)) -> Result<Fault> {
        let (one, other) = (
            self.port(one.0, one.1).await?,
            self.port(other.0, other.1).await?,
        );
        self.add_drops([
            PacketDrop::all(Some(one.clone()), Some(other.clone())),
            PacketDrop::all(Some(other), Some(one)),
        ])
        .await
    }

    /// Ends one fault.
    pub async fn restore(&self, fault: Fault) -> Result<()> {
        self.change_drops(|drops| drops.retain(|(id, _)| !fault.ids.contains(id)))
            .await
    }

    /// Ends every drop and silent cut. (A link without carrier stays so.)
    pub async fn heal(&self) -> Result<()> {
        self.change_drops(Vec::clear).await
    }

    async fn port(&self, part: &str, interface: &str) -> Result<String> {
        let port = port_name(part, interface);
        let sw = netns_of(self.id(), "sw");
        let asked = port.clone();
        spawn_blocking(move || run("ip", &["-n", sw.name(), "link", "show", &asked]))
            .await?
            .with_context(|| format!("{part} has no interface {interface} on the switch"))?;
        Ok(port)
    }

    pub(crate) async fn add_drops(
        &self,
        new: impl IntoIterator<Item = PacketDrop>,
    ) -> Result<Fault> {
        let mut ids = Vec::new();
        self.change_drops(|drops| {
            for fault in new {
                let id = drops.last().map_or(0, |(last, _)| last + 1);
                drops.push((id, fault));
                ids.push(id);
            }
        })
        .await?;
        Ok(Fault { ids })
    }

    async fn change_drops(&self, change: impl FnOnce(&mut Vec<(u64, PacketDrop)>)) -> Result<()> {
        let script = {
            let mut drops = self
                .shared
                .drops
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            change(&mut drops);
            let rules: Vec<PacketDrop> = drops.iter().map(|(_, fault)| fault.clone()).collect();
            script(&rules)
        };
        let sw = self.netns("sw");
        spawn_blocking(move || nft(&sw.path(), &script)).await?
    }
}
