//! Looks a name up again and again, within the sandbox: in /etc/hosts, then by DNS at the name servers of /etc/resolv.conf.
//!
//! The C library asks over UDP, and reads the address of each sender: the sandbox would have to allow datagrams to anybody. DNS over
//! TCP (RFC 7766) needs one more port, 53, and two files. Other sources of nsswitch.conf(5) are not asked.

mod candidates;
mod configuration;
mod message;
mod order;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use configuration::Configuration;
use message::{Answer, Kind};

use crate::files;
use crate::verify::known_in;

/// The port of name servers.
pub const PORT: u16 = 53;
/// How long a look-up takes at most.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How long one name server may take for one question.
const PATIENCE: Duration = Duration::from_secs(4);
/// Largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

const HOSTS: &str = "/etc/hosts";
const SERVERS: &str = "/etc/resolv.conf";

/// The files that are read for each look-up.
#[must_use]
pub fn paths() -> [&'static Path; 2] {
    [Path::new(HOSTS), Path::new(SERVERS)]
}

/// Why there are no addresses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name servers know no address of this name.
    #[error("/etc/hosts and the name servers know no address of it")]
    NoAddress,
    /// It is longer than names of DNS may be.
    #[error("it is no name of DNS")]
    NoName,
    /// No name server has given an answer.
    #[error("the name server {server} gives no answer: {why}")]
    Unanswered {
        /// The address of the last name server that was asked.
        server: IpAddr,
        /// The reason, in words of pgsvid or of the kernel.
        why: String,
    },
    /// Not all name servers were asked within [`LIMIT`].
    #[error("the name servers give no answer within 10s")]
    Late,
}

impl Error {
    /// Whether the answer is that there is no address, so that earlier ones no longer count.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::NoAddress | Self::NoName)
    }
}

/// Looks names up.
#[derive(Debug, Default)]
pub struct Resolver {
    hosts: String,
    servers: String,
}

impl Resolver {
    /// The addresses of a name, each once, at least one. An address in text is its own. An IPv4 address that is written as one of IPv6
    /// (`::ffff:10.0.0.1`) is the former, so that no server is there twice.
    pub async fn addresses(&mut self, name: &str) -> Result<BTreeSet<IpAddr>, Error> {
        Ok(self.find(name).await?.into_iter().collect())
    }

    /// The addresses of a name, each once, at least one, in the order in which a program tries them that asks the C library.
    pub async fn in_order(&mut self, name: &str) -> Result<Vec<IpAddr>, Error> {
        Ok(order::preferred(self.find(name).await?))
    }

    async fn find(&mut self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let found = self.find_as_written(name).await?;
        Ok(found.into_iter().map(|address| address.to_canonical()).collect())
    }

    async fn find_as_written(&mut self, name: &str) -> Result<Vec<IpAddr>, Error> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        // Another file may stand there since the sandbox was entered, and not be readable: the last contents count.
        for (path, kept) in [(HOSTS, &mut self.hosts), (SERVERS, &mut self.servers)] {
            if let Ok(text) = files::text(Path::new(path), LARGEST) {
                *kept = text;
            }
        }
        if let Some(found) = known_in(&self.hosts, name.trim_end_matches('.')) {
            return Ok(found);
        }
        let configuration = Configuration::parse(&self.servers);
        timeout(LIMIT, by_dns(&configuration, name)).await.unwrap_or(Err(Error::Late))
    }
}

/// Asks for the name with each domain of the search list, until one has an address.
async fn by_dns(configuration: &Configuration, name: &str) -> Result<Vec<IpAddr>, Error> {
    let (mut is_name, mut servers) = (false, configuration.servers.clone());
    for candidate in candidates::of(name, configuration) {
        match at_servers(&mut servers, &candidate).await {
            Ok(found) => return Ok(found),
            Err(Error::NoAddress) => is_name = true,
            Err(Error::NoName) => {}
            Err(error) => return Err(error),
        }
    }
    Err(if is_name { Error::NoAddress } else { Error::NoName })
}

/// Asks one name server after the other until one answers. Those that do not are asked last from then on.
async fn at_servers(servers: &mut [IpAddr], name: &str) -> Result<Vec<IpAddr>, Error> {
    let mut last = Error::Late;
    for _ in 0..servers.len() {
        let server = servers[0];
        match at_server((server, PORT).into(), name).await {
            Ok(found) if found.is_empty() => return Err(Error::NoAddress),
            Ok(found) => return Ok(found),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(Error::NoName),
            Err(error) => {
                servers.rotate_left(1);
                last = Error::Unanswered { server, why: error.to_string() };
            }
        }
    }
    Err(last)
}

/// The addresses of both families. If one of the two questions has no answer, nothing is known: an instance could be left out.
async fn at_server(server: SocketAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let ask = async |kind| {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it takes longer than 4s");
        timeout(PATIENCE, async { exchange(TcpStream::connect(server).await?, name, kind).await })
            .await
            .map_err(|_| late())?
    };
    let (old, new) = tokio::join!(ask(Kind::A), ask(Kind::Aaaa));
    let mut found = old?;
    found.extend(new?);
    Ok(found)
}

/// One question over an open connection (RFC 1035, 4.2.2).
async fn exchange<S>(mut stream: S, name: &str, kind: Kind) -> io::Result<Vec<IpAddr>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let id = fastrand::u16(..);
    let question = message::question(id, name, kind).ok_or(io::ErrorKind::InvalidInput)?;
    stream.write_all(&question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    match message::answer(&answer, id) {
        Some(Answer::Addresses(found)) => Ok(found),
        Some(Answer::Failed(code)) => {
            Err(io::Error::other(format!("it answers with the error {code}")))
        }
        None => Err(io::Error::other("its answer cannot be read")),
    }
}

#[cfg(test)]
mod tests;
