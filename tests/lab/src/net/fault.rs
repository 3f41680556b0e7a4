//! Packets that the switch drops on purpose: nftables rules on the bridges in `sw`.

use std::fmt::Write as _;

/// The port of the speakers' group, for Herald and for MetalLB.
const GOSSIP_PORT: u16 = 7946;

/// Which packets a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packets {
    /// Every frame, whatever is in it.
    All,
    /// What speakers send each other to know who lives: UDP and TCP to port 7946.
    Gossip,
}

/// A packet that the switch receives on one port and would send out of another is dropped. `None`
/// stands for every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drop {
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) packets: Packets,
    /// Of a hundred such packets, by chance.
    pub(crate) percent: u8,
}

impl Drop {
    /// Every packet, always.
    pub(crate) fn all(from: Option<String>, to: Option<String>) -> Self {
        Self {
            from,
            to,
            packets: Packets::All,
            percent: 100,
        }
    }

    fn rule(&self) -> String {
        let mut rule = String::from("   ");
        // Writing to a String cannot fail.
        if let Some(port) = &self.from {
            let _ = write!(rule, " iifname \"{port}\"");
        }
        if let Some(port) = &self.to {
            let _ = write!(rule, " oifname \"{port}\"");
        }
        if self.packets == Packets::Gossip {
            let _ = write!(rule, " meta l4proto {{ tcp, udp }} th dport {GOSSIP_PORT}");
        }
        if self.percent < 100 {
            let _ = write!(rule, " numgen random mod 100 < {}", self.percent);
        }
        rule + " counter drop\n"
    }
}

/// The script that makes exactly these drops the rules, as one transaction.
pub(crate) fn script(drops: &[Drop]) -> String {
    let rules: String = drops.iter().map(Drop::rule).collect();
    format!(
        "add table bridge lab\ndelete table bridge lab\ntable bridge lab {{\n  chain forward {{\n    \
         type filter hook forward priority 0; policy accept;\n{rules}  }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_is_a_rule() {
        let port = |name: &str| Some(name.to_owned());
        let some = Drop {
            packets: Packets::Gossip,
            percent: 30,
            ..Drop::all(port("n1-lan0"), port("n3-lan0"))
        };
        let drops = [
            Drop::all(port("n1-lan0"), None),
            Drop::all(port("n1-lan0"), port("n2-lan0")),
            some,
        ];
        let script = script(&drops);
        assert!(
            script.contains("    iifname \"n1-lan0\" counter drop\n"),
            "{script}"
        );
        assert!(script.contains(" iifname \"n1-lan0\" oifname \"n2-lan0\" counter drop\n"));
        assert!(
            script.contains(
                " oifname \"n3-lan0\" meta l4proto { tcp, udp } th dport 7946 \
                 numgen random mod 100 < 30 counter drop\n"
            ),
            "{script}"
        );
    }
}
