//! A stream of requests, to see how long a client goes without an answer.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::http::{parse, request};
use crate::cluster::pod::Answer;
use crate::lab::Lab;

/// One request of a stream.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it was sent.
    pub sent: Instant,
    /// When its connection was open, if it ever was.
    pub connected: Option<Instant>,
    /// When it was answered or given up.
    pub ended: Instant,
    /// The backend's answer, or why there is none.
    pub answer: Result<Answer, String>,
}

impl Sample {
    /// Whether its connection was open and the other side broke it off.
    pub fn was_broken_off(&self) -> bool {
        let told = |error: &String| !error.starts_with("no answer within");
        self.connected.is_some() && self.answer.as_ref().is_err_and(told)
    }
}

/// Requests from a part of the lab at an interval, each on a connection of its own and without
/// waiting for the one before. Ends with [`Traffic::stop`], when dropped, and with the lab.
#[derive(Debug)]
pub struct Traffic {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Lab {
    /// Starts a stream of requests to backends behind an address.
    pub fn traffic(
        &self,
        part: &str,
        address: IpAddr,
        port: u16,
        interval: Duration,
        timeout: Duration,
    ) -> Result<Traffic> {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let stop = self.shared.end.child_token();
        let netns = self.netns(part);
        let to = SocketAddr::new(address, port);
        let (kept, until) = (Arc::clone(&samples), stop.clone());
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            super::be_another_machine();
            let runtime = netns.enter().and_then(|()| {
                Ok(tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?)
            });
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(sender.send(Err(error))),
            };
            // Whoever started the stream waits for this.
            let _ = sender.send(Ok(()));
            runtime.block_on(stream(to, interval, timeout, kept, until));
        });
        receiver
            .recv()
            .context("the thread of the stream panicked")??;
        Ok(Traffic {
            samples,
            stop,
            thread: Some(thread),
        })
    }
}

async fn stream(
    to: SocketAddr,
    interval: Duration,
    timeout: Duration,
    samples: Arc<Mutex<Vec<Sample>>>,
    until: CancellationToken,
) {
    let mut ticks = tokio::time::interval(interval);
    let mut requests = tokio::task::JoinSet::new();
    while until.run_until_cancelled(ticks.tick()).await.is_some() {
        let samples = Arc::clone(&samples);
        requests.spawn(async move {
            let sent = Instant::now();
            let mut connected = None;
            let asking = tokio::time::timeout(timeout, ask(to, &mut connected));
            let answer = match asking.await {
                Ok(answer) => answer.map_err(|error| format!("{error:#}")),
                Err(_) => Err(format!("no answer within {timeout:?}")),
            };
            let sample = Sample {
                sent,
                connected,
                ended: Instant::now(),
                answer,
            };
            samples
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(sample);
        });
        while requests.try_join_next().is_some() {}
    }
    requests.join_all().await;
}

async fn ask(to: SocketAddr, connected: &mut Option<Instant>) -> Result<Answer> {
    let attempt = TcpStream::connect(to).await;
    // A reset says that the kernel had opened the connection, though the process did not see it: in
    // answer to the first packet it would have been a refusal.
    let reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    if attempt.as_ref().err().is_none_or(reset) {
        *connected = Some(Instant::now());
    }
    let mut stream = attempt.context("not connected")?;
    stream.write_all(&request("/")).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(serde_json::from_str(&parse(&answer)?.body)?)
}

impl Traffic {
    /// The requests that have ended so far, in the order they were sent.
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = self
            .samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        samples.sort_by_key(|sample| sample.sent);
        samples
    }

    /// When the last answer so far came in.
    pub fn last_answer(&self) -> Option<Instant> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = samples.iter().filter(|sample| sample.answer.is_ok());
        answered.map(|sample| sample.ended).max()
    }

    /// Stops sending, waits for the requests on their way, and sums up.
    pub async fn stop(mut self) -> Result<Report> {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
            if joined.is_err() {
                anyhow::bail!("the thread of the stream panicked");
            }
        }
        Ok(Report {
            samples: self.samples(),
        })
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What became of a stream of requests.
#[derive(Debug, Clone)]
pub struct Report {
    /// All requests, in the order they were sent.
    pub samples: Vec<Sample>,
}

impl Report {
    /// How many were answered.
    pub fn answered(&self) -> usize {
        self.samples
            .iter()
            .filter(|sample| sample.answer.is_ok())
            .count()
    }

    /// Those that were not answered.
    pub fn failures(&self) -> Vec<&Sample> {
        self.samples
            .iter()
            .filter(|sample| sample.answer.is_err())
            .collect()
    }

    /// Those whose connection was open, and was then broken off by the other side: a request that
    /// is on its way when an address moves to a node that knows nothing of its connection.
    pub fn broken_off(&self) -> Vec<&Sample> {
        self.samples
            .iter()
            .filter(|sample| sample.was_broken_off())
            .collect()
    }

    /// The longest time between the sending of an answered request and the sending of the next
    /// answered one, or the end of the stream: at best the interval of the stream, at worst (no
    /// answer at all) all its length.
    pub fn longest_gap(&self) -> Duration {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return Duration::ZERO;
        };
        let answered = self.samples.iter().filter(|sample| sample.answer.is_ok());
        let times: Vec<Instant> = std::iter::once(first.sent)
            .chain(answered.map(|sample| sample.sent))
            .chain([last.sent])
            .collect();
        longest(&times)
    }

    /// Of those that were broken off: how many were under way at one moment, moment by moment. An
    /// address that moves once breaks off only what is under way then.
    pub fn breaks(&self) -> Vec<usize> {
        let mut moments: Vec<(Instant, usize)> = Vec::new();
        for sample in self.broken_off() {
            match moments.last_mut() {
                Some((first_end, count)) if sample.sent <= *first_end => {
                    *first_end = sample.ended.min(*first_end);
                    *count += 1;
                }
                _ => moments.push((sample.ended, 1)),
            }
        }
        moments.into_iter().map(|(_, count)| count).collect()
    }

    /// The longest time that no answer came in: what a person before a browser sees. Unlike
    /// [`Self::longest_gap`] it does not depend on how long a request may wait.
    pub fn longest_silence(&self) -> Duration {
        longest(&self.answers())
    }

    /// The times without an answer, each with the time in it for which the client itself was late
    /// to ask: how much longer than `usual` it was between two requests.
    pub fn silences(&self, usual: Duration) -> Vec<(Duration, Duration)> {
        let asked: Vec<(Instant, Instant)> = self
            .samples
            .windows(2)
            .map(|pair| (pair[0].sent, pair[1].sent))
            .collect();
        let late = |from: Instant, until: Instant| {
            let within = asked.iter().filter(|(_, next)| *next > from);
            let within = within.take_while(|(before, _)| *before < until);
            within
                .map(|(before, next)| (*next - *before).saturating_sub(usual))
                .sum()
        };
        let answers = self.answers();
        let pairs = answers.windows(2).map(|pair| (pair[0], pair[1]));
        pairs
            .map(|(from, until)| (until - from, late(from, until)))
            .collect()
    }

    /// When answers came in, and when the stream began and ended: one without an answer at its end
    /// was silent up to there.
    fn answers(&self) -> Vec<Instant> {
        let answered = self.samples.iter().filter(|sample| sample.answer.is_ok());
        let mut times: Vec<Instant> = answered.map(|sample| sample.ended).collect();
        times.extend(self.samples.first().map(|sample| sample.sent));
        times.extend(self.samples.last().map(|sample| sample.sent));
        times.sort_unstable();
        times
    }

    /// The longest time between two requests: much more than the interval says that the client
    /// itself had no time, and that gaps and failures may be its own.
    pub fn longest_pause(&self) -> Duration {
        let times: Vec<Instant> = self.samples.iter().map(|sample| sample.sent).collect();
        longest(&times)
    }

    /// Only the requests sent from then on.
    pub fn since(&self, start: Instant) -> Self {
        let samples = self.samples.iter().filter(|sample| sample.sent >= start);
        Self {
            samples: samples.cloned().collect(),
        }
    }
}

fn longest(times: &[Instant]) -> Duration {
    let pairs = times.windows(2).map(|pair| pair[1] - pair[0]);
    pairs.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that was sent and ended so many milliseconds after `start`.
    fn sample(start: Instant, sent: u64, ended: u64, answered: bool) -> Sample {
        let at = |millis| start + Duration::from_millis(millis);
        Sample {
            sent: at(sent),
            connected: (!answered).then(|| at(sent)),
            ended: at(ended),
            answer: if answered {
                Ok(Answer {
                    pod: String::new(),
                    node: String::new(),
                    client: ([127, 0, 0, 1], 1).into(),
                    echo: None,
                })
            } else {
                Err("reset".into())
            },
        }
    }

    #[test]
    fn requests_that_are_broken_off_count_by_the_moment_at_which_all_were_under_way() {
        let start = Instant::now();
        let sample = |sent, ended, answered| sample(start, sent, ended, answered);
        let samples = vec![
            sample(0, 25, false),
            sample(10, 12, true),
            sample(20, 31, false),
            sample(24, 30, false),
            sample(26, 40, false),
            sample(100, 101, false),
        ];
        assert_eq!(Report { samples }.breaks(), [3, 1, 1]);
        assert!(Report { samples: vec![] }.breaks().is_empty());
    }

    #[test]
    fn a_silence_has_the_pauses_of_the_client_that_lie_in_it_and_no_others() {
        let start = Instant::now();
        let sample = |sent, ended| sample(start, sent, ended, true);
        let millis = Duration::from_millis;
        let samples = vec![
            sample(0, 1),
            // The client was late.
            sample(60, 61),
            sample(70, 71),
            // An answer was late.
            sample(80, 171),
            sample(90, 91),
        ];
        let silences = Report { samples }.silences(millis(20));
        let long = silences
            .into_iter()
            .filter(|(silence, _)| *silence > millis(30));
        let long: Vec<_> = long.collect();
        assert_eq!(long, [(millis(60), millis(40)), (millis(80), millis(0))]);
    }

    #[test]
    fn silence_is_counted_from_answer_to_answer_whenever_they_were_asked_for() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let sample = |sent, ended, answered| sample(start, sent, ended, answered);
        let samples = vec![
            sample(0, 1, true),
            // Sent at once, answered late: its first packet was lost.
            sample(10, 510, true),
            sample(20, 420, false),
            sample(500, 505, true),
        ];
        let report = Report { samples };
        assert_eq!(report.longest_silence(), Duration::from_millis(499));
        assert_eq!(report.longest_gap(), Duration::from_millis(490));
        assert_eq!(report.longest_pause(), Duration::from_millis(480));
        let late = report.since(at(15));
        assert_eq!((late.answered(), late.failures().len()), (1, 1));
    }
}
