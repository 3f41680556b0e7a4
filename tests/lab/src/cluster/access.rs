//! Ways into the API server from outside its namespace.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceBuilder, service_fn};

use super::pki::{Pki, User};
use crate::net::address::CONTROL_PLANE;
use crate::net::netns::Netns;

/// Where the API server listens, inside the lab.
pub(crate) fn api_address() -> SocketAddr {
    (CONTROL_PLANE.v4, 6443).into()
}

/// A client whose connections are made inside the namespace and used from here.
pub(crate) fn client(netns: &Netns, pki: &Pki, user: User) -> Result<Client> {
    // Another installed provider does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("https://{}", api_address());
    let mut config = Config::new(url.parse()?);
    let pem = std::fs::read(pki.ca())?;
    config.root_cert = Some(certificates(&pem)?);
    config.auth_info.token = Some(Pki::token(user).into());

    let netns = netns.clone();
    let connector = service_fn(move |_: http::Uri| {
        let netns = netns.clone();
        async move {
            let stream = netns.run_async(|| connect(api_address())).await??;
            Ok::<_, BoxError>(TokioIo::new(tokio::net::TcpStream::from_std(stream)?))
        }
    });
    let https = config.rustls_https_connector_with_connector(connector)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, "default"))
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let parsed = parsed.context("the lab's CA file is not PEM")?;
    Ok(parsed
        .into_iter()
        .map(|certificate| certificate.to_vec())
        .collect())
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Forwards a port of this machine's loopback to the API server, until cancelled. Its port.
pub(crate) async fn forward(netns: Netns, until: CancellationToken) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(until.clone().run_until_cancelled_owned(async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            let netns = netns.clone();
            tokio::spawn(until.clone().run_until_cancelled_owned(async move {
                // Either end may close at any time; the other end sees it close.
                if let Ok(Ok(inside)) = netns.run_async(|| connect(api_address())).await
                    && let Ok(mut inside) = tokio::net::TcpStream::from_std(inside)
                {
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                }
            }));
        }
    }));
    Ok(port)
}
