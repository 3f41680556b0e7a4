//! Classic BPF programs that leave frames for others in the kernel.
//!
//! They are data: whoever has the socket attaches them, before it is bound, and again after every
//! change of the addresses. A program lets pass every frame that the
//! [`Responder`](crate::Responder) would answer or see something in, and few others: the addresses are
//! compared as at most [`MAX_RANGES`] ranges, and of an IPv6 address only the last 32 bits.
//!
//! Offsets count from the Ethernet header, as an `AF_PACKET` socket of type `SOCK_RAW` has it.

use crate::addresses::{AddressSet, Attention};

mod ranges;

use ranges::Range;

/// The most ranges that a program compares with at a time. Twice 64 ranges, those that are watched
/// and those that are answered for, make a program of less than 600 instructions. The kernel would
/// take 4096, but it charges the translated program to the socket, twice while one replaces another,
/// and `net.core.optmem_max` is 20 KiB before Linux 6.8.
pub const MAX_RANGES: usize = 64;

/// An instruction, with the fields of the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip if the comparison holds.
    pub jt: u8,
    /// How many instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// The operations that the programs use, named as in `linux/bpf_common.h`.
pub mod op {
    /// `BPF_LD | BPF_W | BPF_ABS`: load 32 bits at offset `k`.
    pub const LOAD_WORD: u16 = 0x20;
    /// `BPF_LD | BPF_H | BPF_ABS`: load 16 bits.
    pub const LOAD_HALF: u16 = 0x28;
    /// `BPF_LD | BPF_B | BPF_ABS`: load 8 bits.
    pub const LOAD_BYTE: u16 = 0x30;
    /// `BPF_JMP | BPF_JA`: skip `k` instructions.
    pub const JUMP: u16 = 0x05;
    /// `BPF_JMP | BPF_JEQ | BPF_K`.
    pub const JUMP_EQUAL: u16 = 0x15;
    /// `BPF_JMP | BPF_JGT | BPF_K`.
    pub const JUMP_GREATER: u16 = 0x25;
    /// `BPF_JMP | BPF_JGE | BPF_K`.
    pub const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
    /// `BPF_RET | BPF_K`: keep the first `k` bytes, 0 drops the frame.
    pub const RETURN: u16 = 0x06;
}

/// Loads from here are no bytes of the frame but what the kernel knows of it (`SKF_AD_OFF`).
pub const ANCILLARY: u32 = 0xffff_f000;
/// The packet type, `PACKET_HOST` and so on (`SKF_AD_PKTTYPE`).
pub const PACKET_TYPE: u32 = ANCILLARY + 4;
/// 1 if the network card has taken a VLAN tag off (`SKF_AD_VLAN_TAG_PRESENT`).
pub const VLAN_TAG_PRESENT: u32 = ANCILLARY + 48;

/// `PACKET_OTHERHOST`; what is less was sent to this host, what is more was sent by it.
const PACKET_OTHERHOST: u32 = 3;
/// More than any frame has.
const KEEP_ALL: u32 = 0x4_0000;

/// The program for ARP: what comes from a watched address, probes for one, and requests for an
/// address that is answered for.
pub fn arp(attention: &Attention) -> Vec<Instruction> {
    const OPERATION: u32 = 20;
    const SENDER: u32 = 28;
    const TARGET: u32 = 38;
    let ranges = |set: &AddressSet| {
        let numbers = set.v4().iter().map(|address| u32::from(*address));
        ranges::cover(numbers, MAX_RANGES)
    };
    let watched = ranges(attention.watched());
    let answered = ranges(attention.answered());
    if watched.is_empty() && answered.is_empty() {
        return vec![give_back(0)];
    }
    let mut code = start(&[(op::LOAD_HALF, 12, 0x0806)]);
    code.extend([
        load(op::LOAD_WORD, SENDER),
        jump(op::JUMP_EQUAL, 0, 0, 1),
        load(op::LOAD_WORD, TARGET),
    ]);
    keep_those_in(&watched, &mut code);
    code.extend([
        load(op::LOAD_HALF, OPERATION),
        jump(op::JUMP_EQUAL, 1, 1, 0),
        give_back(0),
        load(op::LOAD_WORD, TARGET),
    ]);
    keep_those_in(&answered, &mut code);
    code.push(give_back(0));
    code
}

/// The program for NDP: advertisements of watched addresses, solicitations from them, duplicate
/// address detections for them, and solicitations for addresses that are answered for; all with hop
/// limit 255 and without extension headers. Of an address only the end is compared.
pub fn ndp(attention: &Attention) -> Vec<Instruction> {
    const SOURCE: u32 = 22;
    const TYPE: u32 = 54;
    const TARGET_END: u32 = 74;
    let ranges = |set: &AddressSet| {
        let numbers = set.v6().iter().map(|address| {
            let [.., a, b, c, d] = address.octets();
            u32::from_be_bytes([a, b, c, d])
        });
        ranges::cover(numbers, MAX_RANGES)
    };
    let watched = ranges(attention.watched());
    let answered = ranges(attention.answered());
    if watched.is_empty() && answered.is_empty() {
        return vec![give_back(0)];
    }
    let mut code = start(&[
        (op::LOAD_HALF, 12, 0x86dd),
        (op::LOAD_BYTE, 20, 58),
        (op::LOAD_BYTE, 21, 255),
    ]);
    code.extend([
        load(op::LOAD_BYTE, TYPE),
        // To the load of the target.
        jump(op::JUMP_EQUAL, 136, 12, 0),
        jump(op::JUMP_EQUAL, 135, 1, 0),
        give_back(0),
        // An unspecified source, or to the load of its end.
        load(op::LOAD_WORD, SOURCE),
        jump(op::JUMP_EQUAL, 0, 0, 6),
        load(op::LOAD_WORD, SOURCE + 4),
        jump(op::JUMP_EQUAL, 0, 0, 4),
        load(op::LOAD_WORD, SOURCE + 8),
        jump(op::JUMP_EQUAL, 0, 0, 2),
        load(op::LOAD_WORD, SOURCE + 12),
        jump(op::JUMP_EQUAL, 0, 2, 0),
        load(op::LOAD_WORD, SOURCE + 12),
        load(op::JUMP, 1),
        load(op::LOAD_WORD, TARGET_END),
    ]);
    keep_those_in(&watched, &mut code);
    code.extend([
        load(op::LOAD_BYTE, TYPE),
        jump(op::JUMP_EQUAL, 135, 1, 0),
        give_back(0),
        load(op::LOAD_WORD, TARGET_END),
    ]);
    keep_those_in(&answered, &mut code);
    code.push(give_back(0));
    code
}

/// Drops what was not sent to this host or was tagged, and what differs in one of the `fields`
/// (load, offset, value).
fn start(fields: &[(u16, u32, u32)]) -> Vec<Instruction> {
    let mut code = vec![
        load(op::LOAD_WORD, PACKET_TYPE),
        jump(op::JUMP_GREATER_OR_EQUAL, PACKET_OTHERHOST, 0, 1),
        give_back(0),
        load(op::LOAD_WORD, VLAN_TAG_PRESENT),
        jump(op::JUMP_EQUAL, 0, 1, 0),
        give_back(0),
    ];
    for &(operation, offset, value) in fields {
        code.extend([
            load(operation, offset),
            jump(op::JUMP_EQUAL, value, 1, 0),
            give_back(0),
        ]);
    }
    code
}

/// Keeps the frame if the accumulator is in one of the `ranges`, and goes on if not.
fn keep_those_in(ranges: &[Range], code: &mut Vec<Instruction>) {
    let Some(first) = ranges.first() else {
        return;
    };
    let found = search(ranges, 0);
    code.push(jump(op::JUMP_GREATER_OR_EQUAL, first.first, 1, 0));
    code.push(far(found.len()));
    code.extend(found);
}

/// A binary search for the accumulator, which is not less than the first range's start. If it is in
/// none of the ranges, the search goes on as many instructions behind its end as `after` says.
fn search(ranges: &[Range], after: usize) -> Vec<Instruction> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let Some(pivot) = upper.first() else {
        return Vec::new();
    };
    if lower.is_empty() {
        return vec![
            jump(op::JUMP_GREATER, pivot.last, 1, 0),
            give_back(KEEP_ALL),
            far(after),
        ];
    }
    let above = search(upper, after);
    let below = search(lower, after + above.len());
    // A conditional jump reaches 255 instructions only, an unconditional one everything.
    let mut code = match u8::try_from(below.len()) {
        Ok(len) => vec![jump(op::JUMP_GREATER_OR_EQUAL, pivot.first, len, 0)],
        Err(_) => vec![
            jump(op::JUMP_GREATER_OR_EQUAL, pivot.first, 0, 1),
            far(below.len()),
        ],
    };
    code.extend(below);
    code.extend(above);
    code
}

/// Skips that many instructions. Programs are far below 2^32 of them, so the number fits.
fn far(instructions: usize) -> Instruction {
    load(op::JUMP, u32::try_from(instructions).unwrap_or(u32::MAX))
}

fn load(code: u16, k: u32) -> Instruction {
    jump(code, k, 0, 0)
}

fn give_back(bytes: u32) -> Instruction {
    jump(op::RETURN, bytes, 0, 0)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests;
