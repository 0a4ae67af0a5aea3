//! The messages between parent and daemon, over a pair of sockets: one byte each, and the data that belongs to it. Only the table
//! of hooks and the settings of an application have no fixed size.

use std::io;

use super::report::Report;
use super::settings::{NoSettings, Settings};
use crate::hooks::{Answer, MOST, NoTable, Request, SetSum, Table};

/// The variable that makes a process the daemon of this parent. Its value says how the previous daemon ended.
pub const VARIABLE: &str = "PGSVID_PARENT";
/// From the daemon: it has published a valid set; the sum of that set follows.
pub(super) const READY: u8 = b'r';
/// From the daemon of `exec`, once: how to start the application. From the parent, in answer: 1 if these are the settings of the
/// first daemon, else 0.
pub(super) const APPLICATION: u8 = b'x';
/// From the parent: what has become of the application.
pub(super) const REPORT: u8 = b'y';
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
    /// Log why no set was published yet, and exit.
    GiveUp,
}

impl Order {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Again => b'a',
            Self::End => b'e',
            Self::GiveUp => b'g',
        }
    }

    pub(super) fn of(byte: u8) -> io::Result<Self> {
        [Self::Again, Self::End, Self::GiveUp]
            .into_iter()
            .find(|order| order.byte() == byte)
            .ok_or_else(|| io::Error::other("the parent has sent an unknown order"))
    }
}

/// A message of the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DaemonMessage {
    Table(Table),
    Application(Settings),
    Ready(SetSum),
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
            READY => match rest.first_chunk::<32>() {
                Some(set) => (Self::Ready(*set), set.len()),
                None => return Ok(None),
            },
            APPLICATION => match Settings::read(rest).map_err(|NoSettings| InvalidMessage)? {
                Some((settings, length)) => (Self::Application(settings), length),
                None => return Ok(None),
            },
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
    /// What has become of the application.
    Report(Report),
}

impl ParentMessage {
    /// Takes the first message from these bytes; `Ok(None)` if it is incomplete.
    pub(super) fn take(bytes: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
        if *kind == REPORT {
            let Some(report) = rest.first_chunk() else { return Ok(None) };
            let report = Report::read(*report)
                .ok_or_else(|| io::Error::other("the parent has sent an invalid report"))?;
            bytes.drain(..=Report::LENGTH);
            return Ok(Some(Self::Report(report)));
        }
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
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;
    use std::time::Duration;

    use rustix::process::Pid;

    use super::super::settings::OnRotation;
    use super::*;

    #[test]
    fn orders_and_predecessors_arrive_as_they_were_sent() {
        for order in [Order::Again, Order::End, Order::GiveUp] {
            assert_eq!(Order::of(order.byte()).unwrap(), order);
        }
        assert!(Order::of(READY).is_err());
        assert_eq!(Predecessor::of(&Predecessor::variable(None)), None);
        let one = Predecessor { restarts: 3, ended: "signal: 9 (SIGKILL)".to_owned() };
        assert_eq!(Predecessor::of(&Predecessor::variable(Some(&one))), Some(one));
    }

    #[test]
    fn messages_are_taken_one_by_one_and_only_whole() {
        let request = Request { number: 1, token: 2, generation: 3, set: [4; 32] };
        let table = Table::default();
        let settings = Settings {
            begins: 3,
            timeout: Duration::from_secs(60),
            on_rotation: OnRotation::Restart,
            grace: Duration::from_secs(10),
            environment: vec![("PGSERVICE".to_owned(), Some("products".into()))],
        };
        let sent = [
            &[TABLE][..],
            &table.bytes(),
            &[READY],
            &[6; 32],
            &[APPLICATION],
            &settings.bytes(),
            &[HOOK],
            &request.bytes(),
        ]
        .concat();
        let (mut bytes, mut messages) = (Vec::new(), Vec::new());
        for byte in sent {
            bytes.push(byte);
            messages.extend(DaemonMessage::take(&mut bytes).unwrap());
        }
        assert_eq!(
            messages,
            [
                DaemonMessage::Table(table),
                DaemonMessage::Ready([6; 32]),
                DaemonMessage::Application(settings),
                DaemonMessage::Hook(request)
            ]
        );
        assert!(bytes.is_empty());
        assert_eq!(DaemonMessage::take(&mut vec![b'?']), Err(InvalidMessage));
    }

    #[test]
    fn orders_and_answers_are_taken_one_by_one() {
        let answer = Answer::plain(7, crate::hooks::End::TimedOut);
        let reports = [
            Report::Started(Pid::from_raw(7).unwrap()),
            Report::NotStarted(11),
            Report::Ended(ExitStatus::from_raw(9)),
        ];
        let reported = reports.map(|report| [&[REPORT][..], &report.bytes()].concat()).concat();
        let sent = [&[b'a', HOOK][..], &answer.bytes(), &reported, b"e"].concat();
        let (mut bytes, mut heard) = (Vec::new(), Vec::new());
        for byte in sent {
            bytes.push(byte);
            heard.extend(ParentMessage::take(&mut bytes).unwrap());
        }
        let answer = ParentMessage::Answer(Box::new(answer));
        let [started, not_started, ended] = reports.map(ParentMessage::Report);
        let (first, last) = (ParentMessage::Order(Order::Again), ParentMessage::Order(Order::End));
        assert_eq!(heard, [first, answer, started, not_started, ended, last]);
        assert!(ParentMessage::take(&mut vec![REPORT, 9, 0, 0, 0, 0]).is_err());
        assert!(ParentMessage::take(&mut vec![b'x']).is_err());
    }
}
