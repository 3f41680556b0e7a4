//! Interfaces come, go down and up, and the LAN is told at once.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_e2e::layer2::{self, elected, names, owner, wait_nobody, wait_owner};
use herald_e2e::objects::SOON;
use herald_e2e::wire::{FOUR, SIX};
use herald_lab::{Advertisement, Arp, Ask, Capture, Cut, Lab, Mac, Network, ProxyMode, eventually};

/// How many announcements of each family a station has heard from a MAC.
fn heard(capture: &Capture, mac: Mac) -> (usize, usize) {
    let arp = |frame: &herald_lab::Frame| Arp::parse(&frame.bytes);
    let arp = |frame: &herald_lab::Frame| arp(frame).filter(|arp| arp.sender == arp.target);
    let four =
        capture.find(|frame| arp(frame).filter(|arp| arp.sender_mac == mac && arp.sender == FOUR));
    let six = capture.find(|frame| {
        let news = Advertisement::parse(&frame.bytes)?;
        (news.target == SIX && news.target_mac == Some(mac) && !news.solicited).then_some(())
    });
    (four.len(), six.len())
}

/// Waits for an announcement of both families beyond those that were heard.
async fn hears_more(capture: &Capture, mac: Mac, before: (usize, usize)) -> Result<()> {
    eventually(
        Duration::from_secs(2),
        "a new announcement of both addresses",
        async || {
            let now = heard(capture, mac);
            Ok((now.0 > before.0 && now.1 > before.1).then_some(()))
        },
    )
    .await
}

/// Waits until this MAC alone answers for both addresses on an interface of the client's.
async fn answers_on(lab: &Lab, interface: &str, mac: Mac) -> Result<()> {
    eventually(
        SOON,
        &format!("{mac} to answer on {interface}"),
        async || {
            let four = lab.arp_probe("client", interface, FOUR).await?;
            let six = lab
                .ndp_probe("client", interface, SIX, Ask::Multicast)
                .await?;
            ensure!(four == [mac] && six == [mac], "{four:?} and {six:?} answer");
            Ok(Some(()))
        },
    )
    .await
}

/// Waits until an interface of a node is in the solicited-node group of [`SIX`], or is not: a switch
/// that looks at multicast sends questions to members only.
async fn in_group(lab: &Lab, node: &str, interface: &str, member: bool) -> Result<()> {
    let what = format!("{interface} of {node} in the group: {member}");
    eventually(SOON, &what, async || {
        let command = ["ip", "-6", "maddress", "show", "dev", interface];
        let groups = lab.exec(node, &command).await?;
        let found = groups
            .split_whitespace()
            .any(|word| word == "ff02::1:ff0a:7");
        Ok((found == member).then_some(()))
    })
    .await
}

/// Takes `lan1` of the node down and up again, by the node and by the switch: silence, then an
/// announcement and answers.
async fn down_and_up(lab: &Lab, node: &str, capture: &Capture, mac: Mac) -> Result<()> {
    for by_switch in [false, true] {
        if by_switch {
            lab.cut_link(node, "lan1", Cut::Carrier).await?;
        } else {
            lab.set_link(node, "lan1", false).await?;
        }
        eventually(SOON, "silence on lan1", async || {
            Ok(lab
                .arp_probe("client", "lan1", FOUR)
                .await?
                .is_empty()
                .then_some(()))
        })
        .await?;
        let before = heard(capture, mac);
        if by_switch {
            lab.restore_link(node, "lan1").await?;
        } else {
            lab.set_link(node, "lan1", true).await?;
        }
        hears_more(capture, mac, before).await?;
        answers_on(lab, "lan1", mac).await?;
    }
    Ok(())
}

/// Puts `lan0` of the node into a new bridge `br0`, which gets its addresses: a node that has none
/// in the subnet comes after those that have one.
async fn into_bridge(lab: &Lab, node: &str) -> Result<()> {
    for command in [
        "link add br0 type bridge",
        "link set br0 address 02:00:00:00:00:77 up",
    ] {
        let command: Vec<&str> = ["ip"].into_iter().chain(command.split(' ')).collect();
        lab.exec(node, &command).await?;
    }
    for (family, option) in [("-4", "noprefixroute"), ("-6", "nodad")] {
        let show = ["ip", family, "-o", "address", "show", "dev", "lan0"];
        let addresses = lab
            .exec(node, &[&show[..], &["scope", "global"]].concat())
            .await?;
        for address in addresses
            .lines()
            .filter_map(|line| line.split_whitespace().nth(3))
        {
            let add = ["ip", "address", "add", address, "dev", "br0", option];
            lab.exec(node, &add).await?;
        }
    }
    lab.exec(node, &["ip", "link", "set", "lan0", "master", "br0"])
        .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn interfaces_that_appear_or_come_back_are_served_and_announced_on_at_once() -> Result<()> {
    let lab = layer2::start(Lab::builder().proxy(ProxyMode::None)).await?;
    lab.backends("web", &["n1"]).await?;
    let web = lab
        .service("web")
        .annotation("metallb.io/loadBalancerIPs", &format!("{FOUR},{SIX}"))
        .dual_stack()
        .create()
        .await?;
    let node = elected(FOUR.into(), &names(&lab));
    wait_owner(&lab, FOUR.into(), &node).await?;
    wait_owner(&lab, SIX.into(), &node).await?;
    for name in names(&lab) {
        in_group(&lab, name, "lan0", name == node).await?;
    }

    // A second interface that appears on the owner, long after the addresses.
    let second = Network::Other("lan2".into());
    lab.add_interface("client", "lan1", &second, None).await?;
    let capture = lab.capture("client", "lan1")?;
    let since = Instant::now();
    lab.add_interface(&node, "lan1", &second, None).await?;
    let mac = lab.mac(&node, "lan1")?;
    hears_more(&capture, mac, (0, 0)).await?;
    let took = since.elapsed();
    ensure!(
        took < Duration::from_secs(1),
        "lan1 was served after {took:?}"
    );
    answers_on(&lab, "lan1", mac).await?;
    in_group(&lab, &node, "lan1", true).await?;
    for ask in [
        Ask::Unicast(mac),
        Ask::MulticastWithoutOption,
        Ask::Duplicate,
    ] {
        ensure!(
            lab.ndp_probe("client", "lan1", SIX, ask).await? == [mac],
            "{ask:?}"
        );
    }

    down_and_up(&lab, &node, &capture, mac).await?;

    // Under another name it is another interface to some, but the LAN is the same.
    lab.rename_interface(&node, "lan1", "eth9").await?;
    answers_on(&lab, "lan1", mac).await?;
    lab.delete_interface(&node, "eth9").await?;
    // The first interface saw nothing of all this.
    ensure!(owner(&lab, FOUR.into()).await? == node);

    // A bond or bridge that takes an interface over takes the announcing over.
    let first = lab.mac(&node, "lan0")?;
    into_bridge(&lab, &node).await?;
    answers_on(&lab, "lan0", Mac([2, 0, 0, 0, 0, 0x77])).await?;
    lab.exec(&node, &["ip", "link", "set", "lan0", "nomaster"])
        .await?;
    answers_on(&lab, "lan0", first).await?;

    // A new Ethernet address is told, not only answered with.
    let capture = lab.capture("client", "lan0")?;
    let changed = Mac([2, 0, 0, 0, 0, 0x78]);
    lab.exec(
        &node,
        &["ip", "link", "set", "lan0", "address", &changed.to_string()],
    )
    .await?;
    hears_more(&capture, changed, (0, 0)).await?;
    answers_on(&lab, "lan0", changed).await?;

    web.delete().await?;
    wait_nobody(&lab, FOUR.into()).await?;
    wait_nobody(&lab, SIX.into()).await?;
    in_group(&lab, &node, "lan0", false).await?;
    lab.down().await
}
