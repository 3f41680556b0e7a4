//! Structured logs on standard output.
//!
//! A JSON line has the keys `ts` (RFC 3339, UTC), `level`, `caller` (`file:line`), `msg`, and one key
//! for each field of the event; `event` names what happened in one word where tools may look for it
//! (compat.md 6.3).

use std::fmt::{self, Write as _};

use clap::ValueEnum;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
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

/// Starts logging for the whole process. A second call changes nothing.
pub fn init(level: LogLevel, format: LogFormat) {
    let filter =
        filter_fn(move |metadata| level.enables(metadata)).with_max_level_hint(level.filter());
    let registry = tracing_subscriber::registry();
    let layer = tracing_subscriber::fmt::layer();
    // An error means that a test or an embedding program has set up logging itself.
    let _ = match format {
        LogFormat::Json => registry
            .with(layer.event_format(JsonLines).with_filter(filter))
            .try_init(),
        LogFormat::Human => registry
            .with(layer.with_target(false).with_filter(filter))
            .try_init(),
    };
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
