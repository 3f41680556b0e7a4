//! The section of `docs/benchmarks.md`.

use std::path::Path;

use anyhow::Result;

use super::args::BgpArgs;
use super::part::{load, memory};
use super::rows;
use super::sample::{Figure, Key, Receiver, Samples};
use super::sender::Sender;
use super::table;

/// Puts the results into the document, in the place of earlier ones.
pub(crate) fn write(path: &Path, args: &BgpArgs, samples: &Samples) -> Result<()> {
    let text = include_str!("../text/bgp.md")
        .replace("{table}", &table::table(&rows::rows(samples)))
        .replace("{machine}", &crate::report::machine()?)
        .replace("{rounds}", &times(samples, Figure::Announced).to_string())
        .replace("{peers}", &memory::PEERS.to_string())
        .replace(
            "{sessions}",
            &times(samples, Figure::Established).to_string(),
        )
        .replace("{cuts}", &times(samples, Figure::Gone).to_string())
        .replace("{watched}", &load::SESSIONS.to_string())
        .replace("{duration}", &args.duration().as_secs().to_string())
        .replace("{more}", &times(samples, Figure::OneMore).to_string());
    crate::section::write(path, "bgp", &text)
}

/// How often Herald's figure was measured at least, wherever it was.
fn times(samples: &Samples, figure: Figure) -> usize {
    let receivers = [Receiver::Wire, Receiver::Frr, Receiver::Bird];
    let sizes = samples.sizes(figure);
    let counts = receivers.iter().flat_map(|receiver| {
        sizes.iter().map(|routes| {
            samples.count(Key {
                figure,
                sender: Sender::Herald,
                receiver: *receiver,
                routes: *routes,
            })
        })
    });
    counts.filter(|count| *count > 0).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_how_often_the_least_measured_was() -> Result<()> {
        let mut samples = Samples::default();
        assert_eq!(times(&samples, Figure::Gone), 0);
        for (receiver, count) in [(Receiver::Frr, 3), (Receiver::Bird, 2)] {
            let key = Key {
                figure: Figure::Gone,
                sender: Sender::Herald,
                receiver,
                routes: 1,
            };
            for _ in 0..count {
                samples.add(key, Some(0.1))?;
            }
        }
        assert_eq!(times(&samples, Figure::Gone), 2);
        assert_eq!(times(&samples, Figure::OneMore), 0);
        Ok(())
    }
}
