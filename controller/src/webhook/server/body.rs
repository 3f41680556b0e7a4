//! Bodies of requests, read within bounds.
//!
//! What a body takes is counted as it arrives, never as it is announced: a client that sends nothing
//! takes nothing from others. The first part of each is not counted at all, because the number of
//! connections bounds it; so what the API server asks day by day never waits for anybody.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Refusal;

/// Bytes of each body that are not counted: 4 MiB with as many connections as there may be.
pub(super) const UNCOUNTED: usize = 64 << 10;
/// Bytes of all bodies beyond that.
pub(super) const BUDGET: usize = 32 << 20;
/// From the header to the end of a body.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The bodies of all requests.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    budget: Arc<Semaphore>,
}

/// A body, and its part of what all may have.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    part: Option<OwnedSemaphorePermit>,
}

impl Received {
    /// How much more of the budget is needed for `more` bytes.
    fn due(&self, more: usize) -> usize {
        let counted = (self.bytes.len() + more).saturating_sub(UNCOUNTED);
        let paid = self
            .part
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        counted.saturating_sub(paid)
    }
}

impl Bodies {
    /// Bodies that have `budget` bytes together, beyond what is not counted.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget: Arc::new(Semaphore::new(budget)),
        }
    }

    /// The body of a request, of at most `largest` bytes.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        largest: usize,
    ) -> Result<Received, Refusal> {
        let length = announced(headers, largest)?;
        let deadline = Instant::now() + TIMEOUT;
        let mut received = Received {
            // Memory that nobody has written to is none.
            bytes: Vec::with_capacity(length),
            part: None,
        };
        let mut pieces = body.into_data_stream();
        loop {
            let Ok(piece) = timeout_at(deadline, pieces.next()).await else {
                let error = format!("the body did not come within {TIMEOUT:?}");
                return Err((StatusCode::REQUEST_TIMEOUT, error));
            };
            let Some(piece) = piece else {
                return Ok(received);
            };
            let piece = piece.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
            if received.bytes.len() + piece.len() > length {
                let error = format!("the body has more than the {length} bytes of its header");
                return Err((StatusCode::BAD_REQUEST, error));
            }
            self.count(&mut received, piece.len(), deadline).await?;
            received.bytes.extend_from_slice(&piece);
        }
    }

    /// Takes what `more` bytes need from the budget, or waits until others give it back.
    async fn count(
        &self,
        received: &mut Received,
        more: usize,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let busy = || {
            let error = "too many large requests at once: try again".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, error)
        };
        let due = u32::try_from(received.due(more)).map_err(|_| busy())?;
        if due == 0 {
            return Ok(());
        }
        let budget = Arc::clone(&self.budget).acquire_many_owned(due);
        let part = timeout_at(deadline, budget).await.map_err(|_| busy())?;
        let part = part.map_err(|_| busy())?;
        match &mut received.part {
            Some(all) => all.merge(part),
            None => received.part = Some(part),
        }
        Ok(())
    }
}

/// The length of a body that may be read, as its header says.
fn announced(headers: &HeaderMap, largest: usize) -> Result<usize, Refusal> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        let error = format!("content type {kind:?}: send application/json");
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
    }
    let length = text(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    let Some(length) = length else {
        let error = "no Content-Length: say how long the body is".to_owned();
        return Err((StatusCode::LENGTH_REQUIRED, error));
    };
    let fits = usize::try_from(length).ok().filter(|it| *it <= largest);
    fits.ok_or_else(|| {
        let error = format!("the body has {length} bytes: at most {largest} are read");
        (StatusCode::PAYLOAD_TOO_LARGE, error)
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use futures::stream;

    use super::*;

    const LARGEST: usize = 16 << 20;

    fn headers(length: usize) -> HeaderMap {
        let length = length.to_string().parse().expect("a number");
        let json = "application/json".parse().expect("a type");
        let all = [
            (header::CONTENT_TYPE, json),
            (header::CONTENT_LENGTH, length),
        ];
        all.into_iter().collect()
    }

    /// A body that comes in pieces of 32 KiB.
    fn pieces(length: usize) -> Body {
        const PIECE: usize = 32 << 10;
        let pieces = (0..length.div_ceil(PIECE)).map(move |number| {
            let piece = Bytes::from(vec![b' '; PIECE.min(length - number * PIECE)]);
            Ok::<_, std::io::Error>(piece)
        });
        Body::from_stream(stream::iter(pieces))
    }

    /// A body of which `length` bytes come, and then nothing.
    fn stalling(length: usize) -> Body {
        let bytes = Bytes::from(vec![b' '; length]);
        let first = stream::iter([Ok::<_, std::io::Error>(bytes)]);
        Body::from_stream(first.chain(stream::pending()))
    }

    async fn read(bodies: &Bodies, length: usize) -> Result<Received, Refusal> {
        bodies.read(&headers(length), pieces(length), LARGEST).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_counted_as_it_arrives_and_no_longer_than_it_is_there() {
        let bodies = Bodies::new(BUDGET);
        let left = || bodies.budget.available_permits();
        let body = read(&bodies, LARGEST).await.expect("within bounds");
        assert_eq!(body.bytes.len(), LARGEST);
        assert_eq!(left(), BUDGET - (LARGEST - UNCOUNTED));
        drop(body);
        assert_eq!(left(), BUDGET);

        // Announced and not sent.
        let (all, one) = (
            headers(LARGEST),
            Body::from_stream(stalling(1).into_data_stream()),
        );
        let idle = bodies.read(&all, one, LARGEST);
        let meanwhile = async {
            tokio::time::sleep(TIMEOUT / 2).await;
            left()
        };
        let (idle, meanwhile) = tokio::join!(idle, meanwhile);
        assert_eq!(idle.expect_err("too late").0, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(meanwhile, BUDGET);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_small_never_waits_and_what_is_large_waits_for_others() {
        let bodies = Bodies::new(1 << 20);
        let all = headers(LARGEST);
        let hog = bodies.read(&all, stalling((1 << 20) + UNCOUNTED), LARGEST);
        let others = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(bodies.budget.available_permits(), 0);
            let begun = Instant::now();
            for _ in 0..64 {
                read(&bodies, UNCOUNTED).await.expect("not counted");
            }
            assert_eq!(begun.elapsed(), Duration::ZERO);
            let large = read(&bodies, 1 << 20).await;
            (large, begun.elapsed())
        };
        let (hog, (large, waited)) = tokio::join!(hog, others);
        assert_eq!(hog.expect_err("too late").0, StatusCode::REQUEST_TIMEOUT);
        large.expect("the hog is given up");
        assert_eq!(waited + Duration::from_secs(1), TIMEOUT);

        // One that stays: others are refused, and nothing is lost by it.
        let first = read(&bodies, 1 << 20).await.expect("within bounds");
        let (status, text) = read(&bodies, 1 << 20).await.expect_err("no room");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(text.contains("try again"), "{text}");
        drop(first);
        assert_eq!(bodies.budget.available_permits(), 1 << 20);
    }
}
