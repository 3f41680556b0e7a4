//! Watches that never end and that one malformed object cannot wedge.

use std::fmt::{self, Debug};
use std::time::Duration;

use futures::TryStreamExt as _;
use herald_model::ServiceKey;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, QuietReset};
use crate::supervise::TaskResult;

const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// A list that has to be made anew waits up to so long, because what one watch lost all others
/// have lost too: those of all nodes together ask for it over this time, not at one instant.
const RELIST_SPREAD: Duration = Duration::from_secs(5);
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

/// The object is a Service, or belongs to the Service of its name.
impl From<ObjectName> for ServiceKey {
    fn from(object: ObjectName) -> Self {
        Self::new(object.namespace.unwrap_or_default(), object.name)
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
    /// a row and the recovery, which is the first thing that the server tells, are logged. Where
    /// the whole list has to be asked for again, up to 5 s more pass, each time as likely.
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
                let mut pauses = pauses();
                loop {
                    let config = match selector {
                        Some(fields) => self.config.clone().fields(fields),
                        None => self.config.clone(),
                    };
                    let api = self.api.clone();
                    match follow(what, api, config, &mut pauses, &events, &mut map).await {
                        End::SelectorRefused if selector.is_some() => {
                            tracing::warn!(
                                event = "watchFallback",
                                resource = what,
                                selector,
                                "the API server does not know this field selector: watching all"
                            );
                            selector = None;
                        }
                        // It begins again with a list.
                        End::SelectorRefused | End::Gone => {}
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
    /// What is known is too old to go on from.
    Gone,
    ReceiverGone,
}

async fn follow<K, T, F>(
    what: &'static str,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    pauses: &mut QuietReset,
    events: &mpsc::Sender<T>,
    map: &mut F,
) -> End
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
    F: FnMut(Event<K>) -> T,
{
    let selective = config.field_selector.is_some();
    let mut stream = std::pin::pin!(watcher(api, config));
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
                let next = After::of(&error);
                let now = Instant::now().into_std();
                let pause = match next {
                    After::SameAgain => pauses.pause(now),
                    After::List | After::Fresh => pauses.pause_spread(now, RELIST_SPREAD),
                };
                tokio::time::sleep(pause).await;
                if next == After::Fresh {
                    return End::Gone;
                }
            }
        }
    }
}

/// What the watcher does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It goes on where it was.
    SameAgain,
    /// It lists everything anew.
    List,
    /// It would go on where it was, which the server has refused for good: it has to be made anew.
    Fresh,
}

impl After {
    fn of(error: &watcher::Error) -> Self {
        const GONE: u16 = 410;
        match error {
            watcher::Error::WatchError(status) if status.code == GONE => Self::List,
            watcher::Error::NoResourceVersion => Self::List,
            watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == GONE => {
                Self::Fresh
            }
            _ => Self::SameAgain,
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
mod tests;
