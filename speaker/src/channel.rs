//! What channels of the latest value have in common.

use tokio::sync::watch;

/// Sends the value unless it is what the channel has already: then nobody is woken.
pub(crate) fn send_if_other<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|current| {
        let changed = *current != new;
        if changed {
            *current = new;
        }
        changed
    });
}
