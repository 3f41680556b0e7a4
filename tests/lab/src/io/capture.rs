//! Everything that passes an interface, kept in memory and in a pcap file.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::socket::{Frame, PacketSocket};
use crate::lab::Lab;
use crate::wait::eventually;

/// A running capture; ends when dropped, or with the lab. The file stays with the logs.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    file: PathBuf,
    _stop: DropGuard,
}

impl Lab {
    /// Captures what passes a part's interface, both ways, from now on, into memory and
    /// `<part>-<interface>-<n>.pcap` beside the logs.
    pub fn capture(&self, part: &str, interface: &str) -> Result<Capture> {
        let socket = self.packet_socket(part, interface)?;
        let file = (1..10_000)
            .map(|n| self.logs().join(format!("{part}-{interface}-{n}.pcap")))
            .find(|file| !file.exists())
            .context("no file name is free")?;
        let mut out = BufWriter::new(File::create(&file)?);
        out.write_all(&pcap_header())?;
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = self.shared.end.child_token();
        let (kept, until) = (Arc::clone(&frames), stop.clone());
        std::thread::spawn(move || {
            // A write that fails leaves the capture in memory.
            let _ = collect(&socket, &kept, out, &until);
        });
        Ok(Capture {
            frames,
            file,
            _stop: stop.drop_guard(),
        })
    }
}

fn collect(
    socket: &PacketSocket,
    frames: &Mutex<Vec<Frame>>,
    mut out: BufWriter<File>,
    until: &CancellationToken,
) -> Result<()> {
    while !until.is_cancelled() {
        let deadline = Instant::now() + Duration::from_millis(50);
        match socket.receive(deadline)? {
            Some(frame) => {
                out.write_all(&pcap_record(&frame))?;
                frames
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(frame);
            }
            None => out.flush()?,
        }
    }
    Ok(out.flush()?)
}

impl Capture {
    /// All frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What `parse` makes of the frames so far, e.g. `|frame| Arp::parse(&frame.bytes)`.
    pub fn find<T>(&self, parse: impl FnMut(&Frame) -> Option<T>) -> Vec<T> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.iter().filter_map(parse).collect()
    }

    /// Waits until `parse` makes something of a frame, earlier or later; the first such thing.
    pub async fn wait_for<T>(
        &self,
        timeout: Duration,
        what: &str,
        mut parse: impl FnMut(&Frame) -> Option<T>,
    ) -> Result<T> {
        let found = async || Ok(self.find(&mut parse).into_iter().next());
        eventually(timeout, what, found).await
    }

    /// The pcap file (nanosecond format); written out at most 50 ms late.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

fn pcap_header() -> Vec<u8> {
    let mut header = Vec::with_capacity(24);
    header.extend(0xa1b2_3c4d_u32.to_le_bytes());
    header.extend([2, 0, 4, 0]);
    header.extend([0; 8]);
    header.extend(65536_u32.to_le_bytes());
    header.extend(1_u32.to_le_bytes());
    header
}

fn pcap_record(frame: &Frame) -> Vec<u8> {
    let time = frame.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let length = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
    // The format's seconds have 32 bits.
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let mut record = Vec::with_capacity(16 + frame.bytes.len());
    for word in [seconds, time.subsec_nanos(), length, length] {
        record.extend(word.to_le_bytes());
    }
    record.extend(&frame.bytes);
    record
}
