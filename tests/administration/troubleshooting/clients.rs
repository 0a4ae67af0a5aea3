//! Symptoms of libpq clients.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dev_agent::{Authority, DevAgent, Entry, KeyType};
use test_support::{Directory, LIMIT, Program, Psql, Setup, eventually, openssl};

use crate::troubleshooting::{
    BINARY, Checked, admin, check, client, files_only, hba, publish, rows, setup, started, symptom,
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

/// A service file, psql, and `check` in the same environment.
pub(super) struct Service {
    pub(super) setup: Setup,
    home: String,
}

impl Service {
    pub(super) fn new() -> Self {
        let setup = setup();
        started(&setup);
        admin(&setup.cluster, "CREATE ROLE localhost LOGIN");
        hba(&setup.cluster, "hostssl all all all cert");
        setup.other.subdirectory("home");
        let home = setup.other.subdirectory("home/.postgresql");
        let home = home.parent().unwrap().display().to_string();
        Self { setup, home }
    }

    /// With these lines in place of the usual ones of the same keywords.
    pub(super) fn through(
        &self,
        lines: &str,
        more: &[(&str, &str)],
    ) -> (test_support::PsqlOutput, Checked) {
        let setup = &self.setup;
        let files = setup.files.path().display();
        let usual = format!(
            "host=localhost\nhostaddr=127.0.0.1\nport={}\nuser=localhost\ndbname=postgres\nsslmode=verify-full\n\
             sslcert={files}/svid.pem\nsslkey={files}/svid_key.pem\nsslrootcert={files}/svid_bundle.pem\n",
            setup.cluster.port()
        );
        // What is empty is left out.
        let keyword = |line: &str| line.split('=').next().unwrap().to_owned();
        let given: Vec<_> = lines.lines().map(keyword).collect();
        let usual = usual.lines().filter(|line| !given.contains(&keyword(line)));
        let lines = lines.lines().filter(|line| !line.ends_with('='));
        let text: Vec<_> = ["[db]"].into_iter().chain(lines).chain(usual).collect();
        let file = setup.other.write("service.conf", text.join("\n") + "\n", 0o644);
        let file = file.display().to_string();
        let mut variables =
            vec![("PGSERVICEFILE", file.as_str()), ("PGSERVICE", "db"), ("HOME", &self.home)];
        variables.extend(more);
        let psql = variables
            .iter()
            .fold(Psql::new().arg("-w"), |psql, (name, value)| psql.env(name, value));
        let psql = psql.script("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
        (psql.run(), Checked::run(&files_only(setup), &[], &variables))
    }
}

#[test]
fn f19_what_libpq_refuses_or_goes_without_tls_by_is_reported() {
    let service = Service::new();
    let (psql, checked) = service.through("", &[]);
    assert_eq!((psql.stdout.as_str(), checked.status), ("t", 0), "{psql:?} {:#}", checked.report);
    checked.finding("ok", "service-file");
    for (lines, words, code) in [
        ("connect_timeout=abc", "invalid integer value", "service-value"),
        ("keepalives_idle=1.5", "invalid integer value", "service-value"),
        ("target_session_attrs=master", "invalid target_session_attrs value", "service-value"),
        ("ssl_min_protocol_version=TLSv9", "invalid ssl_min_protocol_version", "service-value"),
        ("ssl_max_protocol_version=TLSv1.1", "invalid SSL protocol version range", "service-value"),
        ("channel_binding=on", "invalid channel_binding value", "service-value"),
        ("gssencmode=require", "GSSAPI", "service-certificate-unused"),
        ("host=localhost.", "does not match host name", "service-host-name"),
        ("host=", "host name must be specified", "service-host-name"),
        ("host=a,b", "could not match", "service-hosts"),
        ("port=1,2", "could not match", "service-hosts"),
        ("port=x", "invalid integer value", "service-hosts"),
        (
            "hostaddr=\nhost=localhost,localhost:5432\nport=1",
            "could not translate",
            "service-host-name",
        ),
        ("hostaddr=localhost", "could not parse network address", "service-hosts"),
        ("replication=foo", "Valid values are", "service-value"),
        ("sslcrldir=/nowhere", "certificate verify failed", "client-revocation-list"),
    ] {
        let (psql, checked) = service.through(lines, &[]);
        assert!(psql.stderr.contains(words), "{lines}: {psql:?}");
        checked.fails(code);
    }
    let (psql, checked) = service.through("", &[("PGCONNECT_TIMEOUT", "abc")]);
    assert!(psql.stderr.contains("invalid integer value"), "{psql:?}");
    checked.fails("service-value");
    let (psql, checked) = service.through("channel_binding=require", &[]);
    assert!(psql.stderr.contains("channel binding required"), "{psql:?}");
    checked.warns("service-method");
    // Over the socket there is no TLS, whatever sslmode says.
    let socket = service.setup.cluster.socket_directory().display().to_string();
    hba(&service.setup.cluster, "hostssl all all all cert\nlocal all all trust");
    let (psql, checked) = service.through(&format!("hostaddr=\nhost={socket}"), &[]);
    assert_eq!(psql.stdout, "f", "{psql:?}");
    checked.fails("service-socket");
}

#[test]
fn f19_revocation_lists_that_libpq_reads_are_reported_and_the_remedy_ends_it() {
    let service = Service::new();
    let other = DevAgent::builder(service.setup.other.join("other.sock")).start().unwrap();
    let home = Path::new(&service.home);
    let list = service.setup.other.write("home/.postgresql/root.crl", "no list at all", 0o644);
    // libpq passes over what OpenSSL loads nothing from.
    let (psql, checked) = service.through("", &[]);
    assert_eq!((psql.stdout.as_str(), checked.status), ("t", 0), "{psql:?} {:#}", checked.report);
    for text in [crl(&service.setup, "CN=another"), other.authority().root_pem()] {
        service.setup.other.write("home/.postgresql/root.crl", &text, 0o644);
        let (psql, checked) = service.through("", &[]);
        assert!(psql.stderr.contains("certificate verify failed"), "{psql:?}");
        checked.fails("client-revocation-list");
        service.setup.other.write("other.crl", &text, 0o644);
        let other = service.setup.other.join("other.crl");
        let (_, checked) = service.through(&format!("sslcrl={}", other.display()), &[]);
        checked.fails("client-revocation-list");
    }
    let (_, checked) = service.through("", &[]);
    let fix = checked.finding("failure", "client-revocation-list")["fix"].as_str().unwrap();
    assert!(Command::new("sh").args(["-c", fix]).status().unwrap().success(), "{fix}");
    assert!(!list.exists() && home.join(".postgresql/root.crl.unused").exists());
    let (psql, checked) = service.through("", &[]);
    assert_eq!((psql.stdout.as_str(), checked.status), ("t", 0), "{psql:?} {:#}", checked.report);
}

#[test]
fn b72_a_certificate_among_a_clients_revocation_lists_is_trusted_for_servers_and_is_reported() {
    let service = Service::new();
    let rogue = Authority::new("rogue.example", false).unwrap();
    let ours = service.setup.agent.authority();
    let lists = [&ours, &rogue].map(|authority| authority.revocation_list(&[]).unwrap()).concat();
    let other = &service.setup.other;
    let strange = other.write("strange.pem", rogue.root_pem(), 0o644);
    let mixed = format!("{lists}{}", ours.root_pem());
    let (empty, colon) = (other.subdirectory("empty"), other.subdirectory("colon"));
    let file = other.write("mixed.pem", &mixed, 0o644);
    let hash = String::from_utf8(openssl(&["x509", "-noout", "-hash"], ours.root_pem())).unwrap();
    for (name, text) in [
        (format!("{}.0", hash.trim()), ours.root_pem()),
        (format!("{}.r0", hash.trim()), ours.revocation_list(&[]).unwrap()),
    ] {
        std::fs::rename(other.write("written", text, 0o644), colon.join(name)).unwrap();
    }
    for lines in [
        format!("sslcrl={}", file.display()),
        format!("sslcrldir={}:{}", empty.display(), colon.display()),
    ] {
        // The server's authority is not in sslrootcert, and libpq accepts it because it is among the lists.
        let lines = format!("{lines}\nsslrootcert={}", strange.display());
        let (psql, checked) = service.through(&lines, &[]);
        assert_eq!(psql.stdout, "t", "{lines}: {psql:?}");
        checked.fails("crl-holds-certificate");
        checked.warns("service-authorities");
    }
    let both = other.write("both.pem", format!("{}{}", ours.root_pem(), rogue.root_pem()), 0o644);
    let (psql, checked) = service.through(&format!("sslrootcert={}", both.display()), &[]);
    assert_eq!(psql.stdout, "t", "{psql:?}");
    checked.warns("service-authorities");
    let copy = other.write("copy.pem", ours.root_pem(), 0o644);
    let (psql, checked) = service.through(&format!("sslrootcert={}", copy.display()), &[]);
    assert_eq!((psql.stdout.as_str(), checked.status), ("t", 0), "{psql:?} {:#}", checked.report);
    checked.finding("ok", "service-file");
}

/// A revocation list of an authority of that name.
fn crl(setup: &Setup, subject: &str) -> String {
    let script = format!(
        "cd '{}' && mkdir -p ca && cd ca && : >index.txt && echo 01 >number && printf '[ca]\ndefault_ca=a\n[a]\n\
         database=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=30\n' >ca.cnf && openssl req -x509 \
         -newkey rsa:2048 -nodes -keyout key.pem -out ca.pem -subj /{subject} 2>&1 && openssl ca -config ca.cnf -gencrl \
         -keyfile key.pem -cert ca.pem -out crl.pem 2>&1",
        setup.other.path().display()
    );
    let made = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    std::fs::read_to_string(setup.other.join("ca/crl.pem")).unwrap()
}

#[test]
fn f20_a_client_is_tried_at_each_place_of_the_service() {
    let setup = setup();
    started(&setup);
    let port = setup.cluster.port();
    admin(&setup.cluster, "CREATE ROLE localhost LOGIN");
    hba(&setup.cluster, "hostssl all all all cert");
    let options = |text: &str| {
        setup.configure(&format!(
            "[files.service]\nname = 'db'\noptions = {{ dbname = 'postgres', {text} }}"
        ));
        Checked::run(&files_only(&setup), &["--as-client", "localhost"], &[])
    };
    let checked = options(&format!("host = 'localhost,localhost', port = {port}"));
    let welcome = checked.findings().iter().filter(|it| it["code"] == "client-login").count();
    assert_eq!(welcome, 2, "{:#}", checked.report);
    let checked = options(&format!(
        "host = 'localhost,localhost', hostaddr = '127.0.0.1,127.0.0.1', port = '{port},1'"
    ));
    checked.finding("ok", "client-login");
    checked.fails("server-unreachable");
    options("host = 'localhost,localhost', port = '1,2,3'").fails("service-hosts");
    options(&format!("host = 'localhost.', port = {port}")).fails("service-host-name");
    options(&format!("host = 'localhost', hostaddr = 'localhost', port = {port}"))
        .fails("service-hosts");
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

/// The server refuses a client whose certificate is over; libpq says so in OpenSSL's words.
#[test]
fn n20_psql_reports_the_expired_certificate_to_a_client() {
    let setup = Setup::builder(BINARY)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert map=all"))
        .create();
    started(&setup);
    let own = Directory::new();
    let entry = Entry::new("spiffe://example.org/app").dns("app");
    setup.agent.set_entries([entry.ttl(Duration::from_secs(4))]).unwrap();
    let endpoint = setup.agent.endpoint();
    let directory = own.path().display().to_string();
    let flags = ["--endpoint", &endpoint, "--directory", &directory];
    let run = || {
        let all = ["run", "--log-format", "json"].into_iter().chain(flags);
        let program = Program::spawn(BINARY, all, &[]);
        program.wait_for_event(LIMIT, |event| event["event"] == "published");
        program
    };
    assert!(run().terminate(LIMIT).success());
    let words = "alert certificate expired";
    let psql = || super::client(&setup.cluster, own.path(), "app", "").run().stderr;
    eventually(LIMIT, "the client's certificate is over", || psql().contains(words));
    let said = psql();
    assert!(rows().iter().any(|row| row[1].contains("sslv3 alert certificate expired")));
    assert!(
        said.contains("sslv3 alert certificate expired") || said.contains("ssl/tls alert"),
        "{said}"
    );
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Checked::run(&flags, &[], &[]).fails("published-set");
    // The remedy.
    setup.agent.set_entries([Entry::new("spiffe://example.org/app").dns("app")]).unwrap();
    let pgsvid = run();
    assert!(!psql().contains(words));
    assert!(pgsvid.is_running());
}
