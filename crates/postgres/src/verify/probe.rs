//! One probe: connect, request TLS, do the handshake, with the first address that answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::address::is_address;
use super::handshake::{self, Failure, ShutdownAfterHandshake};
use super::names::look_up;
use super::ssl_request::{self, Reply};
use super::turns::{chosen, in_turns, left_out};
use super::{ALPN, Answer, Begin, Client, Facts, LIMIT, Reception, alert_name};

/// Probes the hosts one after the other until one answers. Never fails: no answer is a fact, too.
///
/// Each host has five seconds to answer, and all of them together [`super::LONGEST`]; hosts beyond [`super::MOST_HOSTS`] are
/// left out. A server that asks for a client certificate is shown the `client`'s.
pub async fn probe(hosts: &[String], port: u16, client: Option<&Client>) -> Facts {
    probe_as(Begin::SslRequest, hosts, port, client).await
}

/// Probes as [`probe`] does, and begins each connection like this.
pub(super) async fn probe_as(
    begin: Begin,
    hosts: &[String],
    port: u16,
    client: Option<&Client>,
) -> Facts {
    let (refused, late): (Mutex<Option<Facts>>, Mutex<Option<Facts>>) = Default::default();
    let ask = async |host: &str| {
        let deadline = Instant::now() + LIMIT;
        let answer = match ask_at(begin, host, port, deadline, client).await {
            Err(alert) => without_client(begin, host, port, deadline, alert).await,
            Ok(answer) => answer,
        };
        let facts = Facts { address: shown_address(host, port), answer };
        if matches!(facts.answer, Answer::Refused(_) | Answer::TooLarge) {
            let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.get_or_insert_with(|| facts.clone());
        } else if is_loopback(host) && deadline <= Instant::now() {
            let mut late = late.lock().unwrap_or_else(PoisonError::into_inner);
            late.get_or_insert_with(|| facts.clone());
        }
        facts
    };
    // A server at another address may show a certificate.
    let answered = |facts: &Facts| matches!(facts.answer, Answer::Served(_) | Answer::Plaintext);
    let found = in_turns(&chosen(hosts), ask, answered).await;
    let late = late.into_inner().unwrap_or_else(PoisonError::into_inner);
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    // No packet to a loopback address is lost, so a server that did not answer there in time is slow, and may be PostgreSQL.
    // The refusal at another address may come from another user's program, because an alert is not authenticated. So the
    // time-out is reported instead of the refusal.
    let refused = refused.map(|refused| late.unwrap_or(refused));
    let found = match refused {
        Some(refused) => found.filter(answered).or(Some(refused)),
        None => found,
    };
    let mut facts = found.unwrap_or_else(|| Facts {
        address: format!("port {port}"),
        answer: Answer::Nothing("there is no address to probe".to_owned()),
    });
    if let Answer::Nothing(why) = &mut facts.answer {
        why.push_str(&left_out(hosts));
    }
    facts
}

/// Whether it is an address of this machine alone.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The address as [`Facts`] show it.
#[must_use]
pub fn shown_address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Connects to the first of the hosts that accepts the connection, in the same turns. Otherwise returns why the last one did
/// not.
pub async fn connect_in_turns(hosts: &[String], port: u16) -> Result<TcpStream, String> {
    let dial =
        async |host: &str| match timeout_at(Instant::now() + LIMIT, connect(host, port)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(format!("{}: {error}", shown_address(host, port))),
            Err(_) => Err(format!("{}: no answer", shown_address(host, port))),
        };
    match in_turns(&chosen(hosts), dial, Result::is_ok).await {
        Some(outcome) => outcome.map_err(|why| why + &left_out(hosts)),
        None => Err("there is no address to connect to".to_owned()),
    }
}

/// Connects and probes. It is an error if a handshake in which the client certificate was shown ends with an alert.
async fn ask_at(
    begin: Begin,
    host: &str,
    port: u16,
    deadline: Instant,
    client: Option<&Client>,
) -> Result<Answer, AlertDescription> {
    match timeout_at(deadline, connect(host, port)).await {
        Ok(Ok(stream)) => ask_as(begin, stream, deadline, client).await,
        Ok(Err(error)) => Ok(Answer::Nothing(explain(&error))),
        Err(_) => Ok(too_late()),
    }
}

/// In TLS 1.2 a server refuses the client certificate within the handshake. A second handshake without one shows what it
/// serves.
async fn without_client(
    begin: Begin,
    host: &str,
    port: u16,
    deadline: Instant,
    alert: AlertDescription,
) -> Answer {
    match ask_at(begin, host, port, deadline, None).await {
        Ok(Answer::Served(mut served)) => {
            served.reception = Reception::Refused(alert);
            Answer::Served(served)
        }
        Ok(answer) => answer,
        Err(alert) => Answer::Nothing(ended_by(alert)),
    }
}

/// Probes for a process that cannot look up names: hosts that are names are skipped.
pub(super) async fn probe_addresses(
    begin: Begin,
    hosts: &[String],
    port: u16,
    client: Option<&Client>,
) -> Facts {
    let addresses: Vec<String> = hosts.iter().filter(|host| is_address(host)).cloned().collect();
    if addresses.is_empty() && !hosts.is_empty() {
        let name = &hosts[0];
        return Facts {
            address: format!("{name}:{port}"),
            answer: Answer::Nothing(format!(
                "{name} is a name, but pgsvid's sandbox does not allow name look-ups"
            )),
        };
    }
    probe_as(begin, &addresses, port, client).await
}

/// The addresses of a name, at least one, as the C library finds them (`nsswitch.conf(5)`). Fails if there is none.
pub async fn addresses_of(name: &str) -> io::Result<Vec<IpAddr>> {
    let name = name.to_owned();
    tokio::task::spawn_blocking(move || look_up(&name)).await?
}

/// Connects to a host: an address, or a name that is looked up.
pub async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = if let Ok(address) = host.parse::<IpAddr>() {
        TcpStream::connect((address, port)).await?
    } else {
        let found = addresses_of(host).await?;
        let found: Vec<SocketAddr> = found.into_iter().map(|host| (host, port).into()).collect();
        TcpStream::connect(&found[..]).await?
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Probes over an open connection, until `deadline`. Never fails, like [`probe`], and shows no certificate.
///
/// After a handshake the server gets a little more time to close the connection; the facts are complete by then.
pub async fn ask<S>(stream: S, deadline: Instant) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = ask_as(Begin::SslRequest, stream, deadline, None).await;
    answer.unwrap_or_else(|alert| Answer::Nothing(ended_by(alert)))
}

async fn ask_as<S>(
    begin: Begin,
    stream: S,
    deadline: Instant,
    client: Option<&Client>,
) -> Result<Answer, AlertDescription>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout_at(deadline, question(begin, stream, client)).await {
        Ok(Ok((Answer::Served(mut served), Some(goodbye)))) => {
            served.reception = goodbye.say().await;
            Ok(Answer::Served(served))
        }
        Ok(Ok((answer, _))) => Ok(answer),
        Ok(Err(Failure { error, seen, shown })) => match handshake::alert(&error) {
            Some(alert) if shown => Err(alert),
            Some(alert) if !seen => Ok(Answer::Refused(alert)),
            Some(alert) => Ok(Answer::Nothing(ended_by(alert))),
            None if handshake::is_too_large(&error) => Ok(Answer::TooLarge),
            None => Ok(Answer::Nothing(explain(&error))),
        },
        Err(_) => Ok(too_late()),
    }
}

async fn question<S>(
    begin: Begin,
    mut stream: S,
    client: Option<&Client>,
) -> Result<(Answer, Option<ShutdownAfterHandshake<S>>), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reply = match begin {
        Begin::SslRequest => ssl_request::ask(&mut stream).await?,
        Begin::Tls => return directly(stream, client, None).await,
        Begin::Direct => return directly(stream, client, Some(ALPN)).await,
    };
    match reply {
        Reply::Plaintext => Ok((Answer::Plaintext, None)),
        Reply::Error => {
            Err(io::Error::other("the server answered with an error instead of S or N").into())
        }
        Reply::Garbage => Err(io::Error::other("the server there is not PostgreSQL").into()),
        // The server may send its first TLS byte only after the client's ClientHello.
        Reply::Tls if has_spoken(&mut stream).await? => {
            Err(io::Error::other("bytes were injected before the TLS handshake").into())
        }
        Reply::Tls => {
            let (served, goodbye) = handshake::shake(stream, client, None).await?;
            Ok((Answer::Served(Box::new(served)), Some(goodbye)))
        }
    }
}

/// A handshake at once. A server without TLS answers in its own protocol.
async fn directly<S>(
    stream: S,
    client: Option<&Client>,
    protocol: Option<&[u8]>,
) -> Result<(Answer, Option<ShutdownAfterHandshake<S>>), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match handshake::shake(stream, client, protocol).await {
        Ok((served, goodbye)) => Ok((Answer::Served(Box::new(served)), Some(goodbye))),
        Err(failure) if handshake::is_no_tls(&failure.error) => Ok((Answer::Plaintext, None)),
        Err(failure) => Err(failure),
    }
}

/// Whether a byte has arrived already, without waiting for one; fails if the stream has ended.
pub(crate) async fn has_spoken<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<bool> {
    let mut early = [0; 1];
    std::future::poll_fn(|context| {
        let mut early = ReadBuf::new(&mut early);
        Poll::Ready(match Pin::new(&mut *stream).poll_read(context, &mut early) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) if early.filled().is_empty() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(error)) => Err(error),
        })
    })
    .await
}

fn too_late() -> Answer {
    Answer::Nothing(format!("no answer within {}", humantime::format_duration(LIMIT)))
}

fn ended_by(alert: AlertDescription) -> String {
    format!("the server ended the handshake with the alert {}", alert_name(alert))
}

/// The kernel's message, or pgsvid's; never the server's.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "connecting is forbidden, by a firewall or by pgsvid's sandbox, which only allows the configured port"
                .to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the server ended the connection".to_owned(),
        _ if is_about_certificate(error) => {
            "the server does not prove that it has its certificate's key".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Whether the server has failed to prove that it has its certificate's key. The message of rustls only contains the names of
/// its types, so pgsvid writes another one.
fn is_about_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dev_agent::{Authority, Entry, Svid};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_rustls::server::TlsStream;

    use super::*;
    use crate::verify::test_server::accepted;

    /// A server that does a handshake, and then `then`.
    async fn asked<F>(svid: Svid, then: impl FnOnce(TlsStream<DuplexStream>) -> F) -> Answer
    where
        F: Future<Output = ()>,
    {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let server = async { then(accepted(theirs, svid).await).await };
        tokio::join!(ask(ours, Instant::now() + LIMIT), server).0
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_server_has_shown_counts_with_every_end_of_the_connection() {
        let authority = Authority::new("example.org", false).unwrap();
        let issue = || authority.issue(&Entry::new("spiffe://example.org/db")).unwrap();
        let assert_shown = |answer: &Answer, svid: &Svid, how: &str| match answer {
            Answer::Served(served) => assert_eq!(served.leaf.der(), svid.leaf(), "{how}"),
            other => panic!("{how}: {other:?}"),
        };

        let svid = issue();
        let silent = |stream| async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            drop(stream);
        };
        assert_shown(&asked(svid.clone(), silent).await, &svid, "it never ends");

        let talkative = |mut stream: TlsStream<DuplexStream>| async move {
            while stream.write_all(&[b'x'; 1000]).await.is_ok() {}
        };
        assert_shown(&asked(svid.clone(), talkative).await, &svid, "it does not stop talking");

        assert_shown(&asked(svid.clone(), async |stream| drop(stream)).await, &svid, "it is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn p10_a_byte_after_the_answer_is_seen_before_tls_begins() {
        for (answer, reason) in [
            (&b"SS"[..], "bytes were injected before the TLS handshake"),
            (b"S\x16\x03\x03", "bytes were injected before the TLS handshake"),
            (b"S", "no answer within 5s"),
            (b"", "no answer within 5s"),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(answer).await.unwrap();
            match ask(ours, Instant::now() + LIMIT).await {
                Answer::Nothing(why) => assert_eq!(why, reason, "{answer:?}"),
                other => panic!("{answer:?}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn without_a_look_up_names_are_passed_over_and_addresses_are_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = ["db.example".to_owned(), "127.0.0.1".to_owned()];
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream);
            }
        });
        let facts = probe_addresses(Begin::SslRequest, &hosts, port, None).await;
        assert_eq!(facts.address, format!("127.0.0.1:{port}"));

        let facts = probe_addresses(Begin::SslRequest, &hosts[..1], port, None).await;
        let Answer::Nothing(why) = facts.answer else { panic!("{facts:?}") };
        assert_eq!(why, "db.example is a name, but pgsvid's sandbox does not allow name look-ups");
    }
    #[tokio::test]
    async fn b83_an_alert_at_another_loopback_address_does_not_stand_for_a_server_that_is_late() {
        let late = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = late.local_addr().unwrap().port();
        let strangers = tokio::net::TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = strangers.accept().await {
                stream.read_exact(&mut [0; 8]).await.unwrap();
                stream.write_all(b"S").await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                // The alert handshake_failure (RFC 8446, 6).
                stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]).await.unwrap();
            }
        });
        let hosts = ["127.0.0.1", "127.0.0.2"].map(str::to_owned);
        let facts = probe(&hosts, port, None).await;
        assert!(matches!(facts.answer, Answer::Nothing(_)), "{facts:?}");
        // Where nobody listens at the other address, the server's alert counts.
        drop(late);
        let facts = probe(&hosts, port, None).await;
        assert!(matches!(facts.answer, Answer::Refused(_)), "{facts:?}");
    }
}
