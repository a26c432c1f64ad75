//! The time of the processor that a process has had, which says what something costs however busy the machine is.

use std::time::Duration;

/// Of all its threads since it began, in steps of 10 ms.
pub(crate) fn used(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux tells it");
    let (_, rest) = stat.rsplit_once(") ").expect("the name is in brackets");
    let fields: Vec<&str> = rest.split(' ').collect();
    // The 14th and 15th, of which the first after the name is the third, in hundredths of a second.
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
