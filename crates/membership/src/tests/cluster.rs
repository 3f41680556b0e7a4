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

/// How fast a large group comes together and notices a death, and how much it says.
fn large(size: usize, seed: u64, bound: u64) {
    let mut net = Net::new(size, seed);
    net.look_every = ms(100);
    let begin = std::time::Instant::now();
    let took = net.until(ms(bound), Net::whole);
    println!(
        "{size} members are one group after {took:?} ({:?} to simulate)",
        begin.elapsed()
    );
    net.run(ms(1000));
    for host in &mut net.hosts {
        host.bytes = 0;
    }
    let begin = std::time::Instant::now();
    net.run(ms(500));
    let all: usize = net.hosts.iter().map(|host| host.bytes).sum();
    let rate = all * 2 / size;
    println!(
        "{size} members: {rate} bytes/s per node ({:?} to simulate)",
        begin.elapsed()
    );
    net.hosts[17].dead = true;
    let gone = super::net::name(17);
    let took = net.until(ms(3000), |net| {
        (0..size).all(|index| index == 17 || !net.live(index).contains(&gone))
    });
    println!("{size} members: all know of one that is gone after {took:?}");
    for index in 0..size {
        assert_eq!(net.fenced(index), 0);
    }
    assert!(rate < 6000, "{rate}");
}

#[test]
fn a_hundred_members_become_one_group_and_notice_who_is_gone() {
    large(100, 3, 20_000);
}

#[cfg(not(debug_assertions))]
#[test]
#[ignore = "takes half a minute: run by make large"]
fn three_hundred_members_become_one_group_and_notice_who_is_gone() {
    large(300, 4, 60_000);
}

#[cfg(not(debug_assertions))]
#[test]
#[ignore = "takes several minutes: run by make large"]
fn a_thousand_members_become_one_group_and_notice_who_is_gone() {
    large(1000, 5, 120_000);
}
