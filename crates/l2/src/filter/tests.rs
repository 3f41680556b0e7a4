use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::testing::{Arp, CLIENT_V4, CLIENT_V6, Ndp, OUR_MAC, responder};
use crate::{MAX_FRAME_LEN, Verdict};

/// The kernel's limit, `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;
/// What a program of ours may take at most; see [`MAX_RANGES`].
const BUDGET: usize = 600;

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

/// All of them are answered for.
fn set(addresses: impl IntoIterator<Item = impl Into<IpAddr>>) -> Attention {
    Attention::new(addresses.into_iter().map(Into::into).collect(), [])
}

/// None of them is answered for.
fn watch(addresses: impl IntoIterator<Item = impl Into<IpAddr>>) -> Attention {
    let watched = addresses.into_iter().map(Into::into);
    Attention::new(AddressSet::default(), watched)
}

fn passes_arp(program: &[Instruction], target: u32) -> bool {
    run(program, &Arp::request(target.into()).bytes(), TO_US) > 0
}

#[test]
fn nothing_passes_when_nothing_is_announced() {
    let nothing = Attention::default();
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
    for address in announced.answered().v4() {
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
    assert!(!keeps(&reply, TO_US), "not about the address");
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
fn only_messages_of_the_link_s_neighbors_pass() {
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
    assert!(keeps(|frame| frame.icmp_type = 136));
    assert!(!keeps(|frame| frame.icmp_type = 137));
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
        let announced = set(v4.chain(v6));
        let (arp, ndp) = (arp(&announced), ndp(&announced));
        check(&arp);
        check(&ndp);
        for address in announced.answered().v4() {
            prop_assert!(run(&arp, &Arp::request(*address).bytes(), TO_US) > 0);
        }
        for address in announced.answered().v6() {
            prop_assert!(run(&ndp, &Ndp::solicitation(*address).bytes(), TO_US) > 0);
            prop_assert!(run(&ndp, &Ndp::detection(*address).bytes(), TO_US) > 0);
        }
    }

    /// The filter never takes away what the responder would answer or see something in.
    #[test]
    fn what_leads_to_something_passes(
        numbers in numbers(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        choice in any::<prop::sample::Index>(),
        answered in any::<u32>(),
    ) {
        prop_assume!(!numbers.is_empty());
        let number = numbers.iter().copied().nth(choice.index(numbers.len())).unwrap_or(0);
        let both = |number: u32| [
            IpAddr::V4(Ipv4Addr::from(number)),
            IpAddr::V6(Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(number))),
        ];
        let some = numbers.iter().copied().filter(|n| n & answered == 0).flat_map(both);
        let all = numbers.iter().copied().flat_map(both);
        let attention = Attention::new(some.collect(), all);
        let [IpAddr::V4(v4), IpAddr::V6(v6)] = both(number) else {
            unreachable!("one of each");
        };
        let programs = (arp(&attention), ndp(&attention));
        check(&programs.0);
        check(&programs.1);
        for mut frame in said_of_v4(v4).into_iter().chain(said_of_v6(v6)) {
            for (index, value) in &changes {
                let index = index.index(frame.len());
                frame[index] = *value;
            }
            let verdict = responder().handle(&frame, &attention, &mut [0; MAX_FRAME_LEN]);
            if !matches!(verdict, Verdict::Ignored(_)) {
                let is_arp = frame[12..14] == [0x08, 0x06];
                let program = if is_arp { &programs.0 } else { &programs.1 };
                prop_assert!(run(program, &frame, TO_US) > 0, "{:?} {:x?}", verdict, frame);
            }
        }
    }

    #[test]
    fn random_frames_are_dropped(
        numbers in numbers(),
        mut frame in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let v4 = numbers.iter().map(|n| IpAddr::V4(Ipv4Addr::from(*n)));
        let v6 = numbers.iter().map(|n| IpAddr::V6(Ipv6Addr::from(u128::from(*n))));
        let announced = set(v4.chain(v6));
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
            first: 10 + n * 10,
            last: 10 + n * 10 + 1,
        })
        .collect();
    let mut program = start(&[]);
    program.push(load(op::LOAD_WORD, 0));
    keep_those_in(&ranges, &mut program);
    // What is in no range goes on here.
    program.push(give_back(7));
    for number in 0..5_030_u32 {
        let inside = number % 10 < 2 && (10..5_010).contains(&number);
        let kept = run(&program, &number.to_be_bytes(), TO_US);
        assert_eq!(kept, if inside { KEEP_ALL } else { 7 }, "{number}");
    }
}

/// All that stations say of an address, by ARP.
fn said_of_v4(address: Ipv4Addr) -> Vec<Vec<u8>> {
    let request = Arp::request(address);
    let from = Arp {
        sender_address: address,
        ..Arp::request(CLIENT_V4)
    };
    let frames = [
        request.clone(),
        Arp {
            sender_address: Ipv4Addr::UNSPECIFIED,
            ..request.clone()
        },
        Arp {
            sender_address: address,
            ..request
        },
        from.clone(),
        Arp {
            operation: 2,
            destination: OUR_MAC,
            ..from.clone()
        },
        Arp {
            operation: 2,
            target_address: address,
            ..from
        },
    ];
    frames.iter().map(Arp::bytes).collect()
}

/// All that stations say of an address, by NDP.
fn said_of_v6(address: Ipv6Addr) -> Vec<Vec<u8>> {
    let frames = [
        Ndp::solicitation(address),
        Ndp::detection(address),
        Ndp {
            source: address,
            ..Ndp::solicitation(CLIENT_V6)
        },
        Ndp::announcement(address),
        Ndp::answer(address),
    ];
    frames.iter().map(Ndp::bytes).collect()
}

#[test]
fn of_an_address_that_is_only_watched_all_passes_but_questions() {
    let v4 = Ipv4Addr::new(192, 0, 2, 10);
    let v6: Ipv6Addr = "2001:db8::1234:5678".parse().expect("valid");
    let (arp, ndp) = (arp(&watch([v4])), ndp(&watch([v6])));
    check(&arp);
    check(&ndp);
    let kept = |program: &[Instruction], frames: Vec<Vec<u8>>| -> Vec<bool> {
        let kept = frames.iter().map(|frame| run(program, frame, TO_US) > 0);
        kept.collect()
    };
    // The first of both is a question.
    assert_eq!(
        kept(&arp, said_of_v4(v4)),
        [false, true, true, true, true, true]
    );
    assert_eq!(kept(&ndp, said_of_v6(v6)), [false, true, true, true, true]);
    let other = Ipv4Addr::new(192, 0, 2, 11);
    assert!(!kept(&arp, said_of_v4(other)).contains(&true));
    assert!(!kept(&ndp, said_of_v6(Ipv6Addr::LOCALHOST)).contains(&true));
}

#[test]
fn a_source_that_only_ends_in_zeros_is_no_detection() {
    let target: Ipv6Addr = "2001:db8::1234:5678".parse().expect("valid");
    let program = ndp(&watch([target]));
    for source in ["2001:db8::", "::1:0:0:0:0", "::1:0:0:0", "::1:0:0", "::2"] {
        let question = Ndp {
            source: source.parse().expect("valid"),
            ..Ndp::solicitation(target)
        };
        assert_eq!(run(&program, &question.bytes(), TO_US), 0, "{source}");
    }
    // As the address of a subnet's routers it may be watched itself.
    let zeros: Ipv6Addr = "2001:db8::".parse().expect("valid");
    let program = ndp(&watch([zeros]));
    let from = Ndp {
        source: zeros,
        ..Ndp::solicitation(target)
    };
    assert!(run(&program, &from.bytes(), TO_US) > 0);
}
