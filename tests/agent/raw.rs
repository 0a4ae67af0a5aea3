//! An agent that sends raw bytes: data that no HTTP/2 library sends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

pub(crate) const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
/// `ACK` of settings and pings.
pub(crate) const ACK: u8 = 1;
/// `END_HEADERS`
pub(crate) const COMPLETE: u8 = 4;
/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// One frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [.., high, middle, low] = payload.len().to_be_bytes();
    [&[high, middle, low, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// What both sides begin with.
pub(crate) fn greeting() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat()
}

/// A stream that holds one message and has ended in order.
pub(crate) fn answer(message: &[u8]) -> Vec<u8> {
    answer_of_type("application/grpc", &dev_agent::framed(message))
}

/// What a proxy says of an agent that is not there yet: by HTTP alone, though as gRPC. `status` is the head's first byte, of the
/// static table (RFC 7541, appendix A).
pub(crate) fn refusal(status: &[u8]) -> Vec<u8> {
    let kind = "application/grpc";
    let name = "content-type";
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let head = [status, &[0], &text(name), &text(kind)].concat();
    frame(HEADERS, COMPLETE | 1, 1, &head)
}

/// A stream of that type that holds these bytes and has ended in order.
pub(crate) fn answer_of_type(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let field = |name: &str, value: &str| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let head = [vec![0x88], field("content-type", kind)].concat();
    let trailers = field("grpc-status", "0");
    [
        frame(HEADERS, COMPLETE, 1, &head),
        frame(0, 0, 1, bytes),
        frame(HEADERS, COMPLETE | 1, 1, &trailers),
    ]
    .concat()
}

pub(crate) fn listen(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    // The program may run as another user.
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    listener
}

/// The next connection, once its request has come. Nothing more is read from it.
pub(crate) fn asked(listener: &UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; PREFACE]).unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).unwrap();
        if head[3] == HEADERS {
            return stream;
        }
    }
}

/// Writes without end, until the connection is closed.
pub(crate) fn flood(stream: &mut UnixStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}
