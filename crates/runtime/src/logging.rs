//! Structured logs on standard output.
//!
//! A JSON line has the keys `ts` (RFC 3339, UTC), `level`, `caller` (`file:line`), `msg`, and one key
//! for each field of the event; `event` names what happened in one word where tools may look for it
//! (compat.md 6.3).
//!
//! A thread of its own writes them: whoever reads them, or the disk behind, may be slow, and no
//! failover waits for that. What finds no room in its queue is lost and counted; what the reader
//! refuses is lost.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric as _;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// `--log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything, also of the libraries.
    All,
    /// Each decision and packet.
    Debug,
    /// What changes.
    Info,
    /// What needs a look.
    Warn,
    /// What does not work.
    Error,
    /// Nothing.
    None,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Lines for people.
    Human,
}

impl LogLevel {
    fn filter(self) -> LevelFilter {
        match self {
            Self::All => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
            Self::None => LevelFilter::OFF,
        }
    }

    /// Libraries are heard from `warn` upwards, except with `all`. The Kubernetes client is not heard
    /// below `debug`: whoever made the request tells of its failure, with the object and what
    /// follows, where the client knows neither.
    fn most(self, target: &str) -> LevelFilter {
        if self == Self::All || target.starts_with("herald") {
            self.filter()
        } else if target.starts_with("kube") && self != Self::Debug {
            LevelFilter::OFF
        } else {
            self.filter().min(LevelFilter::WARN)
        }
    }

    fn enables(self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most(metadata.target())
    }
}

/// How many lines may wait to be written.
const QUEUE: usize = 8192;

/// How long the end of the process waits for what is still to be written.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// The log of the process; what still waits is written when this is dropped, as far as it is taken
/// within two seconds.
#[derive(Debug)]
#[must_use = "nothing is written once it is dropped"]
pub struct Log {
    lost: ErrorCounter,
    worker: Option<WorkerGuard>,
}

impl Drop for Log {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        // The guard waits without a limit where nobody takes what is written.
        let (done, written) = mpsc::channel();
        let ending = thread::Builder::new()
            .name("log end".into())
            .spawn(move || {
                drop(worker);
                // Nobody waits any longer.
                let _ = done.send(());
            });
        if ending.is_ok() {
            // Too late or done: the process goes on to its end.
            let _ = written.recv_timeout(LAST_WAIT);
        }
    }
}

impl Log {
    /// Counts the lines that are lost.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Lost(self.lost.clone())));
    }
}

/// Starts logging for the whole process. A second call changes nothing.
pub fn init(level: LogLevel, format: LogFormat) -> Log {
    let (log, writer) = open(std::io::stdout(), QUEUE);
    // An error means that a test or an embedding program has set up logging itself.
    let _ = subscriber(level, format, writer).try_init();
    log
}

fn open(output: impl Write + Send + 'static, queue: usize) -> (Log, NonBlocking) {
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(queue)
        .thread_name("log")
        .finish(output);
    let log = Log {
        lost: writer.error_counter(),
        worker: Some(worker),
    };
    (log, writer)
}

fn subscriber(
    level: LogLevel,
    format: LogFormat,
    writer: NonBlocking,
) -> Box<dyn Subscriber + Send + Sync> {
    let filter =
        filter_fn(move |metadata| level.enables(metadata)).with_max_level_hint(level.filter());
    let registry = tracing_subscriber::registry();
    let colours = std::io::stdout().is_terminal();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(writer);
    match format {
        LogFormat::Json => {
            Box::new(registry.with(layer.event_format(JsonLines).with_filter(filter)))
        }
        LogFormat::Human => Box::new(registry.with(layer.with_target(false).with_filter(filter))),
    }
}

/// `herald_log_lines_lost_total`.
#[derive(Debug)]
struct Lost(ErrorCounter);

impl Collector for Lost {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let lost = u64::try_from(self.0.dropped_lines()).unwrap_or(u64::MAX);
        let counter = ConstCounter::new(lost);
        let descriptor = encoder.encode_descriptor(
            "herald_log_lines_lost",
            "Lines of the log that were lost, because nobody took them fast enough",
            None,
            counter.metric_type(),
        )?;
        counter.encode(descriptor)
    }
}

/// Writes an event as one JSON object on one line.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let line = line(jiff::Timestamp::now(), event);
        writeln!(writer, "{line}")
    }
}

fn line(now: jiff::Timestamp, event: &Event<'_>) -> Value {
    let metadata = event.metadata();
    let mut fields = Fields(Map::new());
    fields.0.insert("ts".to_owned(), format!("{now:.3}").into());
    fields
        .0
        .insert("level".to_owned(), level_name(*metadata.level()).into());
    if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
        let file = file.rsplit('/').next().unwrap_or(file);
        fields
            .0
            .insert("caller".to_owned(), format!("{file}:{line}").into());
    }
    event.record(&mut fields);
    Value::Object(fields.0)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" {
            "msg"
        } else {
            field.name()
        };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(inner) = cause {
            let _ = write!(text, ": {inner}");
            cause = inner.source();
        }
        self.set(field, text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::Context;

    use super::*;

    #[derive(Clone, Default)]
    struct Capture(Arc<Mutex<Vec<Value>>>);

    impl<S: Subscriber> Layer<S> for Capture {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            let line = line(jiff::Timestamp::UNIX_EPOCH, event);
            self.0.lock().expect("not poisoned").push(line);
        }
    }

    #[test]
    fn each_level_hears_ourselves_the_libraries_and_the_client() {
        let heard = |level: LogLevel| {
            ["herald_speaker::engine", "rustls", "kube_client::client"].map(|t| level.most(t))
        };
        let (off, warn) = (LevelFilter::OFF, LevelFilter::WARN);
        assert_eq!(heard(LogLevel::Info), [LevelFilter::INFO, warn, off]);
        assert_eq!(heard(LogLevel::Debug), [LevelFilter::DEBUG, warn, warn]);
        assert_eq!(heard(LogLevel::All), [LevelFilter::TRACE; 3]);
        assert_eq!(heard(LogLevel::None), [off; 3]);
    }

    #[test]
    fn a_log_that_nobody_reads_stops_nobody_and_the_lines_lost_are_counted() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let (log, writer) = open(writer, 16);
        tracing::subscriber::with_default(
            subscriber(LogLevel::Info, LogFormat::Json, writer),
            || {
                for line in 0..5_000 {
                    tracing::info!(line, "a line that fills the pipe together with the others");
                }
            },
        );
        let mut registry = Registry::default();
        log.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        let lost = text
            .lines()
            .find_map(|line| line.strip_prefix("herald_log_lines_lost_total "));
        assert!(
            lost.is_some_and(|lost| lost.parse::<u64>().is_ok_and(|lost| lost > 0)),
            "{text}"
        );
        // Its thread is stuck in the pipe, and the end waits for it no longer than for a while.
        drop(log);
        drop(reader);
    }

    #[test]
    fn what_waits_is_written_at_the_end() {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let (log, writer) = open(writer, QUEUE);
        tracing::subscriber::with_default(
            subscriber(LogLevel::Info, LogFormat::Json, writer),
            || tracing::info!("the last word"),
        );
        drop(log);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).expect("reads");
        assert!(text.contains("the last word"), "{text}");
    }

    #[test]
    fn a_line_has_the_keys_people_grep_for() {
        let capture = Capture::default();
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(capture.clone()),
            || {
                tracing::warn!(event = "serviceAnnounced", ip = %"192.0.2.1", n = 3, "has IP");
            },
        );
        let lines = capture.0.lock().expect("not poisoned");
        let line = lines[0].as_object().expect("object");
        assert_eq!(line["ts"], "1970-01-01T00:00:00.000Z");
        assert_eq!(line["level"], "warn");
        assert_eq!(line["msg"], "has IP");
        assert_eq!(line["event"], "serviceAnnounced");
        assert_eq!(line["ip"], "192.0.2.1");
        assert_eq!(line["n"], 3);
        assert!(
            line["caller"]
                .as_str()
                .expect("text")
                .starts_with("logging.rs:")
        );
    }
}
