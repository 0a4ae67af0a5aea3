//! B31 to B34: `check`, as a role that may not see `hba_file`, judged another file than PostgreSQL reads, and reported that
//! all is well.

use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::Path;

use test_support::{Account, Installation, LIMIT, Program, Setup};

use crate::attacks::PGSVID;
use crate::attacks::endless::{started, texts};
use crate::attacks::hidden_rules::{ALL_CLEAR, GOOD, fails, is_well, write};
use crate::attacks::planted_texts::report;

/// Lets in everybody over TLS.
const OPEN: &str = "hostssl all all all trust\n";

/// Published files, and a server that is to be started.
fn prepared() -> Setup {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.spawn();
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    let name = Account::server().name();
    let ident = format!("pgsvid {name} pgsvid\nadministration {name} postgres\n");
    setup.cluster.write_file("pg_ident.conf", &ident);
    setup.cluster.write_file("pg_hba.conf", GOOD);
    setup
}

/// A file of the server account's.
fn place(path: &Path, text: &str) {
    let account = Account::server();
    std::io::Write::write_all(&mut fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
    lchown(path, Some(account.uid()), Some(account.gid())).unwrap();
}

/// Fails where a plain role is given an all-clear, or is not told that it is not known what is in force.
#[track_caller]
fn is_unknown(setup: &Setup, words: &str) {
    let report = report(Account::server(), setup, &[]);
    assert!(texts(&report, "skipped").contains(words), "{words}: {report:#}");
    let ok = texts(&report, "ok");
    assert!(!ok.contains(ALL_CLEAR) && !ok.contains("is no superuser"), "{ok}");
}

#[test]
fn b31_a_relative_path_is_not_taken_from_the_data_directory() {
    let setup = prepared();
    let data = setup.cluster.data_directory();
    let from = setup.other.subdirectory("from");
    let all = format!("{GOOD}{OPEN}");
    for (path, text) in [(&from, all.as_str()), (&data, GOOD)] {
        place(&path.join("access.conf"), text);
    }
    // PostgreSQL takes it from where it was started.
    for setting in ["hba_file=access.conf", "hba_file=./access.conf"] {
        setup.cluster.start_as(|command| {
            command.current_dir(&from).arg("-D").arg(&data).args(["-c", setting]);
        });
        let shown = setup.cluster.sql("postgres", "postgres", "SHOW hba_file");
        assert_eq!(Path::new(&shown), from.join("access.conf"), "{setting}");
        is_unknown(&setup, "not all of the configuration that names them");
        fails(&setup, &["--user", "postgres"], "access.conf line 4 has the method trust");
        setup.cluster.stop(test_support::Mode::Fast);
    }
    let configuration = fs::read_to_string(data.join("postgresql.conf")).unwrap();
    setup.cluster.set_conf("hba_file = 'access.conf'");
    setup.cluster.start_as(|command| {
        command.current_dir(&from).arg("-D").arg(&data);
    });
    is_unknown(&setup, "not all of the configuration that names them");
    setup.cluster.stop(test_support::Mode::Fast);

    // The same of the whole configuration, and of the maps.
    place(&data.join("postgresql.conf"), &configuration);
    place(
        &from.join("postgresql.conf"),
        &format!("{configuration}hba_file = '{}'\n", from.join("access.conf").display()),
    );
    setup.cluster.start_as(|command| {
        command.current_dir(&from).arg("-D").arg(&data).args(["-c", "config_file=postgresql.conf"]);
    });
    is_unknown(&setup, "not all of the configuration that names them");
    fails(&setup, &["--user", "postgres"], "access.conf line 4 has the method trust");
    setup.cluster.stop(test_support::Mode::Fast);
    fs::copy(data.join("pg_ident.conf"), from.join("maps.conf")).unwrap();
    lchown(from.join("maps.conf"), Some(setup.cluster.uid()), None).unwrap();
    setup.cluster.start_as(|command| {
        command.current_dir(&from).arg("-D").arg(&data).args(["-c", "ident_file=maps.conf"]);
    });
    let report = report(Account::server(), &setup, &[]);
    assert!(texts(&report, "skipped").contains("pg_ident.conf cannot be read"), "{report:#}");
    assert!(!texts(&report, "ok").contains("no map admits"), "{report:#}");
}

#[test]
fn b32_the_configuration_is_where_the_start_says_and_else_that_is_unknown() {
    let setup = prepared();
    let data = setup.cluster.data_directory();
    let last = data.file_name().unwrap();
    let (from, named) = (setup.other.path(), setup.other.subdirectory(last.to_str().unwrap()));
    for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
        let text = fs::read_to_string(data.join(name)).unwrap();
        let more = match name {
            "postgresql.conf" => format!("data_directory = '{}'\n", data.display()),
            "pg_hba.conf" => OPEN.to_owned(),
            _ => String::new(),
        };
        place(&named.join(name), &(text + &more));
    }
    // As in PostgreSQL's image: what the process was started with can be seen.
    setup.cluster.start_as(|command| {
        command.env("PGDATA", &named);
    });
    fails(&setup, &[], "pg_hba.conf line 4 has the method trust");
    setup.cluster.stop(test_support::Mode::Fast);
    setup.cluster.start_as(|command| {
        command.env("PGDATA", &data);
    });
    is_well(&setup, &[]);
    setup.cluster.stop(test_support::Mode::Fast);

    // By its name alone this may be the data directory, and is another one.
    for by_argument in [false, true] {
        setup.cluster.start_as(|command| {
            command.current_dir(from);
            if by_argument {
                command.arg("-D").arg(last);
            } else {
                command.env("PGDATA", last);
            }
        });
        let shown = setup.cluster.sql("postgres", "postgres", "SHOW hba_file");
        assert_eq!(Path::new(&shown), named.join("pg_hba.conf"));
        is_unknown(&setup, "whether PostgreSQL uses this file");
        fails(&setup, &["--user", "postgres"], "pg_hba.conf line 4 has the method trust");
        setup.cluster.stop(test_support::Mode::Fast);
    }
}

#[test]
fn b33_a_data_directory_that_is_another_one_here_is_reported() {
    let setup = prepared();
    let data = setup.cluster.data_directory();
    let inner = setup.other.join("inner");
    let copied = std::process::Command::new("cp").arg("-a").args([&data, &inner]).status().unwrap();
    assert!(copied.success());
    place(&inner.join("pg_hba.conf"), &format!("{GOOD}{OPEN}"));
    let account = Account::server();
    let script = format!(
        "mount --bind {} {data} && exec setpriv --reuid={} --regid={} --clear-groups {} -D {data} -p {}",
        inner.display(),
        account.uid(),
        account.gid(),
        Installation::found().program("postgres").display(),
        setup.cluster.port(),
        data = data.display(),
    );
    let arguments = ["-m", "sh", "-c", &script];
    let server =
        Program::spawn_as(Account::current(), Path::new("/usr/bin/unshare"), arguments, &[]);
    server.wait_for_text(LIMIT, "ready to accept connections");
    is_unknown(&setup, "another container or mount namespace");
    // A copy that was made while it runs has its lock file, too.
    fs::copy(inner.join("postmaster.pid"), data.join("postmaster.pid")).unwrap();
    lchown(data.join("postmaster.pid"), Some(account.uid()), Some(account.gid())).unwrap();
    is_unknown(&setup, "another container or mount namespace");
    fs::remove_file(data.join("postmaster.pid")).unwrap();
    server.signal(test_support::Signal::INT);
    server.wait_exit(LIMIT);
}

#[test]
fn b34_a_list_behind_a_link_and_two_dots_is_not_taken_for_another_one() {
    let setup = started();
    let data = setup.cluster.data_directory();
    fs::create_dir_all(data.join("else/deep")).unwrap();
    symlink("else/deep", data.join("sub")).unwrap();
    setup.cluster.write_file("users", "app\n");
    place(&data.join("else/users"), "nobody\n");
    let above = |path: &str| {
        GOOD.replace("hostssl all all", &format!("hostssl all @{path} all reject\nhostssl all all"))
    };
    write(&setup, &above("else/../users"));
    is_well(&setup, &[]);
    write(&setup, &above("sub/../users"));
    fails(&setup, &[], "contains .. after a link");
}
