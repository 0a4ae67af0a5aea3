//! Where the API server is, and the files that prove its identity and that of pgsvid.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;

/// How the API server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it is.
    pub server: Server,
    /// The file with the certificate authorities that may have signed it, as PEM.
    pub ca_file: PathBuf,
    /// The file with the token, which is read for each request.
    pub token_file: PathBuf,
    /// The name under which fields are applied.
    pub field_manager: String,
}

/// Host, port and path of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The name or address that its certificate must have.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What comes before each path; empty, or with a leading slash and none at the end.
    pub prefix: String,
    /// The addresses that the host had when [`Self::look_up`] was called, or why there were none; `None` if the system's resolver may be
    /// asked for each connection.
    pub addresses: Option<Result<Vec<SocketAddr>, String>>,
}

impl Server {
    /// A host and a port.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, prefix: String::new(), addresses: None }
    }

    /// Whether its host is a name.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Looks the name up, for a process that cannot ask the system's resolver later. Blocks.
    pub fn look_up(&mut self) {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        self.addresses = Some(found.map(Iterator::collect).map_err(|cause| cause.to_string()));
    }

    /// Host and port, as in a URL.
    pub(super) fn authority(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.prefix)
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it is no URL of an API server; write https://HOST:PORT".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("https") {
            return Err(
                "the API server is only asked over TLS, because the token and the key go there; write https://HOST:PORT"
                    .to_owned(),
            );
        }
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(wrong());
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') => return Err(wrong()),
            None => 443,
        };
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { prefix, ..Self::new(host, port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_becomes_host_port_and_prefix() {
        for (text, host, port, shown) in [
            ("https://10.96.0.1", "10.96.0.1", 443, "https://10.96.0.1:443"),
            ("https://k8s.example:6443/", "k8s.example", 6443, "https://k8s.example:6443"),
            ("https://[fd00::1]:6443", "fd00::1", 6443, "https://[fd00::1]:6443"),
            ("https://rancher/k8s/c-1/", "rancher", 443, "https://rancher:443/k8s/c-1"),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port), "{text}");
            assert_eq!(server.to_string(), shown);
        }
        for wrong in [
            "",
            "http://a",
            "a:6443",
            "https://",
            "https://u@a",
            "https://a:0",
            "https://a/?b",
            "https://a:",
        ] {
            assert!(wrong.parse::<Server>().is_err(), "{wrong}");
        }
    }
}
