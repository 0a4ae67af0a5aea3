//! The blocks of a PEM text, as OpenSSL finds them (`crypto/pem/pem_lib.c` of 3.0: `PEM_read_bio`, `get_name`,
//! `get_header_and_data`). PostgreSQL and libpq use this parser. It skips some text around the blocks that other readers do
//! not skip.

use core::ffi::c_char;

use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const TAIL: &[u8] = b"-----";
/// How many bytes of a line OpenSSL reads at a time. It treats each part as a line.
const PART: usize = 254;
/// Longest line of data after a header, in bytes. Only the last line may be shorter.
const DATA: usize = 64;

/// One block.
pub(crate) struct Block {
    /// The label after BEGIN.
    pub(crate) label: Vec<u8>,
    pub(crate) header: Header,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// Lines before the data (RFC 1421).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    None,
    /// `Proc-Type: 4,ENCRYPTED`
    Encrypted,
    /// A header that OpenSSL does not know. It refuses the block, unless it ignores the block's label.
    Other,
}

/// What a text holds, in order.
pub(crate) enum Found {
    Block(Block),
    /// OpenSSL reads nothing from here on, and loads no chain or key from the file.
    Broken(Vec<u8>),
    /// Something that looks like the beginning of a block with this label, but that OpenSSL skips: it is not at the start of
    /// its line, or not alone on it.
    PassedOver {
        label: Vec<u8>,
        /// Whether a `#` stands before it, as in front of a block that was commented out.
        commented: bool,
    },
}

/// Everything in the text, including what follows a broken block.
pub(crate) fn blocks(text: &[u8]) -> impl Iterator<Item = Found> {
    let mut lines = Lines { rest: text, partial: false };
    // A byte order mark is skipped where the search for a block begins, which may be within concatenated files.
    let mut begins = true;
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            let line = if std::mem::take(&mut begins) {
                line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
            } else {
                line
            };
            let Some(at) = find(line, BEGIN) else { continue };
            let end = line.strip_suffix(TAIL).filter(|end| end.len() >= BEGIN.len());
            return Some(match end {
                Some(begin) if at == 0 => {
                    begins = true;
                    read(&begin[BEGIN.len()..], &mut lines)
                }
                _ => Found::PassedOver {
                    label: label(&line[at + BEGIN.len()..]),
                    commented: line[..at].trim_ascii_start().starts_with(b"#"),
                },
            });
        }
    })
}

/// The label that a BEGIN line means.
fn label(text: &[u8]) -> Vec<u8> {
    text.split(|byte| matches!(byte, b'-' | b'\\')).next().unwrap_or_default().to_vec()
}

/// The label of a block, for a message.
pub(crate) fn escaped(label: &[u8]) -> String {
    let label = String::from_utf8_lossy(&label[..label.len().min(40)]).into_owned();
    label.escape_debug().to_string()
}

fn find(line: &[u8], wanted: &[u8]) -> Option<usize> {
    line.windows(wanted.len()).position(|window| window == wanted)
}

fn read(label: &[u8], lines: &mut Lines<'_>) -> Found {
    data(label, lines).map_or_else(|| Found::Broken(label.to_vec()), Found::Block)
}

/// The block whose data begins on the next line; `None` if it has no correct END line.
fn data(label: &[u8], lines: &mut Lines<'_>) -> Option<Block> {
    let mut before = Zeroizing::new(Vec::new());
    // Lines after an empty one.
    let mut behind: Option<Zeroizing<Vec<u8>>> = None;
    let (mut short, mut colon) = (false, false);
    loop {
        let line = lines.next()?;
        if line.is_empty() {
            if behind.is_some() {
                return None;
            }
            behind = Some(Zeroizing::default());
            continue;
        }
        if let Some(end) = line.strip_prefix(END) {
            if end.strip_suffix(TAIL) != Some(label) {
                return None;
            }
            break;
        }
        if short {
            return None;
        }
        let Some(data) = &mut behind else {
            // This line belongs to a header; the data follows.
            colon |= line.contains(&b':');
            append(&mut before, line);
            continue;
        };
        append(data, line);
        if line.len() > DATA {
            return None;
        }
        short = line.len() < DATA;
    }
    let (header, data) = match behind {
        None if colon => return None,
        None => (Header::None, before),
        Some(data) if before.is_empty() => (Header::None, data),
        Some(data) if before.starts_with(b"Proc-Type: 4,ENCRYPTED") => (Header::Encrypted, data),
        Some(data) => (Header::Other, data),
    };
    let bytes = decode(&data).filter(|bytes| !bytes.is_empty())?;
    Some(Block { label: label.to_vec(), header, bytes })
}

/// Appends a line. If the buffer is too small, a larger one replaces it, and the old one is zeroed.
fn append(to: &mut Zeroizing<Vec<u8>>, line: &[u8]) {
    if to.capacity() - to.len() <= line.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * to.capacity() + 2 * PART));
        larger.extend_from_slice(to);
        *to = larger;
    }
    to.extend_from_slice(line);
    to.push(b'\n');
}

/// Decodes base64 as `EVP_DecodeUpdate` does: blanks are ignored, and a dash ends it.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3 + 3));
    let (mut bits, mut digits, mut padding) = (0_u32, 0_u32, 0_usize);
    for byte in text {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => 0,
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'-' => break,
            _ => return None,
        };
        padding += usize::from(*byte == b'=');
        if padding > 2 || (padding > 0 && *byte != b'=') {
            return None;
        }
        bits = bits << 6 | u32::from(digit);
        digits += 1;
        if digits == 4 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            (bits, digits) = (0, 0);
        }
    }
    if digits != 0 {
        return None;
    }
    let length = bytes.len().checked_sub(padding)?;
    bytes.truncate(length);
    Some(bytes)
}

/// Lines as `BIO_gets` and `sanitize_line` return them: without trailing blanks.
struct Lines<'a> {
    rest: &'a [u8],
    /// The line before was read in parts, so only its end may be left.
    partial: bool,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let within = &self.rest[..self.rest.len().min(PART)];
            let end = within.iter().position(|byte| *byte == b'\n');
            let (line, rest) = self.rest.split_at(end.map_or(within.len(), |end| end + 1));
            // A string of C ends at a NUL byte.
            let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
            if line.is_empty() {
                return None;
            }
            self.rest = rest;
            let was_partial = std::mem::replace(&mut self.partial, end.is_none());
            let line = trimmed(line);
            if !(was_partial && line.is_empty()) {
                return Some(line);
            }
        }
    }
}

/// OpenSSL removes each `char` up to a blank. Where `char` is signed, bytes from 0x80 on are negative, and removed, too.
fn trimmed(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte <= b' ' || (c_char::MIN != 0 && *byte >= 0x80);
    let end = line.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
    &line[..end]
}
