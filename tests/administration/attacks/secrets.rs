//! B61: root's `check` reads a file that PostgreSQL's user names and may not read, and prints its words.

use test_support::Account;

use crate::attacks::endless::{started, texts};
use crate::attacks::hidden_rules::{ALL_CLEAR, GOOD};
use crate::attacks::planted_texts::report;

const SECRET: &str = "TOP-SECRET-TOKEN";

#[test]
fn b61_nothing_of_a_file_that_postgresqls_user_may_not_read_is_printed_or_used() {
    let setup = started();
    let name = Account::server().name();
    let ident = format!(
        "pgsvid {name} pgsvid\npgsvid root pgsvid\nadministration {name} postgres\nadministration root postgres\n"
    );
    setup.cluster.write_file("pg_ident.conf", &ident);
    let closed = setup.other.subdirectory("closed");
    std::os::unix::fs::chown(&closed, Some(0), Some(0)).unwrap();
    let open = 0o755;
    let words = format!("{SECRET} second\n");
    let list = setup.other.write_owned("list", &words, 0o600, 0, 0);
    let below = setup.other.write_owned("closed/list", &words, 0o644, 0, 0);
    let maps = setup.other.write_owned(
        "maps",
        format!("{ident}m /^x$ {SECRET}\nm {SECRET} postgres\n"),
        0o600,
        0,
        0,
    );
    let settings =
        setup.other.write_owned("settings", format!("ssl_ciphers = '{SECRET}'\n"), 0o600, 0, 0);
    let mode = |mode: u32| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&closed, mode).unwrap();
    };
    let configuration =
        std::fs::read_to_string(setup.cluster.data_directory().join("postgresql.conf")).unwrap();
    for (place, hba, line) in [
        ("a list", format!("local replication @{} trust\n{GOOD}", list.display()), String::new()),
        ("a directory", format!("local all @{} trust\n{GOOD}", below.display()), String::new()),
        (
            "the maps",
            format!("{GOOD}local all all peer map=m\n"),
            format!("ident_file = '{}'", maps.display()),
        ),
        ("the settings", GOOD.to_owned(), format!("include '{}'", settings.display())),
    ] {
        mode(open);
        setup.cluster.write_file("pg_hba.conf", GOOD);
        setup.cluster.write_file("postgresql.conf", &configuration);
        setup.cluster.restart();
        setup.cluster.write_file("pg_hba.conf", &hba);
        setup.cluster.set_conf(&line);
        mode(0o700);
        setup.cluster.reload();
        let report = report(Account::current(), &setup, &[]);
        assert!(!report.to_string().contains(SECRET), "{place}: {report:#}");
        if place != "the settings" {
            assert!(!texts(&report, "ok").contains(ALL_CLEAR), "{place}: {report:#}");
        }
    }
    // The file that PostgreSQL's user may read is read.
    mode(open);
    let told = report(Account::current(), &setup, &[]).to_string();
    assert!(!told.contains(SECRET), "{told}");
    setup.cluster.write_file("postgresql.conf", &configuration);
    let hba = format!("local replication @{} trust\n{GOOD}", below.display());
    setup.cluster.write_file("pg_hba.conf", &hba);
    setup.cluster.sighup();
    let told = report(Account::current(), &setup, &[]);
    assert!(texts(&told, "warning").contains(SECRET), "{told:#}");
}
