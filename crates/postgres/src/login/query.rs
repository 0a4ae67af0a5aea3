//! One query in a session of its own (PostgreSQL: "Frontend/Backend Protocol", "Simple Query").

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::attempt::{self, Login, Outcome};
use super::start_up::{self, MOST, Refusal};
use crate::verify;

/// Longest time for the login and the query, from the open TCP connection on.
const LIMIT: Duration = Duration::from_secs(5);

/// One row: a column that is NULL is `None`.
pub type Row = Vec<Option<String>>;

/// The end of a query.
enum Answer {
    Row(Option<Row>),
    Refused(Refusal),
    TooMuch,
}

/// Logs in at the first host that accepts a connection, and returns the first row of the query's result, in text; `None` if there is
/// no row. If the login or the query fails, returns how it ended.
pub async fn first_row(
    (hosts, port): (&[String], u16),
    login: &Login<'_>,
    query: &str,
) -> Result<Option<Row>, Outcome> {
    let stream = verify::connect_in_turns(hosts, port).await.map_err(Outcome::Unreachable)?;
    match timeout(LIMIT, over(stream, login, query)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Outcome::Unreachable(format!(
            "no answer within {}",
            humantime::format_duration(LIMIT)
        ))),
    }
}

async fn over<S>(stream: S, login: &Login<'_>, query: &str) -> Result<Option<Row>, Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut stream, _) = attempt::enter(stream, login).await?;
    let answer = ask(&mut stream, query).await;
    start_up::leave(stream).await;
    match answer {
        Ok(Answer::Row(row)) => Ok(row),
        Ok(Answer::Refused(refusal)) => Err(Outcome::LoginRefused(refusal)),
        Ok(Answer::TooMuch) => Err(Outcome::TooMuch),
        Err(error) => Err(Outcome::ConnectionLost(attempt::explain(&error))),
    }
}

async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    query: &str,
) -> io::Result<Answer> {
    let length = u32::try_from(query.len() + 5).map_err(io::Error::other)?;
    let message = [b"Q", &length.to_be_bytes()[..], query.as_bytes(), b"\0"].concat();
    stream.write_all(&message).await?;
    stream.flush().await?;
    let mut first = None;
    for _ in 0..MOST {
        let Some((kind, body)) = start_up::message(stream).await? else {
            return Ok(Answer::TooMuch);
        };
        match kind {
            b'D' if first.is_none() => match row(&body).await {
                Some(row) => first = Some(row),
                None => return Ok(Answer::TooMuch),
            },
            b'E' => return Ok(Answer::Refused(start_up::refused(&body))),
            b'Z' => return Ok(Answer::Row(first)),
            _ => {}
        }
    }
    Ok(Answer::TooMuch)
}

/// The columns of a `DataRow`; `None` if it is none.
async fn row(mut body: &[u8]) -> Option<Row> {
    let count = body.read_u16().await.ok()?;
    let mut row = Row::new();
    for _ in 0..count {
        let length = body.read_i32().await.ok()?;
        let Ok(length) = usize::try_from(length) else {
            row.push(None);
            continue;
        };
        let (column, rest) = body.split_at_checked(length)?;
        row.push(Some(String::from_utf8_lossy(column).into_owned()));
        body = rest;
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::start_up::tests::packet;

    async fn answered(words: &[&[u8]]) -> (io::Result<Answer>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(&words.concat()).await.unwrap();
        let answer = ask(&mut ours, "SELECT 1").await;
        drop(ours);
        let mut sent = Vec::new();
        theirs.read_to_end(&mut sent).await.unwrap();
        (answer, sent)
    }

    #[tokio::test]
    async fn the_first_row_is_read_and_what_is_no_row_is_not() {
        let two = packet(b'D', b"\0\x02\0\0\0\x01t\xff\xff\xff\xff");
        let another = packet(b'D', b"\0\x01\0\0\0\x01x");
        let ready = packet(b'Z', b"I");
        let (answer, sent) = answered(&[&packet(b'T', b"\0\0"), &two, &another, &ready]).await;
        let Ok(Answer::Row(row)) = answer else { panic!("it is no row") };
        assert_eq!(row, Some(vec![Some("t".to_owned()), None]));
        assert_eq!(sent, b"Q\0\0\0\x0dSELECT 1\0");

        let (answer, _) = answered(&[&ready]).await;
        assert!(matches!(answer, Ok(Answer::Row(None))));

        let error = packet(b'E', b"SFATAL\0C08P01\0Mserver login failed\0\0");
        let (answer, _) = answered(&[&error]).await;
        let Ok(Answer::Refused(refusal)) = answer else { panic!("it is no refusal") };
        assert_eq!((&*refusal.code, &*refusal.text), ("08P01", "server login failed"));

        for wrong in [&b""[..], b"\0\x01", b"\0\x01\0\0\0\x05ab"] {
            let (answer, _) = answered(&[&packet(b'D', wrong)]).await;
            assert!(matches!(answer, Ok(Answer::TooMuch)), "{wrong:?}");
        }
        let endless = packet(b'N', b"SNOTICE\0\0").repeat(300);
        assert!(matches!(answered(&[&endless]).await.0, Ok(Answer::TooMuch)));
    }
}
