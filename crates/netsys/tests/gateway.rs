//! Default gateways, against the running kernel.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use herald_netsys::GatewayWatch;
    use tokio::time::timeout;

    use crate::support::{in_new_namespace, ip, until_in_operation};

    async fn gateway(watch: &mut GatewayWatch) -> Option<(IpAddr, String)> {
        let found = watch.gateway().await.expect("the kernel tells");
        found.map(|gateway| (gateway.address, gateway.interface))
    }

    fn at(address: &str) -> (IpAddr, String) {
        (address.parse().expect("an address"), "left".to_owned())
    }

    /// Waits until the gateway is this one; looks only when that is told to be of use.
    async fn becomes(watch: &mut GatewayWatch, wanted: Option<(IpAddr, String)>) {
        let wait = async {
            loop {
                watch.changed().await;
                if gateway(watch).await == wanted {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(5), wait)
            .await
            .unwrap_or_else(|_| panic!("it does not become {wanted:?}"));
    }

    /// An interface `left` with addresses of both families, whose other end is `right`.
    async fn cable() {
        ip("link add left type veth peer name right");
        ip("link set right up");
        ip("link set left up");
        until_in_operation("left").await;
        ip("addr add 10.0.0.1/24 dev left");
        ip("addr add 2001:db8::1/64 dev left nodad");
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn the_gateway_is_followed_when_its_route_changes_and_when_it_goes_without_a_word() {
        in_new_namespace(|| async {
            cable().await;
            let mut watch = GatewayWatch::start(false, None).expect("netlink");
            let mut watch_v6 = GatewayWatch::start(true, None).expect("netlink");
            assert_eq!(gateway(&mut watch).await, None);
            assert_eq!(gateway(&mut watch_v6).await, None);
            ip("route add default via 10.0.0.2 metric 20");
            becomes(&mut watch, Some(at("10.0.0.2"))).await;
            ip("route add default via 10.0.0.3 metric 10");
            becomes(&mut watch, Some(at("10.0.0.3"))).await;
            ip("route replace default metric 10 nexthop via 10.0.0.9 nexthop via 10.0.0.8");
            becomes(&mut watch, Some(at("10.0.0.8"))).await;
            ip("route del default metric 10");
            becomes(&mut watch, Some(at("10.0.0.2"))).await;
            // An IPv4 route by an IPv6 router.
            ip("-4 route replace default via inet6 fe80::2 dev left metric 20");
            becomes(&mut watch, Some(at("fe80::2"))).await;
            ip("-6 route add default via 2001:db8::2");
            becomes(&mut watch_v6, Some(at("2001:db8::2"))).await;
            ip("link set left down");
            becomes(&mut watch, None).await;
            becomes(&mut watch_v6, None).await;
        });
    }

    /// Nothing is told of for a while that is longer than it takes to tell.
    async fn is_silent(watch: &mut GatewayWatch) {
        let told = timeout(Duration::from_millis(500), watch.changed()).await;
        told.expect_err("nothing has happened to default routes");
    }

    /// So many host routes.
    fn many(count: u32) {
        use std::io::Write as _;

        let name = format!("herald-routes-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        for family in ["-4", "-6"] {
            let file = std::fs::File::create(&path).expect("a file");
            let mut file = std::io::BufWriter::new(file);
            for n in 0..count {
                let [_, a, b, c] = n.to_be_bytes();
                let route = if family == "-4" {
                    format!("20.{a}.{b}.{c}/32")
                } else {
                    format!("2001:db8:{b:x}::{c:x}/128")
                };
                writeln!(file, "route add {route} dev left").expect("written");
            }
            file.into_inner().expect("written");
            ip(&format!("{family} -batch {}", path.display()));
        }
        std::fs::remove_file(path).expect("it is there");
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn what_is_no_default_route_costs_nothing_however_much_it_is() {
        in_new_namespace(|| async {
            cable().await;
            ip("route add default via 10.0.0.2");
            ip("-6 route add default via 2001:db8::2");
            // The longest of those that begin where a default route does.
            for prefix in ["0.0.0.0/8", "0.0.0.0/1", "1.0.0.0/8"] {
                ip(&format!("route add {prefix} via 10.0.0.7"));
            }
            let mut both = [false, true].map(|v6| {
                let watch = GatewayWatch::start(v6, None).expect("netlink");
                let address = if v6 { "2001:db8::2" } else { "10.0.0.2" };
                (watch, at(address))
            });
            for (watch, wanted) in &mut both {
                assert_eq!(gateway(watch).await.as_ref(), Some(&*wanted));
                // The state of the interface, once.
                let _ = timeout(Duration::from_millis(500), watch.changed()).await;
            }
            many(20_000);
            ip("link add other type bridge");
            ip("link set other up");
            ip("addr add 10.0.9.1/24 dev other");
            ip("addr add 2001:db8:9::1/64 dev other nodad");
            ip("link del other type bridge");
            let [(v4, _), (v6, _)] = &mut both;
            tokio::join!(is_silent(v6), async {
                // The address of another interface might be the source of a route.
                let _ = timeout(Duration::from_millis(500), v4.changed()).await;
                is_silent(v4).await;
            });
            for (watch, wanted) in &mut both {
                assert_eq!(gateway(watch).await.as_ref(), Some(&*wanted));
            }
            // Not even a tenth of what it takes to read all of them.
            let mut short = Duration::MAX;
            for _ in 0..5 {
                let begun = Instant::now();
                gateway(&mut both[0].0).await;
                short = short.min(begun.elapsed());
            }
            let begun = Instant::now();
            ip("-4 route show");
            assert!(
                short < begun.elapsed() / 10,
                "{short:?}, {:?}",
                begun.elapsed()
            );
        });
    }
}
