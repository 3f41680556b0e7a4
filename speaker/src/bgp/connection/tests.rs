use std::net::{IpAddr, Ipv4Addr};

use herald_netsys::tcp::{Hops, ListenOptions, Options, Password};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn password(text: &str) -> Password {
    Password::new(text).expect("a password")
}

fn security(text: &str) -> Security {
    Security {
        hops: Hops::ONE,
        password: Some(password(text)),
    }
}

/// Two ends of a connection that is signed with a password.
async fn signed(text: &str) -> (TcpStream, TcpStream) {
    let listener = tcp::listen(&ListenOptions::at((HERE, 0).into())).expect("listens");
    let set = listener.set_password(HERE, 32, Some(&password(text)));
    set.expect("a password for the peer");
    let options = Options {
        password: Some(password(text)),
        ..Options::to(listener.local_addr().expect("bound"))
    };
    let (connected, accepted) = tokio::join!(tcp::connect(&options), listener.accept());
    (connected.expect("connects"), accepted.expect("accepts").0)
}

/// What comes next.
async fn hears(connection: &mut Connection) -> Vec<u8> {
    let heard = async {
        loop {
            match connection.read() {
                Some(Arrived::Bytes(bytes)) => return bytes,
                Some(Arrived::End(error)) => panic!("it ended: {error:?}"),
                None => connection.ready().await,
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("something is heard")
}

#[tokio::test]
#[ignore = "needs a kernel with MD5 signatures: run by make test"]
async fn one_that_was_made_before_a_change_is_changed_like_a_live_one() {
    let (old, new) = (security("old"), security("new"));
    let start = Instant::now();
    let (ours, mut theirs) = signed("old").await;
    let mut connection = Connection::open(start, ours, &old, &new).expect("secured");
    // The other end has not been changed yet.
    theirs.write_all(b"before").await.expect("written");
    assert_eq!(hears(&mut connection).await, b"before");

    // It has by now, and acknowledges nothing that is signed with the old one.
    tcp::set_password(&theirs, Some(&password("new"))).expect("changed");
    connection.write(b"after".to_vec());
    connection.flush().expect("written");
    for look in 1..=2 {
        let now = start + Duration::from_millis(500) * look;
        connection.tend(now).expect("goes on with the change");
    }
    let mut heard = [0; 5];
    let hearing = timeout(PATIENCE, theirs.read_exact(&mut heard)).await;
    hearing
        .expect("it is sent again")
        .expect("signed as wanted");
    assert_eq!(&heard, b"after");
    theirs.write_all(b"both").await.expect("written");
    assert_eq!(hears(&mut connection).await, b"both");
}

#[tokio::test]
#[ignore = "needs a kernel with MD5 signatures: run by make test"]
async fn one_that_has_what_it_is_to_have_changes_nothing() {
    let it = security("same");
    let (ours, mut theirs) = signed("same").await;
    let mut connection = Connection::open(Instant::now(), ours, &it, &it).expect("secured");
    assert_eq!(connection.next_timeout(), None);
    theirs.write_all(b"signed").await.expect("written");
    assert_eq!(hears(&mut connection).await, b"signed");
}
