//! Ports for what a test starts and may have to start again: below those that the kernel gives to outgoing connections, which
//! could take one that is meant for a server, and above those of `tests/servers`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Each process of tests takes its ports from one of so many ranges.
const RANGES: u16 = 10;

/// Ports of a range.
const RANGE: u16 = 1_000;

/// The first port of the first range.
const FIRST: u16 = 22_000;

/// An address that nobody listens on, and that nobody else in this process is given.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let range = u16::try_from(std::process::id() % u32::from(RANGES)).expect("below the number of ranges");
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < RANGE, "no port is left");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + range * RANGE + number));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The port of such an address.
pub(crate) fn free_port() -> u16 {
    free_address().port()
}
