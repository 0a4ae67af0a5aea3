//! A limit on header frames: HTTP/2 lets a server send any number of interim answers (`103`), and h2 keeps them all until
//! they are read.
//!
//! It parses the frames that are read, and changes none of their bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Size of a frame header: length, type, flags, stream (RFC 9113, section 4.1).
const HEAD: usize = 9;
/// `HEADERS`, `PUSH_PROMISE` and `CONTINUATION`.
const FIELDS: [u8; 3] = [1, 5, 9];
/// Most header frames on a connection. There is one call: its answer has headers and trailers, and each may continue in
/// further frames.
const MOST_FIELDS: usize = 16;

/// A connection that fails when its agent sends more header frames than one call needs.
pub(super) struct FewFields<S> {
    stream: S,
    place: FramePosition,
}

impl<S> FewFields<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, place: FramePosition::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FewFields<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.place.follow(&buffer.filled()[before..]);
        if this.place.fields > MOST_FIELDS {
            return Poll::Ready(Err(io::Error::other("too many header frames")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FewFields<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// The position of the received bytes in the sequence of frames.
#[derive(Default)]
struct FramePosition {
    head: [u8; HEAD],
    /// How much of the frame header has arrived, in bytes.
    have: usize,
    /// How many bytes of the frame have not arrived yet.
    left: usize,
    /// How many header frames have begun.
    fields: usize,
}

impl FramePosition {
    fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.have < HEAD {
                let part = bytes.len().min(HEAD - self.have);
                self.head[self.have..self.have + part].copy_from_slice(&bytes[..part]);
                self.have += part;
                bytes = &bytes[part..];
                if self.have == HEAD {
                    self.begin();
                }
            } else {
                let part = bytes.len().min(self.left);
                self.left -= part;
                bytes = &bytes[part..];
            }
            if self.have == HEAD && self.left == 0 {
                self.have = 0;
            }
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, ..] = self.head;
        self.left = [high, middle, low].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if FIELDS.contains(&kind) {
            self.fields = self.fields.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[high, middle, low, kind, 4, 0, 0, 0, 1], payload].concat()
    }

    #[tokio::test]
    async fn a14_fields_without_an_end_break_the_connection() {
        for kind in FIELDS {
            let (mut agent, stream) = duplex(1 << 20);
            let mut reader = FewFields::new(stream);
            let mut buffer = [0; HEAD + 3];
            agent.write_all(&frame(kind, &[1; 3]).repeat(MOST_FIELDS + 1)).await.unwrap();
            for _ in 0..MOST_FIELDS {
                reader.read_exact(&mut buffer).await.unwrap();
            }
            assert!(reader.read(&mut buffer).await.is_err(), "kind {kind}");
        }
    }

    #[tokio::test]
    async fn data_of_any_amount_in_pieces_of_any_size_are_handed_on() {
        // Data that look like the start of header frames.
        let data = [frame(0, &frame(1, &[]).repeat(100)), frame(6, &[1; 8])].concat().repeat(20);
        for size in [1, 2, 8, 9, 10, 100, data.len()] {
            let (mut agent, stream) = duplex(1 << 20);
            let mut reader = FewFields::new(stream);
            for piece in data.chunks(size) {
                agent.write_all(piece).await.unwrap();
                let mut read = vec![0; piece.len()];
                reader.read_exact(&mut read).await.unwrap();
                assert_eq!(read, piece, "in pieces of {size}");
            }
        }
    }
}
