//! Labs end with their process, also on Ctrl-C and SIGTERM.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use tokio::signal::unix::{SignalKind, signal};

use crate::lab::Shared;

static LIVE: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Has the lab taken down when this process is asked to end.
pub(crate) fn register(lab: &Arc<Shared>) {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let Ok(runtime) = runtime else { return };
            let code = runtime.block_on(async {
                let (Ok(mut interrupt), Ok(mut terminate)) = (
                    signal(SignalKind::interrupt()),
                    signal(SignalKind::terminate()),
                ) else {
                    return None;
                };
                tokio::select! {
                    _ = interrupt.recv() => Some(130),
                    _ = terminate.recv() => Some(143),
                }
            });
            if let Some(code) = code {
                take_down_all();
                #[expect(clippy::exit, reason = "what the signal would have done")]
                std::process::exit(code);
            }
        });
    });
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|lab| lab.strong_count() > 0);
    live.push(Arc::downgrade(lab));
}

fn take_down_all() {
    let labs = std::mem::take(&mut *LIVE.lock().unwrap_or_else(PoisonError::into_inner));
    for lab in labs.iter().filter_map(Weak::upgrade) {
        lab.take_down(false);
    }
}
