//! A name server: dnsmasq, with the addresses that a test gives it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use rustix::process::Signal;

use crate::{Account, Directory, LIMIT, Program, eventually};

/// Answers for the names below `example`, and knows no other ones.
#[derive(Debug)]
pub struct NameServer {
    address: Ipv4Addr,
    program: Program,
    directory: Directory,
}

impl NameServer {
    /// Starts one that knows no address, at a loopback address of this process. Root only, because of its port.
    #[track_caller]
    pub fn start() -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 53, high, low.max(1));
        let directory = Directory::new();
        let hosts = directory.write("hosts", "", 0o644);
        let arguments = [
            "--no-daemon".to_owned(),
            "--conf-file=/dev/null".to_owned(),
            format!("--listen-address={address}"),
            "--bind-interfaces".to_owned(),
            "--no-resolv".to_owned(),
            "--no-hosts".to_owned(),
            "--domain-needed".to_owned(),
            "--local=/example/".to_owned(),
            format!("--addn-hosts={}", hosts.display()),
            "--user=root".to_owned(),
            "--pid-file".to_owned(),
        ];
        let dnsmasq = Path::new("/usr/sbin/dnsmasq");
        let program = Program::spawn_as(Account::current(), dnsmasq, arguments, &[]);
        eventually(LIMIT, "the name server answers", || TcpStream::connect((address, 53)).is_ok());
        Self { address, program, directory }
    }

    /// The text of resolv.conf(5) for it.
    pub fn resolv_conf(&self) -> String {
        format!("search example\nnameserver {}\n", self.address)
    }

    /// Gives the name these addresses, and no others.
    #[track_caller]
    pub fn set(&self, name: &str, addresses: &[&str]) {
        let mut hosts = String::new();
        for address in addresses {
            writeln!(hosts, "{address} {name}").expect("writes into a string");
        }
        self.directory.write("hosts", hosts, 0o644);
        self.program.signal(Signal::HUP);
    }

    /// Lets it answer nothing any more, or answer again.
    #[track_caller]
    pub fn stop(&self, stopped: bool) {
        self.program.signal(if stopped { Signal::STOP } else { Signal::CONT });
    }
}
