//! A containerlab topology file, in the part of its format that the suite runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// A file. What it does not know of containerlab's format it refuses: nothing is ignored.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The lab's name.
    pub name: String,
    /// What it is made of.
    pub topology: Body,
}

/// `topology`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// What nodes of a kind have in common.
    #[serde(default)]
    pub kinds: BTreeMap<String, Node>,
    /// The nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// The cables.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// A node, or what nodes of a kind have in common.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// `linux` or `bridge`.
    pub kind: Option<Kind>,
    /// The container's image.
    pub image: Option<String>,
    /// What the container runs.
    pub cmd: Option<String>,
    /// Labels; `lab-daemon` is the suite's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Files, `<here>:<in the container>`.
    #[serde(default)]
    pub binds: Vec<String>,
    /// Commands for after the start.
    #[serde(default)]
    pub exec: Vec<String>,
}

/// The kinds that the suite runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Linux,
    /// A bridge of the host.
    Bridge,
}

/// A cable.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its ends, `<node>:<interface>`.
    pub endpoints: [String; 2],
}

impl Link {
    /// Node and interface of both ends.
    pub fn ends(&self) -> Result<[(&str, &str); 2]> {
        let [one, other] = &self.endpoints;
        Ok([end(one)?, end(other)?])
    }
}

fn end(text: &str) -> Result<(&str, &str)> {
    text.split_once(':')
        .with_context(|| format!("the endpoint {text:?} is not <node>:<interface>"))
}

/// A file of a router, as a bind has it: where it is here, and its name in the container.
pub(crate) fn bind(text: &str) -> Result<(&str, &str)> {
    text.split_once(':')
        .with_context(|| format!("the bind {text:?} is not <here>:<there>"))
}

impl File {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let folder = path.parent().context("the file has no folder")?;
        let file: Self = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} is not a topology", path.display()))?;
        file.check(folder)
            .with_context(|| path.display().to_string())?;
        Ok(file)
    }

    /// What containerlab's own schema and its deployment would refuse.
    fn check(&self, folder: &Path) -> Result<()> {
        let plain = |name: &str| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        ensure!(plain(&self.name), "the name {:?} is not plain", self.name);
        for (kind, common) in &self.topology.kinds {
            ensure!(
                ["linux", "bridge"].contains(&kind.as_str()),
                "unknown kind {kind}"
            );
            ensure!(common.kind.is_none(), "the kind {kind} has a kind");
        }
        let image = |node: &Node| {
            let common = self.topology.kinds.get("linux");
            node.image.is_some() || common.is_some_and(|common| common.image.is_some())
        };
        for (name, node) in &self.topology.nodes {
            ensure!(plain(name), "the node's name {name:?} is not plain");
            match node.kind {
                Some(Kind::Linux) => ensure!(image(node), "{name} has no image"),
                Some(Kind::Bridge) => ensure!(
                    node.binds.is_empty() && node.exec.is_empty() && node.cmd.is_none(),
                    "{name} is a bridge and runs nothing"
                ),
                None => bail!("{name} has no kind"),
            }
            for text in &node.binds {
                let (here, there) = bind(text)?;
                ensure!(there.starts_with('/'), "{name}: {there} is not absolute");
                let file = folder.join(here);
                ensure!(file.is_file(), "{name}: there is no {}", file.display());
            }
        }
        let mut taken = std::collections::BTreeSet::new();
        for link in &self.topology.links {
            for (node, interface) in link.ends()? {
                let known = self.topology.nodes.contains_key(node);
                ensure!(known, "a link ends at {node}, which is no node");
                // IFNAMSIZ, with the zero at the end.
                ensure!(
                    (1..16).contains(&interface.len()) && interface != "eth0",
                    "{node}: {interface} is no name for a link's interface"
                );
                ensure!(
                    taken.insert((node, interface)),
                    "{node}:{interface} is there twice"
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<()> {
        let file: File = serde_saphyr::from_str(text)?;
        file.check(Path::new("."))
    }

    const GOOD: &str = "
name: one
topology:
  nodes:
    a: {kind: linux, image: i}
    b: {kind: bridge}
  links:
    - endpoints: ['a:eth1', 'b:a']
";

    #[test]
    fn mistakes_are_refused() -> Result<()> {
        check(GOOD)?;
        for (from, to) in [
            ("name: one", "name: One lab"),
            ("kind: bridge", "kind: ovs-bridge"),
            ("image: i", "startup-delay: 3"),
            ("image: i", "image: i, sysctls: {net.ipv4.ip_forward: '1'}"),
            (", image: i", ""),
            ("'b:a'", "'c:a'"),
            ("'b:a'", "'a:eth1'"),
            ("'b:a'", "'ba'"),
            ("a:eth1", "a:eth0"),
            ("a:eth1", "a:interface-of-many-letters"),
            ("image: i", "image: i, binds: ['/nowhere:/etc/x']"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            assert!(check(&text).is_err(), "{from} -> {to} was taken");
        }
        Ok(())
    }
}
