use herald_api::config::bgp::PeerEndpoint;
use herald_bgp::session::Config;
use herald_bgp::wire::{Asn, BgpId, ExpectedAs};
use herald_netsys::tcp::Hops;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;

/// The length of a message's header, and where it has the type.
const HEADER: usize = 19;

fn plan(port: u16) -> PeerPlan {
    let id = BgpId([10, 0, 0, 1].into());
    PeerPlan {
        session: Config::new(Asn(65_001), ExpectedAs::External, id),
        endpoint: PeerEndpoint::Address([127, 0, 0, 1].into()),
        port,
        source: None,
        vrf: String::new(),
        hops: Hops::ONE,
        password: None,
        bfd: None,
    }
}

/// All that a router is sent whose `BGPPeer` is deleted once it has our OPEN.
async fn told(seed: u64) -> Vec<u8> {
    let router = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = router.local_addr().expect("bound").port();
    let first = Plans::from([("tor".to_owned(), Arc::new(plan(port)))]);
    let (plans, plans_here) = watch::channel(Arc::new(first));
    let (_questions, questions) = mpsc::channel(1);
    let (bfd, _requested) = crate::bfd::requests();
    let driver = Driver::new(DriverIo {
        plans: plans_here,
        routes: RouteQueue::default(),
        statuses: watch::Sender::default(),
        questions,
        bfd,
        seed,
    });
    let token = CancellationToken::new();
    let peer = async {
        let (mut stream, _) = router.accept().await.expect("a connection");
        let mut all = vec![0; HEADER];
        stream.read_exact(&mut all).await.expect("an OPEN");
        plans.send_replace(Arc::default());
        stream.read_to_end(&mut all).await.expect("an orderly end");
        token.cancel();
        all
    };
    let (ended, all) = tokio::join!(driver.run(token.clone()), peer);
    ended.expect("it ends well");
    all
}

#[tokio::test]
async fn a_peer_that_is_deleted_is_told_so() {
    // Which of several things a task hears of first is chance.
    for seed in 0..16 {
        let all = told(seed).await;
        let length = all.get(16..18).expect("a header");
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let last = all.get(length..).expect("the OPEN");
        // A NOTIFICATION: Cease, Peer De-configured (RFC 4486).
        assert_eq!(last.get(HEADER - 1..), Some(&[3, 6, 3][..]), "round {seed}");
    }
}
