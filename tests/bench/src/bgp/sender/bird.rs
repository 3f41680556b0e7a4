//! BIRD as a speaker: each batch is a protocol of static routes that is enabled and disabled.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use herald_lab::ProcessSpec;

use super::super::ground::{ASN, BIRD_BFD, Neighbor};
use super::Batch;

/// What starts it, with all sessions and batches still disabled.
pub(super) fn spec(
    dir: &Path,
    socket: &Path,
    neighbors: &[Neighbor],
    batches: &[Batch],
    bfd: bool,
) -> Result<ProcessSpec> {
    let file = dir.join("sender.conf");
    std::fs::write(&file, config(neighbors, batches, bfd)?)?;
    Ok(ProcessSpec::new("sender", "bird")
        .arg("-f")
        .arg("-c")
        .arg(file)
        .arg("-s")
        .arg(socket)
        .arg("-P")
        .arg(dir.join("sender.pid")))
}

fn config(neighbors: &[Neighbor], batches: &[Batch], bfd: bool) -> Result<String> {
    let id = neighbors.first().context("no router")?.own;
    let mut text =
        format!("router id {id};\nlog stderr {{ error, fatal }};\nprotocol device {{}}\n");
    if bfd {
        text.push_str(BIRD_BFD);
    }
    let watched = if bfd { "bfd on;" } else { "" };
    for (number, Neighbor { address, own, asn }) in neighbors.iter().enumerate() {
        writeln!(
            text,
            "protocol bgp p{number} {{ disabled; local {own} as {ASN}; neighbor {address} as {asn};\
             connect delay time 1; connect retry time 1; error wait time 1,2; {watched} \
             ipv4 {{ import none; export all; next hop self; }}; }}"
        )?;
    }
    for (number, batch) in batches.iter().enumerate() {
        let community = batch.community;
        writeln!(
            text,
            "protocol static b{number} {{ disabled; ipv4 {{ preference {}; import filter {{ \
             bgp_community.add(({ASN}, {community})); accept; }}; }};",
            200 + number
        )?;
        for route in batch.from..batch.from + batch.count {
            let address = Ipv4Addr::from_bits((20 << 24) + u32::try_from(route)?);
            writeln!(text, "route {address}/32 blackhole;")?;
        }
        text.push_str("}\n");
    }
    Ok(text)
}

/// Its control socket.
#[derive(Debug)]
pub(super) struct Bird(PathBuf);

impl Bird {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(socket)
    }

    /// Has a command carried out; when it was sent.
    pub(super) fn timed(&self, command: &str) -> Result<Instant> {
        let stream = UnixStream::connect(&self.0)
            .with_context(|| format!("cannot connect to {}", self.0.display()))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let begun = Instant::now();
        (&stream).write_all(format!("{command}\n").as_bytes())?;
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                bail!("BIRD closed its socket after `{command}`");
            }
            match line.as_bytes() {
                [b'8' | b'9', ..] => bail!("`{command}`: {}", line.trim()),
                [b'0', _, _, _, b' ', ..] => return Ok(begun),
                _ => {}
            }
        }
    }

    /// Has a command carried out.
    pub(super) fn ask(&self, command: &str) -> Result<()> {
        self.timed(command).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_batch_is_a_protocol_that_goes_before_the_ones_before() -> Result<()> {
        let neighbor = Neighbor {
            address: Ipv4Addr::new(10, 99, 0, 2),
            own: Ipv4Addr::new(10, 99, 0, 1),
            asn: 65002,
        };
        let batches = [Batch::first(2, 1), Batch::first(1, 2)];
        let text = config(&[neighbor], &batches, false)?;
        assert_eq!(text.matches("route 20.0.0.0/32 blackhole;").count(), 2);
        assert_eq!(text.matches("route 20.0.0.1/32 blackhole;").count(), 1);
        assert!(text.contains("static b0 { disabled; ipv4 { preference 200;"));
        assert!(text.contains("static b1 { disabled; ipv4 { preference 201;"));
        assert!(text.contains("neighbor 10.99.0.2 as 65002") && !text.contains("bfd"));
        let watched = config(&[neighbor], &[], true)?;
        assert!(watched.contains("multiplier 3") && watched.contains("bfd on;"));
        Ok(())
    }
}
