//! Events of `core/v1` about objects, for `kubectl describe` (compat.md 3.6).
//!
//! Recording never waits: events go into a bounded queue, what does not fit is counted and dropped.
//! They are sent at a bounded rate, because they compete with status writes for the API server, and
//! a repeat of the same event about the same object within ten minutes raises the count of the first
//! instead of making another. Callers record transitions, not states.
//!
//! What every process finds by itself has one event for all of them: its name is made of what it says,
//! and the API server takes a name only once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as ApiEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::supervise::TaskResult;

mod note;

pub use note::Subject;
use note::{Note, Occasion};

const QUEUE: usize = 16_384;
/// Pause between two events sent.
const PACE: Duration = Duration::from_millis(10);
/// Sent without a pause after a quiet time.
const BURST: usize = 100;
const REPEAT_WINDOW: Duration = Duration::from_mins(10);
const REMEMBERED: usize = 4096;
/// How long an attempt to send an event may take: the others wait for it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait before an event that was not taken is sent again, unless the one before was not
/// taken either: then the API server has other troubles.
const AGAIN: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1600),
];
/// The API server refuses longer messages.
const MAX_MESSAGE: usize = 1024;

/// Whether an event reports a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing to worry about.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Takes events; cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
    dropped_metric: Counter,
}

impl Recorder {
    /// Queues an event, or drops and counts it when the queue is full. Never waits.
    pub fn record(&self, subject: Subject, kind: Kind, reason: &'static str, message: String) {
        self.queue(Note {
            subject,
            kind,
            reason,
            message,
            occasion: Occasion::Own,
        });
    }

    /// Queues an event that others record too, in the same words: only the first of them is stored.
    /// The same about another `generation` of the object is another event.
    pub fn record_for_all(
        &self,
        subject: Subject,
        kind: Kind,
        reason: &'static str,
        message: String,
        generation: Option<i64>,
    ) {
        self.queue(Note {
            subject,
            kind,
            reason,
            message,
            occasion: Occasion::Common(generation),
        });
    }

    fn queue(&self, note: Note) {
        if self.queue.try_send(note).is_err() {
            self.dropped_metric.inc();
            if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    event = "eventsDropped",
                    "the event queue is full: dropping events"
                );
            }
        }
    }
}

/// Sends what a [`Recorder`] takes.
pub struct Sender {
    client: Client,
    component: &'static str,
    instance: String,
    queue: mpsc::Receiver<Note>,
    sent: Sent,
    /// The last event was not taken.
    failing: bool,
}

/// A recorder for `component` (`metallb-controller` or `metallb-speaker`), and the sender that has
/// to be [`run`](Sender::run). `instance` is the pod's or node's name.
pub fn recorder(
    client: Client,
    component: &'static str,
    instance: &str,
    registry: &mut Registry,
) -> (Recorder, Sender) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let dropped_metric = Counter::default();
    registry.register(
        "herald_events_dropped",
        "Events that were not sent because the queue was full",
        dropped_metric.clone(),
    );
    let recorder = Recorder {
        queue: sender,
        dropped: Arc::default(),
        dropped_metric,
    };
    let sender = Sender {
        client,
        component,
        instance: instance.to_owned(),
        queue,
        sent: Sent::default(),
        failing: false,
    };
    (recorder, sender)
}

impl Sender {
    /// Sends events until `token` is cancelled, then what is queued, for a second at most.
    pub async fn run(mut self, token: CancellationToken) -> TaskResult {
        let mut credit = BURST;
        let mut refilled = Instant::now();
        while let Some(Some(note)) = token.run_until_cancelled(self.queue.recv()).await {
            credit = refill(credit, &mut refilled, Instant::now());
            while credit == 0 {
                tokio::time::sleep(PACE).await;
                credit = refill(credit, &mut refilled, Instant::now());
            }
            credit -= 1;
            self.send(note).await;
        }
        let rest = async {
            while let Ok(note) = self.queue.try_recv() {
                self.send(note).await;
            }
        };
        // What is not out after a second is given up: the process is to end.
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
        Ok(())
    }

    async fn send(&mut self, note: Note) {
        let namespace = note
            .subject
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let api = Api::<ApiEvent>::namespaced(self.client.clone(), &namespace);
        let repeat = self.sent.repeat(&note, Instant::now());
        let event = self.event(&note, Timestamp::now());
        let mut pauses = AGAIN.iter().filter(|_| !self.failing);
        let failure = loop {
            let request = async {
                match &repeat {
                    Some((name, count)) => raise(&api, name, *count).await,
                    None => create(&api, &event).await,
                }
            };
            let failure = match tokio::time::timeout(PATIENCE, request).await {
                Ok(Ok(())) => break None,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "timed out".to_owned(),
            };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => break Some(failure),
            }
        };
        match failure {
            None if repeat.is_none() => {
                self.sent.remember(note, event.name_any(), Instant::now());
                self.failing = false;
            }
            None => self.failing = false,
            Some(failure) => {
                self.sent.forget(&note);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        event = "eventNotSent",
                        reason = note.reason,
                        error = failure,
                        "an event was not sent, perhaps others follow: nothing but kubectl \
                         describe misses them"
                    );
                }
            }
        }
    }

    fn event(&self, note: &Note, now: Timestamp) -> ApiEvent {
        let subject = &note.subject;
        let namespace = subject
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let mut message = note.message.clone();
        if message.len() > MAX_MESSAGE {
            let cut = message.floor_char_boundary(MAX_MESSAGE);
            message.truncate(cut);
        }
        ApiEvent {
            metadata: ObjectMeta {
                name: Some(note.name(now)),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(subject.api_version.clone()),
                kind: Some(subject.kind.clone()),
                namespace: subject.namespace.clone(),
                name: Some(subject.name.clone()),
                uid: subject.uid.clone(),
                ..ObjectReference::default()
            },
            type_: Some(
                match note.kind {
                    Kind::Normal => "Normal",
                    Kind::Warning => "Warning",
                }
                .to_owned(),
            ),
            reason: Some(note.reason.to_owned()),
            message: Some(message),
            source: Some(EventSource {
                component: Some(self.component.to_owned()),
                host: None,
            }),
            reporting_component: Some(self.component.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            ..ApiEvent::default()
        }
    }
}

/// One that is there already is from an attempt whose answer was lost, or somebody else's who told the
/// same.
async fn create(api: &Api<ApiEvent>, event: &ApiEvent) -> kube::Result<()> {
    match api.create(&PostParams::default(), event).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}

async fn raise(api: &Api<ApiEvent>, name: &str, count: i32) -> kube::Result<()> {
    let patch = serde_json::json!({"count": count, "lastTimestamp": Time(Timestamp::now())});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// `credit` with what has grown since `refilled`: one event each [`PACE`], [`BURST`] at most.
fn refill(credit: usize, refilled: &mut Instant, now: Instant) -> usize {
    let periods = now.saturating_duration_since(*refilled).as_millis() / PACE.as_millis();
    if periods == 0 {
        return credit;
    }
    *refilled = now;
    usize::try_from(periods).map_or(BURST, |grown| credit.saturating_add(grown).min(BURST))
}

/// The events sent lately: which object of the API holds each, and how often it happened.
#[derive(Debug, Default)]
struct Sent {
    known: HashMap<Arc<Note>, (String, i32, Instant)>,
    order: VecDeque<Arc<Note>>,
}

impl Sent {
    /// The event to raise and its new count, if `note` repeats one.
    fn repeat(&mut self, note: &Note, now: Instant) -> Option<(String, i32)> {
        let (name, count, last) = self.known.get_mut(note)?;
        if now.saturating_duration_since(*last) > REPEAT_WINDOW {
            return None;
        }
        *count = count.saturating_add(1);
        *last = now;
        Some((name.clone(), *count))
    }

    fn remember(&mut self, note: Note, name: String, now: Instant) {
        let note = Arc::new(note);
        if self
            .known
            .insert(Arc::clone(&note), (name, 1, now))
            .is_none()
        {
            self.order.push_back(note);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, note: &Note) {
        if self.known.remove(note).is_some() {
            self.order.retain(|other| **other != *note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn note(n: usize) -> Note {
        Note {
            subject: Subject {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                namespace: Some("default".to_owned()),
                name: format!("s{n}"),
                uid: None,
            },
            kind: Kind::Normal,
            reason: "IPAllocated",
            message: "m".to_owned(),
            occasion: Occasion::Own,
        }
    }

    /// An API server that refuses the first event that it is sent.
    fn busy_at_first(calls: &Arc<AtomicU64>) -> Client {
        let calls = Arc::clone(calls);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                let body = request.into_body().collect_bytes().await?;
                let refusal = br#"{"kind":"Status","apiVersion":"v1","status":"Failure",
                    "message":"busy","reason":"TooManyRequests","code":429}"#;
                let (code, body) = if first {
                    (429, refusal.to_vec())
                } else {
                    (201, body.to_vec())
                };
                let response = http::Response::builder().status(code);
                Ok::<_, tower::BoxError>(response.body(kube::client::Body::from(body))?)
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_refused_once_is_sent_again() {
        let calls = Arc::new(AtomicU64::new(0));
        let client = busy_at_first(&calls);
        let mut registry = Registry::default();
        let (recorder, mut sender) = recorder(client, "test", "node", &mut registry);
        drop(recorder);
        sender.send(note(1)).await;
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert!(!sender.failing);
        let repeat = sender.sent.repeat(&note(1), Instant::now());
        assert_eq!(repeat.map(|(_, count)| count), Some(2));
    }

    #[test]
    fn a_repeat_raises_the_count_within_the_window_only() {
        let (mut sent, now) = (Sent::default(), Instant::now());
        assert_eq!(sent.repeat(&note(1), now), None);
        sent.remember(note(1), "s1.a".to_owned(), now);
        assert_eq!(sent.repeat(&note(1), now), Some(("s1.a".to_owned(), 2)));
        assert_eq!(sent.repeat(&note(2), now), None);
        assert_eq!(sent.repeat(&note(1), now + REPEAT_WINDOW + PACE), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut sent, now) = (Sent::default(), Instant::now());
        for n in 0..REMEMBERED + 10 {
            sent.remember(note(n), String::new(), now);
        }
        assert_eq!(sent.known.len(), REMEMBERED);
        assert_eq!(sent.order.len(), REMEMBERED);
        assert_eq!(sent.repeat(&note(0), now), None);
    }

    #[test]
    fn credit_grows_with_time_up_to_the_burst() {
        let start = Instant::now();
        let mut refilled = start;
        assert_eq!(refill(0, &mut refilled, start + PACE * 3), 3);
        assert_eq!(refill(3, &mut refilled, start + PACE * 3), 3);
        assert_eq!(refill(3, &mut refilled, start + PACE * 100_000), BURST);
    }
}
