//! Symptoms of libpq clients.

use dev_agent::{DevAgent, Entry, KeyType};
use test_support::{Directory, Psql, Setup};

use crate::troubleshooting::{
    BINARY, Checked, admin, check, client, files_only, hba, publish, setup, started, symptom,
};

/// psql through a service file, and what `check` says in the same environment.
fn through(setup: &Setup, file: &str, service: &str) -> (test_support::PsqlOutput, Checked) {
    let variables = [("PGSERVICEFILE", file), ("PGSERVICE", service)];
    let psql =
        variables.iter().fold(Psql::new().arg("-w"), |psql, (name, value)| psql.env(name, value));
    let psql = psql.script("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    (psql.run(), Checked::run(&files_only(setup), &[], &variables))
}

#[test]
fn service_files() {
    let setup = setup();
    started(&setup);
    hba(&setup.cluster, "hostssl all all all cert");
    let files = setup.files.path().display().to_string();
    let open_key = setup.other.write("open_key.pem", setup.agent.svid().key_pem(), 0o644);
    let place = format!(
        "host=localhost\nhostaddr=127.0.0.1\nport={}\nuser=app\ndbname=postgres\n",
        setup.cluster.port()
    );
    let rest = format!(
        "sslmode=verify-full\nsslcert={files}/svid.pem\nsslrootcert={files}/svid_bundle.pem\n"
    );
    let key = format!("sslkey={files}/svid_key.pem\n");
    let long = "x".repeat(1100);
    for (text, service, words, cause) in [
        (
            format!("[db]\n{place}{rest}{key}"),
            "other",
            "definition of service",
            "service-section-missing",
        ),
        (
            format!("[db]\nhost = localhost\n{rest}{key}"),
            "db",
            "syntax error in service file",
            "service-syntax",
        ),
        (
            format!("[db]\noptions={long}\n"),
            "db",
            "too long in service file",
            "service-line-too-long",
        ),
        (
            format!("[db]\n{place}{rest}sslkey={}\n", open_key.display()),
            "db",
            "has group or world access",
            "client-key-mode",
        ),
        (
            format!("[db]\n{place}{rest}sslkey={files}/..v0-gone/svid_key.pem\n"),
            "db",
            "certificate present, but not private key file",
            "service-path-missing",
        ),
        (
            format!(
                "[db]\n{place}sslmode=verify-full\nsslcert={files}/svid.pem\n{key}sslrootcert=/nowhere/ca.pem\n"
            ),
            "db",
            "root certificate file \"/nowhere/ca.pem\" does not exist",
            "sslrootcert names /nowhere/ca.pem",
        ),
        (
            format!("[db]\n{place}sslmode=verify-full\nsslrootcert={files}/svid_bundle.pem\n"),
            "db",
            "connection requires a valid client certificate",
            "service-keyword-missing",
        ),
    ] {
        let file = setup.other.write("service.conf", text, 0o644);
        let (psql, checked) = through(&setup, &file.display().to_string(), service);
        symptom(words, &psql.stderr);
        checked.fails(cause);
    }
    let (psql, checked) = through(&setup, "/nowhere/service.conf", "db");
    symptom("service file \"/nowhere/service.conf\" not found", &psql.stderr);
    checked.fails_with("service-file-unreadable", "libpq cannot read /nowhere/service.conf");
}

#[test]
fn unencrypted_in_silence() {
    let setup = setup();
    started(&setup);
    hba(&setup.cluster, "host all all all trust");
    let files = setup.files.path().display();
    let key = setup.other.write("open_key.pem", setup.agent.svid().key_pem(), 0o644);
    let text = format!(
        "[db]\nhost=127.0.0.1\nport={}\nuser=app\ndbname=postgres\nsslcert={files}/svid.pem\nsslkey={}\n\
         sslrootcert={files}/svid_bundle.pem\n",
        setup.cluster.port(),
        key.display()
    );
    let file = setup.other.write("service.conf", text, 0o644);
    let (psql, checked) = through(&setup, &file.display().to_string(), "db");
    assert_eq!(psql.stdout, "f", "{psql:?}");
    let words = "`pg_stat_ssl` says `f` though certificates are there";
    symptom(words, words);
    checked.fails("sslmode-not-strict");
}

#[test]
fn the_published_service_file() {
    let setup = setup();
    setup.configure(&format!(
        "[files.service]\nname = 'db'\noptions = {{ host = 'localhost', hostaddr = '127.0.0.1', port = '{}', dbname = \
         'postgres', user = 'localhost' }}",
        setup.cluster.port()
    ));
    started(&setup);
    admin(&setup.cluster, "CREATE ROLE localhost LOGIN");
    hba(&setup.cluster, "hostssl all all all cert");
    let file = setup.files.join("pg_service.conf").display().to_string();
    let (psql, checked) = through(&setup, &file, "db");
    assert_eq!((psql.stdout.as_str(), checked.status), ("t", 0), "{psql:?} {:#}", checked.report);
    checked.finding("ok", "service-file");
    let checked = Checked::run(&files_only(&setup), &["--as-client", "localhost"], &[]);
    checked.finding("ok", "client-login");
}

#[test]
fn another_host_name() {
    let setup = setup();
    setup.configure(&format!(
        "[files.service]\nname = 'db'\noptions = {{ host = 'db.example', hostaddr = '127.0.0.1', port = '{}', dbname = \
         'postgres', user = 'app' }}",
        setup.cluster.port()
    ));
    started(&setup);
    let file = setup.files.join("pg_service.conf").display().to_string();
    let (psql, _) = through(&setup, &file, "db");
    symptom("does not match host name", &psql.stderr);
    check(&setup, &["--as-client", "app"]).fails("served-certificate-name");
}

#[test]
fn another_trust_domain() {
    let server = setup();
    started(&server);
    let other = Directory::new();
    let agent = DevAgent::builder(other.join("agent.sock"))
        .trust_domain("example.com")
        .entry(Entry::new("spiffe://example.com/client").dns("app"))
        .start()
        .unwrap();
    let service = format!(
        "[files.service]\nname = 'db'\noptions = {{ host = 'localhost', hostaddr = '127.0.0.1', port = '{}', dbname = \
         'postgres', user = 'app' }}",
        server.cluster.port()
    );
    let mut client = setup();
    client.configure(&service);
    client.agent = agent;
    publish(&client);
    let file = client.files.join("pg_service.conf").display().to_string();
    let (psql, _) = through(&client, &file, "db");
    symptom("certificate verify failed", &psql.stderr);
    Checked::run(&files_only(&client), &["--as-client", "app"], &[])
        .fails("served-certificate-chain");
}

#[test]
fn no_service_file() {
    let setup = setup();
    publish(&setup);
    let checked = Checked::run(&files_only(&setup), &[], &[]);
    checked.warns("service-file-not-configured");
    let checked = Checked::run(&files_only(&setup), &[], &[("PGSERVICEFILE", "/nowhere")]);
    checked.warns("pgservice-unset");
}

#[test]
fn a_password_and_a_certificate_that_is_signed_with_ed25519() {
    let setup = Setup::builder(BINARY)
        .agent(|agent| agent.ca_key_type(KeyType::Ed25519))
        .cluster(|cluster| cluster.hba("hostssl all app all scram-sha-256"))
        .create();
    started(&setup);
    admin(&setup.cluster, "ALTER ROLE app PASSWORD 'secret'");
    let said = client(&setup.cluster, setup.files.path(), "app", "password=secret").run().stderr;
    symptom("could not find digest for NID UNDEF", &said);
    check(&setup, &[]).warns("svid-ed25519");
}
