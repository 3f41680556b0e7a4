use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const ETH0: u32 = 2;
const ETH1: u32 = 3;
/// When the rounds are, in milliseconds after the address was taken.
const ROUNDS: [u64; 7] = [0, 100, 300, 1_000, 2_000, 4_000, 8_000];

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Runs the schedule until `end`, jumping from timeout to timeout; what is sent, and when.
fn run(announcer: &mut Announcer, start: Instant, end: Duration) -> Vec<(Duration, Announcement)> {
    let mut sent = Vec::new();
    let mut out = Vec::new();
    while let Some(timeout) = announcer.next_timeout() {
        if timeout > start + end {
            break;
        }
        announcer.poll(timeout, &mut out);
        sent.extend(
            out.drain(..)
                .map(|announcement| (timeout - start, announcement)),
        );
    }
    sent
}

fn times(sent: &[(Duration, Announcement)]) -> Vec<u64> {
    let times = sent.iter().map(|(at, _)| at.as_millis());
    times.map(|at| u64::try_from(at).expect("short")).collect()
}

#[test]
fn an_address_is_announced_at_once_and_then_at_growing_intervals() {
    let start = Instant::now();
    let mut announcer = Announcer::new(None);
    announcer.take(start, ETH0, address(1));
    assert_eq!(announcer.next_timeout(), Some(start));
    let sent = run(&mut announcer, start, ms(3_600_000));
    assert_eq!(times(&sent), ROUNDS);
    assert_eq!(announcer.next_timeout(), None);
    assert_eq!(announcer.queue.len(), 0);
}

#[test]
fn to_take_it_again_changes_nothing() {
    let start = Instant::now();
    let mut announcer = Announcer::new(None);
    announcer.take(start, ETH0, address(1));
    assert_eq!(times(&run(&mut announcer, start, ms(500))), ROUNDS[..3]);
    announcer.take(start + ms(600), ETH0, address(1));
    announcer.set(start + ms(600), ETH0, [address(1)]);
    assert_eq!(times(&run(&mut announcer, start, ms(60_000))), ROUNDS[3..]);
    announcer.set(start + ms(60_000), ETH0, [address(1)]);
    assert_eq!(announcer.next_timeout(), None);
}

#[test]
fn what_is_announced_again_starts_over_where_it_is_announced() {
    let start = Instant::now();
    let mut announcer = Announcer::new(None);
    announcer.take(start, ETH0, address(1));
    announcer.again(start, address(1));
    announcer.take(start, ETH1, address(2));
    assert_eq!(announcer.queue.len(), 2, "the first round is still to come");
    run(&mut announcer, start, ms(500));
    announcer.again(start + ms(600), address(1));
    announcer.again(start + ms(600), address(3));
    let sent = run(&mut announcer, start + ms(600), ms(3_600_000));
    let of = |number| {
        let of: Vec<_> = sent
            .iter()
            .filter(|(_, sent)| sent.address == address(number))
            .copied()
            .collect();
        times(&of)
    };
    assert_eq!(of(1), ROUNDS);
    assert_eq!(
        of(2),
        ROUNDS[3..].iter().map(|at| at - 600).collect::<Vec<_>>()
    );
    assert_eq!(of(3), [0; 0]);
    // Also when all rounds are over.
    announcer.again(start + ms(3_600_000), address(2));
    let sent = run(&mut announcer, start + ms(3_600_000), ms(60_000));
    assert_eq!(times(&sent), ROUNDS);
    assert_eq!(announcer.queue.len(), 0);
}

#[test]
fn a_released_address_is_silent_and_starts_anew_when_taken() {
    let start = Instant::now();
    let mut announcer = Announcer::new(Some(ms(10_000)));
    announcer.take(start, ETH0, address(1));
    run(&mut announcer, start, ms(200));
    announcer.release(ETH0, address(1));
    announcer.release(ETH0, address(7));
    announcer.release(ETH1, address(1));
    assert_eq!(announcer.next_timeout(), None);
    let again = start + ms(5_000);
    announcer.take(again, ETH0, address(1));
    assert_eq!(times(&run(&mut announcer, again, ms(8_000))), ROUNDS);
}

#[test]
fn set_takes_and_releases_the_difference() {
    let start = Instant::now();
    let mut announcer = Announcer::new(None);
    announcer.set(start, ETH0, [address(1), address(2)]);
    run(&mut announcer, start, ms(9_000));
    let later = start + ms(9_000);
    announcer.set(later, ETH0, [address(2), address(3)]);
    let sent = run(&mut announcer, later, ms(60_000));
    assert_eq!(times(&sent), ROUNDS);
    assert!(sent.iter().all(|(_, a)| a.address == address(3)));
}

#[test]
fn an_interface_that_comes_back_starts_its_addresses_anew_and_no_others() {
    let start = Instant::now();
    let mut announcer = Announcer::new(None);
    announcer.take(start, ETH0, address(1));
    announcer.take(start, ETH1, address(1));
    run(&mut announcer, start, ms(500));
    let up = start + ms(500);
    announcer.forget(ETH1);
    for interface in [ETH0, ETH1, ETH1] {
        announcer.set(up, interface, [address(1)]);
    }
    let sent = run(&mut announcer, up, ms(60_000));
    let of = |interface| {
        let sent = sent.iter().filter(|(_, a)| a.interface == interface);
        times(&sent.copied().collect::<Vec<_>>())
    };
    assert_eq!(of(ETH1), ROUNDS);
    assert_eq!(of(ETH0), [500, 1_500, 3_500, 7_500]);
}

#[test]
fn an_interface_that_is_forgotten_sends_nothing() {
    let start = Instant::now();
    let mut announcer = Announcer::new(Some(ms(1_000)));
    announcer.take(start, ETH0, address(1));
    assert_eq!(announcer.next_timeout(), Some(start));
    announcer.forget(ETH0);
    announcer.forget(ETH1);
    assert_eq!(announcer.next_timeout(), None);
}

#[test]
fn the_refresh_comes_once_in_every_period() {
    let start = Instant::now();
    let period = ms(60_000);
    let mut announcer = Announcer::new(Some(period));
    announcer.take(start, ETH0, address(1));
    let sent = times(&run(&mut announcer, start, ms(3_600_000)));
    assert_eq!(sent[..7], ROUNDS);
    assert!((30_000..=60_000).contains(&(sent[7] - sent[6])), "{sent:?}");
    for pair in sent[7..].windows(2) {
        let pause = pair[1] - pair[0];
        assert!((57_000..=60_000).contains(&pause), "{pause}");
    }
}

#[test]
fn no_refresh_means_none() {
    let start = Instant::now();
    let mut announcer = Announcer::new(Some(Duration::ZERO));
    announcer.take(start, ETH0, address(1));
    assert_eq!(run(&mut announcer, start, ms(3_600_000)).len(), 7);
}

#[test]
fn addresses_that_were_taken_together_are_refreshed_apart() {
    let start = Instant::now();
    let mut announcer = Announcer::new(Some(ms(60_000)));
    announcer.set(start, ETH0, (0..1_000).map(address));
    let sent = run(&mut announcer, start, ms(70_000));
    let refreshes = &sent[7_000..];
    let mut seconds = BTreeMap::new();
    for (at, _) in refreshes {
        *seconds.entry(at.as_secs()).or_insert(0) += 1;
    }
    let most = seconds.values().max().copied().unwrap_or(0);
    assert!(refreshes.len() >= 990, "{}", refreshes.len());
    assert!(most < 80, "at most {most} in one second");
}

#[test]
fn five_thousand_at_once_are_paced_and_first_rounds_come_first() {
    let start = Instant::now();
    let mut announcer = Announcer::new(None);
    announcer.set(start, ETH0, (0..5_000).map(address));
    let mut out = Vec::new();
    announcer.poll(start, &mut out);
    assert_eq!(out.len(), BURST);
    announcer.poll(start, &mut out);
    assert_eq!(out.len(), BURST, "not before the pause is over");
    assert_eq!(announcer.next_timeout(), Some(start + BURST_PAUSE));

    let sent = run(&mut announcer, start, ms(60_000));
    let first: BTreeSet<_> = sent[..5_000 - BURST].iter().map(|(_, a)| *a).collect();
    assert_eq!(first.len(), 5_000 - BURST, "no repetition among the first");
    let (last_first, _) = sent[5_000 - BURST - 1];
    assert!(last_first <= ms(500), "{last_first:?}");
    assert_eq!(sent.len() + BURST, 7 * 5_000);
    assert!(sent.last().is_some_and(|(at, _)| *at < ms(10_000)));
}

#[test]
fn an_address_taken_during_a_flood_does_not_wait_for_its_repetitions() {
    let start = Instant::now();
    let mut announcer = Announcer::new(None);
    announcer.set(start, ETH0, (0..5_000).map(address));
    run(&mut announcer, start, ms(450));
    let now = start + ms(450);
    announcer.take(now, ETH0, address(9_999));
    let next = announcer.next_timeout().expect("something is due");
    let mut out = Vec::new();
    announcer.poll(next, &mut out);
    assert!(next <= now + BURST_PAUSE);
    assert_eq!(out[0].address, address(9_999));
}

#[test]
fn a_late_poll_does_not_send_missed_rounds_together() {
    let start = Instant::now();
    let mut announcer = Announcer::new(None);
    announcer.take(start, ETH0, address(1));
    let mut out = Vec::new();
    let late = start + ms(30_000);
    announcer.poll(late, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(announcer.next_timeout(), Some(late + ms(100)));
}

#[derive(Debug, Clone)]
enum Step {
    Take(u32, u32),
    Release(u32, u32),
    Forget(u32),
    Poll(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (interface, number) = (0..3_u32, 0..6_u32);
    prop_oneof![
        4 => (interface.clone(), number.clone()).prop_map(|(i, n)| Step::Take(i, n)),
        2 => (interface.clone(), number).prop_map(|(i, n)| Step::Release(i, n)),
        1 => interface.prop_map(Step::Forget),
        4 => (0..3_000_u64).prop_map(Step::Poll),
    ]
}

proptest! {
    /// Only what is held is sent, and the queue holds nothing else.
    #[test]
    fn nothing_is_sent_for_what_is_not_held(steps in prop::collection::vec(step(), 1..120)) {
        let mut now = Instant::now();
        let mut announcer = Announcer::new(Some(ms(1_500)));
        let mut held = BTreeSet::new();
        let mut out = Vec::new();
        for step in steps {
            match step {
                Step::Take(i, n) => {
                    held.insert((i, address(n)));
                    announcer.take(now, i, address(n));
                }
                Step::Release(i, n) => {
                    held.remove(&(i, address(n)));
                    announcer.release(i, address(n));
                }
                Step::Forget(i) => {
                    held.retain(|(interface, _)| *interface != i);
                    announcer.forget(i);
                }
                Step::Poll(later) => {
                    now += ms(later);
                    announcer.poll(now, &mut out);
                    for sent in out.drain(..) {
                        prop_assert!(held.contains(&(sent.interface, sent.address)));
                    }
                }
            }
            // With a refresh, everything that is held has a next time.
            prop_assert_eq!(announcer.queue.len(), held.len());
        }
    }
}
