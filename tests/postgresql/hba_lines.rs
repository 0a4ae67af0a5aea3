//! A76, A77, A79: random lines of `pg_hba.conf` and `pg_ident.conf`, read by pgsvid and by a real PostgreSQL.
//!
//! `PGSVID_HBA_LINES=100000` reads that many, with another seed each time; a failure prints the seed.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use pgsvid::sql::{self, Address, BadLine, HbaRule, Line, Session, parse_hba};
use pgsvid::survey;
use test_support::{Dice, LIMIT, Setup, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");

/// Lines of one file.
const A_FILE: usize = 50;

/// How many of [`WORDS`] every list may have, and how many of [`PLACES`] are some.
const READABLE: usize = 23;
const POSSIBLE: usize = 20;

const KINDS: [&str; 12] = [
    "local",
    "local",
    "host",
    "host",
    "hostssl",
    "hostssl",
    "hostnossl",
    "hostgssenc",
    "hostnogssenc",
    "\"hostssl\"",
    "hosts",
    "host,local",
];
const WORDS: [&str; 25] = [
    "all",
    "all",
    "app",
    "svc",
    "\"all\"",
    "sameuser",
    "\"sameuser\"",
    "samerole",
    "samegroup",
    "replication",
    "\"replication\"",
    "+dba",
    "\"+dba\"",
    "/^a",
    "\"/^a|b$\"",
    "\"a b\"",
    "\"a,b\"",
    "\"\"",
    "\"\"\"x\"\"\"",
    "al\"l\"",
    "é",
    "@users",
    "\"@users\"",
    "@nowhere",
    "@empty",
];
const PLACES: [&str; 33] = [
    "all",
    "all",
    "\"all\"",
    "samehost",
    "\"samehost\"",
    "samenet",
    "localhost",
    ".example.org",
    "10.0.0.0/8",
    "10.1.2.3/8",
    "0.0.0.0/0",
    "::1/128",
    "::1/8",
    "::/0",
    "::ffff:1.2.3.4/96",
    "10.0.0.0 255.0.0.0",
    "10.0.0.0 255.0.255.0",
    "0 0",
    "127.1/8",
    "0x7f.1/32",
    "10.0.0.0",
    "10.0.0.0/33",
    "::1/129",
    "fe80::1%lo/64",
    "db/8",
    "\"\"",
    "\"10.0.0.0/8\"",
    "10.0.0.0/+8",
    "10.0.0.0/-1",
    "1.2.3/8",
    "::1 ffff::",
    "::1 255.0.0.0",
    "@users",
];
const METHODS: [&str; 24] = [
    "trust",
    "trust",
    "reject",
    "md5",
    "scram-sha-256",
    "password",
    "ident",
    "ident",
    "peer",
    "peer",
    "cert",
    "cert",
    "cert",
    "gss",
    "pam",
    "ldap",
    "radius",
    "sspi",
    "bsd",
    "\"cert\"",
    "CERT",
    "\"\"",
    "cert,peer",
    "@users",
];
const OPTIONS: [&str; 22] = [
    "map=m",
    "map=m",
    "map=\"m n\"",
    "\"map=m\"",
    "map=",
    "map=\"\"",
    "clientcert=verify-full",
    "clientcert=verify-ca",
    "clientcert=1",
    "clientname=DN",
    "clientname=CN",
    "clientname=dn",
    "include_realm=0",
    "krb_realm=X",
    "pamservice=p",
    "ldapserver=x ldapprefix=y",
    "colour=green",
    "map",
    "=",
    "@users",
    "map=a,clientcert=verify-full",
    "map=a#b",
];
const NAMES: [&str; 12] = [
    "m",
    "spiffe",
    "\"a b\"",
    "/^(.*)$",
    "\"/^a,b$\"",
    "\"\"",
    "a,b",
    "@users",
    "\\1",
    "all",
    "+dba",
    "\"x\"\"y\"",
];
const GAPS: [&str; 8] = [" ", " ", " ", "\t", "  ", " \\\n ", "\\\n", "\r "];
const ENDS: [&str; 7] = ["\n", "\n", "\n", "\r\n", " # a \"comment\"\n", "#c\n", " \\\\\n"];

/// What PostgreSQL objects to, and pgsvid does not look at: it depends on versions, or on other lines' words.
const OTHER_OBJECTIONS: [&str; 8] = [
    "invalid regular expression",
    "token too long",
    "not supported by this build",
    "requires argument",
    "requires at least",
    "together with",
    "to be set",
    "cannot match because",
];

struct Server {
    setup: Setup,
    runtime: tokio::runtime::Runtime,
    settings: sql::Settings,
}

/// A PostgreSQL with TLS: else its views have nothing of `hostssl` lines.
fn server(more: &str) -> Server {
    let setup = Setup::builder(PGSVID)
        .cluster(|cluster| cluster.conf(more).ident("administration root postgres"))
        .create();
    setup.configure("");
    let pgsvid = setup.spawn();
    setup.wait_published();
    assert!(pgsvid.terminate(LIMIT).success());
    setup.cluster.start();
    let settings = sql::Settings {
        host: setup.cluster.socket_directory().to_owned(),
        port: setup.cluster.port(),
        user: "postgres".to_owned(),
        database: "postgres".to_owned(),
        password_file: None,
        require_peer: None,
        purpose: sql::Purpose::Reload,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Server { setup, runtime, settings }
}

fn list(dice: &mut Dice, words: &[&str]) -> String {
    let words: Vec<&str> = (0..dice.between(1..=3)).map(|_| *dice.one_of(words)).collect();
    words.join(*dice.one_of(&[",", ",", ", ", ",,"]))
}

/// Every second line has a chance: what does not fit together at all says little.
fn hba_line(dice: &mut Dice) -> String {
    let kind = *dice.one_of(&KINDS);
    let fits = dice.once_in(2);
    let words = if fits { &WORDS[..READABLE] } else { &WORDS[..] };
    let mut fields = vec![kind.to_owned(), list(dice, words), list(dice, words)];
    if kind != "local" || (!fits && dice.once_in(20)) {
        fields
            .push((*dice.one_of(if fits { &PLACES[..POSSIBLE] } else { &PLACES[..] })).to_owned());
    }
    let (methods, options): (&[&str], &[&str]) = match (fits, kind) {
        (false, _) => (&METHODS, &OPTIONS),
        (true, "local") => (&["trust", "peer map=m", "ident", "md5"], &[]),
        (true, "hostssl" | "\"hostssl\"") => {
            (&["cert", "\"cert\" map=n", "trust", "ident"], &OPTIONS)
        }
        (true, _) => (&["trust", "reject", "md5", "ident", "ident \"map=m n\""], &[]),
    };
    fields.push((*dice.one_of(methods)).to_owned());
    for _ in 0..dice.between(0..=2).min(u32::try_from(options.len()).unwrap()) {
        fields.push((*dice.one_of(options)).to_owned());
    }
    whole(dice, fields)
}

fn ident_line(dice: &mut Dice) -> String {
    let fields = (0..3).map(|_| (*dice.one_of(&NAMES)).to_owned()).collect();
    whole(dice, fields)
}

/// A line of these fields; once in a while one is missing, or a letter is another.
fn whole(dice: &mut Dice, mut fields: Vec<String>) -> String {
    if dice.once_in(15) {
        fields.truncate(usize::try_from(dice.between(1..=4)).unwrap());
    }
    if dice.once_in(40) {
        fields = vec![
            (*dice.one_of(&["include", "include_if_exists", "include_dir"])).to_owned(),
            "nowhere".to_owned(),
        ];
    }
    let line = fields.join(*dice.one_of(&GAPS)) + *dice.one_of(&ENDS);
    if dice.once_in(10) {
        let bytes = dice.mutation(line.as_bytes(), b"\"@,# \\\n/+all");
        return String::from_utf8_lossy(&bytes).replace('\0', "") + "\n";
    }
    line
}

#[test]
fn a76_a79_lines_of_any_kind_are_read_as_postgresql_reads_them_or_called_unclear() {
    let wanted = std::env::var("PGSVID_HBA_LINES").map_or(1500, |text| text.parse().unwrap());
    let Server { setup, runtime, settings } = server("");
    let cluster = &setup.cluster;
    let session = runtime.block_on(Session::connect(&settings)).unwrap();
    let standing = runtime.block_on(session.standing()).unwrap();
    cluster.write_file("users", "app, \"all\" # and\n+dba @more\n");
    cluster.write_file("more", "svc\n");
    cluster.write_file("empty", "# nobody\n");
    let mut dice = Dice::from_environment("PGSVID_SEED");
    let seed = dice.seed();
    let (mut lines, mut rules, mut refused, mut mappings, mut careful) = (0, 0, 0, 0, 0);
    while lines < wanted {
        let hba: String = (0..A_FILE).map(|_| hba_line(&mut dice)).collect();
        let ident: String = (0..A_FILE).map(|_| ident_line(&mut dice)).collect();
        cluster.write_file("pg_hba.conf", &hba);
        cluster.write_file("pg_ident.conf", &ident);
        let views = runtime.block_on(session.access()).unwrap().expect("a superuser may look");
        let ours = survey::access(&settings, Some(&standing)).unwrap();
        let context = |line: u32, text: &str| {
            let lines: Vec<&str> = text.lines().skip(line as usize - 1).take(3).collect();
            format!("PGSVID_SEED={seed}: line {line}: {lines:#?}")
        };
        let known = |of: &str| {
            let unclear = ours.unclear.iter().filter(move |unclear| unclear.of == of);
            unclear.map(|unclear| (unclear.line, unclear.why.clone())).collect::<Vec<_>>()
        };
        let of_rules: Vec<u32> = ours.rules.iter().map(|rule| rule.line).collect();
        careful += agree(
            "pg_hba.conf",
            &of_rules,
            &known("pg_hba.conf"),
            &views.bad,
            &{ views.rules.iter().map(|rule| rule.line).collect::<Vec<_>>() },
            &|line| context(line, &hba),
        );
        for theirs in &views.rules {
            let rule = ours.rules.iter().find(|rule| rule.line == theirs.line);
            if let Some(rule) = rule {
                assert!(
                    rule.is_shown_as(theirs),
                    "{rule:?}\n{theirs:?}\n{}",
                    context(rule.line, &hba)
                );
            }
        }
        if let Some(theirs) = &views.mappings {
            let found = ours.mappings.as_ref().unwrap();
            let of_mappings: Vec<u32> = found.iter().map(|mapping| mapping.line).collect();
            let shown: Vec<u32> = theirs.iter().map(|mapping| mapping.line).collect();
            careful += agree(
                "pg_ident.conf",
                &of_mappings,
                &known("pg_ident.conf"),
                &views.bad,
                &shown,
                &|line| context(line, &ident),
            );
            for mapping in theirs {
                let same = found.iter().find(|ours| ours.line == mapping.line);
                assert!(same.is_none_or(|ours| ours == mapping), "{same:?}\n{mapping:?}");
            }
            mappings += theirs.len();
        }
        lines += 2 * A_FILE;
        rules += views.rules.len();
        refused += views.bad.len();
    }
    #[expect(clippy::print_stderr, reason = "a long run says what it has seen")]
    {
        eprintln!(
            "{lines} lines: {rules} rules, {mappings} mappings, {refused} refused, {careful} unclear to pgsvid alone"
        );
    }
    assert!(rules * 20 > lines && refused * 10 > lines, "{rules} {refused}");
}

/// Each line is the same to both: an entry, or refused and unclear. Returns how many PostgreSQL takes that pgsvid does not.
#[track_caller]
fn agree(
    file: &str,
    entries: &[u32],
    unclear: &[(u32, String)],
    bad: &[BadLine],
    shown: &[u32],
    context: &dyn Fn(u32) -> String,
) -> usize {
    let bad: Vec<&BadLine> = bad.iter().filter(|bad| bad.file == file).collect();
    for line in shown {
        let known = entries.contains(line) || unclear.iter().any(|(unclear, _)| unclear == line);
        assert!(known, "{file}: not seen: {}", context(*line));
    }
    for bad in &bad {
        let known = unclear.iter().any(|(line, _)| *line == bad.line)
            || OTHER_OBJECTIONS.iter().any(|words| bad.error.contains(words));
        assert!(known, "{file}: {bad:?} is taken: {}", context(bad.line));
    }
    for line in entries {
        let known = shown.contains(line) || bad.iter().any(|bad| bad.line == *line);
        assert!(known, "{file}: PostgreSQL does not see {}", context(*line));
    }
    let alone = unclear.iter().filter(|(line, _)| !bad.iter().any(|bad| bad.line == *line));
    alone
        .inspect(|(line, why)| {
            // A list that is an empty file is none: the next field stands in its place.
            let meant = ["(@)", "(%)"].iter().any(|words| why.contains(words))
                || context(*line).contains("@empty")
                // A name that is not UTF-8, perhaps in a list, is compared with nothing (B38).
                || why.contains("UTF-8");
            assert!(meant && shown.contains(line), "{file}: {why}: {}", context(*line));
        })
        .count()
}

#[test]
fn a77_an_address_holds_the_clients_that_a_server_lets_in_by_it() {
    let Server { setup, runtime, settings } = server("listen_addresses = '*'");
    let cluster = &setup.cluster;
    let places = PLACES.iter().filter(|place| !place.starts_with('@') && !place.contains('%'));
    let more = [
        "::1/127",
        "127.0.0.1/7",
        "127.0.0.1 127.0.0.255",
        "127.0.0.1 255.0.0.255",
        "192.0.2.99/24",
        "fd00::9/64",
    ];
    let mut text = "local all postgres peer map=administration\n".to_owned();
    let mut known: Vec<(String, Address)> = Vec::new();
    for place in places.chain(&more) {
        let line = format!("hostnossl db{} postgres {place} trust\n", known.len());
        if let [Line::Entry(HbaRule { address: Some(address), .. })] = parse_hba(&line).as_slice() {
            known.push(((*place).to_owned(), address.clone()));
            text += &line;
        }
    }
    assert!(known.len() > 25);
    cluster.write_file("pg_hba.conf", &text);
    cluster.sighup();
    let last = format!("db{}", known.len() - 1);
    eventually(LIMIT, "the file is loaded", || {
        let session = runtime.block_on(Session::connect(&settings)).unwrap();
        let views = runtime.block_on(session.access()).unwrap().unwrap();
        views.bad.is_empty() && views.rules.iter().any(|rule| rule.databases == [last.as_str()])
    });
    let own = [("0.0.0.0:0", "198.51.100.1:9"), ("[::]:0", "[2001:db8::1]:9")]
        .into_iter()
        .filter_map(|(any, far)| {
            let socket = UdpSocket::bind(any).ok()?;
            socket.connect(far).ok()?;
            Some(socket.local_addr().ok()?.ip())
        });
    let loopback = ["127.0.0.1", "127.0.0.2", "127.9.9.1", "::1"].map(|text| text.parse().unwrap());
    let (mut let_in, mut kept_out) = (0, 0);
    for from in loopback.into_iter().chain(own) {
        let to = match from {
            IpAddr::V4(ip) if ip.is_loopback() => [127, 0, 0, 1].into(),
            ip => ip,
        };
        for (number, (place, address)) in known.iter().enumerate() {
            let to = SocketAddr::new(to, cluster.port());
            let is_let_in = runtime.block_on(is_let_in(from, to, &format!("db{number}")));
            if let Some(holds) = address.holds(from) {
                assert_eq!(holds, is_let_in, "{place} {from}");
            }
            // No other machine is let in by what is said to be local: here its own address stands for another's.
            if is_let_in && !from.is_loopback() && *address != Address::SameHost {
                assert!(!address.is_local(), "{place} {from}");
            }
            let_in += usize::from(is_let_in);
            kept_out += usize::from(!is_let_in);
        }
    }
    assert!(let_in > 20 && kept_out > 20, "{let_in} {kept_out}");
}

/// Whether the server lets a client in that comes from that address. Authentication comes before the database is looked for.
async fn is_let_in(from: IpAddr, to: SocketAddr, database: &str) -> bool {
    let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let mut socket = socket.connect(to).await.unwrap();
    let mut message = 196_608_u32.to_be_bytes().to_vec();
    for word in ["user", "postgres", "database", database, ""] {
        message.extend(word.as_bytes());
        message.push(0);
    }
    socket.write_u32(u32::try_from(message.len() + 4).unwrap()).await.unwrap();
    socket.write_all(&message).await.unwrap();
    socket.read_u8().await.unwrap() == b'R'
}

#[test]
fn a79_rules_of_included_files_are_shown_in_the_order_in_which_they_count() {
    let Server { setup, runtime, settings } = server("");
    let session = runtime.block_on(Session::connect(&settings)).unwrap();
    let standing = runtime.block_on(session.standing()).unwrap();
    let cluster = &setup.cluster;
    cluster.write_file(
        "included.conf",
        "# one\n\nhostssl all app all cert\nhost all app all reject\n",
    );
    cluster.write_file(
        "pg_hba.conf",
        "local all all peer\ninclude included.conf\nhost all all ::1/128 trust\n",
    );
    let views = runtime.block_on(session.access()).unwrap().unwrap();
    let ours = survey::access(&settings, Some(&standing)).unwrap();
    if cluster.version() < 16 {
        assert_eq!(views.bad.len(), 1, "{views:?}");
        return;
    }
    let lines: Vec<u32> = views.rules.iter().map(|rule| rule.line).collect();
    assert_eq!(lines, [1, 3, 4, 3]);
    assert!(ours.rules.iter().zip(&views.rules).all(|(ours, shown)| ours.is_shown_as(shown)));
    let files: Vec<bool> = views.rules.iter().map(|rule| rule.file.is_some()).collect();
    assert_eq!(files, [false, true, true, false]);
}
