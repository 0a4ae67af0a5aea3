//! The command line: help, exit statuses, errors in the configuration, and that no key is ever logged.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dev_agent::{DevAgent, Entry};
use test_support::{Directory, Mark, Program};

const LIMIT: Duration = Duration::from_secs(30);
const BINARY: &str = env!("CARGO_BIN_EXE_pgsvid");

#[test]
fn each_help_fits_a_terminal_and_says_what_matters() {
    for (command, wanted) in [
        ("", vec!["run ", "fetch ", "check ", "version "]),
        (
            "run",
            vec!["--endpoint", "SPIFFE_ENDPOINT_SOCKET", "--directory", "--postgres", "SIGHUP"],
        ),
        ("fetch", vec!["--timeout", "30s, 5m, 1h", "[default: 1m]", "more than half of its life"]),
        ("check", vec!["--offline", "--config", "/etc/pgsvid/pgsvid.toml"]),
        ("version", vec!["Show the version"]),
    ] {
        let arguments = [command, "--help"].into_iter().filter(|argument| !argument.is_empty());
        let output = pgsvid(arguments, &[("COLUMNS", "80")]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let help = text(&output.stdout);
        for wanted in wanted {
            assert!(help.contains(wanted), "{command}: {wanted} is not in\n{help}");
        }
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 80, "{command}: a line of {widest}");
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn each_flag_names_its_variable_and_each_variable_works() {
    let help = text(&pgsvid(["run", "--help"], &[("COLUMNS", "200")]).stdout);
    for (variable, bad) in [
        ("PGSVID_CONFIG", "/does/not/exist.toml"),
        ("PGSVID_ENDPOINT", "bad"),
        ("PGSVID_DIRECTORY", "bad"),
        ("PGSVID_GROUP", "no such group"),
        ("PGSVID_SPIFFE_ID", "bad"),
        ("PGSVID_POSTGRES", "bad"),
        ("PGSVID_VERIFY", "bad"),
        ("PGSVID_LOG_FORMAT", "bad"),
        ("PGSVID_LOG_LEVEL", "bad"),
        ("PGSVID_HINT", ""),
    ] {
        assert!(help.contains(variable), "{variable} is not in\n{help}");
        let mut variables = vec![
            ("PGSVID_ENDPOINT", "unix:///s"),
            ("PGSVID_DIRECTORY", "/d"),
            ("PGSVID_POSTGRES", "/p"),
        ];
        variables.retain(|(name, _)| *name != variable);
        variables.push((variable, bad));
        let error = misused(&["check", "--offline"], &variables);
        assert!(
            error.contains(bad) && (error.contains(variable) || variable == "PGSVID_CONFIG"),
            "{error}"
        );
    }
}

#[test]
fn version_is_one_line_as_a_flag_and_says_more_as_a_command() {
    let first = format!("pgsvid {}", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "-V"] {
        let output = pgsvid([flag], &[]);
        assert!(output.status.success());
        assert_eq!(text(&output.stdout), format!("{first}\n"));
    }
    let output = pgsvid(["version"], &[]);
    assert!(output.status.success());
    let text = text(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], first);
    let names: Vec<_> =
        lines[1..].iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["commit", "target", "features"]);
    assert!(lines[3].contains("unwind"), "only what is shipped aborts: {}", lines[3]);
}

#[test]
fn what_cannot_be_understood_is_misuse() {
    for arguments in [
        vec![],
        vec!["--bogus"],
        vec!["frob"],
        vec!["help"],
        vec!["run", "extra"],
        vec!["run", "--timeout", "1s"],
        vec!["run", "--directory"],
        vec!["run", "--directory", "/a", "--directory", "/b"],
        vec!["version", "--offline"],
    ] {
        let error = misused(&arguments, &[]);
        let helps = error.contains("Usage: pgsvid") || error.contains("try '--help'");
        assert!(helps, "{arguments:?}: {error}");
    }
    let error = misused(&["run", "--endpont", "unix:///s"], &[]);
    assert!(error.contains("'--endpont'") && error.contains("'--endpoint'"), "{error}");
}

#[test]
fn arguments_and_variables_that_are_no_text_are_no_panic() {
    let bytes = OsStr::from_bytes(b"\xff\xfe");
    for arguments in [
        vec![bytes.to_owned()],
        vec!["run".into(), bytes.to_owned()],
        vec!["run".into(), "--endpoint".into(), bytes.to_owned()],
    ] {
        let error = misused(&arguments, &[]);
        assert!(!error.contains("panicked"), "{error}");
    }
    // A path need not be text to be named.
    let error =
        misused(&["check".into(), "--offline".into(), "--config".into(), bytes.to_owned()], &[]);
    assert!(error.contains("cannot read the configuration"), "{error}");
    let mut run = command(["run"], &[]);
    let output = run.env("SPIFFE_ENDPOINT_SOCKET", bytes).env("ANYTHING", bytes).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(error.starts_with("pgsvid: SPIFFE_ENDPOINT_SOCKET: it is not UTF-8"), "{error}");
}

#[test]
fn without_endpoint_or_directory_it_says_how_to_give_one() {
    for command in [&["run"][..], &["fetch"], &["check", "--offline"]] {
        let error = misused(command, &[("PGSVID_DIRECTORY", "/svids")]);
        assert!(
            error.contains("SPIFFE_ENDPOINT_SOCKET") && error.contains("--endpoint"),
            "{error}"
        );
        let error = misused(command, &[("SPIFFE_ENDPOINT_SOCKET", "unix:///run/agent.sock")]);
        assert!(error.contains("--directory"), "{error}");
    }
}

#[test]
fn check_offline_shows_what_a_configuration_comes_to() {
    let directory = Directory::new();
    let file = directory.write(
        "pgsvid.toml",
        "[workload_api]\nendpoint = \"unix:///run/agent.sock\"\n[files]\ndirectory = \"/svids\"\n\
         [files.service]\nname = \"products\"\noptions = { host = \"db\", sslmode = \"require\" }\n\
         [postgres]\nport = 5433\n",
        0o644,
    );
    let output = pgsvid(["check", "--offline", "--config", file.to_str().unwrap()], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for wanted in [
        &format!("Configuration {}", file.display()),
        "ok       Workload API unix:///run/agent.sock",
        "ok       files in /svids",
        "PGSERVICEFILE=/svids/pg_service.conf PGSERVICE=products",
        "warning  sslmode=require does not prove which server answers",
        "ok       PostgreSQL at /var/run/postgresql/.s.PGSQL.5433, role pgsvid, database postgres",
    ] {
        assert!(shown.contains(wanted), "{wanted} is not in\n{shown}");
    }
}

#[test]
fn pghost_alone_lets_no_postgresql_take_part_and_pgsvid_port_is_not_ours() {
    let libpq = [("PGHOST", "/run/postgresql"), ("PGPORT", "6000"), ("PGUSER", "app")];
    let mut variables = vec![("PGSVID_ENDPOINT", "unix:///s"), ("PGSVID_DIRECTORY", "/d")];
    variables.extend(libpq);
    // Kubernetes sets these for a Service named pgsvid.
    variables.extend([("PGSVID_PORT", "tcp://10.0.0.1:9809"), ("PGSVID_SERVICE_PORT", "9809")]);
    let output = pgsvid(["check", "--offline"], &variables);
    assert!(text(&output.stdout).contains("no PostgreSQL is configured"));

    let output = pgsvid(["check", "--offline", "--postgres", "/sockets"], &variables);
    let shown = text(&output.stdout);
    assert!(shown.contains("PostgreSQL at /sockets/.s.PGSQL.6000, role app"), "{shown}");
}

#[test]
fn k01_errors_in_the_file_name_line_key_and_nearest_key() {
    for (content, wanted) in [
        (
            "[files]\ndirectory = \"/svids\"\ncertificat = \"x\"\n",
            ":3: unknown key `certificat`; the nearest known key is `certificate`",
        ),
        ("\n[postgress]\n", ":2: unknown key `postgress`; the nearest known key is `postgres`"),
        ("[postgres]\nport = \"5432\"\n", ":2: invalid type: string \"5432\", expected u16"),
        ("[postgres]\nport = 70000\n", ":2: invalid value: integer `70000`, expected u16"),
        (
            "[files]\nfederated_bundles = \"yes\"\n",
            ":2: invalid type: string \"yes\", expected a boolean",
        ),
        ("[files\n", ":1: "),
        ("[log]\nlevel = \"info\"\nlevel = \"info\"\n", ":3: duplicate key"),
        ("svid = 3\n", ":1: invalid type: integer `3`, expected struct Svid"),
        ("[postgres]\nverify_every = \"5\"\n", ": postgres.verify_every: \"5\" is not a duration"),
    ] {
        let (path, error) = configured(content);
        assert!(error.starts_with(&format!("pgsvid: {path}{wanted}")), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
}

#[test]
fn k01_a_file_that_is_missing_or_cannot_be_read_is_named() {
    for command in [&["run"][..], &["fetch"], &["check", "--offline"]] {
        let arguments: Vec<&str> =
            command.iter().copied().chain(["--config", "/does/not/exist"]).collect();
        let error = misused(&arguments, &[]);
        assert!(
            error
                .starts_with("pgsvid: cannot read the configuration /does/not/exist: No such file")
        );
    }
    let error = misused(&["check", "--offline", "--config", "/"], &[]);
    assert!(
        error.starts_with("pgsvid: cannot read the configuration /: Is a directory"),
        "{error}"
    );
    let (_, error) = configured(OsStr::from_bytes(b"[log]\nlevel = \"\xff\"\n"));
    assert!(error.contains("cannot read the configuration") && error.contains("UTF-8"), "{error}");
}

#[test]
fn k02_a_key_mode_that_postgresql_would_refuse_is_refused_with_the_reason() {
    let (path, error) = configured("[files]\nprivate_key_mode = \"0640\"\n");
    let wanted = format!(
        "pgsvid: {path}: files.private_key_mode: PostgreSQL would refuse a key with mode 0640"
    );
    assert!(error.starts_with(&wanted), "{error}");
}

#[test]
fn k03_endpoints_that_the_specification_forbids_are_refused() {
    for wrong in
        ["unix:agent.sock", "unix://host/agent.sock", "tcp://agent.example:8081", "/agent.sock"]
    {
        let arguments = ["check", "--offline", "--directory", "/d", "--endpoint", wrong];
        let error = misused(&arguments, &[]);
        assert!(error.starts_with(&format!("pgsvid: --endpoint = {wrong:?}: ")), "{error}");
        let error = misused(&["run", "--directory", "/d"], &[("SPIFFE_ENDPOINT_SOCKET", wrong)]);
        assert!(
            error.starts_with(&format!("pgsvid: SPIFFE_ENDPOINT_SOCKET = {wrong:?}: ")),
            "{error}"
        );
    }
}

#[test]
fn k04_an_empty_endpoint_variable_is_named() {
    let error = misused(&["run", "--directory", "/d"], &[("SPIFFE_ENDPOINT_SOCKET", "")]);
    assert!(error.starts_with("pgsvid: SPIFFE_ENDPOINT_SOCKET: it is set, but empty"), "{error}");
}

#[test]
fn x05_a_reader_who_has_gone_away_is_no_failure() {
    for arguments in [
        &["version"][..],
        &["--help"],
        &["run", "--help"],
        &["check", "--offline", "--endpoint", "unix:///s", "--directory", "/d"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output =
            command(arguments, &[]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let error = text(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{arguments:?}: {error}");
    }
    // And the same for what is wrong.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command(["frob"], &[]).stdout(Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn no_log_holds_key_material_even_at_the_level_trace() {
    let directory = Directory::new();
    let svids = directory.subdirectory("svids");
    let agent = DevAgent::builder(directory.join("agent.sock"))
        .entry(Entry::new("spiffe://example.org/db").dns("db"))
        .automatic(false)
        .start()
        .unwrap();
    let endpoint = agent.endpoint();
    for format in ["json", "text"] {
        let arguments = [
            "run",
            "--endpoint",
            &endpoint,
            "--log-level",
            "trace",
            "--log-format",
            format,
            "--directory",
        ];
        let arguments = arguments.into_iter().chain([svids.to_str().unwrap()]);
        let pgsvid = Program::spawn(BINARY, arguments, &[]);
        let mut keys = Vec::new();
        let mut mark = Mark::default();
        for rotation in 0..3 {
            if rotation > 0 || format == "text" {
                agent.rotate().unwrap();
            }
            keys.push(agent.svid());
            pgsvid.wait_for_text_after(mark, LIMIT, "published");
            mark = pgsvid.mark();
        }
        // A rejected key is no less a secret.
        let mut spoilt = agent.response();
        spoilt.svids[0].x509_svid.clear();
        agent.push(&spoilt);
        pgsvid.wait_for_text_after(mark, LIMIT, "the certificate chain is empty");
        assert!(pgsvid.terminate(LIMIT).success());
        let log = pgsvid.lines().join("\n");
        assert!(log.len() > 500, "{log}");
        assert!(!log.contains("PRIVATE KEY"));
        for svid in &keys {
            assert_absent(&log, &svid.key);
        }
    }
}

/// The text holds no eight bytes of the key, however they are written: the curve's secret is 32 bytes from byte 36.
#[track_caller]
fn assert_absent(log: &str, key: &[u8]) {
    let lower = log.to_lowercase();
    for bytes in key[36..68].windows(8) {
        let hex = |separator: &str| {
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.join(separator)
        };
        let decimal = format!("{bytes:?}");
        for shown in
            [hex(""), hex(":"), hex(" "), hex(", "), decimal.trim_matches(['[', ']']).to_owned()]
        {
            assert!(!lower.contains(&shown), "the log holds a part of the key");
        }
        assert!(
            !lower.contains(&format!("{:?}", bytes.escape_ascii().to_string())),
            "escaped bytes"
        );
    }
    // PEM's lines are base64 from the beginning of the DER; so is any dump of it.
    let pem =
        pgsvid::material::pem::encode_key(&pgsvid::material::PrivateKey::new(key.to_vec().into()));
    let base64: String = text(&pem).lines().filter(|line| !line.starts_with('-')).collect();
    for part in base64.as_bytes()[48..].windows(12) {
        assert!(!log.contains(&text(part)), "the log holds base64 of the key");
    }
}

/// Runs a command with a configuration file of this content; returns the file's path and what is wrong with it.
#[track_caller]
fn configured(content: impl AsRef<OsStr>) -> (String, String) {
    let directory = Directory::new();
    let file =
        directory.write("pgsvid.toml", content.as_ref().as_bytes(), 0o644).display().to_string();
    let variables = [("PGSVID_ENDPOINT", "unix:///s"), ("PGSVID_DIRECTORY", "/d")];
    (file.clone(), misused(&["run", "--config", &file], &variables))
}

/// Runs what must end with status 2, without anything on standard output; returns standard error.
#[track_caller]
fn misused<A: AsRef<OsStr> + std::fmt::Debug>(
    arguments: &[A],
    variables: &[(&str, &str)],
) -> String {
    let output = pgsvid(arguments, variables);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty() && !error.is_empty(), "{arguments:?}");
    error
}

fn pgsvid<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, &str)],
) -> Output {
    command(arguments, variables).output().unwrap()
}

fn command<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, &str)],
) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn x05_a_full_pipe_on_standard_error_does_not_keep_a_process_that_fails() {
    let place = test_support::Directory::new();
    let script = r#"
        mkfifo "$0/pipe" && exec 3<>"$0/pipe" && head -c 65536 /dev/zero >&3
        exec "$1" run --endpoint unix:///does/not/exist --directory /does/not/exist 2>&3
    "#;
    let pgsvid = test_support::Program::reachable(env!("CARGO_BIN_EXE_pgsvid"));
    let arguments = ["-c", script, place.path().to_str().unwrap(), pgsvid.to_str().unwrap()];
    let pgsvid = test_support::Program::spawn("/bin/sh", arguments, &[]);
    assert_eq!(pgsvid.wait_exit(test_support::LIMIT).code(), Some(1));
}

/// Each command says it, and none goes on trying.
#[test]
fn f06_a_path_that_no_socket_can_have_is_named_by_every_command() {
    let directory = test_support::Directory::new();
    let svids = directory.subdirectory("svids");
    let long = format!("unix:/tmp/{}/agent.sock", "x".repeat(110));
    let settings =
        ["--endpoint", &long, "--directory", &svids.display().to_string()].map(str::to_owned);
    let said = |arguments: &[&str]| {
        let program = test_support::Program::spawn(BINARY, arguments, &[]);
        assert!(!program.wait_exit(test_support::LIMIT).success(), "{arguments:?}");
        let said = program.standard_output() + &program.standard_error();
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for command in
        [&["run"][..], &["fetch", "--timeout", "2s"], &["check"], &["check", "--offline"]]
    {
        let arguments: Vec<&str> =
            command.iter().copied().chain(settings.iter().map(String::as_str)).collect();
        let said = said(&arguments);
        assert!(said.contains("has 126 bytes, more than the 107"), "{command:?}: {said}");
        assert!(!said.contains("invalid input"), "{command:?}: {said}");
    }
    let said = said(&["status", "--socket", &long]);
    assert!(said.contains("has 126 bytes, more than the 107"), "{said}");
}

/// A shell may give a pipe as the file; one that nobody writes to is given up.
#[test]
fn b41_a_configuration_without_an_end_is_not_waited_for_and_a_pipe_is_read() {
    let place = Directory::new();
    let fifo = place.join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    std::fs::set_permissions(&fifo, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let check = |path: &str| {
        let program = Program::spawn(BINARY, ["check", "--offline", "-c", path], &[]);
        let status = program.wait_exit(LIMIT);
        (status.code(), program.standard_error())
    };
    let (code, said) = check(fifo.to_str().unwrap());
    assert!(code == Some(2) && said.contains("has no end after"), "{code:?}: {said}");
    let (code, said) = check("/dev/zero");
    assert!(code == Some(2) && said.contains("larger than 1 MiB"), "{code:?}: {said}");
    // A pipe whose writer comes later, one that has gone already, and one that nothing was written to.
    for (script, words) in [
        (
            "\"$0\" check --offline -c <(read -r -t 0.3 < <(tail -f /dev/null); echo colour = 1)",
            "colour",
        ),
        ("\"$0\" check --offline -c <(echo colour = 1)", "colour"),
        ("(echo colour = 1 > \"$1\") & \"$0\" check --offline -c \"$1\"; wait", "colour"),
        ("echo colour = 1 | \"$0\" check --offline -c /dev/stdin", "colour"),
        ("\"$0\" check --offline -c <(true)", "no Workload API is given"),
    ] {
        let output = Command::new("bash").args(["-c", script, BINARY]).arg(&fifo).output().unwrap();
        let said = [text(&output.stdout), text(&output.stderr)].concat();
        assert!(said.contains(words), "{script}: {said}");
    }
}
