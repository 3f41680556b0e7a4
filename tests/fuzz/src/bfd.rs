//! BFD packets: read, and given to a session.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use herald_bfd::{Arrival, ControlPacket, Hops, Inbox, PACKET_LEN, Path, Sessions, Settings, TTL};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// What is read is written the same; a session of the peer's answers with one packet at most, and
/// what it says is right.
pub(crate) fn packet(payload: &[u8]) {
    if let Ok(packet) = ControlPacket::parse(payload) {
        assert_eq!(ControlPacket::parse(&packet.encode()), Ok(packet));
        assert_ne!((packet.my_discriminator, packet.detect_multiplier), (0, 0));
    }
    let now = Instant::now();
    let mut sessions = Sessions::new([7; 32]);
    let path = Path::SingleHop {
        peer: PEER,
        interface: Some(2),
    };
    let settings = Settings::default();
    sessions.add(now, path, settings).expect("a path");
    let arrival = Arrival {
        hops: Hops::Single,
        from: PEER,
        to: Ipv4Addr::new(192, 0, 2, 1).into(),
        interface: 2,
        ttl: TTL,
    };
    sessions.handle_timeout(now, Inbox::Empty);
    while sessions.poll_transmit(now).is_some() {}
    // More than one packet may be in it.
    for payload in payload.chunks(PACKET_LEN) {
        let _ = sessions.handle_packet(now, &arrival, payload);
        let mut answers = 0;
        while let Some(transmit) = sessions.poll_transmit(now) {
            ControlPacket::parse(&transmit.payload).expect("a right packet");
            answers += 1;
        }
        let mut events = 0;
        while sessions.poll_event().is_some() {
            events += 1;
        }
        assert!(answers <= 1 && events <= 1, "{answers} {events}");
    }
}
