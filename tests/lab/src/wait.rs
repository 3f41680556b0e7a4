//! Waiting for what comes true in a while.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Looks every 20 ms until `look` gives something; that. An error that `look` gives counts as "not
/// yet", and the last one is part of the message if time runs out.
pub async fn eventually<T>(
    timeout: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        let error = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => String::new(),
            Err(error) => format!(": {error:#}"),
        };
        if Instant::now() > deadline {
            bail!("waited {timeout:?} in vain for {what}{error}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks every 20 ms that `look` stays true for a while; an error says when it no longer was.
pub async fn always(
    duration: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < duration {
        if !look().await? {
            bail!(
                "after {:?} it was no longer true that {what}",
                start.elapsed()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
