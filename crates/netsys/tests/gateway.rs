//! Default gateways, against the running kernel.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use herald_netsys::{GatewayWatch, default_gateway};
    use tokio::time::timeout;

    use crate::support::{in_new_namespace, ip, until_in_operation};

    async fn gateway(v6: bool) -> Option<(IpAddr, String)> {
        let found = default_gateway(v6, None).await.expect("the kernel tells");
        found.map(|gateway| (gateway.address, gateway.interface))
    }

    fn at(address: &str) -> (IpAddr, String) {
        (address.parse().expect("an address"), "left".to_owned())
    }

    /// Waits until the gateway is this one; looks only when that is told to be of use.
    async fn becomes(watch: &mut GatewayWatch, v6: bool, wanted: Option<(IpAddr, String)>) {
        let wait = async {
            loop {
                watch.changed().await;
                if gateway(v6).await == wanted {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(5), wait)
            .await
            .unwrap_or_else(|_| panic!("it does not become {wanted:?}"));
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn the_gateway_is_followed_when_its_route_changes_and_when_it_goes_without_a_word() {
        in_new_namespace(|| async {
            ip("link add left type veth peer name right");
            ip("link set right up");
            ip("link set left up");
            until_in_operation("left").await;
            ip("addr add 10.0.0.1/24 dev left");
            ip("addr add 2001:db8::1/64 dev left nodad");
            let mut watch = GatewayWatch::start().expect("netlink");
            assert_eq!(gateway(false).await, None);
            ip("route add default via 10.0.0.2 metric 20");
            becomes(&mut watch, false, Some(at("10.0.0.2"))).await;
            ip("route add default via 10.0.0.3 metric 10");
            becomes(&mut watch, false, Some(at("10.0.0.3"))).await;
            ip("route replace default metric 10 nexthop via 10.0.0.9 nexthop via 10.0.0.8");
            becomes(&mut watch, false, Some(at("10.0.0.8"))).await;
            ip("route del default metric 10");
            becomes(&mut watch, false, Some(at("10.0.0.2"))).await;
            // An IPv4 route by an IPv6 router.
            ip("-4 route replace default via inet6 fe80::2 dev left metric 20");
            becomes(&mut watch, false, Some(at("fe80::2"))).await;
            ip("-6 route add default via 2001:db8::2");
            becomes(&mut watch, true, Some(at("2001:db8::2"))).await;
            ip("link set left down");
            becomes(&mut watch, false, None).await;
            assert_eq!(gateway(true).await, None);
        });
    }
}
