//! What a table takes of the memory.

use super::table::{marked, v4, view};
use crate::routes::Table;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn told_to_four(routes: u32) -> Table {
    let mut table = Table::new();
    table.set_complete(true);
    let ids: Vec<_> = NAMES.iter().map(|name| table.open(view(name))).collect();
    for number in 0..routes {
        table.set(v4(number), &[marked(number % 4)]);
    }
    let mut buffer = Vec::new();
    for id in ids {
        loop {
            buffer.clear();
            table.poll_messages(id, 65_536, &mut buffer);
            if buffer.is_empty() {
                break;
            }
        }
    }
    table
}

#[test]
fn a_hundred_thousand_routes_told_to_four_peers_take_less_than_30_megabytes() {
    let mut table = Table::new();
    let used = allocation_counter::measure(|| table = told_to_four(100_000));
    assert_eq!(table.len(), 100_000);
    assert!(used.bytes_max < 30_000_000, "{used:?}");
    assert!(used.bytes_current < 20_000_000, "{used:?}");
}

#[test]
fn churn_leaves_nothing_behind() {
    let mut table = told_to_four(100);
    let id = table.open(view("churn"));
    let mut round = |number: u32| {
        table.set(v4(1000 + number), &[marked(number)]);
        let mut buffer = Vec::new();
        table.poll_messages(id, usize::MAX, &mut buffer);
        table.set(v4(1000 + number), &[marked(number + 1)]);
        table.remove(v4(1000 + number));
        table.poll_messages(id, usize::MAX, &mut buffer);
    };
    for number in 0..1000 {
        round(number);
    }
    // One of the four does not read at all; nothing is kept for it either.
    let used = allocation_counter::measure(|| {
        for number in 1000..20_000 {
            round(number);
        }
    });
    assert!(used.bytes_current.abs() < 4096, "{used:?}");
}
