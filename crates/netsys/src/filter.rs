//! Classic BPF programs for sockets.

use socket2::SockFilter;

use crate::Error;

/// The longest program the kernel takes (`BPF_MAXINSNS`), with the guard of this crate in front.
pub const MAX_INSTRUCTIONS: usize = 4096 - GUARD;

/// The number of instructions that [`guarded`] puts in front.
const GUARD: usize = 3;

/// One classic BPF instruction, as `struct sock_filter` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if a test holds.
    pub jt: u8,
    /// Instructions to skip if a test does not hold.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF: u16 = 0x28;
const JUMP_IF_NOT_LESS: u16 = 0x35;
const JUMP_IF_ANY: u16 = 0x45;
/// Loads a half word behind the index.
const LOAD_HALF_BEHIND: u16 = 0x48;
/// The protocol number of UDP.
pub(crate) const UDP: u8 = 17;
/// Makes the length of an IPv4 header, which the byte there has, the index.
const INDEX_BEHIND_HEADER: u16 = 0xb1;

/// Where the network header begins, for a program that begins behind it (`SKF_NET_OFF`).
const NETWORK_HEADER: u32 = 0xfff0_0000;

/// Where the kernel's own data about a frame has the index of the interface it was received on, the
/// topmost one (`SKF_AD_OFF + SKF_AD_IFINDEX`).
const RECEIVING_INTERFACE: u32 = 0xffff_f000 + 8;

/// Takes packets that arrive with this TTL or hop limit, or a higher one, at a UDP socket. For these the
/// kernel knows no option: `IP_MINTTL` and `IPV6_MINHOPCOUNT` are heeded by TCP alone.
pub(crate) fn least_hop_limit(v6: bool, least: u8) -> [SockFilter; 4] {
    let place = if v6 { 7 } else { 8 };
    [
        SockFilter::new(LOAD_BYTE, 0, 0, NETWORK_HEADER + place),
        SockFilter::new(JUMP_IF_NOT_LESS, 0, 1, least.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Takes whole UDP datagrams to `port` with this TTL or a higher one, of frames that begin with their
/// IPv4 header.
pub(crate) fn datagrams_to(port: u16, least_ttl: u8) -> [Instruction; 11] {
    const fn step(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }
    [
        step(LOAD_BYTE, 0, 0, 9),
        step(JUMP_IF_EQUAL, 0, 8, UDP.into()),
        step(LOAD_BYTE, 0, 0, 8),
        step(JUMP_IF_NOT_LESS, 0, 6, least_ttl.into()),
        // More fragments, or not the first.
        step(LOAD_HALF, 0, 0, 6),
        step(JUMP_IF_ANY, 4, 0, 0x3fff),
        step(INDEX_BEHIND_HEADER, 0, 0, 0),
        step(LOAD_HALF_BEHIND, 0, 0, 2),
        step(JUMP_IF_EQUAL, 0, 1, port.into()),
        step(RETURN, 0, 0, u32::MAX),
        step(RETURN, 0, 0, 0),
    ]
}

/// Of what netlink tells about routes, links and addresses it takes the default routes, the links, and
/// the addresses that go.
pub(crate) fn route_news() -> [SockFilter; 8] {
    // `nlmsg_type` is in the order of this host, and loaded in that of the network.
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        SockFilter::new(LOAD_HALF, 0, 0, 4),
        SockFilter::new(JUMP_IF_EQUAL, 5, 0, kind(libc::RTM_NEWADDR)),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, kind(libc::RTM_NEWROUTE)),
        SockFilter::new(JUMP_IF_EQUAL, 0, 2, kind(libc::RTM_DELROUTE)),
        // `rtm_dst_len`.
        SockFilter::new(LOAD_BYTE, 0, 0, 17),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// `program` behind a guard that drops what another interface received.
///
/// A packet socket on a physical interface also gets the frames of the VLAN, macvlan and bond
/// interfaces above it. Answered from there they would tell the client a MAC of a different
/// network.
pub(crate) fn guarded(interface: u32, program: &[Instruction]) -> Result<Vec<SockFilter>, Error> {
    if program.len() > MAX_INSTRUCTIONS {
        return Err(Error::FilterTooLong {
            length: program.len() + GUARD,
            max: MAX_INSTRUCTIONS + GUARD,
        });
    }
    let guard = [
        SockFilter::new(LOAD_WORD, 0, 0, RECEIVING_INTERFACE),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, interface),
        SockFilter::new(RETURN, 0, 0, 0),
    ];
    let rest = program
        .iter()
        .map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k));
    Ok(guard.into_iter().chain(rest).collect())
}
