//! Frames as a station on the LAN sees them: RFC 826, RFC 4861, RFC 5227, and junk.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use herald_e2e::layer2::{self, CLIENT};
use herald_e2e::wire::{CLIENT_SIX, FOUR, SIX, announce, answer, ensure_silence, hear, is_from};
use herald_lab::{Advertisement, Arp, Capture, Lab, Mac, ProxyMode, Solicitation, eventually};

/// In the pool, but nobody's.
const FREE_FOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 8);
const FREE_SIX: Ipv6Addr = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0xa, 8);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// The pauses between announcements: at once, then at growing intervals.
const PAUSES: [u64; 6] = [100, 200, 700, 1000, 2000, 4000];

/// The announcements of an address heard so far, each with when.
fn news<T>(
    capture: &Capture,
    mac: Mac,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Vec<(SystemTime, T)> {
    capture.find(|frame| {
        let told = parse(&frame.bytes).filter(|_| is_from(frame, mac))?;
        Some((frame.time, told))
    })
}

/// Whether the rounds of an announcement kept their pauses. The machine may be slow, never fast.
fn check_pauses(times: &[SystemTime]) -> Result<()> {
    for (i, (pair, pause)) in times.windows(2).zip(PAUSES).enumerate() {
        let took = pair[1].duration_since(pair[0])?;
        let pause = Duration::from_millis(pause);
        ensure!(
            took + Duration::from_millis(20) >= pause && took < pause + Duration::from_millis(500),
            "pause {i} was {took:?}, not {pause:?}"
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn announcements_and_answers_are_as_the_rfcs_say() -> Result<()> {
    let lab = layer2::start(Lab::builder().nodes(2).proxy(ProxyMode::None)).await?;
    let capture = lab.capture("client", "lan0")?;
    let node = announce(&lab).await?;
    let mac = lab.mac(&node, "lan0")?;

    // The rest of the announcement goes on meanwhile; answers differ from it.
    answers_arp(&lab, mac)?;
    answers_ndp(&lab, mac)?;
    ignores_arp(&lab, mac)?;
    ignores_ndp(&lab, mac)?;
    announced(&capture, mac).await?;

    // The other node said nothing at all of these addresses.
    let other = if node == "n1" { "n2" } else { "n1" };
    let other = lab.mac(other, "lan0")?;
    let of_other = capture.find(|frame| {
        let arp = Arp::parse(&frame.bytes).is_some_and(|arp| arp.sender == FOUR);
        let ndp = Advertisement::parse(&frame.bytes).is_some_and(|news| news.target == SIX);
        (is_from(frame, other) && (arp || ndp)).then(|| frame.bytes.clone())
    });
    ensure!(of_other.is_empty(), "{of_other:02x?}");
    lab.down().await
}

/// Gratuitous ARP, request and reply, and unsolicited advertisements: their fields and times.
async fn announced(capture: &Capture, mac: Mac) -> Result<()> {
    let rounds = PAUSES.len() + 1;
    let arp = |bytes: &[u8]| Arp::parse(bytes).filter(|a| a.target == FOUR && a.sender == FOUR);
    let unasked = |bytes: &[u8]| Advertisement::parse(bytes).filter(|news| !news.solicited);
    let told = |bytes: &[u8]| unasked(bytes).filter(|news| news.target == SIX);
    eventually(
        Duration::from_secs(15),
        "all rounds of the announcement",
        async || {
            let (four, six) = (news(capture, mac, arp), news(capture, mac, told));
            ensure!(
                four.len() >= 2 * rounds && six.len() >= rounds,
                "{} {}",
                four.len(),
                six.len()
            );
            Ok(Some(()))
        },
    )
    .await?;

    let four = news(capture, mac, arp);
    ensure!(four.len() == 2 * rounds, "{four:?}");
    for (i, (_, arp)) in four.iter().enumerate() {
        let expected = Arp {
            to: Mac::BROADCAST,
            from: mac,
            operation: if i % 2 == 0 { 1 } else { 2 },
            sender_mac: mac,
            sender: FOUR,
            target_mac: Mac::BROADCAST,
            target: FOUR,
        };
        ensure!(*arp == expected, "{arp:?}");
    }
    let times: Vec<SystemTime> = four.iter().step_by(2).map(|(time, _)| *time).collect();
    check_pauses(&times)?;

    looked_before(capture, mac, times.first().copied())?;

    let six = news(capture, mac, told);
    // The answer to a duplicate address detection looks the same; there was one.
    ensure!(six.len() == rounds + 1, "{six:?}");
    for (_, news) in &six {
        ensure!(*news == unsolicited(mac), "{news:?}");
    }

    // Of the frame itself: no shorter than Ethernet allows, the padding is zeros.
    let frames = capture.find(|frame| {
        arp(&frame.bytes)
            .filter(|_| is_from(frame, mac))
            .map(|_| frame.bytes.clone())
    });
    for frame in frames {
        ensure!(
            frame.len() == 60 && frame[42..].iter().all(|byte| *byte == 0),
            "{frame:02x?}"
        );
    }
    Ok(())
}

/// Before the first announcement the LAN was asked three times whether anybody has the address, and
/// never after: as an ARP probe (RFC 5227 2.1.1), as duplicate address detection (RFC 4862 5.4.2). There
/// may be others before those: the election goes to and fro while the nodes settle.
fn looked_before(capture: &Capture, mac: Mac, announced: Option<SystemTime>) -> Result<()> {
    let probe = |bytes: &[u8]| {
        let arp = Arp::parse(bytes)?;
        (arp.target == FOUR && arp.sender == Ipv4Addr::UNSPECIFIED).then_some(arp)
    };
    let four = news(capture, mac, probe);
    ensure!(four.len() >= 3, "{four:?}");
    for (_, probe) in &four {
        let expected = Arp {
            to: Mac::BROADCAST,
            from: mac,
            operation: 1,
            sender_mac: mac,
            sender: Ipv4Addr::UNSPECIFIED,
            target_mac: Mac([0; 6]),
            target: FOUR,
        };
        ensure!(*probe == expected, "{probe:?}");
    }
    let last = four.last().map(|(time, _)| *time);
    ensure!(last < announced, "{last:?}, announced at {announced:?}");

    // A neighbor solicitation with the unspecified source.
    let detection = |bytes: &[u8]| {
        let is_one = bytes.get(12..14)? == [0x86, 0xdd]
            && bytes.get(20..22)? == [58, 255]
            && bytes.get(22..38)? == [0; 16]
            && bytes.get(54)? == &135
            && bytes.get(62..78)? == SIX.octets();
        is_one.then_some(())
    };
    let six = news(capture, mac, detection);
    ensure!(six.len() >= 3, "{} detections", six.len());
    Ok(())
}

fn unsolicited(mac: Mac) -> Advertisement {
    Advertisement {
        to: ALL_NODES_MAC,
        from: mac,
        source: SIX,
        destination: ALL_NODES,
        hop_limit: 255,
        target: SIX,
        router: false,
        solicited: false,
        override_: true,
        target_mac: Some(mac),
        checksum_ok: true,
    }
}

fn answers_arp(lab: &Lab, mac: Mac) -> Result<()> {
    let socket = lab.packet_socket("client", "lan0")?;
    let broadcast = Arp::request(socket.mac(), CLIENT, FOUR);
    let reply = |asked: Arp| Arp {
        to: asked.sender_mac,
        from: mac,
        operation: 2,
        sender_mac: mac,
        sender: FOUR,
        target_mac: asked.sender_mac,
        target: asked.sender,
    };
    let unicast = Arp {
        to: mac,
        ..broadcast
    };
    // RFC 5227: a probe, from a host that does not have an address yet.
    let probe = Arp {
        sender: Ipv4Addr::UNSPECIFIED,
        ..broadcast
    };
    // The target's hardware address is what is asked for; its content means nothing.
    let filled = Arp {
        target_mac: Mac::BROADCAST,
        ..broadcast
    };
    for question in [broadcast, unicast, probe, filled] {
        let bytes = answer(&socket, mac, &question.to_frame())?;
        ensure!(
            Arp::parse(&bytes) == Some(reply(question)),
            "{question:?}: {bytes:02x?}"
        );
        ensure!(
            bytes.len() == 60 && bytes[42..].iter().all(|byte| *byte == 0),
            "{bytes:02x?}"
        );
    }
    // An unpadded question is as good, and so is one with a trailer.
    let frame = broadcast.to_frame();
    answer(&socket, mac, &frame[..42])?;
    answer(&socket, mac, &[&frame[..], &[0xaa; 40]].concat())?;

    Ok(())
}

fn ignores_arp(lab: &Lab, mac: Mac) -> Result<()> {
    let socket = lab.packet_socket("client", "lan0")?;
    let broadcast = Arp::request(socket.mac(), CLIENT, FOUR);
    for (what, question) in [
        (
            "another address",
            Arp {
                target: FREE_FOUR,
                ..broadcast
            },
        ),
        (
            "a reply",
            Arp {
                operation: 2,
                ..broadcast
            },
        ),
        (
            "a RARP request",
            Arp {
                operation: 3,
                ..broadcast
            },
        ),
        (
            "another station's unicast",
            Arp {
                to: Mac([2, 0, 0, 0, 0, 9]),
                ..broadcast
            },
        ),
        (
            "a multicast",
            Arp {
                to: ALL_NODES_MAC,
                ..broadcast
            },
        ),
        (
            "a multicast sender",
            Arp {
                sender_mac: ALL_NODES_MAC,
                ..broadcast
            },
        ),
        (
            "a broadcast sender",
            Arp {
                sender_mac: Mac::BROADCAST,
                ..broadcast
            },
        ),
        (
            "somebody else's announcement",
            Arp {
                sender: FOUR,
                ..broadcast
            },
        ),
        (
            "no sender",
            Arp {
                sender_mac: Mac([0; 6]),
                ..broadcast
            },
        ),
    ] {
        ensure_silence(&socket, mac, what, &question.to_frame())?;
    }
    Ok(())
}

/// The solicitation that a client sends first.
fn solicitation(mac: Mac) -> Solicitation {
    Solicitation {
        mac,
        source: CLIENT_SIX,
        target: SIX,
        source_option: true,
        unicast: None,
        hop_limit: 255,
    }
}

fn answers_ndp(lab: &Lab, mac: Mac) -> Result<()> {
    let socket = lab.packet_socket("client", "lan0")?;
    let multicast = solicitation(socket.mac());
    let expected = Advertisement {
        to: socket.mac(),
        destination: CLIENT_SIX,
        solicited: true,
        override_: false,
        ..unsolicited(mac)
    };
    let bare = Solicitation {
        source_option: false,
        ..multicast
    };
    for question in [
        multicast,
        bare,
        Solicitation {
            unicast: Some(mac),
            ..multicast
        },
        Solicitation {
            unicast: Some(mac),
            ..bare
        },
    ] {
        let bytes = answer(&socket, mac, &question.to_frame())?;
        ensure!(
            Advertisement::parse(&bytes) == Some(expected),
            "{question:?}: {bytes:02x?}"
        );
        ensure!(bytes.len() == 86, "{bytes:02x?}");
    }
    // Duplicate address detection: the asker has no address, so all nodes are told.
    let detection = Solicitation {
        source: Ipv6Addr::UNSPECIFIED,
        ..bare
    };
    let heard = hear(&socket, mac, &detection.to_frame())?;
    let told = heard.iter().filter_map(|bytes| Advertisement::parse(bytes));
    ensure!(
        told.clone().count() > 0,
        "duplicate address detection was not answered"
    );
    ensure!(
        told.clone().all(|news| news == unsolicited(mac)),
        "{heard:02x?}"
    );
    Ok(())
}

fn ignores_ndp(lab: &Lab, mac: Mac) -> Result<()> {
    let socket = lab.packet_socket("client", "lan0")?;
    let multicast = solicitation(socket.mac());
    let detection = Solicitation {
        source: Ipv6Addr::UNSPECIFIED,
        source_option: false,
        ..multicast
    };
    for (what, question) in [
        (
            "another address",
            Solicitation {
                target: FREE_SIX,
                ..multicast
            },
        ),
        (
            "another address in the same group",
            Solicitation {
                target: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0xa, 7),
                ..multicast
            },
        ),
        (
            "hop limit 254",
            Solicitation {
                hop_limit: 254,
                ..multicast
            },
        ),
        (
            "hop limit 1",
            Solicitation {
                hop_limit: 1,
                ..multicast
            },
        ),
        (
            "detection with an option",
            Solicitation {
                source_option: true,
                ..detection
            },
        ),
        (
            "detection by unicast",
            Solicitation {
                unicast: Some(mac),
                ..detection
            },
        ),
        (
            "a multicast target",
            Solicitation {
                target: ALL_NODES,
                ..multicast
            },
        ),
        (
            "a multicast source",
            Solicitation {
                source: ALL_NODES,
                ..multicast
            },
        ),
        (
            "another station's unicast",
            Solicitation {
                unicast: Some(Mac([2, 0, 0, 0, 0, 9])),
                ..multicast
            },
        ),
    ] {
        ensure_silence(&socket, mac, what, &question.to_frame())?;
    }
    let mut wrong = multicast.to_frame();
    wrong[56] ^= 1;
    ensure_silence(&socket, mac, "a wrong checksum", &wrong)?;
    Ok(())
}
