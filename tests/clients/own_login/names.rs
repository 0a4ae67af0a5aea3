//! Names of hosts, whose addresses change, and name servers.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use test_support::{FileOver, LIMIT, Mark, NameServer, Setup, with_mounts};

use super::{admitted, tables, told};
use crate::both::Both;

/// The service with this host, and no address of it.
fn at(setup: &Setup, host: &str) -> String {
    tables(setup, "[client]\nverify_every = '1s'")
        .replace("host = 'localhost'", &format!("host = '{host}'"))
        .replace("hostaddr = '127.0.0.1'\n", "")
        // The server's certificate has another name.
        .replace("verify-full", "verify-ca")
}

/// What every machine knows, and no more.
fn only_localhost() -> FileOver {
    FileOver::over("/etc/hosts", "127.0.0.1 localhost\n")
}

#[test]
fn g15_a_name_is_looked_up_for_each_login() {
    with_mounts(|| {
        let dns = NameServer::start();
        let _hosts = only_localhost();
        let _servers = FileOver::over("/etc/resolv.conf", &dns.resolv_conf());
        let both = Both::start_with_tables(|setup| at(setup, "db"));
        let (client, port) = (both.client(), both.setup.cluster.port());
        // The set is published nevertheless.
        let mark = told(client, Mark::default(), "unreachable", "login-name-unresolved").1;
        // It is found by the search list.
        dns.set("db.example", &["127.0.0.1"]);
        let (event, mark) = admitted(client, mark);
        assert_eq!(event["address"], format!("db:{port} (127.0.0.1)"), "{event}");
        // Nobody listens there.
        dns.set("db.example", &["127.0.0.77"]);
        let (event, mark) = told(client, mark, "unreachable", "server-unreachable");
        assert!(event.to_string().contains("127.0.0.77"), "{event}");
        dns.set("db.example", &["127.0.0.77", "127.0.0.1"]);
        let (event, mark) = admitted(client, mark);
        assert_eq!(event["address"], format!("db:{port} (127.0.0.1)"), "{event}");
        dns.stop(true);
        let (_, mark) = told(client, mark, "unreachable", "login-name-unresolved");
        dns.stop(false);
        admitted(client, mark);
    });
}

/// The C library asks over UDP, and waits for ten seconds.
#[test]
fn g15_a_silent_name_server_is_not_waited_for_at_start() {
    with_mounts(|| {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 54, high, low.max(1));
        let questions = UdpSocket::bind((address, 53)).unwrap();
        questions.set_nonblocking(true).unwrap();
        let _silent = TcpListener::bind((address, 53)).unwrap();
        let _hosts = only_localhost();
        let _servers = FileOver::over("/etc/resolv.conf", &format!("nameserver {address}\n"));
        let both = Both::start_with_tables(|setup| at(setup, "db.example"));
        told(both.client(), Mark::default(), "unreachable", "login-name-unresolved");
        let asked = questions.recv(&mut [0; 512]).map_err(|error| error.kind());
        assert_eq!(asked, Err(ErrorKind::WouldBlock));
    });
}

#[test]
fn g15_the_hosts_file_comes_before_name_servers_and_its_ipv6_addresses_first() {
    with_mounts(|| {
        let dns = NameServer::start();
        dns.set("db.example", &["127.0.0.77"]);
        let hosts = "127.0.0.1 localhost\n127.0.0.1 db\n::1 other db # 127.0.0.77 db\n";
        let _hosts = FileOver::over("/etc/hosts", hosts);
        let _servers = FileOver::over("/etc/resolv.conf", &dns.resolv_conf());
        let both = Both::start_with_tables(|setup| at(setup, "DB"));
        let (client, port) = (both.client(), both.setup.cluster.port());
        // The server listens on IPv4 alone.
        let (event, _) = admitted(client, Mark::default());
        assert_eq!(event["address"], format!("DB:{port} (127.0.0.1)"), "{event}");
        both.setup.cluster.sql("postgres", "postgres", "ALTER SYSTEM SET listen_addresses = '*'");
        let mark = client.mark();
        both.setup.cluster.restart();
        // No line of pg_hba.conf is for that address.
        let (event, _) =
            client.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "refused");
        assert!(event.to_string().contains("(::1)"), "{event}");
    });
}
