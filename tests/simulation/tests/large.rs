//! Clusters of hundreds of speakers: `make large` runs them, and only a release build has them.

#[cfg(all(test, not(debug_assertions)))]
mod large {
    use std::time::{Duration, Instant};

    use herald_simulation::{Cluster, Fault, SERVED_LOSSY, Setup};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// When all is calm.
    const READY: Duration = seconds(8);
    /// How long traffic is counted.
    const COUNTED: Duration = seconds(3);

    /// Runs until then; what is not as promised ends the test.
    fn run(cluster: &mut Cluster, until: Duration) {
        if let Err(violation) = cluster.run(until) {
            panic!("at {:?}: {}", violation.at, violation.what);
        }
    }

    /// The owner of the first address; each has one.
    fn owner(cluster: &Cluster) -> usize {
        let mut owners = Vec::new();
        for address in cluster.addresses() {
            match cluster.answering(address)[..] {
                [owner] => owners.push(owner),
                ref several => panic!("{address}: {several:?}"),
            }
        }
        owners[0]
    }

    /// Bytes a second that the busiest node sends to the group while all is calm. Then the owner of
    /// an address dies, and another answers in time.
    fn form_and_lose_one(nodes: usize) -> u64 {
        let began = Instant::now();
        let mut setup = Setup::new(1, nodes);
        setup.start = seconds(2);
        let mut cluster = Cluster::new(&setup);
        run(&mut cluster, READY);
        let formed = began.elapsed();
        let before = cluster.sent();
        run(&mut cluster, READY + COUNTED);
        let sent = cluster.sent().into_iter().zip(before);
        let most = sent.map(|((now, _), (before, _))| now - before).max();
        let rate = most.unwrap_or_default() / COUNTED.as_secs();
        let node = owner(&cluster);
        cluster.forget_silence();
        let end = READY + COUNTED;
        cluster.strike_at(end, Fault::PowerOff { node, wipe: false });
        run(&mut cluster, end + seconds(3));
        assert_ne!(owner(&cluster), node);
        let silence = cluster.checks().longest_silence();
        assert!(silence <= SERVED_LOSSY, "{silence:?}");
        println!(
            "{nodes} nodes: at most {rate} bytes a second each, a dead owner replaced after \
             {silence:?}; simulated in {:.1?}, of which {formed:.1?} until all was calm",
            began.elapsed()
        );
        rate
    }

    fn costs_no_more_than_thirty(nodes: usize) {
        let (few, many) = (form_and_lose_one(30), form_and_lose_one(nodes));
        assert!(
            many <= few * 5 / 4,
            "{few} with 30 nodes, {many} with {nodes}"
        );
    }

    #[test]
    #[ignore = "a minute: run by make large"]
    fn three_hundred_nodes_lose_one_and_each_sends_no_more_than_one_of_thirty() {
        costs_no_more_than_thirty(300);
    }

    #[test]
    #[ignore = "some minutes: run by make large"]
    fn a_thousand_nodes_lose_one_and_each_sends_no_more_than_one_of_thirty() {
        costs_no_more_than_thirty(1000);
    }
}
