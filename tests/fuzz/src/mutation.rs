//! Inputs that are nearly right: those of a corpus, changed.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Bytes at which decoders decide.
const EDGES: [u8; 12] = [0, 1, 2, 4, 0x0f, 0x10, 0x40, 0x7f, 0x80, 0xc0, 0xfe, 0xff];

/// No input becomes longer.
const LONGEST: usize = 8192;

/// Makes inputs of a corpus, the same ones with the same seed.
#[derive(Debug)]
pub struct Mutator {
    corpus: Vec<Vec<u8>>,
    rng: ChaCha8Rng,
}

impl Mutator {
    /// Of these inputs.
    pub fn new(corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        Self {
            corpus,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut bytes = self.pick();
        for _ in 0..self.rng.random_range(1..6) {
            self.change(&mut bytes);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn pick(&mut self) -> Vec<u8> {
        match self.corpus.len() {
            0 => Vec::new(),
            count => {
                let index = self.rng.random_range(0..count);
                self.corpus.get(index).cloned().unwrap_or_default()
            }
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let place = self.rng.random_range(0..=bytes.len());
        let len = self.rng.random_range(0..=16.min(bytes.len() - place));
        match self.rng.random_range(0..8) {
            0 => bytes.truncate(place),
            1 => drop(bytes.drain(place..place + len)),
            2 => {
                let part = bytes.get(place..place + len).unwrap_or_default().to_vec();
                bytes.splice(place..place, part);
            }
            3 => {
                let new: Vec<u8> = (0..len.max(1)).map(|_| self.rng.random()).collect();
                bytes.splice(place..place, new);
            }
            4 => {
                // The end of another one: two that meet in the middle.
                let other = self.pick();
                let from = self.rng.random_range(0..=other.len());
                bytes.truncate(place);
                bytes.extend(other.get(from..).unwrap_or_default());
            }
            5 => {
                // A length or a number of two bytes that is off by a little.
                let by = self.rng.random_range(-3..=3_i16);
                if let Some([high, low]) = bytes.get_mut(place..place + 2) {
                    let number = i16::from_be_bytes([*high, *low]).wrapping_add(by);
                    [*high, *low] = number.to_be_bytes();
                }
            }
            6 => {
                let flip = 1 << self.rng.random_range(0..8);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= flip;
                }
            }
            _ => {
                let edge = EDGES[self.rng.random_range(0..EDGES.len())];
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = edge;
                }
            }
        }
    }
}
