use std::num::NonZeroU8;

use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn guest(name: &str, address: &str) -> Guest {
    Guest {
        name: name.to_owned(),
        vrf: None,
        remote: Remote {
            address: address.parse().expect("an address"),
            interface: None,
        },
        local: None,
        hops: Hops::ANY,
        password: None,
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A port that is free, in all likelihood.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound").port()
}

#[test]
fn a_peer_is_known_by_its_address_its_interface_and_what_it_connects_to() {
    let name_of = |index| (index == 7).then(|| "eth0".to_owned());
    let to: IpAddr = [10, 0, 0, 1].into();
    let mut far = guest("tor", "10.0.0.2");
    assert!(far.is(address("10.0.0.2:9"), to, name_of));
    assert!(!far.is(address("10.0.0.3:9"), to, name_of));
    far.local = Some([10, 0, 0, 4].into());
    assert!(!far.is(address("10.0.0.2:9"), to, name_of));
    far.local = Some(to);
    assert!(far.is(address("10.0.0.2:9"), to, name_of));

    let mut near = guest("tor", "fe80::2");
    near.remote.interface = Some("eth0".to_owned());
    let here: IpAddr = "fe80::1".parse().expect("an address");
    assert!(near.is(address("[fe80::2%7]:9"), here, name_of));
    assert!(!near.is(address("[fe80::2%8]:9"), here, name_of));
}

#[test]
fn one_link_local_address_on_two_interfaces_cannot_have_two_passwords() {
    let near = |name: &str, interface: &str, password: Option<&str>| {
        let mut guest = guest(name, "fe80::2");
        guest.remote.interface = Some(interface.to_owned());
        guest.password = password.and_then(|password| Password::new(password).ok());
        guest
    };
    let one = near("one", "eth0", Some("first"));
    let told = |second: Guest| clashes(&[one.clone(), second]);
    assert!(told(near("two", "eth1", Some("first"))).is_empty());
    assert!(told(near("two", "eth0", Some("second"))).is_empty());
    let mut elsewhere = near("two", "eth1", Some("second"));
    elsewhere.vrf = Some("red".to_owned());
    assert!(told(elsewhere).is_empty());
    for password in [None, Some("second")] {
        let told = told(near("two", "eth1", password));
        let problems: Vec<_> = told.iter().collect();
        let [(name, problem)] = problems[..] else {
            panic!("{problems:?}");
        };
        assert_eq!(name, "two");
        for word in ["BGPPeers one and two", "fe80::2 on eth1", "on eth0"] {
            assert!(problem.contains(word), "{word}: {problem}");
        }
    }
}

#[test]
fn handshakes_are_secured_when_no_peer_is_without_it() {
    let within = |hops| Hops::Within(NonZeroU8::new(hops).expect("not zero"));
    let mut near = guest("near", "10.0.0.2");
    let mut far = guest("far", "10.0.1.2");
    assert_eq!(hops(&[&near, &far]), Hops::ANY);
    near.hops = within(1);
    assert_eq!(hops(&[&near]), within(1));
    assert_eq!(hops(&[&near, &far]), Hops::ANY);
    far.hops = within(3);
    assert_eq!(hops(&[&near, &far]), within(3));
}

#[test]
fn strangers_are_told_of_once_a_minute() {
    let start = Instant::now();
    let mut strangers = Strangers::default();
    assert_eq!(strangers.count(start), Some(1));
    let soon = start + Duration::from_secs(59);
    assert_eq!([strangers.count(soon), strangers.count(soon)], [None, None]);
    assert_eq!(strangers.count(start + Duration::from_mins(1)), Some(3));
}

#[tokio::test]
async fn it_listens_while_there_is_a_peer_that_may_connect() {
    let port = free_port().await;
    let there = SocketAddr::from(([127, 0, 0, 1], port));
    let mut listeners = Listeners::new(port);
    TcpStream::connect(there).await.expect_err("nobody listens");
    listeners.set_guests(vec![guest("near", "127.0.0.1")]);
    let _stream = TcpStream::connect(there).await.expect("connects");
    let accepted = timeout(PATIENCE, listeners.accept()).await;
    let (name, _) = accepted.expect("in time").expect("a connection");
    assert_eq!(name, "near");
    // Of several peers of one address it is the one whose password the socket has.
    let named = |name, local: Option<IpAddr>| Guest {
        local,
        ..guest(name, "127.0.0.1")
    };
    let here = Some(there.ip());
    for (guests, owner) in [
        (vec![named("a", None), named("b", None)], "a"),
        (vec![named("a", None), named("b", here)], "b"),
    ] {
        listeners.set_guests(guests);
        let _stream = TcpStream::connect(there).await.expect("connects");
        let accepted = timeout(PATIENCE, listeners.accept()).await;
        let (name, _) = accepted.expect("in time").expect("a connection");
        assert_eq!(name, owner);
    }
    listeners.set_guests(Vec::new());
    TcpStream::connect(there).await.expect_err("nobody listens");
}

#[tokio::test]
async fn a_stranger_is_closed_without_a_byte() {
    let port = free_port().await;
    let mut listeners = Listeners::new(port);
    let mut registry = Registry::default();
    listeners.count_strangers(crate::bgp::register_strangers(&mut registry));
    listeners.set_guests(vec![guest("far", "192.0.2.1")]);
    let there = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect(there).await.expect("connects");
    let mut bytes = Vec::new();
    tokio::select! {
        accepted = listeners.accept() => unreachable!("{accepted:?}"),
        read = timeout(PATIENCE, stream.read_to_end(&mut bytes)) => {
            read.expect("in time").expect_err("it is reset");
        }
    }
    assert_eq!(bytes, b"");
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).expect("encodes");
    let line = "herald_bgp_strangers_refused_total 1";
    assert!(page.lines().any(|it| it == line), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_taken_is_tried_again() {
    let taken = TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let mut listeners = Listeners::new(port);
    let guest = guest("near", "127.0.0.1");
    listeners.set_guests(vec![guest.clone()]);
    let failure = listeners.failure(&guest).expect("the port is taken");
    assert!(failure.contains("another program"), "{failure}");
    drop(taken);
    assert!(listeners.accept().await.is_none(), "tried again");
    assert_eq!(listeners.failure(&guest), None);
}

#[tokio::test]
#[ignore = "needs a kernel with MD5 signatures: run by make test"]
async fn a_connection_has_the_password_that_it_was_made_with() {
    let port = free_port().await;
    let mut listeners = Listeners::new(port);
    let password = |text: &str| Password::new(text).expect("a password");
    let with = |text: Option<&str>| Guest {
        password: text.map(password),
        ..guest("near", "127.0.0.1")
    };
    let connect = async |text: Option<&str>| {
        let options = tcp::Options {
            password: text.map(password),
            ..tcp::Options::to(SocketAddr::from(([127, 0, 0, 1], port)))
        };
        let mut stream = tcp::connect(&options).await.expect("connects");
        // What is acknowledged is so by an end that is there.
        stream.write_all(b"here").await.expect("written");
        let taken = async {
            while tcp::queued(&stream).expect("asked") > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, taken).await.expect("it is acknowledged");
        stream
    };
    listeners.set_guests(vec![with(Some("old"))]);
    let mut connections = Vec::new();
    // Nobody has accepted the first before the password is changed, and so on.
    for (text, next) in [
        (Some("old"), Some("new")),
        (Some("new"), None),
        (None, None),
    ] {
        connections.push(connect(text).await);
        listeners.set_guests(vec![with(next)]);
    }
    for text in [Some("old"), Some("new"), None] {
        let accepted = timeout(PATIENCE, listeners.accept()).await;
        let (name, accepted) = accepted.expect("in time").expect("a connection");
        assert_eq!(name, "near");
        let expected = Security {
            hops: Hops::ANY,
            password: text.map(password),
        };
        assert_eq!(accepted.security, expected);
    }
}
