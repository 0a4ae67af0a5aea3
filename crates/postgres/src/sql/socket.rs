//! The connection to PostgreSQL's Unix socket: who listens there, and how much it may send.
//!
//! In a directory where others may create files, such as `/tmp`, any user can listen in PostgreSQL's place while it is down.
//! Such a process must not receive a password, nor fill this process's memory.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use rustix::process::geteuid;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::UCred;
use tokio::time::timeout;

use super::error::Error;
use super::{LIMIT, LONGEST_SOCKET, Settings};
use pgsvid_base::users;

/// How much a server may send: in answer to a statement, or while a session begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// Bytes of all messages together.
    bytes: usize,
    /// Messages. A row is one message, and takes more memory than it has bytes.
    messages: usize,
    /// Columns of all rows together: a NULL column has four bytes, but takes more memory than that.
    columns: usize,
}

impl Allowance {
    /// For a handful of rows.
    pub(super) const FEW: Self = Self { bytes: 256 * 1024, messages: 2_000, columns: 8_000 };
    /// For lists that the server's administrators write: roles, lines of `pg_hba.conf`.
    pub(super) const LISTS: Self =
        Self { bytes: 8 * 1024 * 1024, messages: 200_000, columns: 500_000 };
}

/// What is left of an allowance.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicUsize,
    messages: AtomicUsize,
    columns: AtomicUsize,
    exceeded: AtomicBool,
}

impl Budget {
    /// For a login, and a few rows.
    #[must_use]
    pub fn few() -> Arc<Self> {
        Arc::new(Self::new(Allowance::FEW))
    }

    fn new(allowance: Allowance) -> Self {
        Self {
            bytes: allowance.bytes.into(),
            messages: allowance.messages.into(),
            columns: allowance.columns.into(),
            exceeded: false.into(),
        }
    }

    /// Starts over, for the next statement.
    pub(super) fn renew(&self, allowance: Allowance) {
        self.bytes.store(allowance.bytes, Ordering::Relaxed);
        self.messages.store(allowance.messages, Ordering::Relaxed);
        self.columns.store(allowance.columns, Ordering::Relaxed);
    }

    /// Whether the server has sent more than it may; then the connection is closed.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    /// Counts a message of this size.
    fn spend_message(&self, bytes: usize) -> io::Result<()> {
        self.spend(&self.bytes, bytes)?;
        self.spend(&self.messages, 1)
    }

    /// Counts the columns of a row.
    fn spend_columns(&self, columns: usize) -> io::Result<()> {
        self.spend(&self.columns, columns)
    }

    fn spend(&self, from: &AtomicUsize, amount: usize) -> io::Result<()> {
        let taken = from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left: usize| {
            left.checked_sub(amount)
        });
        if taken.is_ok() {
            return Ok(());
        }
        self.exceeded.store(true, Ordering::Relaxed);
        Err(io::Error::other("the server sends more than it may"))
    }
}

/// User and group ID of the process that listens on the server's socket, within five seconds. Nothing is sent.
pub async fn listener(settings: &Settings) -> Result<(u32, u32), Error> {
    let dialled = timeout(LIMIT, dial(settings)).await.map_err(|_| Error::Silent(LIMIT))?;
    dialled.map(|(_, peer)| (peer.uid(), peer.gid()))
}

/// Connects to the server's socket, and makes sure that PostgreSQL's user listens there.
pub(super) async fn connect(
    settings: &Settings,
) -> Result<(Limited<UnixStream>, Arc<Budget>), Error> {
    let (stream, peer) = dial(settings).await?;
    if !may_listen(settings, peer.uid()) {
        return Err(Error::Peer { uid: peer.uid() });
    }
    let budget = Budget::few();
    Ok((Limited::new(stream, Arc::clone(&budget)), budget))
}

/// The connection, and the user and group of the process that called `listen(2)` (`unix(7)`, `SO_PEERCRED`).
async fn dial(settings: &Settings) -> Result<(UnixStream, UCred), Error> {
    let path = settings.socket();
    if path.as_os_str().len() > LONGEST_SOCKET {
        return Err(Error::LongPath);
    }
    let stream = UnixStream::connect(path).await.map_err(|error| Error::io(&error))?;
    let peer = stream.peer_cred().map_err(|error| Error::io(&error))?;
    Ok((stream, peer))
}

/// Whether PostgreSQL may run as `uid`: the configured user, otherwise root, this process's user, or the owner of the
/// socket's directory. Each of these could replace the socket anyway.
#[must_use]
pub fn may_listen(settings: &Settings, uid: u32) -> bool {
    if let Some(wanted) = settings.require_peer {
        return uid == wanted;
    }
    // All users without an ID in this user namespace appear under this one, so the directory's owner may be another user.
    if users::nobody_here() == Some(uid) {
        return false;
    }
    let owner = || std::fs::metadata(&settings.host).is_ok_and(|found| found.uid() == uid);
    uid == 0 || uid == geteuid().as_raw() || owner()
}

/// A connection that closes as soon as the server announces more than its budget: before any of it is stored.
#[derive(Debug)]
pub struct Limited<S> {
    inner: S,
    budget: Arc<Budget>,
    frame: Frame,
}

impl<S> Limited<S> {
    /// Counts from here on; the next byte must be the start of a message.
    pub fn new(inner: S, budget: Arc<Budget>) -> Self {
        Self { inner, budget, frame: Frame::default() }
    }
}

/// The position within a message. A message is a letter, a length that counts itself, and that many bytes less four. Those of
/// a row begin with the number of its columns (PostgreSQL: "Message Formats").
#[derive(Debug, Default)]
struct Frame {
    header: [u8; 7],
    /// Bytes of the header that have arrived.
    have: usize,
    /// Bytes of the body that have not arrived yet.
    body: usize,
}

/// Size of a header: letter and length.
const HEADER: usize = 5;

impl Frame {
    fn follow(&mut self, mut bytes: &[u8], budget: &Budget) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.have < HEADER || self.counts_columns() {
                self.header[self.have] = bytes[0];
                self.have += 1;
                bytes = &bytes[1..];
                self.account(budget)?;
            } else {
                let step = self.body.min(bytes.len());
                self.body -= step;
                bytes = &bytes[step..];
            }
            if self.have >= HEADER && !self.counts_columns() && self.body == 0 {
                self.have = 0;
            }
        }
        Ok(())
    }

    /// Whether the number of columns comes next.
    fn counts_columns(&self) -> bool {
        matches!(self.header[0], b'D' | b'T')
            && (HEADER..self.header.len()).contains(&self.have)
            && self.body > 0
    }

    /// Counts what the header announces.
    fn account(&mut self, budget: &Budget) -> io::Result<()> {
        let [_, length @ .., _, _] = self.header;
        if self.have == HEADER {
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            self.body = length.saturating_sub(4);
            budget.spend_message(length.saturating_add(1))?;
        } else if self.have > HEADER {
            self.body -= 1;
            if self.have == self.header.len() {
                let [.., high, low] = self.header;
                budget.spend_columns(u16::from_be_bytes([high, low]).into())?;
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, budget, frame } = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(inner).poll_read(context, buffer))?;
        Poll::Ready(frame.follow(&buffer.filled()[before..], budget))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn message(letter: u8, body: usize) -> Vec<u8> {
        let mut message = vec![letter];
        message.extend(u32::try_from(body + 4).unwrap().to_be_bytes());
        message.extend(vec![0; body]);
        message
    }

    /// Reads everything in pieces of this size.
    async fn read(bytes: &[u8], piece: usize, allowance: Allowance) -> io::Result<usize> {
        let budget = Arc::new(Budget::new(allowance));
        let mut stream = Limited::new(bytes, Arc::clone(&budget));
        let (mut all, mut buffer) = (0, vec![0; piece]);
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => return Ok(all),
                Ok(read) => all += read,
                Err(error) => {
                    assert!(budget.is_exceeded());
                    return Err(error);
                }
            }
        }
    }

    #[tokio::test]
    async fn a03_bytes_and_messages_are_counted_in_any_fragmentation() {
        let allowance = Allowance { bytes: 100, messages: 3, columns: 100 };
        let three: Vec<u8> = [30, 0, 20].into_iter().flat_map(|body| message(b'D', body)).collect();
        let four = [three.clone(), message(b'C', 0)].concat();
        let long = message(b'D', 96);
        // The length alone is enough: no byte of the body needs to arrive.
        let huge = [b'D', 0x7f, 0xff, 0xff, 0xff];
        for piece in [1, 2, 7, 1000] {
            assert_eq!(read(&three, piece, allowance).await.ok(), Some(three.len()));
            for bytes in [&four[..], &long, &huge] {
                assert!(read(bytes, piece, allowance).await.is_err(), "{piece} {bytes:?}");
            }
        }
    }
    #[tokio::test]
    async fn a50_columns_are_counted_in_any_fragmentation() {
        let allowance = Allowance { bytes: 1000, messages: 10, columns: 500 };
        let row = |letter: u8, columns: u16| {
            [&[letter, 0, 0, 0, 8][..], &columns.to_be_bytes(), &[0; 2]].concat()
        };
        let few = [row(b'T', 200), message(b'N', 3), row(b'D', 300), row(b'C', 600)].concat();
        let many = [few.clone(), row(b'D', 1)].concat();
        // Messages that are too short to have columns.
        let short = [message(b'D', 0), message(b'D', 1), row(b'D', 500)].concat();
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(read(&few, piece, allowance).await.ok(), Some(few.len()), "{piece}");
            assert_eq!(read(&short, piece, allowance).await.ok(), Some(short.len()), "{piece}");
            assert!(read(&many, piece, allowance).await.is_err(), "{piece}");
        }
    }
}
