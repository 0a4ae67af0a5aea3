//! The start-up message and the server's answer (PostgreSQL: "Frontend/Backend Protocol", "Start-up").

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::verify::alert;
use pgsvid_base::text::shown;

/// Version 3.0.
const VERSION: [u8; 4] = [0, 3, 0, 0];
/// The end of a session.
const TERMINATE: [u8; 5] = [b'X', 0, 0, 0, 4];
/// The highest number of a process on Linux (`PID_MAX_LIMIT`); other systems have lower ones.
const MOST_PROCESSES: u32 = 4 * 1024 * 1024;
/// Longest message in bytes, and most messages that are read. A server that sends more is not trusted to be PostgreSQL.
const LONGEST: u32 = 64 * 1024;
pub(super) const MOST: usize = 200;

/// The server's answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// The login succeeded.
    Welcome(Session),
    /// It asks for a password, too.
    Password,
    /// It asks for something else, such as GSSAPI.
    OtherMethod,
    /// It refuses.
    Refused(Refusal),
    /// It sends more than PostgreSQL would.
    TooMuch,
}

/// What the server has reported of a new session (`ParameterStatus`); `None` if it has not. PostgreSQL reports both from 14 on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Session {
    /// Whether the server is a standby.
    pub in_hot_standby: Option<bool>,
    /// Whether transactions are read-only by default.
    pub read_only: Option<bool>,
    /// Whether a server process of PostgreSQL can have the number that the session has (`BackendKeyData`). Poolers such as
    /// PgBouncer send random bytes: of 1,000 one is taken for a process.
    pub is_process: bool,
    /// Whether the server has asked for a certificate.
    pub certificate_asked: bool,
}

/// A server's refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE
    pub code: String,
    /// Its message, shortened and escaped.
    pub text: String,
    /// The function of PostgreSQL that refused, which no language changes; empty from PgBouncer.
    pub routine: String,
}

/// Sends the start-up message with these parameters, and reads the answer.
pub(super) async fn enter<'a>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> io::Result<Answer> {
    // A server that has refused the certificate has closed the connection by now. Its alert can still be read.
    let sent = send(stream, parameters).await;
    let answer = answer(stream).await;
    match (sent, answer) {
        (Err(error), Err(other)) if alert(&other).is_none() => Err(error),
        (_, answer) => answer,
    }
}

/// Closes a session. The login has succeeded, whatever becomes of the farewell.
pub(super) async fn leave(mut stream: impl AsyncWrite + Unpin) {
    drop(stream.write_all(&TERMINATE).await);
    drop(stream.shutdown().await);
}

async fn send<'a>(
    stream: &mut (impl AsyncWrite + Unpin),
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> io::Result<()> {
    let mut packet = VERSION.to_vec();
    for text in parameters.into_iter().flat_map(|(name, value)| [name, value]) {
        if text.contains('\0') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        packet.extend(text.as_bytes());
        packet.push(0);
    }
    packet.push(0);
    let length = u32::try_from(packet.len() + 4).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &packet].concat()).await?;
    stream.flush().await
}

/// The next message: its kind and its body; `None` if it is longer than any of PostgreSQL's should be.
pub(super) async fn message(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(u8, Vec<u8>)>> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    if !(4..LONGEST).contains(&length) {
        return Ok(None);
    }
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok(Some((kind, body)))
}

async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut session = Session::default();
    for _ in 0..MOST {
        let Some((kind, body)) = message(stream).await? else { return Ok(Answer::TooMuch) };
        match kind {
            // The first number is the requested method; 0 means none. 3, 5 and 10 ask for a password: in clear, md5, SASL.
            b'R' => match body.get(..4) {
                Some([0, 0, 0, 0]) => {}
                Some([0, 0, 0, 3 | 5]) => return Ok(Answer::Password),
                Some([0, 0, 0, 10]) if body.get(4..).is_some_and(is_scram) => {
                    return Ok(Answer::Password);
                }
                _ => return Ok(Answer::OtherMethod),
            },
            b'S' => session.note(&body),
            b'K' => {
                let process = body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                session.is_process = process.is_some_and(|it| (1..=MOST_PROCESSES).contains(&it));
            }
            b'E' => return Ok(Answer::Refused(refused(&body))),
            b'Z' => return Ok(Answer::Welcome(session)),
            _ => {}
        }
    }
    Ok(Answer::TooMuch)
}

/// Whether the first of these SASL mechanisms is one for passwords. PostgreSQL 18 has OAUTHBEARER, too.
fn is_scram(mechanisms: &[u8]) -> bool {
    mechanisms.starts_with(b"SCRAM-")
}

impl Session {
    /// Records a parameter that matters.
    fn note(&mut self, body: &[u8]) {
        let mut parts = body.split(|byte| *byte == 0);
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return };
        let value = Some(value == b"on");
        match name {
            b"in_hot_standby" => self.in_hot_standby = value,
            b"default_transaction_read_only" => self.read_only = value,
            _ => {}
        }
    }
}

/// The relevant fields of an error: C is the SQLSTATE, M the message, R the routine.
pub(super) fn refused(body: &[u8]) -> Refusal {
    let field = |kind: u8| {
        let fields = body.split(|byte| *byte == 0);
        let found =
            fields.filter_map(|field| field.split_first()).find(|(first, _)| **first == kind);
        shown(&String::from_utf8_lossy(found.map_or(&[][..], |(_, text)| text)))
    };
    Refusal { code: field(b'C'), text: field(b'M'), routine: field(b'R') }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::login) fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    async fn answered(words: &[&[u8]]) -> (io::Result<Answer>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(&words.concat()).await.unwrap();
        let answer = enter(&mut ours, [("user", "app"), ("database", "db")]).await;
        if matches!(answer, Ok(Answer::Welcome(_))) {
            leave(ours).await;
        } else {
            drop(ours);
        }
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        (answer, sent)
    }

    #[tokio::test]
    async fn each_answer_is_distinguished_from_the_others_and_only_a_welcome_gets_a_farewell() {
        let start = b"\0\0\0\x1e\0\x03\0\0user\0app\0database\0db\0\0";
        let authenticated = packet(b'R', &[0; 4]);
        let standby = packet(b'S', b"in_hot_standby\0on\0");
        let ready = packet(b'Z', b"I");
        for (process, is_process) in [([0, 0, 0x19, 0x7f], true), ([0x14, 0xd1, 0x87, 0xb8], false)]
        {
            let key = packet(b'K', &[process, [1, 2, 3, 4]].concat());
            let (answer, sent) = answered(&[&authenticated, &standby, &key, &ready]).await;
            let Ok(Answer::Welcome(session)) = answer else { panic!("{answer:?}") };
            let told = Session { in_hot_standby: Some(true), is_process, ..Session::default() };
            assert_eq!(session, told);
            assert_eq!(sent, [&start[..], &TERMINATE].concat());
        }

        for (method, is_password) in [
            (&[0, 0, 0, 3][..], true),
            (&[0, 0, 0, 5, 1, 2, 3, 4], true),
            (b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", true),
            (b"\0\0\0\x0aOAUTHBEARER\0\0", false),
            (&[0, 0, 0, 7], false),
            (&[], false),
        ] {
            let (answer, sent) = answered(&[&packet(b'R', method)]).await;
            assert_eq!(matches!(answer, Ok(Answer::Password)), is_password, "{answer:?}");
            assert_eq!(matches!(answer, Ok(Answer::OtherMethod)), !is_password, "{answer:?}");
            assert_eq!(sent, start, "nothing follows the start-up message");
        }

        let fields = b"SFATAL\0C28000\0Mno entry\0Rauth_failed\0\0";
        let (answer, _) = answered(&[&packet(b'E', fields)]).await;
        let Ok(Answer::Refused(refusal)) = answer else { panic!("{answer:?}") };
        let shown = (refusal.code.as_str(), refusal.text.as_str(), refusal.routine.as_str());
        assert_eq!(shown, ("28000", "no entry", "auth_failed"));
    }

    #[tokio::test]
    async fn a_parameter_with_a_nul_byte_is_not_sent() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let error = send(&mut { ours }, [("user", "a\0b")]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
