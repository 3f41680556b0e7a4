//! The token of a service account, which the kubelet replaces from time to time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, header};
use kube::client::Body;

/// How old what was read of the file may be.
const READ_EVERY: Duration = Duration::from_mins(1);

/// A file with a token, read again every minute.
///
/// kube does so too, but by the time of day: where the clock was ahead once, it would go on with
/// the old token until that time comes again.
#[derive(Debug, Clone)]
pub(super) struct TokenFile(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    header: HeaderValue,
    read: Instant,
}

impl TokenFile {
    /// Fails if there is no token in the file.
    pub(super) fn new(path: &Path, now: Instant) -> io::Result<Self> {
        let header = read(path)?;
        let path = path.to_owned();
        let kept = Kept {
            path,
            header,
            read: now,
        };
        Ok(Self(Arc::new(Mutex::new(kept))))
    }

    /// Puts the token into a request.
    pub(super) fn authorize(&self, mut request: Request<Body>) -> Request<Body> {
        let header = self.header(Instant::now());
        request.headers_mut().insert(header::AUTHORIZATION, header);
        request
    }

    /// If the file cannot be read any longer, the last token is used.
    fn header(&self, now: Instant) -> HeaderValue {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(kept.read) >= READ_EVERY {
            kept.read = now;
            if let Ok(header) = read(&kept.path) {
                kept.header = header;
            }
        }
        kept.header.clone()
    }
}

fn read(path: &Path) -> io::Result<HeaderValue> {
    let token = std::fs::read_to_string(path)?;
    let header = HeaderValue::try_from(format!("Bearer {}", token.trim()));
    let mut header = header.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_read_again_after_a_minute_and_kept_if_it_is_gone() {
        let name = format!("herald-token-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let now = Instant::now();
        TokenFile::new(&path, now).expect_err("there is no file");
        std::fs::write(&path, "first\n").expect("written");
        let token = TokenFile::new(&path, now).expect("there is one");
        let after = |seconds| token.header(now + Duration::from_secs(seconds));
        assert!(after(0).is_sensitive());
        std::fs::write(&path, "second").expect("written");
        assert_eq!(after(59), "Bearer first");
        assert_eq!(after(60), "Bearer second");
        std::fs::write(&path, "no\ntoken").expect("written");
        assert_eq!(after(120), "Bearer second");
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(after(180), "Bearer second");
        std::fs::write(&path, "third").expect("written");
        assert_eq!(after(239), "Bearer second");
        assert_eq!(after(240), "Bearer third");
        std::fs::remove_file(&path).expect("removed");
    }
}
