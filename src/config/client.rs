//! The logins that prove that a client is let in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::file::{Client, File};
use super::given::Resolver;
use super::{Environment, Error, keys, rules};
use crate::companions::hosts::{self, integer};
use crate::companions::parameters::{self, flaws};
use crate::companions::service_file;
use crate::consumers::{ClientLogin, Dial, Host, TargetState};
use crate::login::{Negotiation, Verify, Versions};
use crate::verify;

/// The shortest and the longest time for one address, from `connect_timeout`, in seconds.
const LIMITS: (u64, u64) = (2, 60);
/// The keywords that give the application a password.
const PASSWORDS: [&str; 2] = ["password", "passfile"];
/// Keywords of a client's own revocation lists, which pgsvid does not read.
const LISTS: [&str; 2] = ["sslcrl", "sslcrldir"];
/// Keywords that the start-up message carries to the server as they are.
const SESSION: [&str; 3] = ["options", "client_encoding", "replication"];

/// Each configured login, in the order of the file. `names` are those of the other consumers; `follows_servers` means that one of
/// them may be the server that a client reaches, and `is_libpqs` that the environment is that of an application with libpq.
pub(super) fn clients(
    resolver: &Resolver<'_>,
    file: &File,
    services: &[service_file::Settings],
    names: &[&str],
    follows_servers: bool,
    is_libpqs: bool,
) -> Result<Vec<ClientLogin>, Error> {
    let mut clients: Vec<ClientLogin> = Vec::new();
    for table in &file.client.0 {
        let client = client(resolver, table, services, follows_servers, is_libpqs)?;
        let mut known = names.iter().copied().chain(clients.iter().map(|it| it.name.as_str()));
        if known.any(|name| name == client.name) {
            let why = format!("two consumers have the name {:?}: give each its own", client.name);
            return Err(resolver.in_file(keys::CLIENT_NAME.name, why));
        }
        clients.push(client);
    }
    Ok(clients)
}

fn client(
    resolver: &Resolver<'_>,
    table: &Client,
    services: &[service_file::Settings],
    follows_servers: bool,
    is_libpqs: bool,
) -> Result<ClientLogin, Error> {
    let name = table.name.as_deref().unwrap_or(keys::CLIENT_NAME.default_text());
    rules::name(name).map_err(|why| resolver.in_file(keys::CLIENT_NAME.name, why))?;
    let every = table.verify_every.as_deref().unwrap_or(keys::CLIENT_VERIFY_EVERY.default_text());
    let every = rules::interval(every)
        .map_err(|why| resolver.in_file(keys::CLIENT_VERIFY_EVERY.name, why))?;
    let (key, mut options) = options(resolver, table, services)?;
    if is_libpqs {
        parameters::add_variables(&mut options, |name| text_of(resolver.environment, name));
    }
    let settings = Settings {
        name: name.to_owned(),
        every,
        readiness: table.readiness.unwrap_or(false),
        follows_servers,
    };
    settings.login(&options).map_err(|why| resolver.in_file(key, why))
}

/// The login of a client with the only or first service, as this role and in this environment. `None` if the service names no host;
/// an error if pgsvid cannot log in as libpq would.
pub(super) fn login_as(
    service: &service_file::Settings,
    role: &str,
    environment: &Environment,
) -> Option<Result<ClientLogin, String>> {
    let mut options = service.options.clone();
    parameters::add_variables(&mut options, |name| text_of(environment, name));
    options.insert("user".to_owned(), role.to_owned());
    if !options.contains_key("host") && !options.contains_key("hostaddr") {
        return None;
    }
    let settings = Settings {
        name: service.name.clone(),
        every: Duration::ZERO,
        readiness: false,
        follows_servers: false,
    };
    Some(settings.login(&options))
}

fn text_of(environment: &Environment, name: &str) -> Option<String> {
    environment.get(name)?.to_str().map(str::to_owned)
}

/// libpq's keywords and values, and the key that they come from.
fn options(
    resolver: &Resolver<'_>,
    table: &Client,
    services: &[service_file::Settings],
) -> Result<(&'static str, BTreeMap<String, String>), Error> {
    let key = keys::CLIENT_SERVICE.name;
    let wrong = |why: String| Err(resolver.in_file(key, why));
    match (&table.options, &table.service, services) {
        (Some(_), Some(_), _) => {
            wrong("give client.service or client.options, and not both".to_owned())
        }
        (Some(options), None, _) => {
            let options = options.clone().into_iter();
            let options = options.map(|(keyword, value)| (keyword, value.into())).collect();
            Ok((keys::CLIENT_OPTIONS.name, options))
        }
        (None, Some(name), _) => {
            if let Some(service) = services.iter().find(|service| service.name == *name) {
                return Ok((key, service.options.clone()));
            }
            let known: Vec<_> = services.iter().map(|it| it.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            wrong(format!("no [files.service] has the name {name:?}; those that have one: {known}"))
        }
        (None, None, [service]) => Ok((key, service.options.clone())),
        (None, None, []) => wrong(
            "[client] needs to know where the application connects: add [files.service] with its options, or client.options"
                .to_owned(),
        ),
        (None, None, _) => {
            wrong("there are several [[files.service]]: name one of them".to_owned())
        }
    }
}

/// What the table itself says.
struct Settings {
    name: String,
    every: Duration,
    readiness: bool,
    follows_servers: bool,
}

impl Settings {
    /// The login with these options; otherwise the reason why pgsvid cannot log in as libpq would.
    fn login(self, options: &BTreeMap<String, String>) -> Result<ClientLogin, String> {
        let given = |keyword: &str| options.get(keyword).map_or("", String::as_str);
        if let Some(flaw) = flaws(|keyword| options.get(keyword).cloned()).first() {
            let keyword = flaw.keyword;
            return Err(format!("{keyword}={}: {}", given(keyword), flaw.why));
        }
        if let Some(keyword) = LISTS.into_iter().find(|keyword| !given(keyword).is_empty()) {
            return Err(format!(
                "pgsvid does not read the client's own revocation lists ({keyword}), so its login would prove too little: leave {keyword} or [client] out"
            ));
        }
        if let Some(keyword) = PASSWORDS.into_iter().find(|keyword| !given(keyword).is_empty()) {
            return Err(format!(
                "pgsvid sends no password, so it cannot tell whether the application is let in with {keyword}: leave {keyword} or [client] out"
            ));
        }
        let verify = match given("sslmode") {
            "" | "verify-full" => Verify::Full,
            // There is an sslrootcert, so libpq verifies the chain.
            "verify-ca" | "require" => Verify::Chain,
            mode => {
                return Err(format!(
                    "sslmode={mode}: such a client may connect without TLS; write verify-full"
                ));
            }
        };
        let role = given("user");
        if role.is_empty() {
            return Err("no user is given: write the role of the application".to_owned());
        }
        let database = if given("dbname").is_empty() { role } else { given("dbname") };
        let hosts = hosts_of(options, verify)?;
        let target = TargetState::NAMES
            .iter()
            .find(|(name, _)| *name == given("target_session_attrs"))
            .map_or(TargetState::Any, |(_, target)| *target);
        let timeout = integer(given("connect_timeout")).and_then(|it| u64::try_from(it).ok());
        let timeout = timeout.filter(|seconds| *seconds > 0);
        let limit = match timeout {
            Some(seconds) => Duration::from_secs(seconds.clamp(LIMITS.0, LIMITS.1)),
            None => verify::LIMIT,
        };
        let session =
            SESSION.into_iter().chain(parameters::ENVIRONMENT.map(|(parameter, _)| parameter));
        let session = session.map(|keyword| (keyword.to_owned(), given(keyword).to_owned()));
        let session = session.filter(|(_, value)| !value.is_empty() && value != "auto");
        let least = options.get("ssl_min_protocol_version").map(String::as_str);
        let Self { name, every, readiness, follows_servers } = self;
        Ok(ClientLogin {
            name,
            hosts,
            role: role.to_owned(),
            database: database.to_owned(),
            parameters: session.collect(),
            verify,
            negotiation: match given("sslnegotiation") {
                "direct" => Negotiation::Direct,
                _ => Negotiation::Request,
            },
            versions: match parameters::tls_versions(least, given("ssl_max_protocol_version")) {
                (true, true) => Versions::Both,
                (true, false) => Versions::Tls12,
                (false, true) => Versions::Tls13,
                (false, false) => {
                    return Err(format!(
                        "ssl_max_protocol_version={}: pgsvid has no version of TLS below 1.2, so it cannot log in as the application does; raise it, or leave [client] out",
                        given("ssl_max_protocol_version")
                    ));
                }
            },
            target,
            limit,
            waits_for_ever: timeout.is_none(),
            every,
            readiness,
            follows_servers,
        })
    }
}

/// The hosts, in the order of the list.
fn hosts_of(options: &BTreeMap<String, String>, verify: Verify) -> Result<Vec<Host>, String> {
    let given = |keyword: &str| options.get(keyword).map_or("", String::as_str);
    let listed = hosts::listed(given("host"), given("hostaddr"), given("port"));
    let listed = listed.map_err(|error| error.to_string())?;
    let host = |entry: hosts::HostEntry| {
        entry.check_address().map_err(|error| error.to_string())?;
        if entry.is_socket() {
            let why = if entry.host.is_empty() {
                "no host is given".to_owned()
            } else {
                format!("host={} is the directory of a Unix socket, which has no TLS", entry.host)
            };
            return Err(format!(
                "{why}: write the name by which the application reaches the server"
            ));
        }
        if entry.host.is_empty() && verify == Verify::Full {
            return Err(
                "hostaddr without host: libpq refuses sslmode=verify-full without a name to compare; add host".to_owned()
            );
        }
        // libpq compares the dot, and no certificate has such a name.
        if entry.host.ends_with('.') && verify == Verify::Full {
            return Err(format!(
                "host={} ends with a dot, and no certificate has such a name",
                entry.host
            ));
        }
        let target = entry.target().to_owned();
        let (port, address) = (entry.port, entry.address);
        let name = if entry.host.is_empty() { address } else { entry.host };
        Ok(Host { name, dial: Dial::LookUp(target), port })
    };
    listed.into_iter().map(host).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    const SERVICE: &str =
        "[files.service]\nname = 'app'\n[files.service.options]\nuser = 'app'\nhost = 'db'\n";

    #[test]
    fn a_table_without_keys_logs_in_by_the_only_service() {
        let config = config(&format!("{SERVICE}[client]")).unwrap();
        let [client] = &config.rotation.clients[..] else { panic!("there is not one") };
        assert_eq!((&*client.name, &*client.role, &*client.database), ("client", "app", "app"));
        let host = Host { name: "db".to_owned(), dial: Dial::LookUp("db".to_owned()), port: 5432 };
        assert_eq!(client.hosts, [host]);
        assert_eq!(client.every, Duration::from_secs(300));
        assert_eq!((client.verify, client.negotiation), (Verify::Full, Negotiation::Request));
        assert_eq!((client.target, client.limit), (TargetState::Any, verify::LIMIT));
        assert!(!client.readiness && !client.follows_servers && client.parameters.is_empty());
    }

    #[test]
    fn g13_lists_and_keywords_are_those_of_libpq() {
        let text = "[client]\nreadiness = true\nverify_every = '1m'\n[client.options]\nuser = 'u'\ndbname = 'd'\nhost = 'a,b'\n\
                    hostaddr = '192.0.2.1,::1'\nport = '1,2'\nsslmode = 'verify-ca'\nsslnegotiation = 'direct'\nconnect_timeout = 90\n\
                    target_session_attrs = 'read-write'\noptions = '-c geqo=off'\nclient_encoding = 'auto'\n[postgres]";
        let config = config(text).unwrap();
        let client = &config.rotation.clients[0];
        let dialled: Vec<_> =
            client.hosts.iter().map(|it| (&*it.name, &it.dial, it.port)).collect();
        let [one, two] = ["192.0.2.1", "::1"].map(|it| Dial::LookUp(it.to_owned()));
        assert_eq!(dialled, [("a", &one, 1), ("b", &two, 2)]);
        assert_eq!(client.parameters, [("options".to_owned(), "-c geqo=off".to_owned())]);
        assert_eq!((client.verify, client.negotiation), (Verify::Chain, Negotiation::Direct));
        assert_eq!((client.target, client.limit.as_secs()), (TargetState::ReadWrite, 60));
        assert!(client.readiness && client.follows_servers);
    }

    #[test]
    fn g13_what_pgsvid_could_not_do_as_libpq_does_is_refused() {
        let own =
            |options: &str| format!("[client]\noptions = {{ user = 'u', host = 'h', {options} }}");
        for (text, why) in [
            ("[client]".to_owned(), "needs to know where"),
            (format!("{SERVICE}[client]\nservice = 'other'"), "those that have one: app"),
            (format!("{SERVICE}[client]\nservice = 'app'\noptions = {{}}"), "and not both"),
            (own("sslmode = 'prefer'"), "without TLS"),
            (own("sslcrl = '/a'"), "revocation lists"),
            (own("sslcertmode = 'disable'"), "shows no certificate"),
            (own("channel_binding = 'require'"), "channel_binding=require"),
            (own("target_session_attrs = 'master'"), "target_session_attrs=master"),
            (own("port = '1,2'"), "libpq requires one port"),
            ("[client]\noptions = { host = 'h' }".to_owned(), "no user"),
            ("[client]\noptions = { user = 'u' }".to_owned(), "no host"),
            ("[client]\noptions = { user = 'u', host = '/run' }".to_owned(), "Unix socket"),
            ("[client]\noptions = { user = 'u', host = 'h.' }".to_owned(), "ends with a dot"),
            ("[client]\noptions = { user = 'u', hostaddr = '::1' }".to_owned(), "add host"),
            (own("") + "\nverify_every = '0s'", "shorter than a second"),
            (own("") + "\nname = 'postgres'\n[postgres]", "two consumers have the name"),
            (
                "[[client]]\noptions = { user = 'u', host = 'h' }\n".repeat(2),
                "two consumers have the name",
            ),
        ] {
            let error = config(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
