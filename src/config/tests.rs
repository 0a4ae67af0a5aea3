//! The precedence, and errors that name place, cause and remedy.

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect()
}

fn flags() -> Flags {
    Flags {
        endpoint: Some("unix:///run/agent.sock".to_owned()),
        directory: Some("/svids".to_owned()),
        ..Flags::default()
    }
}

/// A configuration from the text of a file, and nothing else.
pub(super) fn config(text: &str) -> Result<Config, String> {
    with(text, &flags(), &[])
}

/// The same without a directory.
pub(super) fn without_directory(text: &str) -> Result<Config, String> {
    with(text, &Flags { directory: None, ..flags() }, &[])
}

fn with(text: &str, flags: &Flags, variables: &[(&str, &str)]) -> Result<Config, String> {
    let file = File::parse(text).map_err(|(line, message)| format!("line {line}: {message}"))?;
    assemble(Some(Path::new("/etc/pgsvid.toml")), &file, flags, &environment(variables))
        .map_err(|error| error.to_string())
}

#[test]
fn the_designs_example_is_taken() {
    let mut config = config(
        r#"
        [svid]
        spiffe_id = "spiffe://example.org/ns/applications/sa/dbserver"
        hint = "postgres"
        [files]
        private_key_mode = "0600"
        certificate_mode = "0644"
        federated_bundles = false
        extra_authorities = ["/etc/ssl/corporate-ca.pem"]
        keep_at_most = 16
        publish_every = "0s"
        seen_as = "/certs"
        [files.service]
        name = "products"
        options = { host = "dbserver-svc", dbname = "products", user = "dbclient" }
        [postgres]
        host = "/var/run/postgresql"
        port = 5433
        verify_every = "5m"
        [log]
        format = "json"
        "#,
    )
    .unwrap();
    let server = config.rotation.servers.remove(0);
    assert_eq!(server.session.port, 5433);
    assert_eq!(server.session.user, "pgsvid");
    assert_eq!(server.paths.private_key, Path::new("/certs/svid_key.pem"));
    assert_eq!(config.service().unwrap().options["sslmode"], "verify-full");
    assert!(config.place.directory().unwrap().keep_until_expiry);
}

#[test]
fn flag_then_variable_then_file_then_others_then_default() {
    let file = "[workload_api]\nendpoint = \"unix:///file\"\n";
    let only = |flag: Option<&str>, file: &str, variables: &[(&str, &str)]| {
        let flags = Flags { endpoint: flag.map(str::to_owned), ..flags() };
        with(file, &flags, variables).map(|config| config.source.place())
    };
    let all = [("PGSVID_ENDPOINT", "unix:///ours"), ("SPIFFE_ENDPOINT_SOCKET", "unix:///spiffe")];
    assert_eq!(only(Some("unix:///flag"), file, &all).unwrap(), "unix:///flag");
    assert_eq!(only(None, file, &all).unwrap(), "unix:///ours");
    assert_eq!(only(None, file, &all[1..]).unwrap(), "unix:///file");
    assert_eq!(only(None, "", &all[1..]).unwrap(), "unix:///spiffe");
    assert!(only(None, "", &[]).unwrap_err().contains("--endpoint"));
}

#[test]
fn f39_names_come_from_a_list_or_with_commas_between_and_may_be_addresses() {
    let names = |text: &str, flag: Option<&str>, variables: &[(&str, &str)]| {
        let flags = Flags { dns_names: flag.map(str::to_owned), ..flags() };
        with(text, &flags, variables).unwrap().source.expectations().dns_names.clone()
    };
    let file =
        "[svid]\ndns_names = [\"db.example.org\", \"0:0:0:0:0:0:0:1\", \"db.example.org\"]\n";
    let endpoint = ("PGSVID_ENDPOINT", "unix:///ours");
    let variable = ("PGSVID_DNS_NAMES", "a, b");
    assert_eq!(names(file, None, &[endpoint]), ["db.example.org", "::1"]);
    assert_eq!(names(file, None, &[endpoint, variable]), ["a", "b"]);
    assert_eq!(names(file, Some("c"), &[endpoint, variable]), ["c"]);
    assert_eq!(names("[svid]\ndns_names = []\n", None, &[endpoint]), [""; 0]);
}

#[test]
fn postgresql_is_used_only_where_it_is_configured() {
    let libpq =
        [("PGHOST", "/run/pg"), ("PGPORT", "6000"), ("PGUSER", "app"), ("PGDATABASE", "shop")];
    assert!(with("", &flags(), &libpq).unwrap().rotation.servers.is_empty());

    let server = with("[postgres]\n", &flags(), &libpq).unwrap().rotation.servers.remove(0).session;
    assert_eq!((server.host.to_str().unwrap(), server.port), ("/run/pg", 6000));
    assert_eq!((server.user.as_str(), server.database.as_str()), ("app", "shop"));

    let flags = Flags { postgres: Some("/sockets".to_owned()), ..flags() };
    let server = with("", &flags, &libpq[1..]).unwrap().rotation.servers.remove(0).session;
    assert_eq!(server.host.to_str().unwrap(), "/sockets");

    let far = with("[postgres]\n", &Flags { postgres: None, ..flags }, &[("PGHOST", "db.example")])
        .unwrap_err();
    assert!(far.starts_with("PGHOST = \"db.example\"") && far.contains("Unix socket"), "{far}");
}

#[test]
fn several_postgresqls_have_names_and_sockets_of_their_own() {
    let two =
        "[[postgres]]\nname = 'main'\nport = 5432\n[[postgres]]\nname = '15/other'\nport = 5433\n";
    let config = with(two, &flags(), &[]).unwrap();
    let names: Vec<_> = config.rotation.servers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["main", "15/other"]);
    let one = Flags { name: Some("15/other".to_owned()), ..flags() };
    let config = with(two, &one, &[]).unwrap();
    assert_eq!(config.rotation.servers[0].session.port, 5433);
    let config = with("[postgres]\n", &flags(), &[]).unwrap();
    assert_eq!(config.rotation.servers[0].name, "postgres");

    let refused = |file: &str, flags: &Flags, variables: &[(&str, &str)], words: &str| {
        let error = with(file, flags, variables).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    let same = "[[postgres]]\n[[postgres]]\nport = 5433\n";
    refused(same, &flags(), &[], "two [[postgres]] tables have the name \"postgres\"");
    let socket = "[[postgres]]\n[[postgres]]\nname = 'other'\n";
    refused(socket, &flags(), &[], "two tables name the socket /var/run/postgresql/.s.PGSQL.5432");
    refused(
        two,
        &Flags { port: Some("1".to_owned()), ..flags() },
        &[],
        "name one of them with --name",
    );
    refused(two, &flags(), &[("PGSVID_USER", "app")], "PGSVID_USER");
    refused(two, &Flags { name: Some("third".to_owned()), ..flags() }, &[], "main, 15/other");
    refused("[[postgres]]\nname = 'a b'\n", &flags(), &[], "is not a name");
    refused("[[postgres]]\nprot = 1\n", &flags(), &[], "the nearest known key is `port`");
    refused("[postgres]\nprot = 1\n", &flags(), &[], "the nearest known key is `port`");
    refused("postgres = 1\n", &flags(), &[], "several [[postgres]]");
    // Both servers use the one published map, so pgsvid's login must be the same on both.
    let differ = format!("[files]\nident = 'map'\n{two}user = 'app'\n");
    refused(&differ, &flags(), &[], "their user or os_user differ");
}

#[test]
fn kubernetes_variables_for_a_service_named_pgsvid_are_passed_over() {
    let injected = [
        ("PGSVID_PORT", "tcp://10.0.0.1:9809"),
        ("PGSVID_SERVICE_HOST", "10.0.0.1"),
        ("PGSVID_SERVICE_PORT", "9809"),
    ];
    assert!(with("[postgres]\n", &flags(), &injected).is_ok());
}

#[test]
fn k01_unknown_keys_and_wrong_types_name_line_and_nearest_key() {
    for (text, wanted) in [
        (
            "[files]\ncertificat = \"x\"\n",
            "line 2: unknown key `certificat`; the nearest known key is `certificate`",
        ),
        (
            "\n\n[postgress]\n",
            "line 3: unknown key `postgress`; the nearest known key is `postgres`",
        ),
        ("[postgres]\nuser = \"a\"\nport = \"5432\"\n", "line 3: "),
        ("[files\n", "line 1: "),
        ("[files.service]\nfile = \"a\"\n", "line 1: missing field `name`"),
    ] {
        let error = config(text).unwrap_err();
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn f17_a_configuration_of_spiffe_helper_is_recognised() {
    for text in [
        "agent_address = \"/tmp/agent.sock\"\ncmd = \"\"\ncert_dir = \"certs\"\n",
        "# helper.conf\ncmd = \"psql\"\nagentAddress = \"/tmp/agent.sock\"\n",
        // spiffe-helper's format is HCL, which has blocks; TOML has none.
        "cert_dir = \"certs\"\nhealth_checks {\n  listener_enabled = true\n}\n",
    ] {
        let error = config(text).unwrap_err();
        assert!(error.contains("--helper-config"), "{error}");
    }
}

#[test]
fn f15_libpqs_options_may_be_numbers_and_an_example_fits_its_key() {
    let options = |text: &str| {
        let text = format!("[files.service]\nname = \"a\"\noptions = {{ {text} }}\n");
        config(&text).map(|config| config.service().unwrap().options.clone())
    };
    let given = options("port = 5499, sslsni = false, keepalives = true, host = \"a\"").unwrap();
    for (keyword, value) in [("port", "5499"), ("sslsni", "0"), ("keepalives", "1"), ("host", "a")]
    {
        assert_eq!(given[keyword], value);
    }
    assert!(options("connect_timeout = 1.5").unwrap_err().contains("a whole number"));
    for (text, example) in [
        ("[log]\nlevel = 1\n", "in quotes, \"info\""),
        ("[files]\ngroup = 999 # postgres\n", "in quotes, \"999\""),
        ("[files]\nprivate_key_mode = 600\n", "in quotes, \"0600\""),
        ("[postgres]\nverify_every = 30\n", "in quotes, \"30s\""),
    ] {
        let error = config(text).unwrap_err();
        assert!(error.contains(example), "{error}");
    }
}

#[test]
fn k01_what_is_repeated_from_the_file_cannot_act_and_is_short() {
    let long = "x".repeat(100_000);
    for text in [
        "\"\\u001b[31m\\u202e\" = 1\n".to_owned(),
        format!("{long} = 1\n"),
        // Found by fuzzing: backticks in a key made the rest of it look like known ones.
        "\"a`b`\\u202e`, expected `\\u202e\" = 1\n".to_owned(),
        format!("[files]\ncertificate = \"{long}/\"\n"),
        "[files]\ngroup = \"\\u009b31m\"\n".to_owned(),
        "[files]\nseen_as = \"\\u202e\"\n".to_owned(),
        format!("[files]\nprivate_key_mode = \"{long}\"\n"),
    ] {
        let error = config(&text).expect_err(&text);
        assert!(!error.contains(|c: char| c.is_control() || c == '\u{202e}'), "{error:?}");
        assert!(error.chars().count() < 2000, "{error}");
    }
}

#[test]
fn k01_a_default_file_that_cannot_be_looked_at_is_not_passed_over() {
    assert!(found(Path::new("/does/not/exist")).unwrap().is_none());
    let error = found(Path::new("/etc/passwd/pgsvid.toml")).unwrap_err().to_string();
    assert!(error.contains("cannot read the configuration /etc/passwd/pgsvid.toml"), "{error}");
}

#[test]
fn k01_a_file_without_an_end_is_refused() {
    let flags = Flags { config: Some(PathBuf::from("/dev/zero")), ..flags() };
    let error = Config::load(&flags, &environment(&[])).unwrap_err().to_string();
    assert_eq!(error, "cannot read the configuration /dev/zero: it is larger than 1 MiB");
}

#[test]
fn k01_a_missing_file_is_named() {
    let flags = Flags { config: Some(PathBuf::from("/does/not/exist.toml")), ..flags() };
    let error = Config::load(&flags, &environment(&[])).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read the configuration /does/not/exist.toml: No such file"),
        "{error}"
    );
}

#[test]
fn k02_key_modes_that_postgresql_would_refuse_are_refused() {
    for mode in ["0640", "0644", "0660", "0700", "0666", "0200", "600x", "", "0o600"] {
        let error = config(&format!("[files]\nprivate_key_mode = \"{mode}\"\n")).unwrap_err();
        assert!(error.starts_with("/etc/pgsvid.toml: files.private_key_mode: "), "{error}");
    }
    let refused = config("[files]\nprivate_key_mode = \"0640\"\n").unwrap_err();
    assert!(refused.contains("PostgreSQL would refuse"), "{refused}");
    for (group, mode, taken) in [
        ("0", "0640", true),
        ("0", "0440", true),
        ("0", "0600", false),
        ("0", "0644", false),
        ("0", "0660", false),
    ] {
        let text = format!("[files]\ngroup = \"{group}\"\nprivate_key_mode = \"{mode}\"\n");
        assert_eq!(config(&text).is_ok(), taken, "{mode}");
    }
    let settings = config("[files]\ngroup = \"0\"\n").unwrap();
    assert_eq!(settings.place.directory().unwrap().files.private_key().mode, 0o640);
}

#[test]
fn k03_wrong_endpoints_name_their_place() {
    for endpoint in ["unix:relative", "unix://host/agent.sock", "tcp://agent:80", "/run/agent.sock"]
    {
        let flags = Flags { endpoint: Some(endpoint.to_owned()), ..flags() };
        let error = with("", &flags, &[]).unwrap_err();
        assert!(error.starts_with(&format!("--endpoint = {endpoint:?}: ")), "{error}");
    }
}

#[test]
fn k04_an_endpoint_variable_that_is_empty_or_not_utf8() {
    use std::os::unix::ffi::OsStringExt as _;
    let flags = Flags { endpoint: None, ..flags() };
    let error = with("", &flags, &[("SPIFFE_ENDPOINT_SOCKET", "")]).unwrap_err();
    assert!(error.starts_with("SPIFFE_ENDPOINT_SOCKET: it is set, but empty"), "{error}");
    let environment =
        Environment::from([("SPIFFE_ENDPOINT_SOCKET".to_owned(), OsString::from_vec(vec![0xff]))]);
    let error = assemble(None, &File::default(), &flags, &environment).unwrap_err().to_string();
    assert!(error.starts_with("SPIFFE_ENDPOINT_SOCKET: it is not UTF-8"), "{error}");
}

#[test]
fn impossible_values_are_refused() {
    for text in [
        "[files]\ncertificate = \"a/b\"\n",
        "[files]\ncertificate = \"..data\"\n",
        "[files]\ncertificate = \"\"\n",
        "[files]\ncertificate = \"svid_key.pem\"\n",
        "[files]\nkeep_at_most = 1\n",
        "[files]\npublish_every = \"5\"\n",
        "[files]\npublish_every = \"300000000000y\"\n",
        "[files]\nseen_as = \"certs\"\n",
        "[files]\ngroup = \"no such group\"\n",
        "[files]\nextra_authorities = [\"ca.pem\"]\n",
        "[files.service]\nname = \"\"\n",
        "[files.service]\nname = \"a\"\nfile = \"svid.pem\"\n",
        "[svid]\nspiffe_id = \"example.org\"\n",
        "[svid]\nspiffe_id = \"spiffe://example.org\"\n",
        "[svid]\nhint = \"\"\n",
        "[svid]\ntrust_domain = \"Not A Domain\"\n",
        "[svid]\ndns_names = [\"*.example.org\"]\n",
        "[svid]\ndns_names = [\"db.example.org.\"]\n",
        "[svid]\ndns_names = [\"db\", \"\"]\n",
        "[svid]\ndns_names = [\"db example\"]\n",
        "[postgres]\nhost = \"localhost\"\n",
        "[postgres]\nhost = \"/run/.s.PGSQL.5432\"\n",
        "[postgres]\nport = 0\n",
        "[postgres]\nverify = \"yes\"\n",
        "[postgres]\nverify_every = \"5\"\n",
        "[postgres]\nverify_every = \"0s\"\n",
        "[postgres]\nverify_every = \"300000000000y\"\n",
        "[files]\ngroup = \"4294967295\"\n",
        "[postgres]\npassword_file = \"password\"\n",
        "[log]\nformat = \"xml\"\n",
        "[log]\nlevel = \"loud\"\n",
    ] {
        let error = config(text).expect_err(text);
        assert!(error.starts_with("/etc/pgsvid.toml: "), "{text}: {error}");
    }
}

#[test]
fn a_flag_about_a_postgresql_that_is_not_configured_is_reported() {
    let flags = Flags { port: Some("5433".to_owned()), ..flags() };
    let error = with("", &flags, &[]).unwrap_err();
    assert!(error.starts_with("--port: no PostgreSQL is configured"), "{error}");
    assert!(with("[postgres]\n", &flags, &[]).is_ok());
}

#[test]
fn a_file_with_every_default_says_the_same_as_one_without() {
    let mut tables = BTreeMap::<&str, Vec<String>>::new();
    // Keys of the other source are left out, because only one source is allowed.
    for key in keys::ALL.into_iter().filter(|key| !key.name.starts_with("certificates.")) {
        let (table, name) = key.name.rsplit_once('.').unwrap();
        let value = match key.default {
            keys::Default::Text(text) => format!("{text:?}"),
            keys::Default::Bare(bare) => bare.to_owned(),
            keys::Default::Required | keys::Default::Words(_) => continue,
        };
        tables.entry(table).or_default().push(format!("{name} = {value}\n"));
    }
    // A table that is present needs its keys without a default.
    tables.entry("files.service").or_default().push("name = \"db\"\n".to_owned());
    let hook = "name = \"a\"\ncommand = [\"/a\"]\n";
    tables.entry("hooks").or_default().push(hook.to_owned());
    let login = "login_role = \"a\"\n";
    tables.entry("pgbouncer").or_default().push(login.to_owned());
    let client = "options = { user = \"a\", host = \"b\" }\n";
    tables.entry("client").or_default().push(client.to_owned());
    let served = "address = \"a\"\n";
    tables.entry("served").or_default().push(served.to_owned());
    let store = "name = \"a.p12\"\ncontent = \"pkcs12\"\npassword_file = \"/a\"\n";
    tables.entry("files.extra").or_default().push(store.to_owned());
    let bundle = "file = \"/a/b\"\n";
    tables.entry("jwt_bundle").or_default().push(bundle.to_owned());
    let secret = "name = \"a\"\nnamespace = \"b\"\nfields = { \"c\" = \"chain\" }\n";
    tables.entry("secrets").or_default().push(secret.to_owned());
    let own = "namespace = \"b\"\n";
    tables.entry("kubernetes").or_default().push(own.to_owned());
    let opened = |table: &str| match table {
        "hooks" | "files.extra" | "secrets" => format!("[[{table}]]"),
        _ => format!("[{table}]"),
    };
    let tables: Vec<String> = tables
        .iter()
        .map(|(table, keys)| format!("{}\n{}", opened(table), keys.concat()))
        .collect();
    let given = tables.concat();
    let left_out = format!(
        "[postgres]\n[pgbouncer]\n{login}[patroni]\n[client]\n{client}[served]\n{served}[files.service]\nname = \"db\"\n[[hooks]]\n{hook}[[files.extra]]\n{store}[jwt_bundle]\n{bundle}[[secrets]]\n{secret}[kubernetes]\n{own}[lease]\n"
    );
    let settings = |text: &str| format!("{:?}", config(text).unwrap());
    assert!(given.lines().count() > 20, "{given}");
    assert_eq!(settings(&given), settings(&left_out));
}

#[test]
fn z08_files_are_a_source_by_the_rules_of_x509_unless_a_spiffe_id_is_wanted() {
    let table =
        "[certificates]\ncertificate = '/c/crt'\nprivate_key = '/c/key'\nbundle = '/c/ca'\n";
    let flags = Flags { endpoint: None, ..flags() };
    let refused = |file: &str, flags: &Flags, variables: &[(&str, &str)], words: &str| {
        let error = with(file, flags, variables).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    let taken = |more: &str| {
        let config = with(&format!("{table}{more}"), &flags, &[]).unwrap();
        (config.source.expectations().policy, config.source.files().unwrap().renewal_percent)
    };
    assert_eq!(taken(""), (Policy::X509, 67));
    assert_eq!(taken("renewal_percent = 90\n"), (Policy::X509, 90));
    assert_eq!(taken("[svid]\ntrust_domain = 'example.org'\n"), (Policy::Spiffe, 67));
    assert_eq!(taken("[svid]\nspiffe_id = 'spiffe://example.org/db'\n"), (Policy::Spiffe, 67));
    refused(&format!("{table}renewal_percent = 96\n"), &flags, &[], "between 10 and 95");
    refused(
        "[certificates]\ncertificate = '/c'\n",
        &flags,
        &[],
        "certificates.private_key: it is missing",
    );
    let relative = table.replace("/c/key", "key");
    refused(&relative, &flags, &[], "certificates.private_key");
    let inside = table.replace("/c/", "/svids/");
    refused(&inside, &flags, &[], "where pgsvid publishes");
    refused(table, &flags, &[("PGSVID_ENDPOINT", "unix:///a")], "PGSVID_ENDPOINT");
    assert!(with(table, &flags, &[("SPIFFE_ENDPOINT_SOCKET", "unix:///a")]).is_ok());
}

#[test]
fn z13_setup_judges_the_published_set_by_the_rules_of_its_source() {
    let place = tempfile::tempdir().unwrap();
    let policy = |source: &str| {
        let path = place.path().join("pgsvid.toml");
        let text = format!("{source}\n[files]\ndirectory = '/svids'\n[postgres]\n");
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes())
            .unwrap();
        let flags = Flags { config: Some(path), ..Flags::default() };
        Parts::load(&flags, &environment(&[])).unwrap().expectations.policy
    };
    let table = "[certificates]\ncertificate = '/c/crt'\nprivate_key = '/c/key'\nbundle = '/c/ca'";
    assert_eq!(policy(table), Policy::X509);
    assert_eq!(policy(&format!("{table}\n[svid]\ntrust_domain = 'a.b'")), Policy::Spiffe);
    assert_eq!(policy("[workload_api]\nendpoint = 'unix:///a'"), Policy::Spiffe);
}

/// Each example is put in the place of the wrong value, and must be accepted.
#[test]
fn n23_the_example_of_an_error_is_a_value_that_the_key_takes() {
    for (table, line) in [
        ("log", "level = 1"),
        ("log", "format = true"),
        ("health", "listen = 9000"),
        ("postgres", "port = \"5499\""),
        ("postgres", "port = \"five\""),
        ("postgres", "verify = false"),
        ("postgres", "verify_every = 30"),
        ("postgres", "verify_every = true"),
        ("postgres", "host = 1"),
        ("postgres", "user = 4711"),
        ("files", "keep_at_most = \"20\""),
        ("files", "keep_at_most = \"many\""),
        ("files", "private_key_mode = 600"),
        ("files", "certificate_mode = 640"),
        ("files", "publish_every = 5"),
        ("files", "federated_bundles = \"yes\""),
        ("files", "extra_authorities = \"/etc/ca.pem\""),
        ("files", "seen_as = 1"),
        ("sandbox", "enabled = 1"),
        ("svid", "spiffe_id = 1"),
        ("svid", "hint = 3"),
    ] {
        let flags = Flags { postgres: None, ..flags() };
        let error = with(&format!("[{table}]\n{line}\n"), &flags, &[]).unwrap_err();
        let example = match error.rsplit_once(", ") {
            Some((before, "without quotes")) if before.ends_with("true or false") => "true",
            Some((_, example)) => example,
            None => panic!("{line}: {error}"),
        };
        let (key, _) = line.split_once(" = ").unwrap();
        let right = format!("[{table}]\n{key} = {example}\n");
        if let Err(again) = with(&right, &flags, &[]) {
            panic!("{line}: {error}: {right}: {again}");
        }
    }
}
