//! Servers, with TLS and without, whose clients cannot hold them up: connections are counted, handshakes run side
//! by side and have a time limit, and so have answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::connections::{self, Limited, Limits};
use crate::supervise::TaskResult;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves `router` on all addresses at the port that `flag` gives, until `token` is cancelled. Port
/// 0 serves nothing.
pub async fn serve(
    (flag, port): (&str, u16),
    config: ServerConfig,
    router: Router,
    token: CancellationToken,
) -> TaskResult {
    if port == 0 {
        token.cancelled().await;
        return Ok(());
    }
    let listener = listen(crate::health::ALL_ADDRESSES, port)
        .await
        .map_err(|e| format!("cannot listen on port {port}: {e}; choose another {flag}"))?;
    serve_on(listener, config, router, token).await
}

/// The same without TLS.
pub(crate) async fn serve_plain(
    flag: &str,
    address: SocketAddr,
    router: Router,
    token: CancellationToken,
) -> TaskResult {
    if address.port() == 0 {
        token.cancelled().await;
        return Ok(());
    }
    let listener = listen(address.ip(), address.port())
        .await
        .map_err(|e| format!("cannot listen on {address}: {e}; choose another {flag}"))?;
    let listener = connections::Listener::new(listener, Limits::SERVER);
    axum::serve(listener, router)
        .with_graceful_shutdown(token.cancelled_owned())
        .await?;
    Ok(())
}

/// Serves `router` on a socket that listens, until `token` is cancelled.
pub async fn serve_on(
    listener: TcpListener,
    config: ServerConfig,
    router: Router,
    token: CancellationToken,
) -> TaskResult {
    let limits = Limits::SERVER;
    let (handshaken, connections) = mpsc::channel(limits.connections);
    let local = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let accepting = accept(listener, acceptor, limits, handshaken);
    let serving = axum::serve(Handshaken { connections, local }, router)
        .with_graceful_shutdown(token.cancelled_owned());
    tokio::select! {
        () = accepting => Ok(()),
        served = serving => Ok(served?),
    }
}

/// Listens on `address`; on a host without IPv6 the unspecified IPv6 address means that of IPv4.
pub(crate) async fn listen(address: IpAddr, port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::new(address, port)).await {
        Err(e)
            if address.is_ipv6()
                && address.is_unspecified()
                && e.kind() != std::io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await
        }
        outcome => outcome,
    }
}

/// Handshakes run side by side, so that a slow client holds up nobody. A connection keeps its slot
/// until it ends.
async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    limits: Limits,
    handshaken: mpsc::Sender<(Connection, SocketAddr)>,
) {
    let slots = limits.slots();
    loop {
        let (stream, peer, slot) = connections::accept(&listener, &slots).await;
        let (acceptor, handshaken) = (acceptor.clone(), handshaken.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(tls)) => {
                    let connection = Limited::new(tls, limits, slot);
                    // An error means that the server is ending.
                    let _ = handshaken.send((connection, peer)).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
            }
        });
    }
}

type Connection = Limited<TlsStream<TcpStream>>;

/// Connections whose handshake is done, as a listener for axum.
struct Handshaken {
    connections: mpsc::Receiver<(Connection, SocketAddr)>,
    local: SocketAddr,
}

impl axum::serve::Listener for Handshaken {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.local)
    }
}
