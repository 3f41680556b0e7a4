//! What runs in the pods of the tests, as the only file of an image: `serve` answers HTTP on port
//! 8080 and says which pod of which node it is (`POD_NAME`, `NODE_NAME`); without an argument it does
//! nothing, which is what holds a pod's namespaces.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use std::{env, thread};

const PORT: u16 = 8080;

/// Requests are short; this only bounds what a stranger can make it keep.
const LONGEST_REQUEST: usize = 16 * 1024;

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    if env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    loop {
        thread::park();
    }
}

fn serve() -> io::Result<()> {
    let [pod, node] = ["POD_NAME", "NODE_NAME"].map(|key| env::var(key).unwrap_or_default());
    // Both families.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
    loop {
        // A connection that is gone before it is accepted is its client's business.
        let Ok((stream, client)) = listener.accept() else {
            continue;
        };
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let body = format!(r#"{{"pod":"{pod}","node":"{node}","client":"{client}","echo":null}}"#);
        thread::spawn(move || answer(stream, &body));
    }
}

fn answer(mut stream: TcpStream, body: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 || request.len() > LONGEST_REQUEST {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..length]);
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes())
}
