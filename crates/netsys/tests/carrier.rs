//! How soon a carrier that goes or comes is known, and what that costs, against the running kernel.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::future::Future;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::thread;
    use std::time::{Duration, Instant};

    use herald_netsys::{Change, Monitor};
    use nix::sched::{CloneFlags, unshare};
    use tokio::time::timeout;

    fn in_new_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(test());
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn run(command: &str) {
        let mut words = command.split_whitespace();
        let output = Command::new(words.next().expect("a command"))
            .args(words)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{command}: {output:?}");
    }

    /// A namespace with the other ends of cables, for as long as this lives.
    struct Elsewhere(Child);

    impl Elsewhere {
        fn new() -> Self {
            let child = Command::new("unshare").args(["-n", "sleep", "600"]).spawn();
            let elsewhere = Self(child.expect("unshare runs"));
            let here = fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
            let there = format!("/proc/{}/ns/net", elsewhere.0.id());
            let deadline = Instant::now() + Duration::from_secs(10);
            while fs::read_link(&there).ok().is_none_or(|there| there == here) {
                assert!(Instant::now() < deadline, "a network namespace, as root");
                thread::sleep(Duration::from_millis(5));
            }
            elsewhere
        }

        /// A cable between interfaces of one name, and, as both namespaces are new, of one index:
        /// the kernel takes the end here for a real one, whose loss is not urgent.
        fn cable(&self, name: &str) -> u32 {
            let id = self.0.id();
            run(&format!(
                "ip link add {name} type veth peer name {name} netns {id}"
            ));
            run(&format!("ip link set {name} up"));
            self.set(name, "up");
            let text = fs::read_to_string(format!("/proc/thread-self/net/dev_snmp6/{name}"));
            let text = text.expect("an interface with IPv6");
            let mut words = text.split_whitespace();
            words.nth(1).and_then(|i| i.parse().ok()).expect("an index")
        }

        fn set(&self, name: &str, state: &str) {
            let id = self.0.id();
            run(&format!("nsenter -t {id} -n ip link set {name} {state}"));
        }
    }

    impl Drop for Elsewhere {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    async fn until_carrier(monitor: &mut Monitor, name: &str, carrier: bool) {
        let wait = async {
            loop {
                match monitor.next().await.expect("it goes on") {
                    Change::Present(i) if i.name == name && i.up && i.carrier == carrier => return,
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(5), wait)
            .await
            .unwrap_or_else(|_| panic!("{name} does not come to have carrier {carrier}"));
    }

    /// The computing time, in seconds, of the thread that asks in this namespace.
    fn spent() -> f64 {
        let namespace = |task: &Path| fs::read_link(task.join("ns/net")).ok();
        let here = namespace(Path::new("/proc/thread-self"));
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let tasks = fs::read_dir("/proc/self/task").expect("tasks").flatten();
            let mut asking = tasks.map(|task| task.path()).filter(|task| {
                let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
                name.trim() == "carrier" && namespace(task) == here
            });
            if let Some(task) = asking.next() {
                let times = fs::read_to_string(task.join("schedstat")).expect("times");
                let nanos = times.split_whitespace().next();
                let nanos: f64 = nanos.and_then(|n| n.parse().ok()).expect("nanoseconds");
                return nanos / 1e9;
            }
            // It takes a moment until it has its name.
            assert!(Instant::now() < deadline, "no thread asks");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_carrier_is_known_at_once_to_be_lost_and_gained() {
        in_new_namespace(|| async {
            let elsewhere = Elsewhere::new();
            let lan = elsewhere.cable("lan");
            let mut monitor = Monitor::start().await.expect("netlink");
            until_carrier(&mut monitor, "lan", true).await;
            monitor.carriers().set(&[lan].into());
            // The kernel lets one loss through at once, and the next one after a second.
            for round in 0..5 {
                for carrier in [false, true] {
                    let begun = Instant::now();
                    elsewhere.set("lan", if carrier { "up" } else { "down" });
                    let done = begun.elapsed();
                    until_carrier(&mut monitor, "lan", carrier).await;
                    let known = begun.elapsed().saturating_sub(done);
                    assert!(
                        known < Duration::from_millis(150),
                        "carrier {carrier} in round {round} after {known:?}"
                    );
                }
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn to_watch_four_carriers_costs_a_few_thousandths_of_a_core() {
        in_new_namespace(|| async {
            let elsewhere = Elsewhere::new();
            let names = ["one", "two", "three", "four"];
            let indexes: BTreeSet<u32> = names.iter().map(|name| elsewhere.cable(name)).collect();
            let monitor = Monitor::start().await.expect("netlink");
            let carriers = monitor.carriers();
            spent();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let at_rest = spent();
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(spent() <= at_rest, "nothing is watched");
            carriers.set(&indexes);
            let time = Duration::from_secs(3);
            tokio::time::sleep(time).await;
            let share = (spent() - at_rest) / time.as_secs_f64();
            assert!(share > 0.0 && share < 0.005, "{share} of a core");
        });
    }
}
