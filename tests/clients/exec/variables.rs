//! J14: the variables with which drivers find the files.

use test_support::{LIMIT, Program};

use super::{Exec, PGSVID};
use crate::both::{Both, ROLE};

const ENVIRONMENT: [&str; 3] = ["/bin/sh", "-c", "env | grep '^PG' | sort"];

#[test]
fn j14_each_driver_gets_the_variables_that_it_reads() {
    let exec = Exec::new();
    exec.configure(
        "[[files.service]]\nname = 'products'\nfile = 'java.conf'\nprivate_key = 'svid_key.pk8'\n\
         [[files.service]]\nname = 'other'\nfile = 'other.conf'\n\
         [[files.extra]]\nname = 'svid_key.pk8'\ncontent = 'der-key'\n",
    );
    let path = |name: &str| exec.files.join(name).display().to_string();
    for (flags, variables) in [
        (
            vec![],
            vec![
                "PGSERVICE=products".to_owned(),
                format!("PGSERVICEFILE={}", path("pg_service.conf")),
            ],
        ),
        (
            vec!["--service", "other"],
            vec!["PGSERVICE=other".to_owned(), format!("PGSERVICEFILE={}", path("other.conf"))],
        ),
        (vec!["--env", "jdbc"], vec![format!("PGSERVICEFILE={}", path("java.conf"))]),
        (
            vec!["--env", "npgsql"],
            vec![
                format!("PGSSLCERT={}", path("svid.pem")),
                format!("PGSSLKEY={}", path("svid_key.pem")),
                format!("PGSSLROOTCERT={}", path("svid_bundle.pem")),
            ],
        ),
        (vec!["--env", "none"], vec![]),
    ] {
        let program = exec.start(&flags, &ENVIRONMENT);
        program.wait_exit(LIMIT);
        assert_eq!(program.standard_output(), variables.join("\n"), "{flags:?}");
        for variable in variables.iter().filter(|it| !it.starts_with("PGSERVICE=")) {
            let (_, file) = variable.split_once('=').unwrap();
            assert!(std::path::Path::new(file).exists(), "{file}");
        }
    }
}

/// pgx takes the files of that section, of which it reads the names once.
#[test]
fn j14_an_inherited_service_is_kept_from_drivers_of_the_stable_names() {
    let exec = Exec::new();
    let inherited = [("PGSERVICE", "other"), ("PGHOST", "db")];
    let program = exec.start_with(&["--env", "npgsql"], &ENVIRONMENT, &inherited);
    program.wait_exit(LIMIT);
    let shown = program.standard_output();
    assert!(shown.starts_with("PGHOST=db\nPGSSLCERT=") && !shown.contains("PGSERVICE"), "{shown}");
}

#[test]
fn j14_what_keeps_pgjdbc_from_the_section_is_logged_at_the_start() {
    let exec = Exec::new();
    let codes = |tables: &str| {
        exec.configure(tables);
        let program = exec.start(&["--env", "jdbc", "--service", "products"], &["true"]);
        assert!(program.wait_exit(LIMIT).success());
        let events = program.lines().into_iter().filter_map(|line| {
            let event: serde_json::Value = serde_json::from_str(&line).ok()?;
            (event["event"] == "application-driver")
                .then(|| event["code"].as_str().unwrap().to_owned())
        });
        events.collect::<Vec<_>>()
    };
    assert_eq!(codes(""), ["pgjdbc-pem"]);
    let der = |options: &str| {
        format!(
            "[[files.service]]\nname = 'products'\nfile = 'java.conf'\nprivate_key = 'svid_key.pk8'\n\
             options = {{ host = 'db'{options} }}\n[[files.extra]]\nname = 'svid_key.pk8'\ncontent = 'der-key'\n"
        )
    };
    assert!(codes(&der("")).is_empty());
    assert_eq!(codes(&der(", connect_timeout = 5, hostaddr = '127.0.0.1'")), ["pgjdbc-refuses"]);
}

/// `ExecStart` of examples/client/report.service, with other paths and another application.
#[test]
fn j14_the_example_of_a_unit_starts_an_application() {
    let exec = Exec::new();
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client/report.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let line =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/pgsvid ")).unwrap();
    let file = exec.other.join("pgsvid.toml").display().to_string();
    let line = line.replace("/etc/pgsvid/client.toml", &file);
    let (flags, _) = line.split_once(" -- ").unwrap();
    let application = ["--", "/bin/sh", "-c", "echo $PGSERVICE"];
    let program = Program::spawn(PGSVID, flags.split(' ').chain(application), &[]);
    assert!(program.wait_exit(LIMIT).success());
    assert_eq!(program.standard_output(), "products");
}

/// With a PostgreSQL whose own certificate is renewed, too.
#[test]
fn j14_psql_logs_in_with_nothing_else() {
    let both = Both::start("");
    let files = test_support::Directory::new();
    let toml = std::fs::read_to_string(both.setup.other.join("client.toml")).unwrap();
    let before = both.files.path().display().to_string();
    let toml = toml.replace(&before, &files.path().display().to_string());
    let file = both.setup.other.write("exec.toml", toml, 0o644).display().to_string();
    let psql = test_support::Installation::found().program("psql").display().to_string();
    let query = "SELECT current_user";
    let arguments = ["exec", "--config", &file, "--", &psql, "-X", "-A", "-t", "-c", query];
    let program = Program::spawn(PGSVID, arguments, &[]);
    assert!(program.wait_exit(LIMIT).success());
    assert_eq!(program.standard_output(), ROLE);
}
