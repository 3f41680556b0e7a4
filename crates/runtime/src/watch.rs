//! Watches that never end and that one malformed object cannot wedge.

use std::fmt::{self, Debug};
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, QuietReset};
use crate::supervise::TaskResult;

const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A watch that was well for so long starts with the first pause again.
const QUIET: Duration = Duration::from_secs(10);

/// The namespace (if it has one) and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The namespace; `None` for objects of the cluster.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectName {
    fn of(object: &impl Resource) -> Self {
        Self {
            namespace: object.meta().namespace.clone(),
            name: object.meta().name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// An object that is there but cannot be read as what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Which object.
    pub name: ObjectName,
    /// `metadata.uid`, for events about it.
    pub uid: Option<String>,
    /// What is wrong, naming the field where serde can tell.
    pub error: String,
}

/// What a watch tells.
#[derive(Debug, Clone)]
pub enum Event<K> {
    /// The whole set as of now, after the start and after every gap: what is in neither list is
    /// gone.
    Restarted {
        /// The objects that can be read.
        objects: Vec<K>,
        /// Those that cannot.
        malformed: Vec<Malformed>,
    },
    /// An object is new or changed.
    Applied(K),
    /// An object is gone, or no longer matches the watch's selector.
    Deleted(ObjectName),
    /// An object is new or changed, and cannot be read.
    Malformed(Malformed),
}

/// One watch to be.
#[derive(Debug, Clone)]
pub struct Watch<K> {
    what: &'static str,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    field_selector: Option<&'static str>,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
{
    /// A watch of all objects of the cluster. `what` is the plural that logs call them by.
    pub fn cluster(client: &Client, what: &'static str) -> Self {
        Self::new(what, Api::all(client.clone()))
    }

    /// A watch of the objects of one namespace.
    pub fn namespaced(client: &Client, namespace: &str, what: &'static str) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope>,
    {
        Self::new(what, Api::namespaced(client.clone(), namespace))
    }

    fn new(what: &'static str, api: Api<DeserializeGuard<K>>) -> Self {
        Self {
            what,
            api,
            config: watcher::Config::default(),
            field_selector: None,
        }
    }

    /// Only objects that match. An API server that does not know the field gives all objects, so
    /// the receiver has to be ready for others.
    pub fn fields(mut self, selector: &'static str) -> Self {
        self.field_selector = Some(selector);
        self
    }

    /// Only objects with these labels.
    pub fn labels(mut self, selector: &str) -> Self {
        self.config = self.config.labels(selector);
        self
    }

    /// Watches until `token` is cancelled and sends each event, made into the receiver's type by
    /// `map`, waiting while the channel is full. Failures are retried for ever with growing,
    /// jittered pauses (0.2 s to 10 s), which start over after 10 s without a failure; the first of
    /// a row and the recovery, which is the first thing that the server tells, are logged.
    pub async fn forward<T, F>(
        self,
        events: mpsc::Sender<T>,
        mut map: F,
        token: CancellationToken,
    ) -> TaskResult
    where
        T: Send,
        F: FnMut(Event<K>) -> T + Send,
    {
        let what = self.what;
        token
            .run_until_cancelled(async {
                let mut selector = self.field_selector;
                loop {
                    let config = match selector {
                        Some(fields) => self.config.clone().fields(fields),
                        None => self.config.clone(),
                    };
                    match follow(what, self.api.clone(), config, pauses(), &events, &mut map).await
                    {
                        End::SelectorRefused if selector.is_some() => {
                            tracing::warn!(
                                event = "watchFallback",
                                resource = what,
                                selector,
                                "the API server does not know this field selector: watching all"
                            );
                            selector = None;
                        }
                        End::SelectorRefused => tokio::time::sleep(MAX_BACKOFF).await,
                        End::ReceiverGone => return Err(format!("nobody receives {what}").into()),
                    }
                }
            })
            .await
            .unwrap_or(Ok(()))
    }
}

fn pauses() -> QuietReset {
    QuietReset::new(Backoff::new(FIRST_BACKOFF, MAX_BACKOFF), QUIET)
}

enum End {
    SelectorRefused,
    ReceiverGone,
}

async fn follow<K, T, F>(
    what: &'static str,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    pauses: QuietReset,
    events: &mpsc::Sender<T>,
    map: &mut F,
) -> End
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
    F: FnMut(Event<K>) -> T,
{
    let selective = config.field_selector.is_some();
    let stream = watcher(api, config).backoff(pauses);
    let mut stream = std::pin::pin!(stream);
    let mut assembly = Assembly::default();
    let mut row = Row::default();
    loop {
        match stream.try_next().await {
            Ok(Some(event)) => {
                if row.ends_with(&event) {
                    tracing::info!(event = "watchRecovered", resource = what, "watch recovered");
                }
                if let Some(event) = assembly.handle(event)
                    && events.send(map(event)).await.is_err()
                {
                    return End::ReceiverGone;
                }
            }
            Ok(None) => {}
            Err(error) if selective && refuses_selector(&error) => return End::SelectorRefused,
            Err(error) => {
                // A watch that the server closes after a while, and one that is too old, are normal.
                if row.begins() {
                    tracing::warn!(event = "watchFailed", resource = what, %error, "watch failed, retrying");
                }
            }
        }
    }
}

/// Failures in a row, so that one line tells of all of them.
#[derive(Default)]
struct Row {
    failing: bool,
}

impl Row {
    /// A failure: true if it is the first.
    fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.failing, true)
    }

    /// Something that the watcher gave: true if failures end with it. `Init` is said before the
    /// server is asked, so it proves nothing.
    fn ends_with<K>(&mut self, event: &watcher::Event<K>) -> bool {
        !matches!(event, watcher::Event::Init) && std::mem::take(&mut self.failing)
    }
}

fn refuses_selector(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 400,
        _ => false,
    }
}

/// Gathers the objects of a (re)start into one event.
struct Assembly<K> {
    objects: Vec<K>,
    malformed: Vec<Malformed>,
}

impl<K> Default for Assembly<K> {
    fn default() -> Self {
        Self {
            objects: Vec::new(),
            malformed: Vec::new(),
        }
    }
}

impl<K: Resource> Assembly<K> {
    fn handle(&mut self, event: watcher::Event<DeserializeGuard<K>>) -> Option<Event<K>> {
        match event {
            watcher::Event::Init => {
                *self = Self::default();
                None
            }
            watcher::Event::InitApply(object) => {
                match read(object) {
                    Ok(object) => self.objects.push(object),
                    Err(malformed) => self.malformed.push(malformed),
                }
                None
            }
            watcher::Event::InitDone => {
                let Self { objects, malformed } = std::mem::take(self);
                Some(Event::Restarted { objects, malformed })
            }
            watcher::Event::Apply(object) => Some(match read(object) {
                Ok(object) => Event::Applied(object),
                Err(malformed) => Event::Malformed(malformed),
            }),
            watcher::Event::Delete(object) => Some(Event::Deleted(ObjectName::of(&object))),
        }
    }
}

fn read<K: Resource>(object: DeserializeGuard<K>) -> Result<K, Malformed> {
    object
        .0
        .map(|mut object| {
            // Nobody reads it, and it is often the larger half of an object.
            object.meta_mut().managed_fields = None;
            object
        })
        .map_err(|invalid| Malformed {
            name: ObjectName {
                namespace: invalid.metadata.namespace.clone(),
                name: invalid.metadata.name.clone().unwrap_or_default(),
            },
            uid: invalid.metadata.uid.clone(),
            error: invalid.error,
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;

    use super::*;

    #[test]
    fn the_start_of_a_list_ends_no_row_of_failures() {
        let mut row = Row::default();
        assert!(row.begins());
        assert!(!row.ends_with(&watcher::Event::<()>::Init));
        assert!(!row.begins());
        assert!(row.ends_with(&watcher::Event::<()>::InitDone));
        assert!(!row.ends_with(&watcher::Event::<()>::InitDone));
        assert!(row.begins());
    }

    #[tokio::test]
    async fn lists_that_are_refused_become_rarer() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let server = tower::service_fn(move |_: http::Request<Body>| {
            counter.fetch_add(1, Ordering::Relaxed);
            let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":403}"#;
            let answer = http::Response::builder()
                .status(403)
                .body(Body::from(body.as_bytes().to_vec()));
            std::future::ready(answer)
        });
        let api: Api<DeserializeGuard<ConfigMap>> = Api::all(Client::new(server, "default"));
        let (events, _receiver) = mpsc::channel(1);
        let pauses = QuietReset::new(
            Backoff::seeded(Duration::from_millis(10), Duration::from_secs(10), 7),
            QUIET,
        );
        let mut map = |event| event;
        let following = follow(
            "configmaps",
            api,
            watcher::Config::default(),
            pauses,
            &events,
            &mut map,
        );
        let ended = tokio::time::timeout(Duration::from_secs(1), following).await;
        assert!(ended.is_err(), "it goes on for ever");
        // 10, 20, … 640 ms, each at least half; pauses that start over would make it a hundred.
        let asked = asked.load(Ordering::Relaxed);
        assert!((3..=9).contains(&asked), "{asked} lists in a second");
    }
}
