//! The topology files that people use with containerlab run here, and do what their README says.
#![cfg(test)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use herald_interop::topology::{Topology, file::File, folder};
use herald_interop::{BfdSession, Router, eventually};

const SOON: Duration = Duration::from_secs(40);

#[test]
fn every_topology_file_is_valid() -> Result<()> {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".clab.yml") {
            File::read(&path)?;
            seen += 1;
        }
    }
    assert!(seen > 0);
    Ok(())
}

/// Waits until a router's kernel spreads a prefix over just these hosts of its network.
fn spread(router: &Router, prefix: &str, hosts: &[String], timeout: Duration) -> Result<()> {
    let hops: Vec<IpAddr> = hosts
        .iter()
        .map(|host| host.parse())
        .collect::<Result<_, _>>()?;
    router.wait_spread(prefix.parse()?, &hops, timeout)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn both_tors_spread_flows_over_all_nodes_and_drop_one_that_is_cut() -> Result<()> {
    let file = folder().join("two-tors.clab.yml");
    let topology = Topology::start(&file, |_| true)?;
    let tors = [(1, topology.router("tor1")?), (2, topology.router("tor2")?)];
    let four = |net, nodes: &[u8]| -> Vec<String> {
        nodes
            .iter()
            .map(|node| format!("10.0.{net}.{node}"))
            .collect()
    };
    let six = |net, nodes: &[u8]| -> Vec<String> {
        nodes
            .iter()
            .map(|node| format!("fd00:0:0:{net}::{node}"))
            .collect()
    };
    for (net, tor) in tors {
        spread(tor, "198.51.100.10", &four(net, &[11, 12, 13]), SOON)?;
        spread(tor, "fd98::10", &six(net, &[11, 12, 13]), SOON)?;
    }
    for (net, tor) in tors {
        for node in [11, 12, 13] {
            for address in [four(net, &[node]), six(net, &[node])].concat() {
                let peer: IpAddr = address.parse()?;
                eventually(SOON, &format!("BFD of {} with {peer}", tor.name()), || {
                    let sessions = tor.bfd()?;
                    // One that has just come up is slow at first.
                    let quick = Duration::from_secs(2);
                    let watched = |bfd: &BfdSession| bfd.up && bfd.detection < quick;
                    let up = sessions.iter().any(|bfd| bfd.peer == peer && watched(bfd));
                    Ok(up.then_some(()))
                })?;
            }
        }
    }

    // The node's end of the cable stays up; nothing passes it.
    topology.bare().ip("lan1", ["link set n1-1 nomaster"])?;
    topology.bare().ip("lan2", ["link set n1-2 nomaster"])?;
    let cut = Instant::now();
    for (net, tor) in tors {
        spread(
            tor,
            "198.51.100.10",
            &four(net, &[12, 13]),
            Duration::from_secs(5),
        )?;
        spread(
            tor,
            "fd98::10",
            &six(net, &[12, 13]),
            Duration::from_secs(5),
        )?;
    }
    println!("all next hops of n1 gone after {:?}", cut.elapsed());
    topology.down();
    Ok(())
}
