//! The codec with any bytes.

use proptest::prelude::*;

use crate::{ControlPacket, Diagnostic, PACKET_LEN, State};

prop_compose! {
    fn packet()(
        diagnostic in 0_u8..32,
        state in 0_u8..4,
        flags in any::<[bool; 4]>(),
        detect_multiplier in 1_u8..,
        my_discriminator in 1_u32..,
        your_discriminator in any::<u32>(),
        intervals in any::<[u32; 3]>(),
    ) -> ControlPacket {
        let [poll, is_final, independent, demand] = flags;
        let [desired_min_tx, required_min_rx, required_min_echo_rx] = intervals;
        let state = State::from_wire(state);
        let settled = matches!(state, State::Init | State::Up);
        ControlPacket {
            diagnostic: Diagnostic::from_wire(diagnostic),
            state,
            poll,
            is_final,
            independent,
            demand,
            detect_multiplier,
            my_discriminator,
            your_discriminator: if settled { your_discriminator.max(1) } else { your_discriminator },
            desired_min_tx,
            required_min_rx,
            required_min_echo_rx,
        }
    }
}

proptest! {
    #[test]
    fn every_packet_is_read_as_it_was_written(packet in packet(), tail in any::<Vec<u8>>()) {
        let mut bytes = packet.encode().to_vec();
        prop_assert_eq!(ControlPacket::parse(&bytes), Ok(packet));
        bytes.extend(tail);
        prop_assert_eq!(ControlPacket::parse(&bytes), Ok(packet));
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_is_written_the_same(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        if let Ok(packet) = ControlPacket::parse(&bytes) {
            let mut expected: [u8; PACKET_LEN] = *bytes.first_chunk().unwrap();
            expected[3] = 24;
            prop_assert_eq!(packet.encode(), expected);
        }
    }

    /// Most random bytes fail at the version; these are nearly good.
    #[test]
    fn a_good_packet_with_a_few_bytes_changed_is_read_or_refused(
        packet in packet(),
        changes in proptest::collection::vec((0..PACKET_LEN, any::<u8>()), 1..4),
        len in 0..=PACKET_LEN,
    ) {
        let mut bytes = packet.encode();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if let Ok(read) = ControlPacket::parse(&bytes) {
            prop_assert_eq!(ControlPacket::parse(&read.encode()), Ok(read));
            prop_assert!(read.my_discriminator != 0 && read.detect_multiplier != 0);
        }
        if len < PACKET_LEN {
            prop_assert!(ControlPacket::parse(&bytes[..len]).is_err());
        }
    }
}
