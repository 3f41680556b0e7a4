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

#[test]
fn a_hundred_members_become_one_group_and_notice_who_is_gone() {
    let mut net = Net::new(100, 3);
    net.look_every = ms(100);
    let took = net.until(ms(20_000), Net::whole);
    println!("100 members are one group after {took:?}");
    net.run(ms(1000));
    for host in &mut net.hosts {
        host.bytes = 0;
    }
    net.run(ms(500));
    let all: usize = net.hosts.iter().map(|host| host.bytes).sum();
    println!("100 members: {} bytes/s per node", all / 50);
    net.hosts[17].dead = true;
    let gone = super::net::name(17);
    let took = net.until(ms(2000), |net| {
        (0..100).all(|index| index == 17 || !net.live(index).contains(&gone))
    });
    println!("100 members: all know of one that is gone after {took:?}");
    for index in 0..100 {
        assert_eq!(net.fenced(index), 0);
    }
    assert!(all / 50 < 6000, "{}", all / 50);
}
