//! HTTP/1.1 over a plain socket: one request, one connection.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// GETs a path. The timeout holds for the connection and for every read.
pub(crate) fn get(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<HttpAnswer> {
    get_over(
        TcpStream::connect_timeout(&address, timeout)?,
        path,
        timeout,
    )
}

pub(crate) fn get_over(
    mut stream: TcpStream,
    path: &str,
    timeout: Duration,
) -> io::Result<HttpAnswer> {
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(&request(path))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer)
}

pub(crate) fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").into_bytes()
}

pub(crate) fn parse(answer: &[u8]) -> io::Result<HttpAnswer> {
    let text = String::from_utf8_lossy(answer);
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no HTTP answer: {text:?}"),
        )
    };
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(bad)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(bad)?;
    Ok(HttpAnswer {
        status,
        body: body.to_owned(),
    })
}
