//! More hosts on the LAN, e.g. one that has an address it should not have.

use std::net::IpAddr;

use anyhow::Result;
use tokio::task::spawn_blocking;

use super::address::{LAN_PREFIX, Network};
use super::build::{add_namespaces, plug_lines};
use super::command::run;
use crate::lab::Lab;

impl Lab {
    /// Plugs a new host into the LAN, as a part of this name with these addresses on its `lan0`.
    /// Its kernel answers ARP and NDP for them, whoever else does.
    pub async fn add_host(&self, part: &str, addresses: &[IpAddr]) -> Result<()> {
        let netns = self.netns(part);
        spawn_blocking(move || add_namespaces(std::slice::from_ref(&netns))).await??;
        self.ip("sw", plug_lines(self.id(), part, "lan0", &Network::Lan))
            .await?;
        let mut lines = vec!["link set lo up".to_owned(), "link set lan0 up".to_owned()];
        lines.extend(addresses.iter().map(|address| match address {
            IpAddr::V4(v4) => format!("addr add {v4}/{} dev lan0", LAN_PREFIX.0),
            IpAddr::V6(v6) => format!("addr add {v6}/{} dev lan0 nodad", LAN_PREFIX.1),
        }));
        self.ip(part, lines).await
    }

    /// Unplugs a host that [`Self::add_host`] made.
    pub async fn remove_host(&self, part: &str) -> Result<()> {
        // The link goes now, the namespace some time later.
        self.ip("sw", vec![format!("link del {part}-lan0")]).await?;
        let netns = self.netns(part);
        spawn_blocking(move || run("ip", &["netns", "del", netns.name()])).await??;
        Ok(())
    }
}
