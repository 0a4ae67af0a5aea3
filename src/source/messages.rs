//! The messages of one call, read by ourselves: tonic's reader keeps what it has read in a buffer until something else
//! overwrites it, and messages hold keys.
//!
//! gRPC over HTTP/2: five bytes before each message, a compression flag and a length (gRPC, `PROTOCOL-HTTP2.md`).

use http_body_util::BodyExt as _;
use tokio_util::sync::DropGuard;
use tonic::body::Body;
use tonic::codegen::{Bytes, http};
use tonic::{Code, Status};
use zeroize::Zeroizing;

use super::error::{Contact, Error};
use super::{Endpoint, limits};

/// What precedes each message: the flag and the length.
const PREFIX: usize = 5;

/// The messages, in order, as bytes. Waiting for one may be given up without loss.
pub(super) struct Messages {
    endpoint: Endpoint,
    contact: Contact,
    body: Body,
    /// What has arrived and belongs to no message yet.
    rest: Bytes,
    reading: Reading,
    /// What reads from the connection goes on as long as somebody wants the messages.
    _tasks: DropGuard,
}

/// The message that is being read.
enum Reading {
    Prefix(Vec<u8>),
    /// So many bytes are wanted, and room for them is there: a buffer that grew would leave copies of a key behind.
    Message(usize, Zeroizing<Vec<u8>>),
}

impl Messages {
    /// The messages that follow a response's head; fails if the agent has refused in it.
    pub(super) fn of(
        response: http::Response<Body>,
        endpoint: &Endpoint,
        tasks: DropGuard,
    ) -> Result<Self, Error> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            ended(&status, endpoint, Contact::First)?;
        } else if response.status() != http::StatusCode::OK || !is_grpc(response.headers()) {
            return Err(Error::NotGrpc(endpoint.to_string()));
        }
        Ok(Self {
            endpoint: endpoint.clone(),
            contact: Contact::First,
            body: response.into_body(),
            rest: Bytes::new(),
            reading: Reading::Prefix(Vec::with_capacity(PREFIX)),
            _tasks: tasks,
        })
    }

    /// The next message; `None` if the agent has ended the stream in order.
    pub(super) async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        loop {
            if let Some(message) = self.reading.feed(&mut self.rest)? {
                self.contact = Contact::Served;
                return Ok(Some(message));
            }
            // Whatever was read is in our own buffer now.
            self.rest = Bytes::new();
            let Some(frame) = self.body.frame().await else {
                return self.reading.end().map(|()| None);
            };
            match frame
                .map_err(|status| Error::of(&status, &self.endpoint, self.contact))?
                .into_data()
            {
                Ok(data) => self.rest = data,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    if let Some(status) = Status::from_header_map(&trailers) {
                        ended(&status, &self.endpoint, self.contact)?;
                    }
                }
            }
        }
    }
}

/// Whether the answer is one of gRPC (`PROTOCOL-HTTP2.md`, "Content-Type"), and not a web server's page.
fn is_grpc(headers: &http::HeaderMap) -> bool {
    let kind =
        headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    match kind.strip_prefix(b"application/grpc") {
        Some(more) => more.first().is_none_or(|next| b"+;".contains(next)),
        None => false,
    }
}

fn ended(status: &Status, endpoint: &Endpoint, contact: Contact) -> Result<(), Error> {
    if status.code() == Code::Ok { Ok(()) } else { Err(Error::of(status, endpoint, contact)) }
}

impl Reading {
    /// Takes what it needs of the bytes; gives a message if it is complete by then.
    fn feed(&mut self, bytes: &mut Bytes) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        loop {
            let (wanted, buffer): (_, &mut Vec<u8>) = match self {
                Self::Prefix(prefix) => (PREFIX, prefix),
                Self::Message(length, message) => (*length, message),
            };
            let part = bytes.split_to(bytes.len().min(wanted - buffer.len()));
            buffer.extend_from_slice(&part);
            if buffer.len() < wanted {
                return Ok(None);
            }
            match self {
                Self::Prefix(prefix) => {
                    let length = length(prefix)?;
                    *self = Self::Message(length, Zeroizing::new(Vec::with_capacity(length)));
                }
                Self::Message(_, message) => {
                    let message = std::mem::take(message);
                    *self = Self::Prefix(Vec::with_capacity(PREFIX));
                    return Ok(Some(message));
                }
            }
        }
    }

    /// Whether the end may come here.
    fn end(&self) -> Result<(), Error> {
        match self {
            Self::Prefix(prefix) if prefix.is_empty() => Ok(()),
            _ => Err(Error::Malformed),
        }
    }
}

/// The length that a prefix announces.
fn length(prefix: &[u8]) -> Result<usize, Error> {
    // We have not offered to take compressed messages.
    let [0, length @ ..] = prefix else { return Err(Error::Malformed) };
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if length > limits::MESSAGE { Err(Error::TooLarge) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(byte: u8, size: usize) -> Vec<u8> {
        let message = vec![byte; size];
        [&[0], &u32::try_from(size).unwrap().to_be_bytes()[..], &message].concat()
    }

    #[test]
    fn messages_are_put_together_from_pieces_of_any_size() {
        let all = [framed(1, 300), vec![0; 5], framed(2, 70_000), framed(3, 1)].concat();
        for size in [1, 2, 3, 5, 7, 100, 4096, all.len()] {
            let mut reading = Reading::Prefix(Vec::new());
            let mut sizes = Vec::new();
            for piece in all.chunks(size) {
                let mut bytes = Bytes::copy_from_slice(piece);
                while let Some(message) = reading.feed(&mut bytes).unwrap() {
                    assert!(message.iter().all(|byte| *byte == message[0]));
                    sizes.push(message.len());
                }
                assert!(bytes.is_empty());
            }
            assert_eq!(sizes, [300, 0, 70_000, 1], "in pieces of {size}");
            assert!(reading.end().is_ok());
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let mut reading = Reading::Prefix(Vec::new());
        // Five MiB are announced, and none of them is waited for.
        let too_large = reading.feed(&mut Bytes::from_static(&[0, 0, 80, 0, 0]));
        assert!(matches!(too_large, Err(Error::TooLarge)));
        let malformed = Reading::Prefix(Vec::new()).feed(&mut Bytes::from_static(&[1, 0, 0, 0, 0]));
        assert!(matches!(malformed, Err(Error::Malformed)));
        for bytes in [&[0][..], &[0, 0, 0, 0, 2, 1]] {
            let mut reading = Reading::Prefix(Vec::new());
            assert!(reading.feed(&mut Bytes::copy_from_slice(bytes)).unwrap().is_none());
            assert!(reading.end().is_err(), "cut off: {bytes:?}");
        }
    }
}
