//! A second router on the LAN, with a client behind it.

use anyhow::Result;
use tokio::task::spawn_blocking;

use super::address::{
    Addresses, FAR_PREFIX, FAR2, LAN_PREFIX, Network, REMOTE2, ROUTER2, ROUTER2_FAR,
};
use super::build::{
    add_namespaces, address_lines, bridge_lines, default_routes, netns_of, plug_lines,
};
use crate::lab::Lab;

impl Lab {
    /// Plugs a second router into the LAN, with a client behind it: the parts `router2` (.2 on the
    /// LAN) and `remote2` (203.0.113.10, `fd9a::a`). The nodes answer that client through it.
    pub async fn add_router(&self) -> Result<()> {
        let far = Network::Other("far2".into());
        let parts = ["router2", "remote2"].map(|part| netns_of(self.id(), part));
        spawn_blocking(move || add_namespaces(&parts)).await??;
        let mut lines = bridge_lines(&far);
        lines.extend(plug_lines(self.id(), "router2", "lan0", &Network::Lan));
        for part in ["router2", "remote2"] {
            lines.extend(plug_lines(self.id(), part, "far0", &far));
        }
        self.ip("sw", lines).await?;

        let up = |interface, addresses: Addresses, prefix| {
            let mut lines = vec!["link set lo up".to_owned()];
            lines.extend(address_lines(interface, addresses, prefix));
            lines
        };
        let mut lines = up("lan0", ROUTER2, LAN_PREFIX);
        lines.extend(address_lines("far0", ROUTER2_FAR, FAR_PREFIX));
        self.ip("router2", lines).await?;
        let mut lines = up("far0", REMOTE2, FAR_PREFIX);
        lines.extend(default_routes(ROUTER2_FAR));
        self.ip("remote2", lines).await?;
        for node in self.nodes() {
            let back = FAR2.iter().zip(ROUTER2.both());
            let lines = back.map(|(network, via)| format!("route add {network} via {via}"));
            self.ip(&node.name, lines.collect()).await?;
        }
        Ok(())
    }
}
