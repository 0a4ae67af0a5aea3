//! Reads an input as choices, and as edits of something valid.

/// Largest result of an edit, in bytes: enough for every limit that is to be met, and little enough to stay quick.
const LARGEST: usize = 80 * 1024;

/// What is left of an input. Past its end every choice is zero.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Whether the next byte is odd: 1 and `1` are yes, 0 and `0` are no.
    pub fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// As many bytes as the next one says, or as there are.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    pub fn edit(&mut self) -> Edit<'a> {
        let (kind, at) = (self.byte() % 9, self.number());
        let wants_bytes = matches!(kind, 1 | 2 | 7);
        let payload = if wants_bytes { self.bytes() } else { &[] };
        let wants_number = !matches!(kind, 1 | 2 | 4);
        Edit { kind, at, number: if wants_number { self.number() } else { 0 }, payload }
    }
}

/// One change of a sequence of bytes.
pub struct Edit<'a> {
    kind: u8,
    /// Where, modulo what there is.
    pub at: usize,
    /// A byte, a length, a place or a count, as the kind has it.
    pub number: usize,
    payload: &'a [u8],
}

impl Edit<'_> {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let at = self.at % (length + 1);
        match self.kind {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= u8::try_from(self.number & 0xff).unwrap_or(1).max(1);
                }
            }
            1 => {
                let end = (at + self.payload.len()).min(length);
                bytes.splice(at..end, self.payload.iter().copied());
            }
            2 => insert(bytes, at, self.payload),
            3 => {
                let end = (at + self.number % 64 + 1).min(length);
                bytes.drain(at..end);
            }
            4 => bytes.truncate(at),
            5 => {
                let from = self.number % (length + 1);
                let piece = bytes[from..(from + 64).min(length)].to_vec();
                insert(bytes, at, &piece);
            }
            // A length octet of DER, most likely.
            6 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte
                        .wrapping_add(u8::try_from(self.number % 5).unwrap_or(0))
                        .wrapping_sub(2);
                }
            }
            7 => insert(bytes, at, &self.payload.repeat(self.number.max(1))),
            _ => {
                let whole = bytes.repeat(self.number % 40 + 1);
                insert(bytes, length, &whole);
            }
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let room = LARGEST.saturating_sub(bytes.len());
    let piece = &piece[..piece.len().min(room)];
    bytes.splice(at..at, piece.iter().copied());
}
