//! Name servers that answer slowly, wrongly or not at all.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// The answer without addresses to the question that comes.
async fn nothing(mut stream: tokio::io::DuplexStream) {
    let length = stream.read_u16().await.unwrap();
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await.unwrap();
    message[2..4].copy_from_slice(&[0x81, 0x80]);
    stream.write_u16(length).await.unwrap();
    stream.write_all(&message).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_written_in_both_ways_is_one() {
    let mut resolver = Resolver::default();
    let found = resolver.addresses("::ffff:10.0.0.1").await.unwrap();
    assert_eq!(found, BTreeSet::from([IpAddr::from([10, 0, 0, 1])]));
    let found = resolver.addresses("fd00::1").await.unwrap();
    assert_eq!(found, BTreeSet::from(["fd00::1".parse::<IpAddr>().unwrap()]));
}

#[tokio::test]
async fn a_name_without_an_address_of_a_family_is_an_answer() {
    let (ours, theirs) = tokio::io::duplex(1024);
    let (found, ()) = tokio::join!(exchange(ours, "db.example", Kind::A), nothing(theirs));
    assert!(found.unwrap().is_empty());
}

#[tokio::test]
async fn y12_a_connection_that_ends_early_is_an_error() {
    let (ours, theirs) = tokio::io::duplex(1024);
    let early = async move {
        let mut theirs = theirs;
        theirs.write_all(&[1, 0, 0]).await.unwrap();
    };
    let (found, ()) = tokio::join!(exchange(ours, "db.example", Kind::A), early);
    assert_eq!(found.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test(start_paused = true)]
async fn y12_a_silent_name_server_is_given_up_soon() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begun = tokio::time::Instant::now();
    let found = at_server(silent.local_addr().unwrap(), "db.example").await;
    assert_eq!(found.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() <= PATIENCE * 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_address_and_a_name_of_the_hosts_file_need_no_name_server() {
    let mut resolver = Resolver::default();
    let found = resolver.addresses("::1").await.unwrap();
    assert_eq!(found, BTreeSet::from(["::1".parse::<IpAddr>().unwrap()]));
    assert!(resolver.addresses("localhost.").await.unwrap().iter().all(IpAddr::is_loopback));
}
