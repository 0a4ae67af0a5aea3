//! One probe: connect, ask for TLS, shake hands, over the first address that answers.

use std::io;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ssl_request::{self, Reply};
use super::{Answer, Facts, LIMIT, handshake};

/// Probes the hosts in order until one gives an answer. Never fails: not being answered is a fact, too.
///
/// Each host has five seconds.
pub async fn probe(hosts: &[String], port: u16) -> Facts {
    let mut facts = Facts {
        address: format!("port {port}"),
        answer: Answer::Nothing("there is no address to probe".to_owned()),
    };
    for host in hosts {
        let address =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let answer = match timeout(LIMIT, ask(host, port)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Nothing(explain(&error)),
            Err(_) => {
                Answer::Nothing(format!("no answer within {}", humantime::format_duration(LIMIT)))
            }
        };
        let answered = !matches!(answer, Answer::Nothing(_));
        facts = Facts { address, answer };
        if answered {
            break;
        }
    }
    facts
}

async fn ask(host: &str, port: u16) -> io::Result<Answer> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    match ssl_request::ask(&mut stream).await? {
        Reply::Plaintext => Ok(Answer::Plaintext),
        Reply::Error => {
            Err(io::Error::other("the server answered with an error instead of S or N"))
        }
        Reply::Garbage => Err(io::Error::other("what listens there is no PostgreSQL")),
        Reply::Tls => {
            // The server may send its first TLS byte only after our ClientHello.
            let mut early = [0; 1];
            match stream.try_read(&mut early) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => Err(io::Error::other("bytes were injected before the TLS handshake")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Ok(Answer::Served(Box::new(handshake::shake(stream).await?)))
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// The kernel's words, or ours; never the server's.
fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server ended the connection".to_owned(),
        _ => error.to_string(),
    }
}
