//! Which addresses have a listener at a port of this machine: the kernel's own list (`proc_pid_net(5)`), which every user may
//! read.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;

/// The state of a socket that listens (`tcp_states.h`, `TCP_LISTEN`).
const LISTENS: &str = "0A";

/// A socket that listens at the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The address at which it listens: an IPv4 address also if the socket is of IPv6 (`::ffff:127.0.0.1`).
    pub address: IpAddr,
    /// The user ID of the socket's owner.
    pub uid: u32,
}

/// Who listens at a port in this network namespace, and where; empty if the list cannot be read.
#[must_use]
pub fn listeners(port: u16) -> Vec<Listener> {
    let lists = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    // Line by line and to the end: a user with many sockets must not hide another line.
    let read = |list: &str| {
        let file = File::open(list).ok()?;
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        Some(lines.filter_map(|line| listener(&line, port)).collect::<Vec<_>>())
    };
    lists.into_iter().filter_map(read).flatten().collect()
}

fn listener(line: &str, port: u16) -> Option<Listener> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, number) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let is_meant = state == LISTENS && u16::from_str_radix(number, 16) == Ok(port);
    // Queues, timer and retransmissions stand in between.
    let uid = fields.nth(3)?.parse().ok()?;
    let address = self::address(address)?.to_canonical();
    is_meant.then_some(Listener { address, uid })
}

/// The address in the kernel's list: 8 or 32 hexadecimal digits, as words of 32 bits in the machine's byte order.
fn address(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(digits.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if digits.len() == 8 {
        return word(0).map(IpAddr::from);
    }
    let mut octets = [0; 16];
    for (at, part) in octets.chunks_mut(4).enumerate() {
        part.copy_from_slice(&word(at)?);
    }
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn b113_a_listener_at_a_mapped_address_is_one_at_the_ipv4_address() {
        let Ok(there) = TcpListener::bind("[::ffff:127.0.0.4]:0") else { return };
        let port = there.local_addr().unwrap().port();
        let found: Vec<_> = listeners(port).iter().map(|it| it.address).collect();
        assert_eq!(found, [IpAddr::from([127, 0, 0, 4])]);
    }

    #[test]
    fn b70_who_listens_is_seen() {
        let here = TcpListener::bind("127.0.0.3:0").unwrap();
        let port = here.local_addr().unwrap().port();
        let addresses = || listeners(port).iter().map(|it| it.address).collect::<Vec<_>>();
        assert_eq!(addresses(), [IpAddr::from([127, 0, 0, 3])]);
        assert_eq!(listeners(port)[0].uid, rustix::process::geteuid().as_raw());
        if let Ok(_other) = TcpListener::bind(("::1", port)) {
            assert_eq!(listeners(port).len(), 2);
            assert!(addresses().contains(&"::1".parse().unwrap()));
        }
    }
}
