//! The configuration: the file's bytes, and a flag or a variable of the environment beside it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path};
use std::sync::LazyLock;
use std::time::Duration;

use pgsvid::companions::role_map::{MAP, PEER_MAP, RoleMap};
use pgsvid::companions::{service_file, service_reader};
use pgsvid::config::{Config, Environment, Flags, LONGEST, Parts, names};
use pgsvid::publish::Content;
use pgsvid::sql::{HbaRule, Line, Mapping, parse_hba, parse_ident};
use tempfile::TempDir;

use super::edits::Choices;
use super::texts::assert_presentable_error;

/// Every variable that is read.
const VARIABLES: [&str; 19] = [
    "PGSVID_DATABASE",
    "PGSVID_DIRECTORY",
    "PGSVID_ENDPOINT",
    "PGSVID_GROUP",
    "PGSVID_HINT",
    "PGSVID_LOG_FORMAT",
    "PGSVID_LOG_LEVEL",
    "PGSVID_POSTGRES",
    "PGSVID_SPIFFE_ID",
    "PGSVID_TRUST_DOMAIN",
    "PGSVID_USER",
    "PGSVID_VERIFY",
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "PGDATABASE",
    "SPIFFE_ENDPOINT_SOCKET",
    "PGSERVICEFILE",
    "PGSVID_PORT",
];

pub fn run(input: &[u8]) {
    static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    let mut choices = Choices::new(input);
    let shape = choices.byte();
    let has = |bit: u8| shape & 1 << bit != 0;
    let mut flags = Flags::default();
    if has(0) {
        flags.endpoint = Some("unix:///agent.sock".to_owned());
        flags.directory = Some("/svids".to_owned());
    }
    let mut environment = Environment::new();
    if has(1) {
        let name = VARIABLES[usize::from(choices.byte()) % VARIABLES.len()];
        environment.insert(name.to_owned(), OsString::from_vec(choices.bytes().to_vec()));
    }
    if has(2) {
        let value = Some(String::from_utf8_lossy(choices.bytes()).into_owned());
        *flag(&mut flags, choices.byte()) = value;
    }
    let path = DIRECTORY.path().join("pgsvid.toml");
    File::create(&path).and_then(|mut file| file.write_all(choices.rest())).unwrap();
    flags.config = Some(path);

    let parts = Parts::load(&flags, &environment);
    match Config::load(&flags, &environment) {
        Ok(config) => {
            assert_sound(&config);
            let parts = parts.expect("the parts of what is whole");
            assert!(parts.place.is_some());
            assert_eq!(parts.servers.len(), config.rotation.servers.len());
        }
        Err(error) => assert_presentable_error(&error),
    }
}

fn flag(flags: &mut Flags, choice: u8) -> &mut Option<String> {
    let all = [
        &mut flags.endpoint,
        &mut flags.directory,
        &mut flags.group,
        &mut flags.spiffe_id,
        &mut flags.hint,
        &mut flags.name,
        &mut flags.postgres,
        &mut flags.port,
        &mut flags.user,
        &mut flags.database,
        &mut flags.verify,
        &mut flags.log_format,
        &mut flags.log_level,
    ];
    let at = usize::from(choice) % all.len();
    all.into_iter().nth(at).expect("within bounds")
}

/// What is taken can be worked with: nothing that PostgreSQL, libpq or the kernel would refuse later.
fn assert_sound(config: &Config) {
    let Some(publish) = config.place.directory() else {
        let [certificate, ..] = config.place.paths();
        assert!(certificate.is_absolute() && config.services.is_empty() && config.ident.is_none());
        return;
    };
    assert!(publish.directory.is_absolute() && publish.readers_directory().is_absolute());
    let mode = publish.files.private_key().mode;
    let most = if publish.group.is_some() { 0o640 } else { 0o600 };
    assert!(mode & !most == 0 && mode & 0o400 != 0, "{mode:o}");
    let mode = publish.files.certificate().mode;
    assert!(mode & !0o644 == 0 && mode & 0o400 != 0, "{mode:o}");
    assert!((2..=1000).contains(&publish.keep_at_most));
    assert_ne!(publish.group, Some(u32::MAX), "chown would leave the group as it is");

    let files = publish.files.names();
    let rendered = publish.files.others().iter();
    let rendered = rendered.filter(|file| matches!(file.content, Content::Rendered(_))).count();
    // One more may be the part of PgBouncer's ini.
    let known = config.services.len() + usize::from(config.ident.is_some());
    assert!(rendered == known || rendered == known + 1);
    for file in publish.files.iter() {
        let like = if file.content.is_secret() {
            publish.files.private_key()
        } else {
            publish.files.certificate()
        };
        assert_eq!(file.mode, like.mode, "{}", file.name);
    }
    assert!(publish.files.password_files().iter().all(|path| path.is_absolute()));
    for (at, name) in files.iter().enumerate() {
        let components: Vec<Component<'_>> = Path::new(name).components().collect();
        assert!(
            matches!(components.as_slice(), [Component::Normal(only)] if *only == name.as_str())
        );
        assert!(!name.starts_with("..") && !name.contains(char::is_control), "{name:?}");
        assert!(!files[..at].contains(name), "{name:?} twice");
    }
    for service in &config.services {
        assert_service_can_be_read(config, service);
    }
    assert_roles_can_be_read(&config.roles);

    assert!(config.rotation.extra_authorities.iter().all(|path| path.is_absolute()));
    for server in &config.rotation.servers {
        assert!(server.session.host.is_absolute() && server.session.port != 0);
        assert!((Duration::from_secs(1)..=LONGEST).contains(&server.verify.every));
        let paths = &server.paths;
        for path in [&paths.certificate, &paths.private_key, &paths.bundle] {
            assert_eq!(path.parent(), Some(publish.readers_directory()));
        }
    }
    let expected = config.source.expectations().spiffe_id.as_ref().map(ToString::to_string);
    if let Some(settings) = config.source.workload_api() {
        assert_eq!(expected, settings.selection.spiffe_id);
    }
}

/// The section that will be written is read by libpq's rules as it was meant.
fn assert_service_can_be_read(config: &Config, service: &service_file::Settings) {
    let Some(publish) = config.place.directory() else { return };
    assert!(publish.keep_until_expiry);
    let names = names(publish);
    let generation = publish.readers_directory().join("..v20260102T000000.000000-12345678");
    let text = service.render(&names, &generation);
    let entries = match service_reader::section(&text, &service.name) {
        Ok(entries) => entries,
        // Keywords are checked for their letters only: a libpq newer than ours may know more.
        Err(service_reader::Unreadable::Syntax { text, .. }) => {
            let keyword = text.split('=').next().unwrap_or_default();
            assert_eq!(service_reader::since(keyword), None, "{text}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let mut wanted = service.options.clone();
    for (keyword, name) in [
        ("sslcert", &names.certificate),
        ("sslkey", &service.private_key),
        ("sslrootcert", &names.bundle),
    ] {
        wanted.insert(keyword.to_owned(), generation.join(name).to_str().unwrap().to_owned());
    }
    let read = entries.into_iter().map(|entry| (entry.keyword, entry.value)).collect();
    assert_eq!(wanted, read);
    assert!(wanted.contains_key("sslmode"));
}

/// The lines that let workloads and pgsvid in are read by PostgreSQL's rules as they were meant, and no others are there.
fn assert_roles_can_be_read(map: &RoleMap) {
    let text = String::from_utf8(map.render()).expect("text");
    let read = entries(parse_ident(&text));
    let has = |name: &str, system_user: &str, role: &str| {
        let wanted = (name, system_user, role);
        let is = |found: &Mapping| {
            (found.map.as_str(), found.system_user.as_str(), found.role.as_str()) == wanted
        };
        assert!(read.iter().any(is), "{wanted:?} is missing: {text}");
    };
    for workload in &map.workloads {
        has(MAP, &workload.expression(), &workload.role);
    }
    let os_user = map.login.as_ref().and_then(|login| login.os_user.as_ref());
    if let (Some(login), Some(os_user)) = (&map.login, os_user) {
        has(PEER_MAP, os_user, &login.role);
    }
    let known = map.workloads.len() + usize::from(os_user.is_some()) + map.lines.len();
    assert!(read.len() <= known, "{text}");

    let rules = entries(parse_hba(&map.hba()));
    let is_for = |rule: &HbaRule, role: &str| {
        rule.users.iter().map(|user| user.replace('"', "")).eq([role.to_owned()])
    };
    let (own, of_roles) = rules.split_at(usize::from(map.login.is_some()));
    for (rule, login) in own.iter().zip(&map.login) {
        assert!(rule.kind == "local" && is_for(rule, &login.role), "{rule:?}");
        assert_eq!(rule.method == "peer", login.os_user.is_some(), "{rule:?}");
    }
    assert_eq!(of_roles.len(), 2 * map.roles().len());
    for (pair, role) in of_roles.chunks(2).zip(map.roles()) {
        assert!(is_for(&pair[0], role) && is_for(&pair[1], role), "{pair:?}");
        assert!(pair[0].kind == "hostssl" && pair[0].wants_certificate(), "{pair:?}");
        assert!(pair[1].kind == "hostnossl" && pair[1].method == "reject", "{pair:?}");
    }
}

fn entries<T>(lines: Vec<Line<T>>) -> Vec<T> {
    let entry = |line| match line {
        Line::Entry(entry) => Some(entry),
        Line::Include(_) | Line::Unclear(..) => None,
    };
    lines.into_iter().filter_map(entry).collect()
}
