//! Who is believed when parts of a group meet again, or hear each other one way only.

use super::net::{Net, ms};

/// How often any of these was fenced.
fn fenced(net: &Net, among: impl IntoIterator<Item = usize>) -> usize {
    among.into_iter().map(|index| net.fenced(index)).sum()
}

#[test]
fn what_one_that_was_alone_says_of_others_takes_nobody_down() {
    for seed in 0..60 {
        let mut net = Net::new(8, seed);
        net.until(ms(3000), Net::whole);
        net.run(ms(500));
        let others: Vec<_> = (0..8).filter(|index| *index != 2).collect();
        net.part(&[2], &others);
        net.run(ms(2000 + seed * 31));
        net.cut.clear();
        net.until(ms(2000), Net::whole);
        net.run(ms(2000));
        assert_eq!(fenced(&net, others), 0, "seed {seed}");
        assert!(net.whole(), "seed {seed}");
    }
}

#[test]
fn what_few_that_were_cut_off_say_of_others_takes_nobody_down() {
    for seed in 0..30 {
        let mut net = Net::new(9, seed);
        net.until(ms(3000), Net::whole);
        net.run(ms(500));
        net.part(&[0, 4, 8], &[1, 2, 3, 5, 6, 7]);
        net.run(ms(1500 + seed * 31));
        net.cut.clear();
        net.until(ms(2000), Net::whole);
        net.run(ms(2000));
        assert_eq!(fenced(&net, [1, 2, 3, 5, 6, 7]), 0, "seed {seed}");
    }
}
