//! MD5 signatures.

use std::net::{IpAddr, SocketAddr};

use herald_netsys::tcp::{
    Hops, ListenOptions, Listener, Options, Password, connect, listen, set_password,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::{Namespace, PATIENCE, in_new_namespace, ip, opened, until};
use crate::wire::{here, refused, talk, there};

fn password(text: &str) -> Password {
    Password::new(text).expect("1 to 80 bytes")
}

fn to(remote: SocketAddr, text: Option<&str>) -> Options {
    Options {
        password: text.map(password),
        ..Options::to(remote)
    }
}

fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn listening(far: &Namespace, address: SocketAddr) -> Listener {
    far.within(|| opened(|| listen(&ListenOptions::at(address))))
}

async fn works(options: &Options, listener: &Listener) {
    let connected = timeout(PATIENCE, connect(options)).await;
    let connected = connected.expect("in time").expect("connects");
    let (accepted, _) = listener.accept().await.expect("accepts");
    talk(connected, accepted).await;
}

#[test]
#[ignore = "needs root: run by make test"]
fn a_connection_needs_the_password_of_the_listener() {
    in_new_namespace(|| async {
        let far = Namespace::new();
        let index = far.routed_cable("lan", 7).await;
        let longest = "x".repeat(80);
        for (remote, own) in there(7, index).into_iter().zip(here(7)) {
            let listener = listening(&far, remote);
            let set = |text: Option<&str>| {
                let text = text.map(password);
                let done = listener.set_password(own, whole(own), text.as_ref());
                done.expect("set");
            };
            works(&to(remote, None), &listener).await;
            refused(&to(remote, Some("right")), &far, "TCPMD5Unexpected").await;
            set(Some("right"));
            works(&to(remote, Some("right")), &listener).await;
            refused(&to(remote, Some("wrong")), &far, "TCPMD5Failure").await;
            refused(&to(remote, None), &far, "TCPMD5NotFound").await;
            set(Some(&longest));
            works(&to(remote, Some(&longest)), &listener).await;
            refused(&to(remote, Some("right")), &far, "TCPMD5Failure").await;
            set(None);
            works(&to(remote, None), &listener).await;
            // There is none any more, which is what was wanted.
            set(None);
        }
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn the_password_of_a_connection_is_replaced_while_it_lasts() {
    in_new_namespace(|| async {
        let far = Namespace::new();
        let index = far.routed_cable("lan", 7).await;
        for (remote, own) in there(7, index).into_iter().zip(here(7)) {
            let listener = listening(&far, remote);
            let old = password("old");
            let new = password("new");
            let done = listener.set_password(own, whole(own), Some(&old));
            done.expect("set");
            let options = to(remote, Some("old"));
            let mut connected = connect(&options).await.expect("connects");
            let (mut accepted, _) = listener.accept().await.expect("accepts");
            for (change, counter) in [
                (Some(&new), "TCPMD5Failure"),
                (None, "TCPMD5NotFound"),
                (Some(&old), "TCPMD5Unexpected"),
            ] {
                let before = far.counter(counter);
                set_password(&connected, change).expect("changed");
                connected.write_all(b"signed").await.expect("written");
                until("what is signed otherwise is dropped", || {
                    far.counter(counter) > before
                })
                .await;
                set_password(&accepted, change).expect("changed");
                let mut read = [0; 6];
                let reading = timeout(PATIENCE, accepted.read_exact(&mut read));
                reading.await.expect("sent again").expect("read");
                assert_eq!(&read, b"signed");
                accepted.write_all(&read).await.expect("written");
                let reading = timeout(PATIENCE, connected.read_exact(&mut read));
                reading.await.expect("in time").expect("read");
            }
            talk(connected, accepted).await;
        }
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn a_listener_has_passwords_for_prefixes_and_the_longest_wins() {
    in_new_namespace(|| async {
        let far = Namespace::new();
        let index = far.routed_cable("lan", 7).await;
        let prefixes = [
            ("192.0.7.200", 24, "192.0.6.1"),
            ("2001:db8:7::200", 64, "2001:db8:7:1::1"),
            ("fe80::200", 10, "fec0::1"),
        ];
        let anything = |own: IpAddr| match own {
            IpAddr::V4(_) => "0.0.0.0".parse().expect("an address"),
            IpAddr::V6(_) => "::".parse().expect("an address"),
        };
        let peers = there(7, index).into_iter().zip(here(7));
        for ((remote, own), (address, length, beside)) in peers.zip(prefixes) {
            let beside: IpAddr = beside.parse().expect("an address");
            let address: IpAddr = address.parse().expect("an address");
            let listener = listening(&far, remote);
            let set = |address, length, text: Option<&str>| {
                let text = text.map(password);
                let done = listener.set_password(address, length, text.as_ref());
                done.expect("set");
            };
            set(address, length, Some("range"));
            works(&to(remote, Some("range")), &listener).await;
            refused(&to(remote, None), &far, "TCPMD5NotFound").await;
            set(own, whole(own), Some("own"));
            works(&to(remote, Some("own")), &listener).await;
            refused(&to(remote, Some("range")), &far, "TCPMD5Failure").await;
            set(own, whole(own), None);
            // The prefix beside it is another.
            set(beside, length, Some("others"));
            works(&to(remote, Some("range")), &listener).await;
            set(address, length, None);
            works(&to(remote, None), &listener).await;
            set(beside, length, None);
            set(address, length, Some("range"));
            // By another address of the same prefix.
            set(own, length, Some("other"));
            works(&to(remote, Some("other")), &listener).await;
            set(own, length, None);
            set(anything(own), 0, Some("all"));
            works(&to(remote, Some("all")), &listener).await;
            set(anything(own), 0, None);
            works(&to(remote, None), &listener).await;
            let error = listener.set_password(own, whole(own) + 1, Some(&password("no")));
            let error = error.expect_err("is no prefix").to_string();
            assert!(
                error.contains(&format!("{own}/{}", whole(own) + 1)),
                "{error}"
            );
        }
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn a_connection_has_ttl_security_and_a_password_at_once() {
    in_new_namespace(|| async {
        let far = Namespace::new();
        let index = far.routed_cable("lan", 7).await;
        for (remote, own) in there(7, index).into_iter().zip(here(7)) {
            let hops = Hops::Within(std::num::NonZeroU8::MIN);
            let options = ListenOptions {
                hops,
                ..ListenOptions::at(remote)
            };
            let listener = far.within(|| opened(|| listen(&options)));
            let done = listener.set_password(own, whole(own), Some(&password("right")));
            done.expect("set");
            let options = Options {
                hops,
                ..to(remote, Some("right"))
            };
            works(&options, &listener).await;
            refused(&to(remote, Some("right")), &far, "TCPMinTTLDrop").await;
        }
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn when_there_are_too_many_passwords_it_says_what_to_raise() {
    in_new_namespace(|| async {
        ip("link set lo up");
        let address = "127.0.0.1:179".parse().expect("an address");
        let listener = listen(&ListenOptions::at(address)).expect("listens");
        let secret = password("secret");
        let failed = (1..1_000_000_u32).find_map(|n| {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into();
            let result = listener.set_password(address, 32, Some(&secret));
            result.err().map(|error| (n, error.to_string()))
        });
        let (count, error) = failed.expect("the kernel has a limit");
        assert!(count > 50, "{count} passwords only");
        assert!(error.contains("raise it"), "{error}");
        assert!(error.contains("net.core.optmem_max"), "{error}");
    });
}
