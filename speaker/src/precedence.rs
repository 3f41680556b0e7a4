//! Threads that others wait for, so that they go before the rest of the machine's.

use std::time::Duration;

/// For how long such a thread rests in a flood, before it takes in more.
pub(crate) const REST: Duration = Duration::from_millis(1);

/// Asks the kernel to run this thread as soon as it wakes up, and says what it granted. Such a thread
/// must do little at once, and rest in a flood: it must not have all of a processor.
pub(crate) fn take(thread: &str) {
    match herald_netsys::take_precedence() {
        Ok(granted) => tracing::info!(?granted, "precedence of the {thread} thread"),
        Err(error) => tracing::warn!(%error, "the {thread} thread is a thread like all others"),
    }
}
