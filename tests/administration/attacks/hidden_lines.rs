//! B62: of several lines by which a role of `[[roles]]` is open, `check` judged the first one alone, and a harmless one hid the others.

use test_support::{Account, LIMIT, Setup, eventually};

use crate::attacks::endless::started;
use crate::judged::{check, found, one};

const OURS: &str = "hostssl all app all cert clientname=DN map=spiffe";
const NARROW: &str = "hostssl db app all cert clientname=DN map=spiffe";
const CLOSED: &str = "hostnossl all app all reject";

fn setup() -> Setup {
    let setup = started();
    setup.configure("[[roles]]\nspiffe_id = 'spiffe://example.org/x'\nrole = 'app'\ncn = 'x'");
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE app LOGIN");
    let name = Account::server().name();
    let ident = format!("pgsvid {name} pgsvid\nadministration {name} postgres\nevil mallory app\n");
    setup.cluster.write_file("pg_ident.conf", &ident);
    setup
}

fn write(setup: &Setup, lines: &[&str]) {
    let hba = format!(
        "local postgres pgsvid peer map=pgsvid\nlocal all postgres peer map=administration\n{}\n",
        lines.join("\n")
    );
    setup.cluster.write_file("pg_hba.conf", &hba);
    let loaded = || setup.cluster.sql("postgres", "postgres", "SELECT pg_conf_load_time()");
    let before = loaded();
    setup.cluster.sighup();
    eventually(LIMIT, "the lines are loaded", || loaded() != before);
}

#[test]
fn b62_a_harmless_line_hides_no_other_one_about_a_role() {
    let setup = setup();
    let group = "hostssl all +grp all cert map=evil";
    let evil = "hostssl db app all cert map=evil";
    let for_all = "hostssl all app all cert map=evil";
    let replication = "hostssl replication app all cert map=evil";
    for (code, lines, failure, warning) in [
        // Above the map's line: only for a certain one, and for both.
        ("roles-line-above", vec![evil, OURS, CLOSED], Some("line 3"), None),
        ("roles-line-above", vec![group, evil, OURS, CLOSED], Some("line 4"), Some("line 3")),
        ("roles-line-above", vec![group, group, OURS, CLOSED], None, Some("line 4")),
        // Below.
        ("roles-line-below", vec![NARROW, CLOSED, for_all], Some("line 5"), None),
        (
            "roles-line-below",
            vec![NARROW, CLOSED, replication, for_all],
            Some("line 6"),
            Some("line 5"),
        ),
        // Passwords.
        (
            "hba-password-without-tls",
            vec![OURS, "hostnossl db app all md5", "hostnossl all app all password"],
            Some("line 5"),
            Some("line 4"),
        ),
    ] {
        write(&setup, &lines);
        let report = check(&setup, &[]);
        for (severity, place) in [("failure", failure), ("warning", warning)] {
            let found = found(&report, severity, code);
            assert_eq!(found.len(), usize::from(place.is_some()), "{lines:?}: {report:#}");
            if let Some(place) = place {
                let text = found[0]["text"].as_str().unwrap();
                assert!(text.contains(&format!("pg_hba.conf {place}")), "{lines:?}: {text}");
            }
        }
    }
    // The remedy stands above the first of the lines, so one is enough for all.
    write(&setup, &[group, evil, OURS, CLOSED]);
    let report = check(&setup, &[]);
    let fix = one(&report, "failure", "roles-line-above")["fix"].as_str().unwrap().to_owned();
    assert!(fix.contains("above line 3 of"), "{fix}");
    write(&setup, &[OURS, CLOSED, group, evil]);
    let report = check(&setup, &[]);
    for severity in ["failure", "warning"] {
        assert!(found(&report, severity, "roles-line-above").is_empty(), "{report:#}");
    }
}
