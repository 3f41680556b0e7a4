use super::net::{Net, ms};

/// Bytes per second that each node sends in a quiet group.
fn rate(size: usize) -> usize {
    let mut net = Net::new(size, 7);
    net.until(ms(20_000), Net::whole);
    net.run(ms(12_000));
    for host in &mut net.hosts {
        host.bytes = 0;
    }
    net.run(ms(3000));
    assert!(net.whole());
    let most = net.hosts.iter().map(|host| host.bytes).max().unwrap();
    let all: usize = net.hosts.iter().map(|host| host.bytes).sum();
    println!(
        "{size} members: {} bytes/s per node, most {}",
        all / size / 3,
        most / 3
    );
    all / size / 3
}

#[test]
fn bytes_per_second_and_node_do_not_grow_with_the_group() {
    let three = rate(3);
    let thirty = rate(30);
    assert!(three < 12_000, "{three}");
    assert!(thirty < three * 13 / 10, "{thirty}");
}
