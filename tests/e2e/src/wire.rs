//! Questions to the owner of an address, frame by frame, and its answers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_lab::{Advertisement, Arp, Frame, Lab, Mac, PacketSocket};

use crate::layer2::{elected, names, wait_owner};

/// The IPv4 address of [`announce`]'s Service.
pub const FOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 7);

/// The IPv6 address of [`announce`]'s Service.
pub const SIX: Ipv6Addr = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0xa, 7);

/// The client's IPv6 address on the LAN.
pub const CLIENT_SIX: Ipv6Addr = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, 100);

/// How long silence must last to count.
const SILENCE: Duration = Duration::from_millis(150);

/// Makes a Service with [`FOUR`] and [`SIX`]; the node that announces them, once it does.
pub async fn announce(lab: &Lab) -> Result<String> {
    lab.backends("web", &["n1"]).await?;
    lab.service("web")
        .annotation("metallb.io/loadBalancerIPs", &format!("{FOUR},{SIX}"))
        .dual_stack()
        .create()
        .await?;
    let node = elected(FOUR.into(), &names(lab));
    wait_owner(lab, FOUR.into(), &node).await?;
    wait_owner(lab, SIX.into(), &node).await?;
    Ok(node)
}

/// Whether a station with this address sent the frame.
pub fn is_from(frame: &Frame, mac: Mac) -> bool {
    frame.bytes.get(6..12) == Some(&mac.0[..])
}

/// Whether a frame is an answer rather than news for all.
pub fn is_answer(frame: &[u8]) -> bool {
    Arp::parse(frame).is_some_and(|arp| arp.operation == 2 && arp.to != Mac::BROADCAST)
        || Advertisement::parse(frame).is_some_and(|advertisement| advertisement.solicited)
}

/// All frames that arrive from `mac` within a time after `question` was sent.
pub fn hear(socket: &PacketSocket, mac: Mac, question: &[u8]) -> Result<Vec<Vec<u8>>> {
    // What came before is no answer.
    while socket.receive(Instant::now())?.is_some() {}
    socket.send(question)?;
    let deadline = Instant::now() + SILENCE;
    let mut heard = Vec::new();
    while let Some(frame) = socket.receive(deadline)? {
        if !frame.outgoing && is_from(&frame, mac) {
            heard.push(frame.bytes);
        }
    }
    Ok(heard)
}

/// The answers of `mac` to a question. Rounds of an announcement may go on meanwhile: what is told
/// to all does not count here.
fn answers(socket: &PacketSocket, mac: Mac, question: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut heard = hear(socket, mac, question)?;
    heard.retain(|frame| is_answer(frame));
    Ok(heard)
}

/// The one answer of `mac` to a question.
pub fn answer(socket: &PacketSocket, mac: Mac, question: &[u8]) -> Result<Vec<u8>> {
    let mut answers = answers(socket, mac, question)?;
    let count = answers.len();
    ensure!(
        count == 1,
        "{count} answers to {question:02x?}: {answers:02x?}"
    );
    answers.pop().context("there is one")
}

/// Asks, and makes sure that `mac` does not answer.
pub fn ensure_silence(socket: &PacketSocket, mac: Mac, what: &str, question: &[u8]) -> Result<()> {
    let answers = answers(socket, mac, question)?;
    ensure!(answers.is_empty(), "{what} was answered: {answers:02x?}");
    Ok(())
}
