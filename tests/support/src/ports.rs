//! Free ports of 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range that Linux uses for outgoing connections, so that none of those can occupy a port between two runs of a
/// server.
const FIRST: u32 = 15_000;
const COUNT: u32 = 15_000;

/// An address on which nobody listens, and that this process has not returned lately.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free()).into()
}

/// A port on which nobody listens, and that this process has not returned lately.
pub(crate) fn free() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run at the same time start far from each other.
    let start = process::id().wrapping_mul(101);
    (0..COUNT)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port of 127.0.0.1")
}
