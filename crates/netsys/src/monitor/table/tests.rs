use netlink_packet_route::link::WirelessEvent;

use super::*;

fn link(index: u32, name: &str, flags: LinkFlags, more: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = flags;
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.extend(more);
    message
}

fn address(index: u32, address: &str, flags: AddressFlags) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = 64;
    let address = address.parse().expect("an address");
    message.attributes = vec![
        AddressAttribute::Address(address),
        AddressAttribute::Flags(flags),
    ];
    message
}

fn present(change: Option<Change>) -> Interface {
    match change {
        Some(Change::Present(interface)) => interface,
        other => panic!("expected an interface, got {other:?}"),
    }
}

#[test]
fn a_link_is_read_with_its_flags_master_and_mac() {
    let mut table = Table::default();
    let flags = LinkFlags::Up | LinkFlags::Broadcast;
    let mac = vec![2, 0, 0, 0, 0, 1];
    let message = link(
        4,
        "eth0",
        flags,
        vec![LinkAttribute::Address(mac), LinkAttribute::Controller(9)],
    );
    let eth0 = present(table.apply(RouteNetlinkMessage::NewLink(message)));
    assert_eq!(eth0.mac, Some([2, 0, 0, 0, 0, 1]));
    assert!(eth0.up && eth0.broadcast && eth0.ethernet);
    assert!(!eth0.carrier && !eth0.no_arp && !eth0.loopback);
    assert_eq!(eth0.master, Some(9));
}

#[test]
fn a_notification_that_changes_nothing_is_not_reported() {
    let mut table = Table::default();
    let message = link(4, "eth0", LinkFlags::Up, vec![]);
    assert!(
        table
            .apply(RouteNetlinkMessage::NewLink(message.clone()))
            .is_some()
    );
    assert_eq!(table.apply(RouteNetlinkMessage::NewLink(message)), None);
    let fe80 = address(4, "fe80::1", AddressFlags::Permanent);
    assert!(
        table
            .apply(RouteNetlinkMessage::NewAddress(fe80.clone()))
            .is_some()
    );
    assert_eq!(table.apply(RouteNetlinkMessage::NewAddress(fe80)), None);
}

#[test]
fn addresses_survive_a_change_of_the_link() {
    let mut table = Table::default();
    table.apply(RouteNetlinkMessage::NewLink(link(
        4,
        "eth0",
        LinkFlags::Up,
        vec![],
    )));
    table.apply(RouteNetlinkMessage::NewAddress(address(
        4,
        "fe80::1",
        AddressFlags::Permanent,
    )));
    let down = table.apply(RouteNetlinkMessage::NewLink(link(
        4,
        "eth0",
        LinkFlags::empty(),
        vec![],
    )));
    assert_eq!(
        present(down).link_local(),
        Some("fe80::1".parse().expect("valid"))
    );
}

#[test]
fn a_link_local_address_that_is_a_duplicate_does_not_count() {
    let mut table = Table::default();
    table.apply(RouteNetlinkMessage::NewLink(link(
        4,
        "eth0",
        LinkFlags::Up,
        vec![],
    )));
    let change = table.apply(RouteNetlinkMessage::NewAddress(address(
        4,
        "fe80::1",
        AddressFlags::Dadfailed,
    )));
    assert_eq!(present(change).link_local(), None);
}

#[test]
fn a_port_that_leaves_its_bridge_is_still_there() {
    let mut table = Table::default();
    table.apply(RouteNetlinkMessage::NewLink(link(
        4,
        "eth0",
        LinkFlags::Up,
        vec![],
    )));
    let mut message = link(4, "eth0", LinkFlags::Up, vec![]);
    message.header.interface_family = AddressFamily::Bridge;
    assert_eq!(table.apply(RouteNetlinkMessage::DelLink(message)), None);
    assert_eq!(table.interfaces().count(), 1);
}

#[test]
fn a_new_dump_reports_only_what_differs() {
    let mut table = Table::default();
    let new =
        |index, name: &str, flags| RouteNetlinkMessage::NewLink(link(index, name, flags, vec![]));
    let first = vec![
        new(1, "lo", LinkFlags::Up),
        new(2, "eth0", LinkFlags::Up),
        new(3, "eth1", LinkFlags::Up),
    ];
    assert_eq!(table.replace(first).len(), 3);
    let second = vec![
        new(1, "lo", LinkFlags::Up),
        new(3, "eth1", LinkFlags::empty()),
    ];
    let changes = table.replace(second);
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes.contains(&Change::Gone {
        index: 2,
        name: "eth0".to_owned()
    }));
    assert!(
        matches!(&changes[1], Change::Present(interface) if interface.name == "eth1" && !interface.up)
    );
}

#[test]
fn a_partial_message_takes_nothing_away() {
    let mut table = Table::default();
    let whole = |more: Vec<LinkAttribute>| {
        let mut attributes = vec![LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])];
        attributes.extend(more);
        RouteNetlinkMessage::NewLink(link(4, "wlan0", LinkFlags::Up, attributes))
    };
    let before = present(table.apply(whole(vec![LinkAttribute::Controller(9)])));
    let wireless = link(
        4,
        "wlan0",
        LinkFlags::Up,
        vec![LinkAttribute::Wireless(WirelessEvent::Other(vec![
            8, 0, 1, 0x8b,
        ]))],
    );
    assert_eq!(table.apply(RouteNetlinkMessage::NewLink(wireless)), None);
    let partial = link(4, "wlan0", LinkFlags::empty(), vec![]);
    let after = present(table.apply(RouteNetlinkMessage::NewLink(partial)));
    assert!(!after.up, "the header is always whole");
    assert_eq!((after.mac, after.master), (before.mac, before.master));
    let free = present(table.apply(whole(vec![])));
    assert_eq!(free.master, None, "a whole message says that it has none");
}
