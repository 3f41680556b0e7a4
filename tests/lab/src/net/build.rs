//! Making and unmaking the lab's namespaces and the links between them.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::address::{
    Addresses, CLIENT, CONTROL_PLANE, FAR_PREFIX, LAN_PREFIX, MGMT_PREFIX, Network, Node, REMOTE,
    ROUTER, ROUTER_FAR,
};
use super::command::{ip_batch, run, run_with};
use super::netns::Netns;

/// Kernel settings of every namespace: duplicate address detection would lose the first second,
/// reverse path filters the packets that come in where they would not go out. Routes with several next
/// hops spread connections, not hosts.
const SYSCTLS: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv4/fib_multipath_hash_policy", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/ping_group_range", "0 2147483647"),
    ("ipv6/fib_multipath_hash_policy", "1"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/all/accept_ra", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
];

/// The full names of a lab's namespaces are `hl-<id>-<part>`.
pub(crate) fn netns_of(id: &str, part: &str) -> Netns {
    Netns::new(format!("hl-{id}-{part}"))
}

/// The port in `sw` of an interface of a part of the lab, e.g. `n1-lan0`.
pub(crate) fn port_name(part: &str, interface: &str) -> String {
    format!("{part}-{interface}")
}

/// The lines that make a bridge in `sw`.
pub(crate) fn bridge_lines(network: &Network) -> Vec<String> {
    let name = network.bridge();
    vec![
        format!("link add {name} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"),
        format!("link set {name} up"),
    ]
}

/// The lines for `sw` that plug a new interface of `part` into a network.
pub(crate) fn plug_lines(id: &str, part: &str, interface: &str, network: &Network) -> Vec<String> {
    let port = port_name(part, interface);
    let peer = netns_of(id, part);
    vec![
        format!(
            "link add {port} type veth peer name {interface} netns {}",
            peer.name()
        ),
        format!("link set {port} master {} up", network.bridge()),
    ]
}

/// The lines that give an interface its addresses and bring it up.
pub(crate) fn address_lines(
    interface: &str,
    addresses: Addresses,
    prefix: (u8, u8),
) -> Vec<String> {
    vec![
        format!("link set {interface} up"),
        format!("addr add {}/{} dev {interface}", addresses.v4, prefix.0),
        format!(
            "addr add {}/{} dev {interface} nodad",
            addresses.v6, prefix.1
        ),
    ]
}

/// Makes namespaces with the lab's kernel settings and a working loopback.
pub(crate) fn add_namespaces(namespaces: &[Netns]) -> Result<()> {
    let lines: Vec<String> = namespaces
        .iter()
        .map(|netns| format!("netns add {}\n", netns.name()))
        .collect();
    run_with("ip", &["-batch", "-"], &lines.concat())
        .context("cannot make network namespaces: be root")?;
    for netns in namespaces {
        netns.run(|| {
            for (key, value) in SYSCTLS {
                let path = format!("/proc/sys/net/{key}");
                fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
            }
            anyhow::Ok(())
        })??;
    }
    Ok(())
}

/// The parts of a lab with these nodes.
pub(crate) fn parts(nodes: &[Node]) -> Vec<String> {
    let fixed = ["sw", "cp", "client", "router", "remote"];
    fixed
        .into_iter()
        .map(String::from)
        .chain(nodes.iter().map(|node| node.name.clone()))
        .collect()
}

/// Makes the whole network of a lab: namespaces, bridges, links, addresses, routes.
pub(crate) fn build(id: &str, nodes: &[Node]) -> Result<()> {
    let namespaces: Vec<Netns> = parts(nodes).iter().map(|part| netns_of(id, part)).collect();
    add_namespaces(&namespaces)?;

    let mut sw = vec!["link set lo up".to_owned()];
    for network in [Network::Mgmt, Network::Lan, Network::Other("far".into())] {
        sw.extend(bridge_lines(&network));
    }
    sw.extend(plug_lines(id, "cp", "mgmt0", &Network::Mgmt));
    for part in ["client", "router"] {
        sw.extend(plug_lines(id, part, "lan0", &Network::Lan));
    }
    for part in ["router", "remote"] {
        sw.extend(plug_lines(id, part, "far0", &Network::Other("far".into())));
    }
    for node in nodes {
        sw.extend(plug_lines(id, &node.name, "mgmt0", &Network::Mgmt));
        sw.extend(plug_lines(id, &node.name, "lan0", &Network::Lan));
    }
    ip_batch(netns_of(id, "sw").name(), &sw)?;

    let mut batches = vec![
        ("cp".to_owned(), control_plane_lines(nodes)),
        ("client".to_owned(), {
            let mut lines = address_lines("lan0", CLIENT, LAN_PREFIX);
            lines.extend(default_routes(ROUTER));
            lines
        }),
        ("router".to_owned(), {
            let mut lines = address_lines("lan0", ROUTER, LAN_PREFIX);
            lines.extend(address_lines("far0", ROUTER_FAR, FAR_PREFIX));
            lines
        }),
        ("remote".to_owned(), {
            let mut lines = address_lines("far0", REMOTE, FAR_PREFIX);
            lines.extend(default_routes(ROUTER_FAR));
            lines
        }),
    ];
    batches.extend(
        nodes
            .iter()
            .map(|node| (node.name.clone(), node_lines(node, nodes))),
    );
    thread::scope(|scope| {
        let threads: Vec<_> = batches
            .iter()
            .map(|(part, lines)| {
                scope.spawn(move || {
                    let lo = std::iter::once("link set lo up".to_owned());
                    let lines: Vec<String> = lo.chain(lines.iter().cloned()).collect();
                    ip_batch(netns_of(id, part).name(), &lines)
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

pub(crate) fn default_routes(via: Addresses) -> [String; 2] {
    [
        format!("route add default via {}", via.v4),
        format!("route add default via {}", via.v6),
    ]
}

fn pod_routes(node: &Node) -> [String; 2] {
    let [v4, v6] = node.pod_cidrs();
    [
        format!("route add {v4} via {}", node.mgmt.v4),
        format!("route add {v6} via {}", node.mgmt.v6),
    ]
}

fn control_plane_lines(nodes: &[Node]) -> Vec<String> {
    let mut lines = address_lines("mgmt0", CONTROL_PLANE, MGMT_PREFIX);
    lines.extend(nodes.iter().flat_map(pod_routes));
    lines
}

fn node_lines(node: &Node, nodes: &[Node]) -> Vec<String> {
    let mut lines = address_lines("mgmt0", node.mgmt, MGMT_PREFIX);
    lines.extend(address_lines("lan0", node.lan, LAN_PREFIX));
    // A bridge without a MAC of its own has that of one of its ports, and another one as pods come and
    // go, which those that are there take half a minute to learn.
    let bridge = "type bridge forward_delay 0 stp_state 0";
    lines.push(format!("link add cni0 address 02:00:00:00:00:01 {bridge}"));
    lines.extend(address_lines("cni0", node.pod_gateway(), (24, 64)));
    lines.extend(
        nodes
            .iter()
            .filter(|other| *other != node)
            .flat_map(pod_routes),
    );
    lines.extend(default_routes(ROUTER));
    lines
}

/// Ends every process in the namespaces whose names have the prefix, and deletes the namespaces.
pub(crate) fn remove_namespaces(prefix: &str) -> Result<()> {
    let listed = run("ip", &["netns", "list"])?;
    let names: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with(prefix))
        .collect();
    for name in &names {
        end_processes(name);
    }
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("netns del {name}\n"))
        .collect();
    if !lines.is_empty() {
        run_with("ip", &["-batch", "-"], &lines.concat())?;
    }
    Ok(())
}

/// Kills what runs in a namespace of ours. The calling process never does: only threads of it
/// enter namespaces, and `ip netns pids` looks at the main thread.
fn end_processes(netns: &str) {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let pids = run("ip", &["netns", "pids", netns]).unwrap_or_default();
        let own = std::process::id().cast_signed();
        let pids: Vec<i32> = pids
            .lines()
            .filter_map(|pid| pid.trim().parse().ok())
            .filter(|pid| *pid != own)
            .collect();
        if pids.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in pids {
            // One that is gone already needs no signal.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}
