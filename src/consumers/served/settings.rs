//! What is looked at, and until when it should serve a set.

use std::time::Duration;

use crate::verify::{Begin, shown_address};

/// A name whose servers others reload, such as the operator of a cluster.
#[derive(Debug, Clone)]
pub struct ServedAddress {
    /// Its name, which no other consumer has.
    pub name: String,
    /// A name, each of whose addresses is an instance, or an address.
    pub host: String,
    /// The port of each instance.
    pub port: u16,
    /// The name that the certificate must have; `None` if that is not checked.
    pub server_name: Option<String>,
    /// How often to look when nothing has changed.
    pub every: Duration,
    /// How a connection begins.
    pub begin: Begin,
    /// How long an instance may take to serve a set.
    pub within: Duration,
}

impl ServedAddress {
    /// The address with its port.
    #[must_use]
    pub fn shown(&self) -> String {
        shown_address(&self.host, self.port)
    }

    /// Whether the address is a name, which is looked up for each look.
    #[must_use]
    pub fn looks_up(&self) -> bool {
        self.host.parse::<std::net::IpAddr>().is_err()
    }
}
