//! A scripted BFD peer for a single hop over IPv4 (RFC 5881): it answers only as it is told.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use herald_lab::{Netns, PacketSocket};

use super::packet::{DOWN, INIT, Packet, UP};

/// A packet that the peer received, with what was around it.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// When the kernel saw it.
    pub time: SystemTime,
    /// The time to live.
    pub ttl: u8,
    /// The source port.
    pub port: u16,
    /// The octets of UDP payload.
    pub length: usize,
    /// The packet.
    pub packet: Packet,
}

/// A peer on an address of a namespace.
#[derive(Debug)]
pub struct RawBfd {
    socket: UdpSocket,
    wire: PacketSocket,
    local: Ipv4Addr,
    remote: Ipv4Addr,
    /// What it sends next; scripts change it.
    pub packet: Packet,
    /// How often it sends by itself in [`Self::run`].
    pub every: Duration,
    /// Whether it stands still: receives and sends nothing by itself.
    pub silent: bool,
    sent: Instant,
}

impl RawBfd {
    /// A peer that is down and would like 50 ms. Its multiplier of 40 lets a speaker miss two seconds
    /// of its packets, for machines that are busy.
    pub fn new(netns: &Netns, interface: &str, local: Ipv4Addr, remote: Ipv4Addr) -> Result<Self> {
        let socket = netns.run(|| -> Result<UdpSocket> {
            // The source port's range is a rule (RFC 5881, 4).
            let mut ports = 49152..=65535;
            let socket = ports
                .find_map(|port| UdpSocket::bind((local, port)).ok())
                .context("no port is free")?;
            socket.connect((remote, 3784))?;
            socket.set_ttl(255)?;
            Ok(socket)
        })??;
        let mine = u32::from(local);
        Ok(Self {
            socket,
            wire: PacketSocket::open(netns, interface)?,
            local,
            remote,
            packet: Packet {
                multiplier: 40,
                ..Packet::down(mine, 50_000)
            },
            every: Duration::from_millis(40),
            silent: false,
            sent: Instant::now(),
        })
    }

    /// Sends bytes with a time to live.
    pub fn send(&self, bytes: &[u8], ttl: u32) -> Result<()> {
        self.socket.set_ttl(ttl)?;
        match self.socket.send(bytes) {
            // Nobody listened a moment ago.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            other => drop(other?),
        }
        self.socket.set_ttl(255)?;
        Ok(())
    }

    /// Sends its packet.
    pub fn send_packet(&mut self) -> Result<()> {
        self.sent = Instant::now();
        self.send(&self.packet.to_bytes(), 255)
    }

    /// The next packet of the speaker until the deadline. Nothing is sent.
    pub fn receive(&self, deadline: Instant) -> Result<Option<Received>> {
        while let Some(frame) = self.wire.receive(deadline)? {
            let bytes = &frame.bytes;
            let Some(header) = bytes.first_chunk::<42>() else {
                continue;
            };
            let udp = header[12..14] == [8, 0] && header[14] == 0x45 && header[23] == 17;
            let from = header[26..30] == self.remote.octets();
            let to = header[30..34] == self.local.octets();
            if frame.outgoing || !udp || !from || !to || header[36..38] != 3784_u16.to_be_bytes() {
                continue;
            }
            let length = usize::from(u16::from_be_bytes([header[38], header[39]])).max(8) - 8;
            let payload = bytes.get(42..42 + length).context("a truncated frame")?;
            if let Some(packet) = Packet::read(payload) {
                return Ok(Some(Received {
                    time: frame.time,
                    ttl: header[22],
                    port: u16::from_be_bytes([header[34], header[35]]),
                    length,
                    packet,
                }));
            }
        }
        Ok(None)
    }

    /// Plays an ordinary session for a while: sends its packet again and again, knows the speaker's
    /// discriminator, answers Polls. What it received.
    pub fn run(&mut self, duration: Duration) -> Result<Vec<Received>> {
        self.run_until(duration, |_| false).map(|(all, _)| all)
    }

    /// [`Self::run`], at most until a packet is wanted; whether one was.
    pub fn run_until(
        &mut self,
        duration: Duration,
        mut wanted: impl FnMut(&Received) -> bool,
    ) -> Result<(Vec<Received>, bool)> {
        let end = Instant::now() + duration;
        let mut all = Vec::new();
        while Instant::now() < end {
            if !self.silent && self.sent.elapsed() >= self.every {
                self.send_packet()?;
            }
            let next = if self.silent {
                end
            } else {
                end.min(self.sent + self.every)
            };
            let Some(received) = self.receive(next)? else {
                continue;
            };
            if !self.silent && received.packet.mine != 0 {
                self.packet.yours = received.packet.mine;
            }
            if received.packet.poll && !self.silent {
                let answer = Packet {
                    final_: true,
                    poll: false,
                    ..self.packet
                };
                self.send(&answer.to_bytes(), 255)?;
            }
            all.push(received);
            if wanted(&received) {
                return Ok((all, true));
            }
        }
        Ok((all, false))
    }

    /// Brings the session up as RFC 5880, 6.2 has it, from Down; what it received on the way.
    pub fn up(&mut self) -> Result<Vec<Received>> {
        const LONG: Duration = Duration::from_secs(8);
        self.packet.state = DOWN;
        self.packet.yours = 0;
        let (mut all, init) = self.run_until(LONG, |one| {
            one.packet.state == INIT || one.packet.state == DOWN && one.packet.yours == 0
        })?;
        if !init {
            bail!("no packet of the speaker in {LONG:?}");
        }
        if all.last().is_some_and(|one| one.packet.state == DOWN) {
            self.packet.state = INIT;
        } else {
            self.packet.state = UP;
        }
        let (more, up) = self.run_until(LONG, |one| one.packet.state == UP)?;
        all.extend(more);
        if !up {
            bail!("the session has not come up in {LONG:?}");
        }
        self.packet.state = UP;
        // Until it sends fast, and no Poll is open.
        all.extend(self.run(Duration::from_millis(1200))?);
        Ok(all)
    }
}
