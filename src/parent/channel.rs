//! The messages between parent and daemon, over a pair of sockets: one byte each, and the data that belongs to it. Only the table
//! of hooks has no fixed size.

use std::io;

use crate::hooks::{Answer, MOST, NoTable, Request, Table};

/// The variable that makes a process the daemon of this parent. Its value says how the previous daemon ended.
pub const VARIABLE: &str = "PGSVID_PARENT";
/// From the daemon: it has published a valid set.
pub(super) const READY: u8 = b'r';
/// From the daemon, once, before any other message: the table of hooks. From the parent, in answer to a table that is not
/// empty: the numbers of these hooks.
pub(super) const TABLE: u8 = b't';
/// From the daemon: a request to run a hook. From the parent: the result of a hook.
pub(super) const HOOK: u8 = b'h';

/// An order of the parent to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Publish, reload and verify again.
    Again,
    /// End. The second time: at once.
    End,
}

impl Order {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Again => b'a',
            Self::End => b'e',
        }
    }

    pub(super) fn of(byte: u8) -> io::Result<Self> {
        [Self::Again, Self::End]
            .into_iter()
            .find(|order| order.byte() == byte)
            .ok_or_else(|| io::Error::other("the parent has sent an unknown order"))
    }
}

/// A message of the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DaemonMessage {
    Table(Table),
    Ready,
    Hook(Request),
}

/// Bytes that no daemon sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidMessage;

impl DaemonMessage {
    /// Takes the first message from these bytes; `Ok(None)` if it is incomplete. Fails for bytes that no daemon sends.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, InvalidMessage> {
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        let (message, length) = match *kind {
            READY => (Self::Ready, 0),
            TABLE => match Table::read(rest).map_err(|NoTable| InvalidMessage)? {
                Some((table, length)) => (Self::Table(table), length),
                None => return Ok(None),
            },
            HOOK => match rest.first_chunk() {
                Some(request) => (Self::Hook(Request::read(request)), Request::LENGTH),
                None => return Ok(None),
            },
            _ => return Err(InvalidMessage),
        };
        bytes.drain(..=length);
        Ok(Some(message))
    }
}

/// The numbers of the hooks of a table, as the parent sends them.
pub(super) type HookNumbers = [u8; MOST];

/// A message of the parent while the daemon runs.
#[derive(Debug, PartialEq, Eq)]
pub enum ParentMessage {
    /// An order.
    Order(Order),
    /// The result of a hook.
    Answer(Box<Answer>),
}

impl ParentMessage {
    /// Takes the first message from these bytes; `Ok(None)` if it is incomplete.
    pub(super) fn take(bytes: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        if *kind != HOOK {
            let order = Order::of(*kind)?;
            bytes.drain(..1);
            return Ok(Some(Self::Order(order)));
        }
        let Some(answer) = rest.get(..Answer::LENGTH) else { return Ok(None) };
        let answer = Answer::read(answer)
            .ok_or_else(|| io::Error::other("the parent has sent an invalid answer to a hook"))?;
        bytes.drain(..=Answer::LENGTH);
        Ok(Some(Self::Answer(Box::new(answer))))
    }
}

/// The previous daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predecessor {
    /// How many have ended since the parent was started.
    pub restarts: u32,
    /// How it ended: an exit status, or a signal.
    pub ended: String,
}

impl Predecessor {
    /// The value of [`VARIABLE`].
    pub(super) fn variable(predecessor: Option<&Self>) -> String {
        predecessor.map_or_else(|| "0".to_owned(), |one| format!("{} {}", one.restarts, one.ended))
    }

    pub(super) fn of(variable: &str) -> Option<Self> {
        let (restarts, ended) = variable.split_once(' ')?;
        Some(Self { restarts: restarts.parse().ok()?, ended: ended.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_predecessors_arrive_as_they_were_sent() {
        for order in [Order::Again, Order::End] {
            assert_eq!(Order::of(order.byte()).unwrap(), order);
        }
        assert!(Order::of(READY).is_err());
        assert_eq!(Predecessor::of(&Predecessor::variable(None)), None);
        let one = Predecessor { restarts: 3, ended: "signal: 9 (SIGKILL)".to_owned() };
        assert_eq!(Predecessor::of(&Predecessor::variable(Some(&one))), Some(one));
    }

    #[test]
    fn messages_are_taken_one_by_one_and_only_whole() {
        let request = Request { number: 1, token: 2, generation: 3 };
        let table = Table::default();
        let sent = [&[TABLE][..], &table.bytes(), &[READY, HOOK], &request.bytes()].concat();
        let (mut bytes, mut messages) = (Vec::new(), Vec::new());
        for byte in sent {
            bytes.push(byte);
            messages.extend(DaemonMessage::take(&mut bytes).unwrap());
        }
        assert_eq!(
            messages,
            [DaemonMessage::Table(table), DaemonMessage::Ready, DaemonMessage::Hook(request)]
        );
        assert!(bytes.is_empty());
        assert_eq!(DaemonMessage::take(&mut vec![b'x']), Err(InvalidMessage));
    }

    #[test]
    fn orders_and_answers_are_taken_one_by_one() {
        let answer = Answer::plain(7, crate::hooks::End::TimedOut);
        let sent = [&[b'a', HOOK][..], &answer.bytes(), b"e"].concat();
        let (mut bytes, mut heard) = (Vec::new(), Vec::new());
        for byte in sent {
            bytes.push(byte);
            heard.extend(ParentMessage::take(&mut bytes).unwrap());
        }
        let answer = ParentMessage::Answer(Box::new(answer));
        assert_eq!(
            heard,
            [ParentMessage::Order(Order::Again), answer, ParentMessage::Order(Order::End)]
        );
        assert!(ParentMessage::take(&mut vec![b'x']).is_err());
    }
}
