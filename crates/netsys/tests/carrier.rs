//! How soon a carrier that goes or comes is known, and what that costs, against the running kernel.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;
    use std::thread;
    use std::time::{Duration, Instant};

    use herald_netsys::{Change, Monitor};
    use tokio::time::timeout;

    use crate::support::{Namespace, in_new_namespace};

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
            let elsewhere = Namespace::new();
            let lan = elsewhere.cable("lan");
            let mut monitor = Monitor::start().await.expect("netlink");
            until_carrier(&mut monitor, "lan", true).await;
            monitor.carriers().set(&[lan].into());
            // The kernel lets one loss through at once, and the next one after a second.
            for round in 0..5 {
                for carrier in [false, true] {
                    let begun = Instant::now();
                    let state = if carrier { "up" } else { "down" };
                    elsewhere.ip(&format!("link set lan {state}"));
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
            let elsewhere = Namespace::new();
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
