//! A scrape as curl gets it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use herald_lab::{Herald, Lab};

/// What curl gets of `/metrics`: the status, and the body.
pub(crate) async fn scrape(
    lab: &Lab,
    part: &str,
    herald: &Herald,
    more: &[&str],
) -> Result<(u16, String)> {
    scrape_by("https", lab, part, herald, more).await
}

/// The same, by `http` or `https`.
pub(crate) async fn scrape_by(
    scheme: &str,
    lab: &Lab,
    part: &str,
    herald: &Herald,
    more: &[&str],
) -> Result<(u16, String)> {
    let server = format!("localhost:{}", herald.metrics_port);
    let url = format!("{scheme}://{server}/metrics");
    let resolve = format!("{server}:127.0.0.1");
    let curl = [
        "curl",
        "--silent",
        "--show-error",
        "--write-out",
        "%{http_code}",
        "--resolve",
        &resolve,
        &url,
    ];
    let said = lab.exec(part, &[&curl, more].concat()).await?;
    let (body, code) = said.split_at(said.len().saturating_sub(3));
    Ok((code.parse()?, body.to_owned()))
}

/// The series of a process.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// By the names of the metrics, which those of their series begin with.
    types: BTreeMap<String, String>,
    /// The labels that the series of a name have, and a value.
    series: BTreeMap<String, (BTreeSet<String>, f64)>,
}

impl Scrape {
    /// Of what was scraped.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, kind) = typed.split_once(' ').context("no type")?;
                scrape.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').context("no value")?;
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                // Values are between quotation marks, and what is between them is not.
                let names = labels.split('"').step_by(2);
                let names = names.filter_map(|text| text.strip_suffix('='));
                let names = names.map(|name| name.trim_start_matches(',').to_owned());
                let value = value.parse().with_context(|| line.to_owned())?;
                scrape
                    .series
                    .insert(name.to_owned(), (names.collect(), value));
            }
        }
        Ok(scrape)
    }

    /// The names of the series.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.series.keys()
    }

    /// The labels of the series of a name, if there are any.
    pub(crate) fn labels(&self, series: &str) -> Option<&BTreeSet<String>> {
        self.series.get(series).map(|(labels, _)| labels)
    }

    /// The value of a series that is the only one of its name.
    pub(crate) fn value(&self, series: &str) -> Result<f64> {
        let found = self.series.get(series).map(|(_, value)| *value);
        found.with_context(|| format!("no {series}"))
    }

    /// The type of the metric that a series is of. The series of a counter has one suffix more.
    pub(crate) fn kind(&self, series: &str) -> Option<&str> {
        let counter = || self.types.get(series.strip_suffix("_total")?);
        let kind = self.types.get(series).or_else(counter);
        kind.map(String::as_str)
    }
}
