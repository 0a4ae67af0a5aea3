//! Authorities come and go: what is published, what PostgreSQL asks for, and who can log in.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use dev_agent::{Authority, Entry, KeyIdentifier, Svid};
use pgsvid::material::{Certificate, MOST_EXTRA_NAMES, MOST_NAMES, size_of_names};
use test_support::{LIMIT, Setup, Signal, eventually, subject};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

#[test]
fn w17_a_bundle_alone_is_published_loaded_and_proven_by_its_names() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.start();
    let before = setup.agent.svid();
    setup.agent.prepare_root().unwrap();
    let after = setup.agent.svid();
    assert_eq!((before.leaf(), after.bundle.len()), (after.leaf(), 2));
    let event = pgsvid.current(2);
    assert_eq!(event["serial"], pgsvid.rotated(1)["serial"]);
    assert_authorities(&setup, &after.bundle);
}

#[test]
fn w17_a_bundle_that_the_server_does_not_take_is_noticed_and_healed() {
    let setup = Setup::new(PGSVID);
    let pgsvid = setup.spawn();
    setup.wait_published();
    let bundle = setup.other.write("ca.pem", setup.agent.svid().bundle_pem(), 0o644);
    setup.cluster.set_conf(&format!("ssl_ca_file = '{}'", bundle.display()));
    setup.cluster.start();
    let warning = pgsvid.event("settings-lead-elsewhere");
    assert!(warning["cause"].as_str().unwrap().contains("ssl_ca_file is "), "{warning}");
    // By its names it is the published one.
    pgsvid.current(1);

    setup.agent.prepare_root().unwrap();
    let alarm = pgsvid.wait_for_event(LIMIT, |event| event["level"] == "ERROR");
    assert!(alarm["message"].as_str().unwrap().contains("trusts other authorities"), "{alarm}");
    assert_eq!(alarm["generation"], 2);
    // Somebody copies the new bundle there, and leaves the reload to pgsvid.
    setup.other.write("ca.pem", setup.agent.svid().bundle_pem(), 0o644);
    pgsvid.current(2);
}

/// A handshake shows names: a PostgreSQL that goes on with an earlier set may look as if it had read the newest.
#[test]
fn a90_after_a_restart_authorities_are_no_all_clear_until_postgresql_was_asked_to_read_them() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    let socket = setup.other.join("status.sock");
    let readyz = || {
        let mut answer = String::new();
        let Ok(mut stream) = UnixStream::connect(&socket) else { return answer };
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let twin = || {
        let twin = setup.agent.authority().twin(KeyIdentifier::OfItsKey).unwrap();
        setup.other.write("twin.pem", twin.root_pem(), 0o644)
    };
    let with = |twin: Option<PathBuf>| {
        let extra =
            twin.map(|path| format!("[files]\nextra_authorities = ['{}']\n", path.display()));
        let health = format!("[health]\nlisten = 'unix:{}'", socket.display());
        setup.configure(&(extra.unwrap_or_default() + &health));
    };
    let login = |may: &str| {
        setup.cluster.sql("postgres", "postgres", &format!("ALTER ROLE pgsvid {may}"));
    };
    let is_ready = || readyz().starts_with("HTTP/1.1 200 ");
    let is_all_clear = || is_ready() && !readyz().contains("could not be asked to reload");
    with(Some(twin()));
    let mut pgsvid = setup.start();
    eventually(LIMIT, "all is well", is_all_clear);
    login("NOLOGIN");
    // Without it, with another one of the name, and as the first was: each looks the same.
    for extra in [None, Some(twin()), None, None] {
        assert!(pgsvid.terminate(LIMIT).success());
        with(extra);
        pgsvid = setup.spawn();
        pgsvid.event("never-asked");
        eventually(LIMIT, "what is served was seen", is_ready);
        assert!(!is_all_clear(), "{}", readyz());
    }
    login("LOGIN");
    pgsvid.signal(Signal::HUP);
    eventually(LIMIT, "PostgreSQL has been asked", is_all_clear);
}

/// PostgreSQL names all authorities to each client, in a message with little room: with a few more, nobody could connect.
#[test]
fn as_many_authorities_as_are_taken_can_be_served_and_more_are_refused() {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    let mut extra = as_many_as_fit(MOST_EXTRA_NAMES);
    let write = |roots: &[Authority]| {
        let text: String = roots.iter().map(Authority::root_pem).collect();
        setup.other.write("extra.pem", text, 0o644)
    };
    setup.configure(&format!("[files]\nextra_authorities = ['{}']", write(&extra).display()));
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE client LOGIN");

    let mut message = setup.agent.response();
    let own = setup.agent.authority();
    let more = as_many_as_fit(MOST_NAMES - size_of_names(&[certificate(&own)]));
    message.svids[0].bundle.extend(more.iter().flat_map(Authority::root));
    setup.agent.push(&message);
    pgsvid.current(2);
    login(&setup, "client", &client(&setup, "client")).unwrap();

    let another = Authority::new("example.org", false).unwrap();
    message.svids[0].bundle.extend(another.root());
    setup.agent.push(&message);
    pgsvid.wait_for_event(LIMIT, |event| says(event, "that a TLS handshake has room for"));
    extra.push(another);
    write(&extra);
    let kept = pgsvid.event("extra-authorities-kept");
    assert!(says(&kept, "extra authorities take"), "{kept}");
    login(&setup, "client", &client(&setup, "client")).unwrap();
}

fn says(event: &serde_json::Value, what: &str) -> bool {
    ["error", "reason"].iter().any(|name| event[name].as_str().is_some_and(|it| it.contains(what)))
}

fn certificate(authority: &Authority) -> Certificate {
    Certificate::parse(authority.root()).unwrap()
}

/// New authorities whose names take so many bytes that there is no room for another.
fn as_many_as_fit(bytes: usize) -> Vec<Authority> {
    let mut fitting: Vec<Authority> = Vec::new();
    let mut taken = 0;
    loop {
        let next = Authority::new("example.org", false).unwrap();
        taken += size_of_names(&[certificate(&next)]);
        if taken > bytes {
            return fitting;
        }
        fitting.push(next);
    }
}

#[test]
fn an_authority_changes_as_in_spire_and_nobody_is_shut_out_before_its_time() {
    let setup = Setup::builder(PGSVID)
        .agent(|agent| agent.intermediate(true))
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE client LOGIN");
    let old = client(&setup, "old");
    login(&setup, "old", &old).unwrap();

    // A new intermediate changes no bundle; SVIDs move to it when they are renewed.
    setup.agent.prepare_authority().unwrap();
    setup.agent.activate_authority().unwrap();
    setup.agent.rotate().unwrap();
    pgsvid.current(2);
    assert_served(&setup);
    login(&setup, "old", &old).unwrap();

    // A new root is announced to all before it signs anything.
    setup.agent.prepare_root().unwrap();
    pgsvid.current(3);
    assert_authorities(&setup, &setup.agent.svid().bundle);
    setup.agent.activate_authority().unwrap();
    let new = client(&setup, "new");
    login(&setup, "old", &old).unwrap();
    login(&setup, "new", &new).unwrap();

    // Two messages at once, of which the first says nothing new.
    setup.agent.taint_authority().unwrap();
    converge(&setup, &pgsvid);
    login(&setup, "old", &old).unwrap();
    login(&setup, "new", &new).unwrap();

    // Two messages at once, each with the smaller bundle.
    setup.agent.revoke_authority().unwrap();
    converge(&setup, &pgsvid);
    assert_eq!(setup.agent.svid().bundle.len(), 1);
    login(&setup, "new", &new).unwrap();
    let refused = login(&setup, "old", &old).unwrap_err();
    assert!(refused.contains("unknown ca"), "{refused}");

    let verdicts: BTreeSet<_> =
        pgsvid.events("rotated").iter().map(|event| event["verdict"].to_string()).collect();
    assert_eq!(verdicts, BTreeSet::from(["\"current\"".to_owned()]));
}

#[test]
fn extra_authorities_are_appended_and_watched() {
    let [first, second] = [1, 2].map(|_| Authority::new("corporate.example", false).unwrap());
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.hba("hostssl all all 127.0.0.1/32 cert"))
        .create();
    let file = setup.other.write("extra.pem", first.root_pem(), 0o644);
    setup.configure(&format!("[files]\nextra_authorities = ['{}']", file.display()));
    let pgsvid = setup.start();
    setup.cluster.sql("postgres", "postgres", "CREATE ROLE client LOGIN");
    let with = |extra: &Authority| {
        let mut bundle = setup.agent.svid().bundle;
        bundle.push(extra.root().to_vec());
        bundle
    };
    assert_authorities(&setup, &with(&first));
    // People with a certificate of that authority are let in, and others are not.
    let entry = Entry::new("spiffe://corporate.example/person").dns("client");
    let (one, two) = (first.issue(&entry).unwrap(), second.issue(&entry).unwrap());
    login(&setup, "one", &one).unwrap();
    login(&setup, "two", &two).unwrap_err();

    setup.other.write("extra.pem", second.root_pem(), 0o644);
    pgsvid.event("extra-authorities-changed");
    pgsvid.current(2);
    assert_authorities(&setup, &with(&second));
    login(&setup, "one", &one).unwrap_err();
    login(&setup, "two", &two).unwrap();

    // What cannot be read changes nothing, and a rotation still carries what was read last.
    setup.other.write("extra.pem", "no certificate", 0o644);
    pgsvid.event("extra-authorities-kept");
    // Whatever happens beside it is no reason to say so again.
    for number in 0..5 {
        setup.other.write(&format!("beside{number}"), "", 0o644);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(pgsvid.events("extra-authorities-kept").len(), 1);
    setup.agent.rotate().unwrap();
    pgsvid.current(3);
    assert_authorities(&setup, &with(&second));
}

#[track_caller]
fn assert_served(setup: &Setup) {
    let svid = setup.agent.svid();
    let published = fs::read_to_string(setup.files.join("svid.pem")).unwrap();
    assert_eq!(published, svid.chain_pem());
    assert_eq!(setup.cluster.served().leaf, svid.leaf());
}

/// These and no others are published, and client certificates are asked for by their names.
#[track_caller]
fn assert_authorities(setup: &Setup, roots: &[Vec<u8>]) {
    let published = fs::read(setup.files.join("svid_bundle.pem")).unwrap();
    let published = pgsvid::material::pem::decode_certificates(&published).unwrap();
    let published: Vec<_> = published.iter().map(|root| root.der().to_vec()).collect();
    assert_eq!(published, roots);
    let names: BTreeSet<_> = roots.iter().map(|root| subject(root)).collect();
    assert_eq!(setup.cluster.served().authorities, Some(names));
}

/// What the agent has now is published and proven, however many rotations that took.
#[track_caller]
fn converge(setup: &Setup, pgsvid: &test_support::Pgsvid) {
    let svid = setup.agent.svid();
    let hex = svid.serial_hex();
    let serial = format!("{}:{}:{}", &hex[..2], &hex[2..4], &hex[4..6]);
    eventually(LIMIT, "the newest SVID is rotated", || {
        pgsvid.events("rotated").last().is_some_and(|event| event["serial"] == serial)
    });
    assert_served(setup);
    assert_authorities(setup, &svid.bundle);
}

/// An SVID for the role `client`, of the authority that issues now.
fn client(setup: &Setup, name: &str) -> Svid {
    let entry = Entry::new(format!("spiffe://example.org/ns/test/sa/{name}")).dns("client");
    setup.agent.issue(&entry).unwrap()
}

/// A client with this SVID connects, and proves by the published bundle which server it has met.
fn login(setup: &Setup, name: &str, svid: &Svid) -> Result<String, String> {
    let certificate = setup.other.write(&format!("{name}.pem"), svid.chain_pem(), 0o644);
    let key = setup.other.write(&format!("{name}_key.pem"), svid.key_pem(), 0o600);
    let output = setup
        .cluster
        .psql()
        .env("PGHOST", "localhost")
        .env("PGHOSTADDR", "127.0.0.1")
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", setup.files.join("svid_bundle.pem"))
        .env("PGSSLCERT", certificate)
        .env("PGSSLKEY", key)
        .user("client")
        .database("postgres")
        .script("SELECT current_user")
        .run();
    if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) }
}
