use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::process::test_kill_process;

use super::*;
use crate::Signal;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn starts_answers_restarts_and_logs() {
    let cluster = Cluster::builder().conf("log_connections = on").start();
    assert_eq!(cluster.sql("postgres", "postgres", "SELECT 1, 'two'; SELECT 3"), "1|two\n3");
    assert!(cluster.version() >= 14);
    assert_eq!(fs::metadata(cluster.data_directory()).unwrap().uid(), cluster.uid());

    let port = cluster.port();
    cluster.sql("postgres", "postgres", "CREATE TABLE kept (n int)");
    let mark = cluster.log_mark();
    cluster.restart();
    assert_eq!(cluster.port(), port);
    cluster.wait_for_log(mark, LIMIT, "ready to accept connections");
    assert_eq!(cluster.sql("postgres", "postgres", "SELECT count(*) FROM kept"), "0");
    cluster.wait_for_log(mark, LIMIT, "connection authorized: user=postgres");
    assert!(!cluster.log_since(cluster.log_mark()).contains("ready"));

    let error = cluster.try_sql("postgres", "postgres", "SELECT 1/0").unwrap_err();
    assert!(error.contains("division by zero"), "{error}");
}

#[test]
fn settings_change_by_file_and_by_alter_system() {
    let cluster = Cluster::builder().arg("-c", "work_mem=5MB").start();
    assert_eq!(cluster.sql("postgres", "postgres", "SHOW work_mem"), "5MB");
    cluster.set_conf("statement_timeout = '7s'");
    cluster.sighup();
    assert_eq!(cluster.sql("postgres", "postgres", "SHOW statement_timeout"), "7s");
    cluster.sql("postgres", "postgres", "ALTER SYSTEM SET jit = off; ALTER SYSTEM RESET jit");
}

#[test]
fn the_role_can_be_prepared_before_the_first_start_or_later() {
    let early = Cluster::builder().create();
    early.prepare_role();
    early.start();
    assert_eq!(early.sql("pgsvid", "postgres", "SELECT pg_reload_conf()"), "t");

    let late = Cluster::new();
    late.prepare_role();
    assert_eq!(late.sql("pgsvid", "postgres", "SELECT pg_reload_conf()"), "t");
    late.set_hba("local all all reject");
    late.sighup();
    let error = late.try_sql("pgsvid", "postgres", "SELECT 1").unwrap_err();
    assert!(error.contains("pg_hba.conf rejects"), "{error}");
    assert_eq!(late.sql("postgres", "postgres", "SELECT 1"), "1");
}

#[test]
fn a_start_that_fails_says_why() {
    let empty = Directory::new();
    let cluster = Cluster::builder().tls_files(empty.path()).create();
    let log = cluster.try_start().unwrap_err();
    assert!(log.contains("could not load server certificate file"), "{log}");
}

#[test]
fn ends_when_dropped_even_if_stopped_by_a_signal() {
    let cluster = Cluster::new();
    cluster.signal(Signal::STOP);
    let (pid, path) = (cluster.pid(), cluster.data_directory());
    drop(cluster);
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    assert!(test_kill_process(pid).is_err());
    assert!(!path.exists());
}

#[test]
fn an_immediate_stop_is_recovered_from() {
    let cluster = Cluster::new();
    cluster.stop(Mode::Immediate);
    assert!(!cluster.is_running());
    let mark = cluster.log_mark();
    cluster.start();
    cluster.wait_for_log(mark, LIMIT, "automatic recovery in progress");
}
