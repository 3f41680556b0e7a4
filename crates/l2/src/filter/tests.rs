use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::testing::{Arp, Ndp, OUR_MAC};
use crate::{MAX_FRAME_LEN, Responder, Verdict};

/// The kernel's limit, `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;
/// What a program of ours may take at most; see [`MAX_RANGES`].
const BUDGET: usize = 400;

/// What the kernel knows of a frame besides its bytes.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    packet_type: u32,
    tagged: u32,
}

const TO_US: Kernel = Kernel {
    packet_type: 0,
    tagged: 0,
};

/// Runs a program as the kernel would; the number of bytes that it keeps. Panics on an invalid
/// program: an unknown operation, or a jump or run past the end.
fn run(program: &[Instruction], frame: &[u8], kernel: Kernel) -> u32 {
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let width = match code {
            op::LOAD_WORD => 4,
            op::LOAD_HALF => 2,
            op::LOAD_BYTE => 1,
            op::RETURN => return k,
            op::JUMP => {
                at += k as usize;
                continue;
            }
            op::JUMP_EQUAL | op::JUMP_GREATER | op::JUMP_GREATER_OR_EQUAL => {
                let holds = match code {
                    op::JUMP_EQUAL => accumulator == k,
                    op::JUMP_GREATER => accumulator > k,
                    _ => accumulator >= k,
                };
                at += usize::from(if holds { jt } else { jf });
                continue;
            }
            _ => panic!("unknown operation {code:#x}"),
        };
        accumulator = match k {
            PACKET_TYPE => kernel.packet_type,
            VLAN_TAG_PRESENT => kernel.tagged,
            _ => match frame.get(k as usize..k as usize + width) {
                Some(bytes) => bytes.iter().fold(0, |sum, b| sum << 8 | u32::from(*b)),
                None => return 0,
            },
        };
    }
}

/// Panics unless the kernel's checker would take the program: every jump lands in it, and it ends
/// in a return, so that no path runs out of it.
fn check(program: &[Instruction]) {
    assert!(
        program.len() <= BUDGET.min(MAX_INSTRUCTIONS),
        "{}",
        program.len()
    );
    for (at, instruction) in program.iter().enumerate() {
        let Instruction { code, jt, jf, k } = *instruction;
        let furthest = match code {
            op::JUMP => at + 1 + k as usize,
            op::JUMP_EQUAL | op::JUMP_GREATER | op::JUMP_GREATER_OR_EQUAL => {
                at + 1 + usize::from(jt.max(jf))
            }
            op::LOAD_WORD | op::LOAD_HALF | op::LOAD_BYTE | op::RETURN => continue,
            _ => panic!("unknown operation {code:#x}"),
        };
        assert!(furthest < program.len(), "jump from {at} to {furthest}");
    }
    assert_eq!(program.last().map(|last| last.code), Some(op::RETURN));
}

fn set(addresses: impl IntoIterator<Item = impl Into<IpAddr>>) -> AnnouncedSet {
    addresses.into_iter().map(Into::into).collect()
}

fn passes_arp(program: &[Instruction], target: u32) -> bool {
    run(program, &Arp::request(target.into()).bytes(), TO_US) > 0
}

#[test]
fn nothing_passes_when_nothing_is_announced() {
    let nothing = AnnouncedSet::default();
    for program in [arp(&nothing), ndp(&nothing)] {
        check(&program);
        assert_eq!(run(&program, &Arp::request(0.into()).bytes(), TO_US), 0);
        let solicitation = Ndp::solicitation(Ipv6Addr::UNSPECIFIED);
        assert_eq!(run(&program, &solicitation.bytes(), TO_US), 0);
    }
}

#[test]
fn up_to_the_limit_of_ranges_exactly_the_announced_addresses_pass() {
    let limit = u32::try_from(MAX_RANGES).expect("small");
    let addresses: Vec<u32> = (0..limit).map(|n| 0xc0a8_0000 + n * 3).collect();
    let program = arp(&set(addresses.iter().map(|a| Ipv4Addr::from(*a))));
    check(&program);
    for target in 0xc0a7_fff0..0xc0a8_0200 {
        assert_eq!(
            passes_arp(&program, target),
            addresses.contains(&target),
            "{target:x}"
        );
    }
}

#[test]
fn both_ends_of_the_number_space_work() {
    let program = arp(&set([Ipv4Addr::from(0), Ipv4Addr::from(u32::MAX)]));
    check(&program);
    assert!(passes_arp(&program, 0) && passes_arp(&program, u32::MAX));
    assert!(!passes_arp(&program, 1) && !passes_arp(&program, u32::MAX - 1));
}

#[test]
fn five_thousand_addresses_stay_within_the_budget() {
    let addresses = (0..5_000_u32).map(|n| Ipv4Addr::from(n.wrapping_mul(2_654_435_761)));
    let announced = set(addresses);
    let program = arp(&announced);
    check(&program);
    for address in announced.v4() {
        assert!(passes_arp(&program, (*address).into()), "{address}");
    }
}

#[test]
fn frames_of_other_kinds_are_dropped() {
    let target = Ipv4Addr::new(192, 0, 2, 10);
    let program = arp(&set([target]));
    let good = Arp::request(target);
    let keeps = |frame: &Arp, kernel| run(&program, &frame.bytes(), kernel) > 0;
    assert!(keeps(&good, TO_US));

    let mut reply = good.clone();
    reply.operation = 2;
    let mut other = good.clone();
    other.ethertype = 0x86dd;
    assert!(!keeps(&reply, TO_US) && !keeps(&other, TO_US));
    for packet_type in 0..5 {
        let kernel = Kernel {
            packet_type,
            ..TO_US
        };
        assert_eq!(keeps(&good, kernel), packet_type < 3, "{packet_type}");
    }
    let tagged = Kernel { tagged: 1, ..TO_US };
    assert!(!keeps(&good, tagged));
}

#[test]
fn only_solicitations_from_the_link_pass() {
    let target: Ipv6Addr = "2001:db8::1234:5678".parse().expect("valid");
    let program = ndp(&set([target]));
    check(&program);
    let keeps = |change: fn(&mut Ndp)| {
        let mut frame = Ndp::solicitation(target);
        change(&mut frame);
        run(&program, &frame.bytes(), TO_US) > 0
    };
    assert!(keeps(|_| ()));
    assert!(keeps(|frame| frame.options.clear()));
    assert!(!keeps(|frame| frame.hop_limit = 64));
    assert!(!keeps(|frame| frame.icmp_type = 136));
    assert!(!keeps(|frame| frame.next_header = 0));
    assert!(!keeps(|frame| frame.ethertype = 0x0800));
    assert!(!keeps(|frame| frame.target = Ipv6Addr::LOCALHOST));
}

/// Numbers that partly lie close together, as addresses from pools do.
fn numbers() -> impl Strategy<Value = BTreeSet<u32>> {
    let near = (any::<u32>(), prop::collection::vec(0..64_u32, 1..40)).prop_map(|(base, near)| {
        near.into_iter()
            .map(|n| base.saturating_add(n))
            .collect::<Vec<_>>()
    });
    prop::collection::vec(near, 0..30).prop_map(|groups| groups.into_iter().flatten().collect())
}

proptest! {
    #[test]
    fn programs_are_valid_and_let_every_question_pass(numbers in numbers(), high in any::<u64>()) {
        let v4 = numbers.iter().map(|n| IpAddr::V4(Ipv4Addr::from(*n)));
        let v6 = numbers.iter().map(|n| {
            IpAddr::V6(Ipv6Addr::from(u128::from(high) << 64 | u128::from(*n)))
        });
        let announced: AnnouncedSet = v4.chain(v6).collect();
        let (arp, ndp) = (arp(&announced), ndp(&announced));
        check(&arp);
        check(&ndp);
        for address in announced.v4() {
            prop_assert!(run(&arp, &Arp::request(*address).bytes(), TO_US) > 0);
        }
        for address in announced.v6() {
            prop_assert!(run(&ndp, &Ndp::solicitation(*address).bytes(), TO_US) > 0);
            prop_assert!(run(&ndp, &Ndp::detection(*address).bytes(), TO_US) > 0);
        }
    }

    /// The filter never takes away what the responder would answer.
    #[test]
    fn what_the_responder_answers_passes(
        numbers in numbers(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        choice in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!numbers.is_empty());
        let number = numbers.iter().copied().nth(choice.index(numbers.len())).unwrap_or(0);
        let announced = set(numbers.iter().map(|n| Ipv4Addr::from(*n)));
        let mut frame = Arp::request(number.into()).bytes();
        for (index, value) in changes {
            let index = index.index(frame.len());
            frame[index] = value;
        }
        let responder = Responder::new(crate::testing::interface());
        let verdict = responder.handle(&frame, &announced, &mut [0; MAX_FRAME_LEN]);
        if let Verdict::Reply { .. } = verdict {
            prop_assert!(run(&arp(&announced), &frame, TO_US) > 0);
        }
    }

    #[test]
    fn random_frames_are_dropped(
        numbers in numbers(),
        mut frame in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let v4 = numbers.iter().map(|n| IpAddr::V4(Ipv4Addr::from(*n)));
        let v6 = numbers.iter().map(|n| IpAddr::V6(Ipv6Addr::from(u128::from(*n))));
        let announced: AnnouncedSet = v4.chain(v6).collect();
        if let Some(ethertype) = frame.get_mut(12..14) {
            // Anything but ARP (0806) and IPv6 (86dd).
            ethertype[0] &= 0x77;
            ethertype[1] |= 0x01;
        }
        for program in [arp(&announced), ndp(&announced)] {
            prop_assert_eq!(run(&program, &frame, TO_US), 0);
        }
    }

    #[test]
    fn addresses_outside_all_ranges_are_dropped(numbers in numbers(), target in any::<u32>()) {
        let ranges = ranges::cover(numbers.iter().copied(), MAX_RANGES);
        let inside = ranges.iter().any(|r| (r.first..=r.last).contains(&target));
        let program = arp(&set(numbers.iter().map(|n| Ipv4Addr::from(*n))));
        prop_assert_eq!(passes_arp(&program, target), inside);
    }
}

#[test]
fn far_jumps_reach_over_more_than_255_instructions() {
    let ranges: Vec<Range> = (0..500)
        .map(|n| Range {
            first: n * 10,
            last: n * 10 + 1,
        })
        .collect();
    let program = program(&[], 0, &ranges);
    for number in 0..5_010_u32 {
        let inside = number % 10 < 2 && number < 5_000;
        let kept = run(&program, &number.to_be_bytes(), TO_US) > 0;
        assert_eq!(kept, inside, "{number}");
    }
}

#[test]
fn our_own_announcements_are_not_questions() {
    let address = Ipv6Addr::LOCALHOST;
    let program = ndp(&set([address]));
    let mut out = [0; MAX_FRAME_LEN];
    let form = crate::gratuitous::Form::NeighborAdvertisement;
    let len = crate::gratuitous::write(form, OUR_MAC, address.into(), &mut out);
    assert_eq!(run(&program, &out[..len.expect("right family")], TO_US), 0);
}
