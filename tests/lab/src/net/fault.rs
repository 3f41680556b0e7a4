//! Packets that the switch drops on purpose: nftables rules on the bridges in `sw`.

use std::fmt::Write as _;

/// A packet that the switch receives on one port and would send out of another is dropped. `None`
/// stands for every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drop {
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
}

/// The script that makes exactly these drops the rules, as one transaction.
pub(crate) fn script(drops: &[Drop]) -> String {
    let mut script = String::from(
        "add table bridge lab\ndelete table bridge lab\ntable bridge lab {\n  chain forward {\n    \
         type filter hook forward priority 0; policy accept;\n",
    );
    for Drop { from, to } in drops {
        let _ = write!(script, "   ");
        if let Some(port) = from {
            let _ = write!(script, " iifname \"{port}\"");
        }
        if let Some(port) = to {
            let _ = write!(script, " oifname \"{port}\"");
        }
        let _ = writeln!(script, " counter drop");
    }
    script.push_str("  }\n}\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_is_a_rule() {
        let drops = [
            Drop {
                from: Some("n1-lan0".into()),
                to: None,
            },
            Drop {
                from: Some("n1-lan0".into()),
                to: Some("n2-lan0".into()),
            },
        ];
        let script = script(&drops);
        assert!(
            script.contains("    iifname \"n1-lan0\" counter drop\n"),
            "{script}"
        );
        assert!(script.contains(" iifname \"n1-lan0\" oifname \"n2-lan0\" counter drop\n"));
    }
}
