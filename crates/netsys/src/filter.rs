//! Classic BPF programs for packet sockets.

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

/// Where the kernel's own data about a frame has the index of the interface it was received on, the
/// topmost one (`SKF_AD_OFF + SKF_AD_IFINDEX`).
const RECEIVING_INTERFACE: u32 = 0xffff_f000 + 8;

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
