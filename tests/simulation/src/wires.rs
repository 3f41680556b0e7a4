//! A network between stations: how long what is sent takes, and whether it arrives.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

/// How good a network is.
#[derive(Debug, Clone, Copy)]
pub struct Quality {
    /// The least time from one station to another.
    pub latency: Duration,
    /// What is added at most, evenly: later sendings overtake earlier ones.
    pub jitter: Duration,
    /// What is added to one of a thousand.
    pub tail: Duration,
    /// How many of a thousand are lost.
    pub loss: u32,
    /// How many of a thousand arrive twice.
    pub duplicates: u32,
}

impl Quality {
    /// Nothing is lost, nothing is late.
    pub const GOOD: Self = Self {
        latency: Duration::from_micros(100),
        jitter: Duration::from_micros(200),
        tail: Duration::from_millis(2),
        loss: 0,
        duplicates: 0,
    };
}

/// Connects stations, which are numbered.
#[derive(Debug)]
pub(crate) struct Wires {
    pub(crate) quality: Quality,
    /// Lost besides, of a thousand, as long as a fault lasts.
    pub(crate) extra_loss: u32,
    stations: usize,
    /// How many faults keep the row's station from being heard by the column's.
    cuts: Vec<u16>,
}

impl Wires {
    pub(crate) fn new(stations: usize, quality: Quality) -> Self {
        Self {
            quality,
            extra_loss: 0,
            stations,
            cuts: vec![0; stations * stations],
        }
    }

    pub(crate) fn stations(&self) -> usize {
        self.stations
    }

    /// What `from` sends reaches `to`, unless it is lost.
    pub(crate) fn open(&self, from: usize, to: usize) -> bool {
        self.cuts
            .get(from * self.stations + to)
            .is_some_and(|cuts| *cuts == 0)
    }

    /// Both hear each other.
    pub(crate) fn both(&self, one: usize, other: usize) -> bool {
        self.open(one, other) && self.open(other, one)
    }

    /// Keeps `to` from hearing `from` until it is mended as often as it was cut.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        if let Some(cuts) = self.cuts.get_mut(from * self.stations + to) {
            *cuts += 1;
        }
    }

    /// Ends one [`cut`](Self::cut).
    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        if let Some(cuts) = self.cuts.get_mut(from * self.stations + to) {
            *cuts = cuts.saturating_sub(1);
        }
    }

    /// How many of a thousand are lost at present.
    pub(crate) fn loss(&self) -> u32 {
        (self.quality.loss + self.extra_loss).min(1000)
    }

    /// When what is sent now from one to the other arrives, and when it does again.
    pub(crate) fn fate(
        &self,
        random: &mut Xoshiro256PlusPlus,
        from: usize,
        to: usize,
    ) -> (Option<Duration>, Option<Duration>) {
        if !self.open(from, to) {
            return (None, None);
        }
        let first = (!chance(random, self.loss())).then(|| self.delay(random));
        let twice = first.is_some() && chance(random, self.quality.duplicates);
        (first, twice.then(|| self.delay(random)))
    }

    fn delay(&self, random: &mut Xoshiro256PlusPlus) -> Duration {
        let mut delay = self.quality.latency + up_to(random, self.quality.jitter);
        if chance(random, 1) {
            delay += up_to(random, self.quality.tail);
        }
        delay
    }
}

/// True so many times of a thousand.
pub(crate) fn chance(random: &mut Xoshiro256PlusPlus, of_thousand: u32) -> bool {
    of_thousand > 0 && random.random_range(0..1000) < of_thousand
}

/// A time from nothing to `most`.
pub(crate) fn up_to(random: &mut Xoshiro256PlusPlus, most: Duration) -> Duration {
    random.random_range(Duration::ZERO..=most)
}
