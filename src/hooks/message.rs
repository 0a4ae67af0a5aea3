//! The messages between daemon and parent about a run. Both have a fixed size, and the daemon's contains only numbers.

/// How much of a hook's output the answer contains: the last bytes.
pub const TAIL: usize = 2048;

/// The daemon asks for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Which hook.
    pub number: u8,
    /// Which run, for the answer.
    pub token: u32,
    /// Which publication it follows.
    pub generation: u64,
    /// What was published.
    pub set: SetSum,
}

/// SHA-256 of a published set: two sets with the same sum are equal for their readers.
pub type SetSum = [u8; 32];

/// The number of the hook that tells the application of `exec` about a set. The parent knows it without a table.
pub const APPLICATION: u8 = 254;

/// How a run ended. The number is an exit status, a signal, or an error of the kernel (`errno`), as the variant says; from
/// `Gone` to `Itself`, and in `Died`, it is the process ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The command ended with this status.
    Exited(i32),
    /// This signal ended the command, and the parent had not sent it.
    Killed(i32),
    /// The run took too long, and its whole process group was killed.
    TimedOut,
    /// The signal was sent.
    Delivered,
    /// No process could be started, or the command could not be executed: the kernel's error.
    NotStarted(i32),
    /// The process could not become the configured user: the kernel's error.
    NotTheUser(i32),
    /// The pid file cannot be read: the kernel's error, or 0 if it is not a regular file with one name.
    PidFileUnreadable(i32),
    /// The pid file holds no number.
    PidFileWrong,
    /// Others than its owner may write to the pid file.
    PidFileExposed,
    /// There is no such process.
    Gone(i32),
    /// The process has begun after the file was written.
    Reused(i32),
    /// The process belongs to another user than the file.
    OtherUser(i32),
    /// The process runs another program.
    OtherProgram(i32),
    /// The number is that of pgsvid itself.
    Itself(i32),
    /// The kernel has refused the signal: its error.
    SignalRefused(i32),
    /// The process ended after the signal, which should only have made it reload.
    Died(i32),
    /// An earlier run of this hook has not ended, or began too recently.
    Busy,
    /// There is no hook of this number.
    Unknown,
    /// The request could not be sent to the parent, or the parent has not answered.
    Unanswered,
    /// The application has read this set when it started, or has not started yet, or has been told to end.
    NotNeeded,
}

impl End {
    /// Whether the run was successful.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Exited(0) | Self::Delivered | Self::NotNeeded)
    }

    /// The end as a byte and a number, for a message.
    #[must_use]
    pub fn code(self) -> (u8, i32) {
        match self {
            Self::Exited(status) => (0, status),
            Self::Killed(signal) => (1, signal),
            Self::TimedOut => (2, 0),
            Self::Delivered => (3, 0),
            Self::NotStarted(error) => (4, error),
            Self::NotTheUser(error) => (5, error),
            Self::PidFileUnreadable(error) => (6, error),
            Self::PidFileWrong => (7, 0),
            Self::Gone(pid) => (8, pid),
            Self::Reused(pid) => (9, pid),
            Self::OtherUser(pid) => (10, pid),
            Self::OtherProgram(pid) => (11, pid),
            Self::Itself(pid) => (12, pid),
            Self::SignalRefused(error) => (13, error),
            Self::Died(pid) => (14, pid),
            Self::Busy => (15, 0),
            Self::Unknown => (16, 0),
            Self::Unanswered => (17, 0),
            Self::PidFileExposed => (18, 0),
            Self::NotNeeded => (19, 0),
        }
    }

    /// The end with this byte and number; `None` if there is no such byte.
    #[must_use]
    pub fn of(kind: u8, number: i32) -> Option<Self> {
        Some(match kind {
            0 => Self::Exited(number),
            1 => Self::Killed(number),
            2 => Self::TimedOut,
            3 => Self::Delivered,
            4 => Self::NotStarted(number),
            5 => Self::NotTheUser(number),
            6 => Self::PidFileUnreadable(number),
            7 => Self::PidFileWrong,
            8 => Self::Gone(number),
            9 => Self::Reused(number),
            10 => Self::OtherUser(number),
            11 => Self::OtherProgram(number),
            12 => Self::Itself(number),
            13 => Self::SignalRefused(number),
            14 => Self::Died(number),
            15 => Self::Busy,
            16 => Self::Unknown,
            17 => Self::Unanswered,
            18 => Self::PidFileExposed,
            19 => Self::NotNeeded,
            _ => return None,
        })
    }
}

/// The parent's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The token of the request.
    pub token: u32,
    /// How it ended.
    pub end: End,
    /// How long it took, in milliseconds.
    pub took: u32,
    /// The size of its whole output, in bytes.
    pub written: u32,
    /// The end of its output, [`TAIL`] bytes at most.
    pub output: Vec<u8>,
}

impl Request {
    /// Length in bytes.
    pub const LENGTH: usize = 45;

    /// The request as it is sent over the channel.
    #[must_use]
    pub fn bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = self.number;
        bytes[1..5].copy_from_slice(&self.token.to_le_bytes());
        bytes[5..13].copy_from_slice(&self.generation.to_le_bytes());
        bytes[13..].copy_from_slice(&self.set);
        bytes
    }

    /// Reads a request from the bytes of [`Self::bytes`].
    #[must_use]
    pub fn read(bytes: &[u8; Self::LENGTH]) -> Self {
        let [number, a, b, c, d, rest @ ..] = *bytes;
        let token = u32::from_le_bytes([a, b, c, d]);
        let (mut generation, mut set) = ([0; 8], [0; 32]);
        let (first, second) = rest.split_at(generation.len());
        generation.copy_from_slice(first);
        set.copy_from_slice(second);
        Self { number, token, generation: u64::from_le_bytes(generation), set }
    }
}

impl Answer {
    /// Length in bytes.
    pub const LENGTH: usize = 19 + TAIL;

    /// An answer without output.
    #[must_use]
    pub fn plain(token: u32, end: End) -> Self {
        Self { token, end, took: 0, written: 0, output: Vec::new() }
    }

    /// The answer as it is sent over the channel: [`Self::LENGTH`] bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let output = &self.output[self.output.len().saturating_sub(TAIL)..];
        let (kind, number) = self.end.code();
        let mut bytes = Vec::with_capacity(Self::LENGTH);
        bytes.extend(self.token.to_le_bytes());
        bytes.push(kind);
        bytes.extend(number.to_le_bytes());
        bytes.extend(self.took.to_le_bytes());
        bytes.extend(self.written.to_le_bytes());
        bytes.extend(u16::try_from(output.len()).unwrap_or_default().to_le_bytes());
        bytes.extend(output);
        bytes.resize(Self::LENGTH, 0);
        bytes
    }

    /// Reads an answer; `None` if the bytes are not one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let number = i32::from_le_bytes(bytes.get(5..9)?.try_into().ok()?);
        let length = u16::from_le_bytes(bytes.get(17..19)?.try_into().ok()?);
        Some(Self {
            token: word(0)?,
            end: End::of(*bytes.get(4)?, number)?,
            took: word(9)?,
            written: word(13)?,
            output: bytes.get(19..19 + usize::from(length))?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_arrive_as_they_were_sent() {
        let request =
            Request { number: 3, token: 0x0102_0304, generation: u64::MAX - 5, set: [7; 32] };
        assert_eq!(Request::read(&request.bytes()), request);
        for kind in 0..=19 {
            let end = End::of(kind, -7).unwrap();
            assert_eq!(End::of(end.code().0, end.code().1), Some(end));
            let answer = Answer { token: 9, end, took: 1, written: 2, output: b"words".to_vec() };
            assert_eq!(answer.bytes().len(), Answer::LENGTH);
            assert_eq!(Answer::read(&answer.bytes()), Some(answer));
        }
        assert_eq!(End::of(20, 0), None);
    }

    #[test]
    fn of_long_output_the_end_is_sent() {
        let output = [vec![b'a'; TAIL], b"end".to_vec()].concat();
        let answer = Answer { output, ..Answer::plain(1, End::TimedOut) };
        let read = Answer::read(&answer.bytes()).unwrap();
        assert!(read.output.len() == TAIL && read.output.ends_with(b"aend"));
    }
}
