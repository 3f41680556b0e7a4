//! The state file, byte by byte.
//!
//! ```text
//!   0        8         12        20                  52
//!   +--------+---------+---------+-------------------+------------------------------+
//!   | magic  | version | length  | SHA-256           | postcard: (node, content)    |
//!   +--------+---------+---------+-------------------+------------------------------+
//! ```
//! Version and length (of the postcard part) are big-endian. The checksum is of the postcard part,
//! followed by version and length. Magic and version keep their place in all versions; the rest may
//! be otherwise in others.

use std::io::{self, BufWriter, Write};

use herald_model::NodeName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 8] = b"HERALDST";
/// The version that is written, and the only one that is read.
pub(super) const VERSION: u32 = 3;
const CHECKSUM: usize = 32;
const HEADER: usize = 8 + 4 + 8 + CHECKSUM;
const BUFFER: usize = 64 * 1024;

/// The largest content in bytes. That of 5,000 Services with 10 endpoints each is about a tenth.
const MOST: usize = 64 * 1024 * 1024;
/// The largest file that is read.
pub(super) const MOST_WITH_HEADER: u64 = (HEADER + MOST) as u64;

/// Why the bytes of a file are no state.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadFile {
    /// It was written by another release, before an upgrade or a downgrade.
    #[error("it is of version {0}, this release reads version {VERSION}")]
    Version(u32),
    /// It is damaged, or no state file at all.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is as it was written, but not what is expected.
    #[error("its content cannot be read: {0}")]
    Content(postcard::Error),
    /// It was written on another node.
    #[error("it is of the speaker of node {0}: every node needs a directory of its own")]
    OtherNode(NodeName),
}

/// Why content cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// It would not be read again.
    #[error("it would be larger than {MOST} bytes")]
    TooLarge,
    /// Its types do not allow it.
    #[error("it cannot be encoded: {0}")]
    Encode(postcard::Error),
    /// The disk refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The header of a file to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    length: u64,
    checksum: [u8; CHECKSUM],
}

/// Encodes the content once without keeping the bytes, to know their length and checksum.
pub(super) fn measure<T: Serialize>(me: &NodeName, content: &T) -> Result<Header, WriteError> {
    let mut measure = Measure::default();
    let encoded = encode(me, content, &mut measure);
    if measure.length > MOST {
        return Err(WriteError::TooLarge);
    }
    encoded?;
    let length = measure.length as u64;
    Ok(Header {
        length,
        checksum: finish(measure.hash, VERSION, length),
    })
}

/// Writes the whole file; `header` is the measure of the same content.
pub(super) fn write<T: Serialize>(
    me: &NodeName,
    content: &T,
    header: &Header,
    mut file: impl Write,
) -> Result<(), WriteError> {
    file.write_all(MAGIC)?;
    file.write_all(&VERSION.to_be_bytes())?;
    file.write_all(&header.length.to_be_bytes())?;
    file.write_all(&header.checksum)?;
    encode(me, content, file)
}

fn encode<T: Serialize>(me: &NodeName, content: &T, writer: impl Write) -> Result<(), WriteError> {
    let mut buffered = BufWriter::with_capacity(BUFFER, Keeping::new(writer));
    let encoded = postcard::to_io(&(me, content), &mut buffered).map(|_| ());
    let flushed = buffered.flush();
    // postcard does not tell why a write failed.
    if let Some(error) = buffered.get_mut().error.take() {
        return Err(WriteError::Io(error));
    }
    encoded.map_err(WriteError::Encode)?;
    flushed?;
    Ok(())
}

/// Reads the content out of the bytes of a file.
pub(super) fn read<T: DeserializeOwned>(me: &NodeName, bytes: &[u8]) -> Result<T, BadFile> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(CUT)?;
    if magic != MAGIC {
        return Err(BadFile::Damaged("it does not begin as a state file"));
    }
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(CUT)?;
    let version = u32::from_be_bytes(*version);
    if version > VERSION {
        return Err(BadFile::Version(version));
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(CUT)?;
    let length = u64::from_be_bytes(*length);
    let (checksum, body) = rest.split_first_chunk::<CHECKSUM>().ok_or(CUT)?;
    if body.len() as u64 != length {
        return Err(CUT);
    }
    if finish(Sha256::new_with_prefix(body), version, length) != *checksum {
        return Err(BadFile::Damaged("its checksum is wrong"));
    }
    if version != VERSION {
        return Err(BadFile::Version(version));
    }
    // The node first: another's content need not be readable.
    let (node, content) = postcard::take_from_bytes::<NodeName>(body).map_err(BadFile::Content)?;
    if node != *me {
        return Err(BadFile::OtherNode(node));
    }
    let (content, rest) = postcard::take_from_bytes(content).map_err(BadFile::Content)?;
    if !rest.is_empty() {
        return Err(BadFile::Damaged("there is more than its content"));
    }
    Ok(content)
}

const CUT: BadFile = BadFile::Damaged("its length is wrong");

fn finish(body: Sha256, version: u32, length: u64) -> [u8; CHECKSUM] {
    body.chain_update(version.to_be_bytes())
        .chain_update(length.to_be_bytes())
        .finalize()
        .into()
}

/// Counts and sums up what is written, up to [`MOST`].
#[derive(Default)]
struct Measure {
    hash: Sha256,
    length: usize,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length = self.length.saturating_add(bytes.len());
        if self.length > MOST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Remembers the error of a writer.
struct Keeping<W> {
    writer: W,
    error: Option<io::Error>,
}

impl<W> Keeping<W> {
    fn new(writer: W) -> Self {
        Self {
            writer,
            error: None,
        }
    }

    fn keep<R>(&mut self, result: io::Result<R>) -> io::Result<R> {
        result.map_err(|error| {
            let kind = error.kind();
            // A write that was interrupted is repeated.
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }
}

impl<W: Write> Write for Keeping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.writer.write(bytes);
        self.keep(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.writer.flush();
        self.keep(result)
    }
}
