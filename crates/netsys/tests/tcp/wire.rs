//! Both ends of the cable, and what is seen on it.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use herald_netsys::tcp::{Options, connect};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Namespace, PATIENCE, until};

/// The BGP port of the other end of a cable: IPv4, IPv6, and link-local on the interface with this
/// index.
pub(crate) fn there(subnet: u8, index: u32) -> [SocketAddr; 3] {
    let link_local = "fe80::2".parse().expect("an address");
    [
        format!("192.0.{subnet}.2:179").parse().expect("an address"),
        format!("[2001:db8:{subnet}::2]:179")
            .parse()
            .expect("an address"),
        SocketAddrV6::new(link_local, 179, 0, index).into(),
    ]
}

/// The addresses of this end that go with [`there`].
pub(crate) fn here(subnet: u8) -> [IpAddr; 3] {
    [
        format!("192.0.{subnet}.1").parse().expect("an address"),
        format!("2001:db8:{subnet}::1").parse().expect("an address"),
        "fe80::1".parse().expect("an address"),
    ]
}

/// Says something in both directions.
pub(crate) async fn talk(mut one: TcpStream, mut other: TcpStream) -> (TcpStream, TcpStream) {
    let talk = async {
        let mut read = [0; 4];
        one.write_all(b"ping").await.expect("written");
        other.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"ping");
        other.write_all(b"pong").await.expect("written");
        one.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"pong");
    };
    timeout(PATIENCE, talk).await.expect("in time");
    (one, other)
}

/// Tries to connect until `namespace` has dropped a packet for the reason that `counter` counts.
pub(crate) async fn refused(options: &Options, namespace: &Namespace, counter: &str) {
    let before = namespace.counter(counter);
    let dropped = until(counter, || namespace.counter(counter) > before);
    tokio::select! {
        result = connect(options) => panic!("{options:?}: {result:?}"),
        () = dropped => {}
    }
}

/// The fields of an IP header that are of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) hop_limit: u8,
    /// Without the two bits for congestion.
    pub(crate) traffic_class: u8,
}

/// Sees all packets that arrive in a namespace, with their IP headers.
pub(crate) struct Capture(Socket);

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

impl Capture {
    pub(crate) fn open(namespace: &Namespace, family_of: SocketAddr) -> Self {
        let ether_type = if family_of.is_ipv4() { IPV4 } else { IPV6 };
        // Of a packet socket the protocol is in network order, and the link header is cut off.
        let protocol = Protocol::from(i32::from(ether_type.to_be()));
        let socket = namespace
            .within(|| Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)))
            .expect("a packet socket");
        socket.set_nonblocking(true).expect("does not wait");
        Self(socket)
    }

    /// Of the TCP packets that have arrived, those between two ports.
    pub(crate) fn headers(&self, from: u16, to: u16) -> Vec<Header> {
        let mut headers = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok(length) = (&self.0).read(&mut buffer) {
            headers.extend(parse(&buffer[..length], from, to));
        }
        headers
    }
}

fn parse(packet: &[u8], from: u16, to: u16) -> Option<Header> {
    let (traffic_class, hop_limit, protocol, length) = if packet[0] >> 4 == 4 {
        let length = usize::from(packet[0] & 15) * 4;
        (packet[1], packet[8], packet[9], length)
    } else {
        (packet[0] << 4 | packet[1] >> 4, packet[7], packet[6], 40)
    };
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let tcp = protocol == 6 && packet[length..].starts_with(&ports);
    tcp.then_some(Header {
        hop_limit,
        traffic_class: traffic_class & 0xfc,
    })
}
