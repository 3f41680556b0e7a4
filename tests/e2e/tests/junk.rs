//! Malformed frames of every kind, at the owner's port of the LAN.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::layer2::{self, CLIENT, names, wait_owner};
use herald_e2e::wire::{
    CLIENT_SIX, FOUR, SIX, announce, answer, ensure_silence, is_answer, is_from,
};
use herald_lab::{
    Advertisement, Arp, Lab, Mac, PacketSocket, ProxyMode, Solicitation, checksum, ipv6_frame,
};

/// A solicitation that is answered.
fn solicitation(client: Mac, unicast: Option<Mac>) -> Vec<u8> {
    let question = Solicitation {
        mac: client,
        source: CLIENT_SIX,
        target: SIX,
        source_option: true,
        unicast,
        hop_limit: 255,
    };
    question.to_frame()
}

/// Frames with something wrong in them, each with what it is. The base of all of them is a question
/// that would be answered.
fn malformed(client: Mac, owner: Mac) -> Vec<(String, Vec<u8>)> {
    let arp = Arp::request(client, CLIENT, FOUR).to_frame();
    let ndp = [
        solicitation(client, None),
        solicitation(client, Some(owner)),
    ];
    let mut all = Vec::new();
    for length in 14..42 {
        all.push((format!("ARP cut to {length} bytes"), arp[..length].to_vec()));
    }
    for (offset, field, good) in [
        (14, "hardware type", [0, 1]),
        (16, "protocol type", [8, 0]),
        (18, "address lengths", [6, 4]),
        (20, "operation", [0, 1]),
    ] {
        for value in [
            [0, 0],
            [0, 1],
            [1, 0],
            [8, 0],
            [6, 16],
            [4, 6],
            [6, 255],
            [255, 4],
            [255, 255],
        ] {
            if value != good {
                let mut frame = arp.clone();
                frame[offset..offset + 2].copy_from_slice(&value);
                all.push((format!("ARP with {field} {value:?}"), frame));
            }
        }
    }
    for frame in &ndp {
        for length in 14..frame.len() {
            all.push((
                format!("NS cut to {length} bytes"),
                frame[..length].to_vec(),
            ));
        }
        for length in [0_u16, 1, 4, 23, 25, 31, 33, 1500, 0xffff] {
            let mut frame = frame.clone();
            frame[18..20].copy_from_slice(&length.to_be_bytes());
            all.push((format!("NS with payload length {length}"), frame));
        }
        for version in [0x00, 0x40, 0x50, 0x70, 0xf0] {
            let mut frame = frame.clone();
            frame[14] = version;
            all.push((format!("NS with version byte {version:02x}"), frame));
        }
    }
    all.extend(bad_messages(client, owner));
    // Tagged: the answer would go to another network.
    for tag in [[0x81, 0x00, 0, 5], [0x88, 0xa8, 0, 5]] {
        for frame in [&arp, &ndp[0]] {
            let tagged = [&frame[..12], &tag, &frame[12..]].concat();
            all.push((format!("a frame with the tag {tag:02x?}"), tagged));
        }
    }
    all
}

/// Solicitations with a right checksum and wrong options, codes or headers.
fn bad_messages(client: Mac, owner: Mac) -> Vec<(String, Vec<u8>)> {
    let message = |code: u8, options: &[u8]| {
        let mut message = vec![135, code, 0, 0, 0, 0, 0, 0];
        message.extend(SIX.octets());
        message.extend(options);
        let sum = checksum(CLIENT_SIX, SIX, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    };
    let frame = |message: &[u8]| ipv6_frame(owner, client, CLIENT_SIX, SIX, 255, message);
    let link_layer = |length: u8| [&[1, length], &client.0[..]].concat();
    let good = link_layer(1);
    let options = [
        ("length zero", link_layer(0)),
        ("length zero, and unknown", vec![253, 0, 0, 0, 0, 0, 0, 0]),
        (
            "length zero behind a good one",
            [&good[..], &[14, 0, 0, 0, 0, 0, 0, 0]].concat(),
        ),
        ("length beyond the end", link_layer(2)),
        ("greatest length", link_layer(255)),
        ("half of it", vec![1, 1, 2]),
        ("one byte of it", vec![1]),
        ("too long", [&link_layer(2)[..], &[0; 8]].concat()),
    ];
    let mut all = Vec::new();
    for (what, options) in options {
        let what = format!("NS with an option: {what}");
        all.push((what, frame(&message(0, &options))));
    }
    all.push(("NS with code 1".into(), frame(&message(1, &good))));
    // RFC 6980: no solicitation comes behind an extension header or in fragments.
    for header in [0, 43, 44, 60] {
        let behind = [&[58, 0, 0, 0, 0, 0, 0, 0][..], &message(0, &good)].concat();
        let mut frame = frame(&behind);
        frame[20] = header;
        all.push((format!("NS behind extension header {header}"), frame));
    }
    all
}

/// A generator of bytes that are the same in every run (xorshift).
struct Junk(u64);

impl Junk {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }

    fn below(&mut self, end: usize) -> usize {
        let number = usize::from(self.byte()) << 8 | usize::from(self.byte());
        number % end
    }

    /// Bytes of no meaning, of a length that a frame may have.
    fn frame(&mut self, to: Mac, from: Mac) -> Vec<u8> {
        let ether_type = [[0x08, 0x06], [0x86, 0xdd], [0x08, 0x00]][self.below(3)];
        let mut frame = [&to.0[..], &from.0, &ether_type].concat();
        for _ in 0..self.below(1501) {
            frame.push(self.byte());
        }
        frame
    }

    /// A good frame with a few other bytes in it; some are cut, some have more behind them.
    fn damage(&mut self, good: &[u8]) -> Vec<u8> {
        let mut frame = good.to_vec();
        for _ in 0..=self.below(6) {
            let at = 12 + self.below(frame.len() - 12);
            frame[at] = self.byte();
        }
        match self.below(4) {
            0 => frame.truncate(14 + self.below(frame.len() - 14)),
            1 => frame.resize(1514, 0xa5),
            _ => {}
        }
        frame
    }
}

/// Sends many frames that are junk or almost good.
fn send_junk(socket: &PacketSocket, owner: Mac) -> Result<()> {
    let client = socket.mac();
    let request = Arp::request(client, CLIENT, FOUR);
    let good = [
        request.to_frame(),
        Arp {
            to: owner,
            ..request
        }
        .to_frame(),
        solicitation(client, None),
        solicitation(client, Some(owner)),
    ];
    let mut junk = Junk(0x9e37_79b9_7f4a_7c15);
    for _ in 0..5_000 {
        for good in &good {
            socket.send(&junk.damage(good))?;
        }
        socket.send(&junk.frame(owner, client))?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn malformed_frames_of_every_kind_leave_the_speaker_running_and_answering() -> Result<()> {
    let lab = layer2::start(Lab::builder().nodes(2).proxy(ProxyMode::None)).await?;
    let node = announce(&lab).await?;
    let mac = lab.mac(&node, "lan0")?;
    let speaker = lab.process(&format!("speaker-{node}"));
    let speaker = speaker.context("the owner has a speaker")?;
    let socket = lab.packet_socket("client", "lan0")?;
    let question = Arp::request(socket.mac(), CLIENT, FOUR).to_frame();

    // None of these is a question. An answer to a later one comes after those to earlier ones.
    let capture = lab.capture("client", "lan0")?;
    for (what, frame) in malformed(socket.mac(), mac) {
        socket.send(&frame).with_context(|| what.clone())?;
    }
    let ndp = solicitation(socket.mac(), None);
    for question in [&question, &ndp] {
        answer(&socket, mac, question)?;
    }
    let answers = capture.find(|frame| {
        let answer = is_from(frame, mac) && is_answer(&frame.bytes);
        answer.then(|| frame.bytes.clone())
    });
    if answers.len() != 2 {
        // Which one was it?
        for (what, frame) in malformed(socket.mac(), mac) {
            ensure_silence(&socket, mac, &what, &frame)?;
        }
        anyhow::bail!("malformed frames were answered: {answers:02x?}");
    }

    // Some of the junk is a question by chance; then the answer is as good as any.
    let before = speaker.rss_bytes()?;
    let start = Instant::now();
    send_junk(&socket, mac)?;
    let lasted = start.elapsed();
    for address in [IpAddr::from(FOUR), IpAddr::from(SIX)] {
        wait_owner(&lab, address, &node).await?;
    }
    let bad = capture.find(|frame| {
        let arp = Arp::parse(&frame.bytes).filter(|arp| arp.sender == FOUR && is_from(frame, mac));
        let news = Advertisement::parse(&frame.bytes).filter(|news| news.target == SIX);
        let good = arp.is_none_or(|arp| arp.sender_mac == mac)
            && news.is_none_or(|news| {
                news.target_mac == Some(mac) && news.checksum_ok && news.hop_limit == 255
            });
        (!good && !frame.outgoing).then(|| frame.bytes.clone())
    });
    ensure!(bad.is_empty(), "{bad:02x?}");
    for node in names(&lab) {
        let speaker = lab.process(&format!("speaker-{node}"));
        let speaker = speaker.context("a node has a speaker")?;
        let well = speaker.is_running() && !speaker.log().contains("panicked");
        ensure!(well, "after {lasted:?} of junk: {}", speaker.log_tail(20));
    }
    let grown = speaker.rss_bytes()?.saturating_sub(before);
    ensure!(grown < 4 << 20, "the speaker grew by {grown} bytes");
    lab.down().await
}
