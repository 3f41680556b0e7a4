//! Waiting on a thread for what comes true in a while.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Looks every 20 ms until `look` gives something; that. An error that `look` gives counts as "not
/// yet", and the last one is part of the message if time runs out.
pub fn eventually<T>(
    timeout: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        let error = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => String::new(),
            Err(error) => format!(": {error:#}"),
        };
        if Instant::now() > deadline {
            bail!("waited {timeout:?} in vain for {what}{error}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
