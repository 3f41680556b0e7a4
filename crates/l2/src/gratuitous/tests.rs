use super::*;
use crate::testing::{Arp, Ndp, OUR_MAC, VIP_V4, VIP_V6, link_layer_option};

fn frame(form: Form, address: IpAddr) -> Vec<u8> {
    let mut out = [0xaa; MAX_FRAME_LEN];
    let len = write(form, OUR_MAC, address, &mut out).expect("right family");
    out[..len].to_vec()
}

#[test]
fn both_arp_forms_are_broadcast_and_tell_the_address_twice() {
    for (form, operation) in [(Form::ArpRequest, 1), (Form::ArpReply, 2)] {
        let packet = Arp::read(&frame(form, VIP_V4.into()));
        assert_eq!(
            (packet.destination, packet.source),
            (MacAddress::BROADCAST, OUR_MAC)
        );
        assert_eq!(
            (packet.ethertype, packet.hardware_type, packet.protocol_type),
            (0x0806, 1, 0x0800)
        );
        assert_eq!((packet.lengths, packet.operation), ([6, 4], operation));
        assert_eq!((packet.sender, packet.sender_address), (OUR_MAC, VIP_V4));
        assert_eq!(
            (packet.target, packet.target_address),
            (MacAddress::BROADCAST, VIP_V4)
        );
    }
}

#[test]
fn the_advertisement_goes_to_all_nodes_and_overrides() {
    let packet = Ndp::read(&frame(Form::NeighborAdvertisement, VIP_V6.into()));
    assert_eq!(packet.link_destination.to_string(), "33:33:00:00:00:01");
    assert_eq!(packet.link_source, OUR_MAC);
    assert_eq!((packet.ethertype, packet.version), (0x86dd, 6));
    assert_eq!((packet.next_header, packet.hop_limit), (58, 255));
    assert_eq!(packet.source, VIP_V6);
    assert_eq!(packet.destination.to_string(), "ff02::1");
    assert_eq!(
        (packet.icmp_type, packet.code, packet.flags),
        (136, 0, 0x20)
    );
    assert_eq!(packet.target, VIP_V6);
    assert_eq!(packet.options, link_layer_option(2, OUR_MAC));
}

#[test]
fn a_form_of_the_other_family_is_none() {
    let mut out = [0; MAX_FRAME_LEN];
    for (form, address) in [
        (Form::ArpRequest, IpAddr::V6(VIP_V6)),
        (Form::ArpReply, IpAddr::V6(VIP_V6)),
        (Form::NeighborAdvertisement, IpAddr::V4(VIP_V4)),
    ] {
        assert_eq!(write(form, OUR_MAC, address, &mut out), None);
    }
    for address in [IpAddr::V4(VIP_V4), IpAddr::V6(VIP_V6)] {
        for form in Form::of(address) {
            assert!(write(*form, OUR_MAC, address, &mut out).is_some());
        }
    }
}
