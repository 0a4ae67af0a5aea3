//! `[[roles]]`: who gets in, who does not, and what happens when the map changes.

use dev_agent::{Entry, Svid};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use serde_json::Value;
use test_support::{Account, Directory, LIMIT, Pgsvid, Program, Psql, PsqlOutput, Setup};

use crate::setup::{PGSVID, admin, configure, login, run};

const REPORTS: &str = "spiffe://example.org/ns/applications/sa/reports";
const BILLING: &str = "spiffe://example.org/ns/applications/sa/billing";
const ROLES: &str = r#"
[[roles]]
spiffe_id = "spiffe://example.org/ns/{namespace}/sa/{role}"
by = "uid"
values = { namespace = ["applications"], role = ["reports", "billing"] }
[[roles]]
spiffe_id = "spiffe://example.org/ns/web/sa/shop"
role = "shop"
cn = "shop.example"
"#;

/// A server that reads the map that `pgsvid run` publishes, and `pg_hba.conf` as `setup hba` prints it, with these lines
/// below.
fn started(setup: &Setup, more_hba: &str) -> Pgsvid {
    let cluster = &setup.cluster;
    let map = setup.files.join("pg_ident.conf");
    if cluster.version() >= 16 {
        let name = Account::server().name();
        cluster
            .set_ident(&format!("pgsvid {name} pgsvid\ninclude_if_exists \"{}\"", map.display()));
    } else {
        cluster.set_conf(&format!("ident_file = '{}'", map.display()));
    }
    let hba = run(setup, &["hba"]).well();
    cluster.set_hba(&format!("{hba}\n{more_hba}\nlocal all all peer"));
    let pgsvid = setup.start();
    admin(cluster, "CREATE ROLE reports LOGIN; CREATE ROLE billing LOGIN; CREATE ROLE shop LOGIN");
    pgsvid
}

/// The configuration, with a line that lets the test be the superuser.
fn write(setup: &Setup, files: &str, lines: &[&str], roles: &str) {
    let administration = format!("administration {} postgres", Account::server().name());
    let lines: Vec<&str> =
        [administration.as_str()].into_iter().chain(lines.iter().copied()).collect();
    configure(
        setup,
        &format!("ident = \"pg_ident.conf\"\nident_lines = {lines:?}\n{files}"),
        roles,
    );
}

fn pem(label: &str, der: &[u8]) -> String {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap()
}

/// A client's directory with its certificate.
fn holder(svid: &Svid) -> Directory {
    let directory = Directory::new();
    directory.write("svid.pem", svid.chain_pem(), 0o644);
    directory.write("svid_key.pem", svid.key_pem(), 0o600);
    directory.write("svid_bundle.pem", svid.bundle_pem(), 0o644);
    directory
}

fn workload(setup: &Setup, entry: &Entry, role: &str) -> PsqlOutput {
    let directory = holder(&setup.agent.issue(entry).unwrap());
    login(&setup.cluster, directory.path(), role)
}

#[track_caller]
fn gets_in(setup: &Setup, entry: &Entry, role: &str) {
    let output = workload(setup, entry, role);
    assert_eq!(output.stdout, role, "{output:?}");
}

#[track_caller]
fn is_refused(setup: &Setup, entry: &Entry, role: &str) {
    let output = workload(setup, entry, role);
    assert!(output.stderr.contains("authentication failed for user"), "{role}: {output:?}");
}

fn uid(id: &str) -> Entry {
    Entry::new(id).unique_id(true)
}

fn check(setup: &Setup, more: &[&str]) -> (Value, i32) {
    let arguments = setup.arguments();
    let all = ["check", "--format", "json"]
        .into_iter()
        .chain(arguments.iter().map(String::as_str))
        .chain(more.iter().copied());
    let program = Program::spawn(PGSVID, all, &[]);
    let status = program.wait_exit(LIMIT).code().unwrap();
    (serde_json::from_str(&program.standard_output()).unwrap(), status)
}

#[test]
fn the_right_workload_gets_the_role_and_no_other() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");

    gets_in(&setup, &uid(REPORTS), "reports");
    gets_in(&setup, &uid(REPORTS).dns("reports.example"), "reports");
    gets_in(&setup, &uid(BILLING), "billing");
    let shop = Entry::new("spiffe://example.org/ns/web/sa/shop").dns("shop.example");
    gets_in(&setup, &shop, "shop");
    gets_in(&setup, &shop.clone().unique_id(true), "shop");

    for (entry, role) in [
        // Another workload, the last character, the first, more and less of it.
        (uid(BILLING), "reports"),
        (uid("spiffe://example.org/ns/applications/sa/reportt"), "reports"),
        (uid("spiffe://example.org/ns/application/sa/reports"), "reports"),
        (uid("spiffe://example.org/ns/applications/sa/reports/x"), "reports"),
        (uid("spiffe://example.org/ns/applications/sa/report"), "reports"),
        // The subject that all share, and a CN that says what the role is called.
        (Entry::new(REPORTS), "reports"),
        (Entry::new("spiffe://example.org/stranger"), "reports"),
        (Entry::new("spiffe://example.org/stranger").dns("reports"), "reports"),
        // Names beside the one that counts: a dot is a dot, and nothing goes before or behind.
        (Entry::new("spiffe://example.org/stranger").dns("shop-example"), "shop"),
        (Entry::new("spiffe://example.org/stranger").dns("shop.example.org"), "shop"),
        (Entry::new("spiffe://example.org/stranger").dns("a.shop.example"), "shop"),
        (Entry::new("spiffe://example.org/stranger").dns("x").dns("shop.example"), "shop"),
        (uid(REPORTS), "shop"),
        // A CN that would be another workload's uid, if it could have a comma.
        (
            Entry::new("spiffe://example.org/stranger")
                .dns("x500UniqueIdentifier=00000000000000000000000000000000,O=SPIRE,C=US"),
            "reports",
        ),
    ] {
        is_refused(&setup, &entry, role);
    }

    // Without TLS, and without a certificate, nobody gets in.
    let place =
        format!("hostaddr=127.0.0.1 port={} user=reports dbname=postgres", setup.cluster.port());
    for (mode, words) in [
        ("disable", "pg_hba.conf rejects connection"),
        ("require", "requires a valid client certificate"),
    ] {
        let output = Psql::new().arg("-w").arg(format!("{place} sslmode={mode}")).run();
        assert!(output.stderr.contains(words), "{output:?}");
    }

    let (report, status) = check(&setup, &[]);
    assert_eq!(status, 0, "{report:#}");
    assert!(
        report.to_string().contains("let each workload of [[roles]] log in as its role"),
        "{report:#}"
    );

    // A change of the map is a rotation of its own.
    write(&setup, "", &[], &ROLES.replace(", \"billing\"]", "]"));
    assert!(pgsvid.terminate(LIMIT).success());
    let pgsvid = setup.spawn();
    pgsvid.current(1);
    is_refused(&setup, &uid(BILLING), "billing");
    gets_in(&setup, &uid(REPORTS), "reports");
}

#[test]
fn a_map_that_somebody_has_widened_is_restored_and_loaded() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");
    let stranger = uid("spiffe://example.org/stranger");
    let published = std::fs::canonicalize(setup.files.join("pg_ident.conf")).unwrap();
    let right = std::fs::read_to_string(&published).unwrap();
    let name = published.strip_prefix(setup.files.path()).unwrap().to_str().unwrap();
    setup.files.write(name, format!("{right}spiffe /^.*$ reports\n"), 0o644);
    pgsvid.event("files-changed");
    pgsvid.current(2);
    assert_eq!(std::fs::read_to_string(setup.files.join("pg_ident.conf")).unwrap(), right);
    is_refused(&setup, &stranger, "reports");
}

#[test]
fn a_changed_map_waits_for_a_server_that_cannot_be_asked() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");
    assert!(pgsvid.terminate(LIMIT).success());
    let cluster = &setup.cluster;
    admin(cluster, "ALTER ROLE pgsvid CONNECTION LIMIT 0");
    write(&setup, "", &[], &ROLES.replace(", \"billing\"]", "]"));
    let pgsvid = setup.spawn();
    // What is served is what is published: that alone would say that all is done.
    pgsvid.wait_for_text(LIMIT, "too many connections for role");
    gets_in(&setup, &uid(BILLING), "billing");
    assert!(pgsvid.events("rotated").is_empty());
    admin(cluster, "ALTER ROLE pgsvid CONNECTION LIMIT 3");
    pgsvid.event("rotated");
    is_refused(&setup, &uid(BILLING), "billing");
}

#[test]
fn a_person_of_the_corporate_ca_gets_in_beside_the_workloads() {
    let corporate = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, "Corporate CA");
    let root = params.self_signed(&corporate).unwrap();
    let issuer = Issuer::new(params, corporate);

    let setup = Setup::builder(PGSVID).create();
    let ca = setup.other.write("corporate.pem", pem("CERTIFICATE", root.der()), 0o644);
    write(
        &setup,
        &format!("extra_authorities = [{:?}]", ca.display().to_string()),
        &["spiffe \"CN=alice,O=Example\" alice"],
        ROLES,
    );
    let pgsvid = started(&setup, "hostssl all alice all cert clientname=DN map=spiffe");
    admin(&setup.cluster, "CREATE ROLE alice LOGIN");

    let person = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let directory = holder(&setup.agent.svid());
        directory.write("svid.pem", pem("CERTIFICATE", certificate.der()), 0o644);
        directory.write("svid_key.pem", pem("PRIVATE KEY", &key.serialize_der()), 0o600);
        directory
    };
    let output = login(&setup.cluster, person("alice").path(), "alice");
    assert_eq!(output.stdout, "alice", "{output:?}");
    for (name, role) in [("bob", "alice"), ("alice", "reports")] {
        let output = login(&setup.cluster, person(name).path(), role);
        assert!(output.stderr.contains("authentication failed for user"), "{output:?}");
    }
    gets_in(&setup, &uid(REPORTS), "reports");

    let (report, _) = check(&setup, &[]);
    assert!(
        report
            .to_string()
            .contains("also lets in anyone who has a certificate of CN=Corporate CA,O=Example"),
        "{report:#}"
    );
    drop(pgsvid);
}

#[test]
fn check_names_what_the_servers_files_lack() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");
    let fails = |words: &str| {
        let (report, status) = check(&setup, &[]);
        let found = report.to_string();
        assert!(status == 1 && found.contains(words), "{words}: {report:#}");
    };
    let cluster = &setup.cluster;
    admin(cluster, "DROP ROLE shop; ALTER ROLE billing NOLOGIN");
    fails("role shop of [[roles]] does not exist");
    fails("role billing of [[roles]] may not log in");

    cluster.set_hba("local postgres pgsvid peer map=pgsvid\nhostssl all billing,shop all cert clientname=DN map=spiffe");
    cluster.sighup();
    fails("uses the map spiffe for role reports");

    // The configuration has moved on, and `run` has not been restarted.
    let more = "[[roles]]\nspiffe_id = \"spiffe://example.org/new\"\nrole = \"shop\"\nby = \"uid\"";
    write(&setup, "", &[], &format!("{ROLES}{more}"));
    fails(
        "lacks 1 of the 4 lines of [[roles]]: spiffe://example.org/new cannot log in as role shop",
    );
    drop(pgsvid);
}

#[test]
fn a80_a_line_above_that_asks_no_map_or_another_is_reported() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");
    let cluster = &setup.cluster;
    admin(cluster, "CREATE ROLE dba NOLOGIN; GRANT dba TO reports");
    let ours = run(&setup, &["hba"]).well();
    let impostor = Entry::new("spiffe://example.org/impostor").dns("reports");
    is_refused(&setup, &impostor, "reports");
    for (line, lets_in, severity, words) in [
        ("hostssl all all all cert", true, "failure", "has the role's name as its CN"),
        ("hostssl all +dba all cert", true, "warning", "may decide about role reports"),
        ("hostssl all reports all cert map=other", false, "failure", "by the map other"),
        ("hostssl all all all cert map=spiffe", false, "failure", "instead of its whole subject"),
        (
            "hostssl all all all scram-sha-256 clientcert=verify-full",
            false,
            "failure",
            "has the role's name as its CN",
        ),
    ] {
        cluster.set_hba(&format!("{line}\n{ours}\nlocal all all peer"));
        cluster.reload();
        if lets_in {
            test_support::eventually(LIMIT, "the line lets it in", || {
                workload(&setup, &impostor, "reports").stdout == "reports"
            });
        }
        let (report, _) = check(&setup, &[]);
        let sections = report["sections"].as_array().unwrap();
        let findings = sections.iter().flat_map(|section| section["findings"].as_array().unwrap());
        let mut of_severity = findings.filter(|finding| finding["severity"] == severity);
        let is_reported = of_severity.any(|finding| {
            let text = finding["text"].as_str().unwrap();
            text.contains("line 2 ") && text.contains(words)
        });
        assert!(is_reported, "{line}: {report:#}");
        assert!(!report.to_string().contains("let each workload of [[roles]]"), "{report:#}");
    }
    drop(pgsvid);
}

/// The line that asks the map is for fewer databases or addresses than one below it.
#[test]
fn a96_a_line_below_that_others_reach_is_reported_and_the_remedy_ends_it() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");
    let cluster = &setup.cluster;
    admin(cluster, "CREATE ROLE dba NOLOGIN; GRANT dba TO reports");
    let ours = run(&setup, &["hba"]).well();
    let impostor = Entry::new("spiffe://example.org/impostor").dns("reports");
    let narrowed = |from: &str, to: &str| {
        let lines: Vec<String> = ours
            .lines()
            .map(|line| {
                if line.starts_with("hostssl") {
                    line.replacen(from, to, 1)
                } else {
                    line.to_owned()
                }
            })
            .collect();
        lines.join("\n")
    };
    let said = |hba: &str| {
        cluster.set_hba(&format!("{hba}\nlocal all all peer"));
        cluster.reload();
        let (report, _) = check(&setup, &[]);
        let found = |severity: &str| crate::attacks::endless::texts(&report, severity);
        let is_below = |text: String| {
            text.contains("role reports") && text.contains("below the line that uses")
        };
        let is_well = found("ok").contains("let each workload of [[roles]]");
        (is_below(found("failure")), is_below(found("warning")), is_well)
    };
    for (from, to) in [("  all  ", "  products  "), ("  all  cert", "  10.0.0.0/8  cert")] {
        let narrow = narrowed(from, to);
        assert_ne!(narrow, ours);
        for line in
            ["hostssl all all all cert", "hostssl all all all scram-sha-256 clientcert=verify-full"]
        {
            assert_eq!(said(&format!("{narrow}\n{line}")), (true, false, false), "{narrow} {line}");
        }
        assert_eq!(said(&format!("{narrow}\nhostssl all +dba all cert")), (false, true, false));
        assert_eq!(said(&format!("{narrow}\nhostssl all all all cert")), (true, false, false));
        test_support::eventually(LIMIT, "the line below lets it in", || {
            workload(&setup, &impostor, "reports").stdout == "reports"
        });
        // The remedy, and others that decide.
        assert_eq!(
            said(&format!("{narrow}\n{ours}\nhostssl all all all cert")),
            (false, false, true)
        );
        is_refused(&setup, &impostor, "reports");
        let rest = "hostssl all reports,billing,shop 0.0.0.0/0 reject\nhostssl all reports,billing,shop ::/0 reject";
        assert_eq!(
            said(&format!("{narrow}\n{rest}\nhostssl all all all cert")),
            (false, false, true)
        );
        assert_eq!(said(&format!("{narrow}\nhostssl all other all cert")), (false, false, true));
    }
    // `all` is no replication.
    let lines = format!("{ours}\nhostssl replication all all cert");
    assert_eq!(said(&lines), (false, true, false));
    let reject = "hostssl replication reports,billing,shop all reject";
    assert_eq!(
        said(&lines.replace("hostssl replication", &format!("{reject}\nhostssl replication"))),
        (false, false, true)
    );
    drop(pgsvid);
}

#[test]
fn apply_lets_newer_servers_include_the_map() {
    let setup = Setup::builder(PGSVID).cluster(|_| test_support::Cluster::builder()).create_bare();
    configure(&setup, "ident = \"pg_ident.conf\"", ROLES);
    crate::setup::publish(&setup);
    setup.cluster.start();
    run(&setup, &["apply", "--hba", "--yes"]).well();
    admin(
        &setup.cluster,
        "CREATE ROLE reports LOGIN; CREATE ROLE billing LOGIN; CREATE ROLE shop LOGIN",
    );
    let ident = crate::setup::state(&setup)[1].clone();
    let includes = setup.cluster.version() >= 16;
    assert_eq!(ident.contains("include_if_exists"), includes, "{ident}");
    assert_eq!(ident.contains("x500UniqueIdentifier"), !includes, "{ident}");
    let pgsvid = setup.spawn();
    pgsvid.event("rotated");
    gets_in(&setup, &uid(REPORTS), "reports");
    is_refused(&setup, &uid(BILLING), "reports");
}

#[test]
fn a_map_that_does_not_compile_is_an_alarm_of_run_and_a_failure_of_check() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");
    assert!(pgsvid.terminate(LIMIT).success());
    write(&setup, "", &["names /^(unclosed$ \\1"], &ROLES.replace(", \"billing\"]", "]"));
    let pgsvid = setup.spawn();
    let alarm = pgsvid.event("role-map-unreadable");
    assert_eq!(alarm["level"], "ERROR");
    // It is true: the certificate goes on, and who was taken out is still in.
    pgsvid.current(1);
    gets_in(&setup, &uid(BILLING), "billing");
    let (report, status) = check(&setup, &[]);
    let found = report.to_string();
    assert!(status == 1 && found.contains("PostgreSQL cannot compile /^(unclosed$"), "{report:#}");
}

#[test]
fn a_map_that_is_no_longer_configured_does_not_stay() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");
    assert!(pgsvid.terminate(LIMIT).success());
    let map = std::fs::canonicalize(setup.files.join("pg_ident.conf")).unwrap();
    configure(&setup, "", "");
    let pgsvid = setup.spawn();
    pgsvid.rotated(1);
    assert!(!setup.files.join("pg_ident.conf").exists(), "{}", map.display());
    if setup.cluster.version() >= 16 {
        is_refused(&setup, &uid(BILLING), "billing");
    }
}

#[test]
fn check_sees_a_line_that_decides_first() {
    let setup = Setup::builder(PGSVID).create();
    write(&setup, "", &[], ROLES);
    let pgsvid = started(&setup, "");
    let hba = run(&setup, &["hba"]).well();
    setup.cluster.set_hba(&format!("host all all 127.0.0.1/32 trust\n{hba}\nlocal all all peer"));
    let (report, status) = check(&setup, &[]);
    let words = "line 2 lets clients log in as role reports by trust alone, above the line that uses certificates";
    assert!(status == 1 && report.to_string().contains(words), "{report:#}");
    drop(pgsvid);
}
