//! Misbehaviour on demand.

use std::fmt;

use pgsvid_proto::{JwtsvidResponse, X509svidResponse};
use tonic::Status;

/// What the agent does instead of serving new connections or streams. Those that are open go on;
/// for them there are [`crate::DevAgent::push`], [`end_streams`](crate::DevAgent::end_streams),
/// [`drop_connections`](crate::DevAgent::drop_connections) and
/// [`freeze`](crate::DevAgent::freeze).
#[derive(Clone)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// Accepts connections, reads nothing and says nothing, not even what HTTP/2 begins with.
    Silent,
    /// Accepts connections, and says this instead of HTTP/2, whatever the peer says.
    Speak(Vec<u8>),
    /// Closes connections at once.
    HangUp,
    /// Breaks connections off in the middle of the next message of 512 bytes or more; open ones,
    /// too.
    CutMessages,
    /// Sends other bytes in place of the next message of 512 bytes or more; on open connections,
    /// too. They are no HTTP/2.
    GarbleMessages,
    /// Begins streams with these bytes, and then falls silent. They should be whole messages of
    /// gRPC, prefixes and all: see [`crate::framed`].
    Bytes(Vec<u8>),
    /// Sends these bytes again and again, as fast as they are read.
    Flood(Vec<u8>),
    /// Refuses X.509-SVID streams.
    Refuse(Status),
    /// Opens streams and never sends a message on them.
    HeadersOnly,
    /// Sends the first message and ends the stream: cleanly, or with this status.
    EndAfterFirst(Option<Status>),
    /// Begins streams with these messages, one right after the other, instead of the true one.
    /// Later updates follow as usual.
    Reply(Vec<X509svidResponse>),
    /// Refuses tokens.
    RefuseJwt(Status),
    /// Sends this message instead of tokens.
    ReplyJwt(JwtsvidResponse),
    /// Refuses streams of JWT bundles.
    RefuseJwtBundles(Status),
}

impl Misbehaviour {
    /// Speaks HTTP/1.1, as a web server does that meets a protocol it does not know.
    #[must_use]
    pub fn http1() -> Self {
        Self::Speak(
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        )
    }

    /// Speaks TLS: the fatal alert `unexpected_message` (RFC 8446, section 6).
    #[must_use]
    pub fn tls() -> Self {
        Self::Speak(vec![21, 3, 3, 0, 2, 2, 10])
    }

    fn acts_on(&self) -> Occasion {
        match self {
            Self::Silent | Self::Speak(_) | Self::HangUp => Occasion::Connection,
            Self::Refuse(_) | Self::HeadersOnly | Self::EndAfterFirst(_) | Self::Reply(_) => {
                Occasion::Stream
            }
            Self::RefuseJwt(_) | Self::ReplyJwt(_) => Occasion::Token,
            Self::RefuseJwtBundles(_) => Occasion::JwtBundles,
            Self::CutMessages | Self::GarbleMessages => Occasion::Write,
            Self::Bytes(_) | Self::Flood(_) => Occasion::Request,
        }
    }
}

// Replies may be megabytes.
impl fmt::Debug for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("Silent"),
            Self::Speak(bytes) => write!(f, "Speak({} bytes)", bytes.len()),
            Self::HangUp => f.write_str("HangUp"),
            Self::CutMessages => f.write_str("CutMessages"),
            Self::GarbleMessages => f.write_str("GarbleMessages"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Flood(bytes) => write!(f, "Flood({} bytes)", bytes.len()),
            Self::Refuse(status) => write!(f, "Refuse({:?})", status.code()),
            Self::HeadersOnly => f.write_str("HeadersOnly"),
            Self::EndAfterFirst(None) => f.write_str("EndAfterFirst(cleanly)"),
            Self::EndAfterFirst(Some(status)) => write!(f, "EndAfterFirst({:?})", status.code()),
            Self::Reply(messages) => write!(f, "Reply({} messages)", messages.len()),
            Self::RefuseJwt(status) => write!(f, "RefuseJwt({:?})", status.code()),
            Self::ReplyJwt(message) => write!(f, "ReplyJwt({} tokens)", message.svids.len()),
            Self::RefuseJwtBundles(status) => write!(f, "RefuseJwtBundles({:?})", status.code()),
        }
    }
}

/// A message as gRPC frames it: not compressed, its length in four bytes, and the bytes.
#[must_use]
pub fn framed(message: &[u8]) -> Vec<u8> {
    let [.., a, b, c, d] = message.len().to_be_bytes();
    [&[0, a, b, c, d], message].concat()
}

/// When misbehaviour is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A connection was accepted.
    Connection,
    /// A request has come, of whatever method.
    Request,
    /// An X.509-SVID stream was asked for.
    Stream,
    /// Tokens were asked for.
    Token,
    /// A stream of JWT bundles was asked for.
    JwtBundles,
    /// A message is about to be written.
    Write,
}

/// The misbehaviour in force, and how many more times.
#[derive(Debug, Default)]
pub(crate) struct Script(Option<(Misbehaviour, Option<u64>)>);

impl Script {
    pub(crate) fn set(&mut self, misbehaviour: Misbehaviour, times: Option<u64>) {
        self.0 = Some((misbehaviour, times)).filter(|_| times != Some(0));
    }

    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// What is to be done on this occasion, which counts as one time.
    pub(crate) fn next(&mut self, occasion: Occasion) -> Option<Misbehaviour> {
        let (misbehaviour, times) = self.0.as_mut()?;
        if misbehaviour.acts_on() != occasion {
            return None;
        }
        let misbehaviour = misbehaviour.clone();
        if let Some(times) = times {
            *times -= 1;
            if *times == 0 {
                self.clear();
            }
        }
        Some(misbehaviour)
    }
}
