//! A large answer on its way: it keeps its turn until it is sent, but not for ever.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;

/// As long as the API server waits for a conversion.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What is given to the connection at a time.
const PIECE: usize = 64 << 10;

/// What is still to be sent.
struct Rest {
    text: Vec<u8>,
    sent: usize,
    _turn: OwnedSemaphorePermit,
}

/// The body of an answer. `turn` is given back, and the memory with it, when it is sent, when the
/// connection ends, or when the client has not taken it in time.
pub(super) fn held(text: Vec<u8>, turn: OwnedSemaphorePermit) -> Body {
    let rest = Rest {
        text,
        sent: 0,
        _turn: turn,
    };
    let rest = Arc::new(Mutex::new(Some(rest)));
    let late = Arc::downgrade(&rest);
    tokio::spawn(async move {
        tokio::time::sleep(TIMEOUT).await;
        // A connection that waits for its client asks for no more: it would keep the rest.
        if let Some(rest) = late.upgrade() {
            *rest.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    });
    Body::from_stream(stream::poll_fn(move |_| {
        let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Rest { text, sent, .. }) = rest.as_mut() else {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        let piece = text.get(*sent..).unwrap_or_default();
        let piece = piece.get(..PIECE).unwrap_or(piece);
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        *sent += piece.len();
        // A copy: a part of the whole would keep the whole.
        Poll::Ready(Some(Ok::<_, io::Error>(Bytes::copy_from_slice(piece))))
    }))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    async fn turn(turns: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        let turn = Arc::clone(turns).acquire_owned().await;
        turn.expect("open")
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_keeps_its_turn_until_it_is_sent() {
        let turns = Arc::new(Semaphore::new(1));
        let text: Vec<u8> = (0..200_000_u32)
            .map(|number| number.to_le_bytes()[0])
            .collect();
        let body = held(text.clone(), turn(&turns).await);
        assert_eq!(turns.available_permits(), 0);
        let sent = axum::body::to_bytes(body, usize::MAX).await.expect("all");
        assert_eq!(sent, text);
        assert_eq!(turns.available_permits(), 1);
        drop(held(text, turn(&turns).await));
        assert_eq!(turns.available_permits(), 1, "the connection ended");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let turns = Arc::new(Semaphore::new(1));
        let text = vec![b'x'; 10 * PIECE];
        let mut body = held(text, turn(&turns).await).into_data_stream();
        let piece = body.next().await.expect("a piece").expect("in time");
        assert_eq!(piece.len(), PIECE);
        tokio::time::sleep(TIMEOUT / 2).await;
        assert_eq!(turns.available_permits(), 0);
        // The client takes no more, and the connection is still there.
        let next = turn(&turns).await;
        drop(next);
        body.next().await.expect("an end").expect_err("too late");
    }
}
