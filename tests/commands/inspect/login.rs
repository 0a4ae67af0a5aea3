//! The printed names, in a real `pg_ident.conf`.

use dev_agent::{Authority, Entry};
use test_support::{Cluster, Directory};

use crate::inspect::{ID, openssl, run, set, shown};

#[test]
fn the_printed_name_lets_its_owner_in_and_nobody_else() {
    let authority = Authority::new("example.org", false).unwrap();
    let issue = |entry: Entry| authority.issue(&entry).unwrap();
    let server = issue(Entry::new(ID).dns("localhost"));
    let files = set(&server);

    // Two SVIDs, and two people whose names are harder to write.
    let clients = [
        set(&issue(Entry::new("spiffe://example.org/app1").dns("dbclient").unique_id(true))),
        set(&issue(Entry::new("spiffe://example.org/app2").unique_id(true))),
        person("/C=US/O=Acme, Inc./CN= a\"b\\\\c;#\\+x "),
        person("/C=DE/O=Müller <& Söhne>+OU=#1/CN=日本/emailAddress=a@b.example"),
    ];
    let people: String = clients[2..]
        .iter()
        .map(|client| std::fs::read_to_string(client.join("svid.pem")).unwrap())
        .collect();
    files.write("svid_bundle.pem", server.bundle_pem() + &people, 0o644);

    let mut ident = String::new();
    for (number, client) in clients.iter().enumerate() {
        let (_, text) = run(&[client.join("svid.pem")], &[]);
        let line =
            text.lines().find_map(|line| line.trim_start().strip_prefix("DN ")).expect(&text);
        ident.push_str(&["spiffe ", line, " role", &number.to_string(), "\n"].concat());
    }
    let cluster = Cluster::builder()
        .tls_files(files.path())
        .hba("hostssl all all 127.0.0.1/32 cert clientname=DN map=spiffe")
        .ident(&ident)
        .start();
    for number in 0..clients.len() {
        cluster.sql("postgres", "postgres", &format!("CREATE ROLE role{number} LOGIN"));
    }
    for (number, client) in clients.iter().enumerate() {
        for role in 0..clients.len() {
            let output = cluster
                .psql()
                .env("PGHOST", "127.0.0.1")
                .env("PGSSLMODE", "require")
                .env("PGSSLCERT", client.join("svid.pem"))
                .env("PGSSLKEY", client.join("svid_key.pem"))
                .user(&format!("role{role}"))
                .database("postgres")
                .script("SELECT current_user")
                .run();
            assert_eq!(
                output.status.success(),
                number == role,
                "{number} as {role}: {}\n{ident}",
                output.stderr
            );
        }
    }
}

/// The author of a registration entry chooses a workload's name. What begins with a slash is a regular expression in
/// `pg_ident.conf`, in quotation marks, too.
#[test]
fn b39_a_printed_name_that_begins_with_a_slash_lets_in_its_owner_alone() {
    let authority = Authority::new("example.org", false).unwrap();
    let server = authority.issue(&Entry::new(ID).dns("localhost")).unwrap();
    let files = set(&server);
    let clients =
        [person(r"/CN=\/^.*$"), person(r#"/CN=\/a.b(c)[d]{1}|\\d"ü"#), person("/CN=other")];
    let roots: String = clients
        .iter()
        .map(|client| std::fs::read_to_string(client.join("svid.pem")).unwrap())
        .collect();
    files.write("svid_bundle.pem", server.bundle_pem() + &roots, 0o644);
    let mut ident = String::new();
    for (number, client) in clients.iter().enumerate().take(2) {
        let (_, text) = run(&[client.join("svid.pem")], &[]);
        let (_, name) = text.split_once("CN \"").expect(&text);
        let name = name.lines().next().unwrap();
        ident.extend(["m \"", name, " role", &number.to_string(), "\n"]);
    }
    let cluster = Cluster::builder()
        .tls_files(files.path())
        .hba("hostssl all all 127.0.0.1/32 cert map=m")
        .ident(&ident)
        .start();
    for (number, client) in clients.iter().enumerate() {
        cluster.sql("postgres", "postgres", &format!("CREATE ROLE role{number} LOGIN"));
        for role in 0..number {
            assert!(!lets_in(&cluster, client, role), "{number} as {role}: {ident}");
        }
        assert_eq!(lets_in(&cluster, client, number), number < 2, "{number}: {ident}");
    }
}

fn lets_in(cluster: &Cluster, client: &Directory, role: usize) -> bool {
    cluster
        .psql()
        .env("PGHOST", "127.0.0.1")
        .env("PGSSLMODE", "require")
        .env("PGSSLCERT", client.join("svid.pem"))
        .env("PGSSLKEY", client.join("svid_key.pem"))
        .user(&format!("role{role}"))
        .database("postgres")
        .script("SELECT current_user")
        .run()
        .status
        .success()
}

/// A certificate of somebody's own, with this subject.
fn person(subject: &str) -> Directory {
    let files = Directory::new();
    let (certificate, key) = (shown(&files.join("c")), shown(&files.join("k")));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-utf8",
        "-multivalue-rdn",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-subj",
        subject,
        "-out",
        &certificate,
        "-keyout",
        &key,
    ]);
    files.write("svid.pem", std::fs::read(certificate).unwrap(), 0o644);
    files.write("svid_key.pem", std::fs::read(key).unwrap(), 0o600);
    files
}
