//! Zeroes for the buffer that HTTP/2's frames are read into: it lives as long as the connection, and would keep the keys
//! of several messages until later ones overwrite them.
//!
//! The buffer is h2's, and out of reach. But what it is filled with is ours: whenever the agent has said something and
//! falls silent, frames of a type that nobody knows follow, full of zeros. Such frames are passed over (RFC 9113, section
//! 5.5), and take the keys' place. They come from this process; no byte of them is sent.
//!
//! `tests/intruder/memory.rs` shows that no key is left.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Before each frame: length, type, flags, stream (RFC 9113, section 4.1).
const HEAD: usize = 9;
/// `DATA`: the only frames that hold messages.
const DATA: u8 = 0;
/// `HEADERS`, `PUSH_PROMISE` and `CONTINUATION`: no other frame may come before a flag says that the fields are complete.
const FIELDS: [u8; 3] = [1, 5, 9];
/// Most frames of fields on a connection. There is one call: its answer has a head and an end, and each may go on in
/// further frames. Interim answers (`103`) may come in any number, and h2 keeps them all until somebody asks for them.
const MOST_FIELDS: usize = 16;
/// `END_HEADERS`
const COMPLETE: u8 = 4;
/// A type for experiments (RFC 7540, section 11.2).
const UNKNOWN: u8 = 0xf5;
/// As much as a frame may have unless more was agreed upon (RFC 9113, section 4.2).
const LENGTH: usize = 16_384;
/// One to reach the buffer's end, or to make it grow, and one to be laid over its beginning.
const FRAMES: usize = 2;
/// The head of a frame of zeros.
const BEFORE_ZEROS: [u8; HEAD] = {
    let [.., high, middle, low] = LENGTH.to_be_bytes();
    [high, middle, low, UNKNOWN, 0, 0, 0, 0, 0]
};
/// A frame of zeros, in bytes.
const FRAME: usize = HEAD + LENGTH;
/// All that is given at a time.
const GIFT: usize = FRAMES * FRAME;

/// A connection whose reader is given zeros when the agent has nothing more to say.
pub(super) struct Wiping<S> {
    stream: S,
    place: Place,
    /// A message was read since the last zeros.
    dirty: bool,
    /// How much of the frames of zeros was given.
    given: usize,
}

impl<S> Wiping<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, place: Place::default(), dirty: false, given: GIFT }
    }

    /// As many zeros as there is room for.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let at = self.given % FRAME;
        let head = BEFORE_ZEROS.get(at..).unwrap_or_default();
        let head = &head[..head.len().min(buffer.remaining())];
        buffer.put_slice(head);
        let zeros = (FRAME - at - head.len()).min(buffer.remaining());
        buffer.initialize_unfilled_to(zeros).fill(0);
        buffer.advance(zeros);
        self.given += head.len() + zeros;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wiping<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Nothing given is an end to whoever reads.
        let room = buffer.remaining() > 0;
        if room && this.given < GIFT {
            this.give(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.dirty |= this.place.follow(&buffer.filled()[before..]);
        if this.place.fields > MOST_FIELDS {
            return Poll::Ready(Err(io::Error::other("too many frames of headers")));
        }
        if room && polled.is_pending() && this.dirty && this.place.is_between_frames() {
            (this.dirty, this.given) = (false, 0);
            this.give(buffer);
            return Poll::Ready(Ok(()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wiping<S> {
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

/// Where in the succession of frames the agent's bytes have ended.
#[derive(Default)]
struct Place {
    head: [u8; HEAD],
    /// How much of the head is there.
    have: usize,
    /// What is to come of the frame.
    left: usize,
    /// Further frames of fields must follow.
    in_fields: bool,
    /// How many frames of fields have begun.
    fields: usize,
}

impl Place {
    /// Goes on by these bytes; says whether data were among them.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        let mut data = false;
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
                data |= self.head[3] == DATA;
                let part = bytes.len().min(self.left);
                self.left -= part;
                bytes = &bytes[part..];
            }
            if self.have == HEAD && self.left == 0 {
                self.have = 0;
            }
        }
        data
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.left = [high, middle, low].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if FIELDS.contains(&kind) {
            self.in_fields = flags & COMPLETE == 0;
            self.fields = self.fields.saturating_add(1);
        }
    }

    /// Whether a frame of another kind may come next.
    fn is_between_frames(&self) -> bool {
        self.have == 0 && !self.in_fields
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::task::unconstrained;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[high, middle, low, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// All that is given at a time, of the connection rather than of a stream.
    fn zeros() -> Vec<u8> {
        let mut frame = frame(UNKNOWN, 0, &[0; LENGTH]);
        frame[HEAD - 1] = 0;
        frame.repeat(FRAMES)
    }

    /// What a reader sees of these pieces, when it has read all that it can get after each.
    async fn read(pieces: &[&[u8]], room: usize) -> Vec<u8> {
        let (mut agent, stream) = duplex(1 << 20);
        let mut reader = Wiping::new(stream);
        let mut seen = Vec::new();
        for piece in pieces {
            agent.write_all(piece).await.unwrap();
            let mut buffer = vec![0; room];
            // Whatever is there is given at once.
            while let Some(read) = futures_util::FutureExt::now_or_never(reader.read(&mut buffer)) {
                seen.extend_from_slice(&buffer[..read.unwrap()]);
            }
        }
        seen
    }

    #[tokio::test]
    async fn zeros_follow_data_when_nothing_else_does() {
        let data = frame(DATA, 0, &[7; 1000]);
        let zeros = zeros();
        for room in [1, 10, 8192, 100_000] {
            // tokio's pipes pretend to be empty now and then, so that others have their turn.
            let seen = unconstrained(read(&[&frame(4, 0, &[0; 6]), &data, &data], room)).await;
            let wanted =
                [frame(4, 0, &[0; 6]), data.clone(), zeros.clone(), data.clone(), zeros.clone()];
            assert!(seen == wanted.concat(), "with room for {room}");
        }
    }

    #[tokio::test]
    async fn zeros_never_come_within_a_frame_or_between_fields() {
        let data = frame(DATA, 0, &[7; 3]);
        let zeros = zeros();
        for cut in 1..data.len() {
            let seen = read(&[&data[..cut], &data[cut..]], 4096).await;
            assert!(seen == [&data[..], &zeros].concat(), "cut at {cut}");
        }
        // Incomplete fields after the data: the zeros wait for what completes them.
        let (begun, completed) = (frame(1, 0, &[1; 20]), frame(9, COMPLETE, &[2; 20]));
        let seen = read(&[&[&data[..], &begun].concat(), &completed], 4096).await;
        assert!(seen == [&data[..], &begun, &completed, &zeros].concat());
        // Nothing secret was read.
        let ping = frame(6, 0, &[0; 8]);
        assert!(
            read(&[&ping, &frame(DATA, 1, &[])], 4096).await
                == [ping, frame(DATA, 1, &[])].concat()
        );
    }

    #[tokio::test]
    async fn a14_fields_without_an_end_break_the_connection() {
        for kind in FIELDS {
            let (mut agent, stream) = duplex(1 << 20);
            let mut reader = Wiping::new(stream);
            let mut buffer = [0; 9 + 3];
            let fields = frame(kind, COMPLETE, &[1; 3]);
            agent.write_all(&fields.repeat(MOST_FIELDS + 1)).await.unwrap();
            for _ in 0..MOST_FIELDS {
                reader.read_exact(&mut buffer).await.unwrap();
            }
            assert!(reader.read(&mut buffer).await.is_err(), "kind {kind}");
        }
    }

    #[tokio::test]
    async fn the_end_is_handed_on_and_so_is_what_is_written() {
        let (mut agent, stream) = duplex(64);
        let mut ours = Wiping::new(stream);
        ours.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        agent.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        drop(agent);
        assert_eq!(ours.read(&mut heard).await.unwrap(), 0);
    }
}
