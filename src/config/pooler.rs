//! Each configured PgBouncer.

use super::file::{File, Pgbouncer};
use super::given::Resolver;
use super::server::{self, ServerConfig};
use super::{Error, keys, rules};
use crate::consumers::Pooler;
use crate::pgbouncer::{CONSOLE, Login};
use crate::publish::Place;
use crate::sql::{self, Purpose};
use crate::verify::{self, AddressOverlap, Target};

/// Each configured PgBouncer, in the order of the file. `included` is the name of the published
/// part of their ini, if there is one.
pub(super) fn poolers(
    resolver: &Resolver<'_>,
    file: &File,
    place: &Place,
    servers: &[ServerConfig],
    included: Option<&String>,
) -> Result<Vec<Pooler>, Error> {
    let mut poolers: Vec<Pooler> = Vec::new();
    for table in &file.pgbouncer.0 {
        let pooler = pooler(resolver, table, place, included)?;
        let of_servers = servers.iter().map(|it| &it.name);
        let mut known = of_servers.chain(poolers.iter().map(|it| &it.name));
        if known.any(|name| *name == pooler.name) {
            let why = format!("two consumers have the name {:?}: give each its own", pooler.name);
            return Err(resolver.in_file(keys::PGBOUNCER_NAME.name, why));
        }
        let socket = pooler.console.socket();
        let of_servers = servers.iter().map(|it| it.session.socket());
        let mut known = of_servers.chain(poolers.iter().map(|it| it.console.socket()));
        if known.any(|other| other == socket) {
            let why =
                format!("two tables name the socket {}: leave one of them out", socket.display());
            return Err(resolver.in_file("pgbouncer", why));
        }
        let (target, port) = (&pooler.verify.target, pooler.console.port);
        let meets = |other: &Target, other_port| {
            target.meets(port, other, other_port) == AddressOverlap::Certain
        };
        if servers.iter().any(|it| meets(&it.verify.target, it.session.port))
            || poolers.iter().any(|it| meets(&it.verify.target, it.console.port))
        {
            let why = format!(
                "two tables name {target}: what one serves there would also count for the other; leave it out, or name each one's own \
                 address"
            );
            return Err(resolver.in_file(keys::PGBOUNCER_VERIFY.name, why));
        }
        poolers.push(pooler);
    }
    let ports: Vec<u16> = poolers.iter().map(|it| it.console.port).collect();
    for pooler in &mut poolers {
        let same = ports.iter().filter(|port| **port == pooler.console.port);
        pooler.is_beside_another = same.count() > 1;
    }
    Ok(poolers)
}

fn pooler(
    resolver: &Resolver<'_>,
    table: &Pgbouncer,
    place: &Place,
    included: Option<&String>,
) -> Result<Pooler, Error> {
    let name = table.name.as_deref().unwrap_or(keys::PGBOUNCER_NAME.default_text());
    rules::name(name).map_err(|why| resolver.in_file(keys::PGBOUNCER_NAME.name, why))?;
    let text = |key: &'static keys::Key, given: Option<&str>| {
        resolver.value(key, None, given).or_default()
    };
    let port = table.port.map(|port| port.to_string());
    let host = text(&keys::PGBOUNCER_HOST, table.host.as_deref())?;
    let user = text(&keys::PGBOUNCER_USER, table.user.as_deref())?.text;
    let target = text(&keys::PGBOUNCER_VERIFY, table.verify.as_deref())?;
    let every = rules::interval(
        table.verify_every.as_deref().unwrap_or(keys::PGBOUNCER_VERIFY_EVERY.default_text()),
    )
    .map_err(|why| resolver.in_file(keys::PGBOUNCER_VERIFY_EVERY.name, why))?;
    let console = sql::Settings {
        host: host.parse_with(|text| rules::socket_directory(text, keys::PGBOUNCER_PORT.name))?,
        port: text(&keys::PGBOUNCER_PORT, port.as_deref())?.parse_with(rules::port)?,
        user,
        database: CONSOLE.to_owned(),
        password_file: None,
        require_peer: None,
        purpose: Purpose::Reload,
    };
    let target = target.parse::<Target>()?;
    let login = login(resolver, table, &target)?;
    Ok(Pooler {
        name: name.to_owned(),
        console,
        login,
        verify: verify::Settings {
            target,
            every,
            looks_up: true,
            begin: verify::Begin::SslRequest,
        },
        paths: server::published_paths(place),
        viewpoint: server::viewpoint(place),
        part: included.map(|name| place.readers_base().join(name)),
        in_place: matches!(place, Place::InPlace(_)),
        is_beside_another: false,
    })
}

/// The login that proves what it shows to PostgreSQL.
fn login(
    resolver: &Resolver<'_>,
    table: &Pgbouncer,
    target: &Target,
) -> Result<Option<Login>, Error> {
    let database = table.login_database.as_deref();
    let Some(role) = table.login_role.as_deref() else {
        let why = "it has no effect without login_role: set that, too, or leave it out";
        return match database {
            Some(_) => Err(resolver.in_file(keys::PGBOUNCER_LOGIN_DATABASE.name, why.to_owned())),
            None => Ok(None),
        };
    };
    let database = database.unwrap_or(keys::PGBOUNCER_LOGIN_DATABASE.default_text());
    for (key, value) in
        [(&keys::PGBOUNCER_LOGIN_ROLE, role), (&keys::PGBOUNCER_LOGIN_DATABASE, database)]
    {
        if value.is_empty() || value.contains('\0') {
            let why = "it must be a name, without a NUL byte".to_owned();
            return Err(resolver.in_file(key.name, why));
        }
    }
    if database == CONSOLE {
        let why =
            "it is PgBouncer's console, which has no connection to PostgreSQL: name a database"
                .to_owned();
        return Err(resolver.in_file(keys::PGBOUNCER_LOGIN_DATABASE.name, why));
    }
    if *target == Target::Nowhere {
        let why = "there is no address to log in at, because pgbouncer.verify is none".to_owned();
        return Err(resolver.in_file(keys::PGBOUNCER_LOGIN_ROLE.name, why));
    }
    Ok(Some(Login { role: role.to_owned(), database: database.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    #[test]
    fn a_table_without_keys_is_debians_pgbouncer() {
        let config = config("[postgres]\n[pgbouncer]").unwrap();
        let [pooler] = &config.rotation.poolers[..] else { panic!("there is not one") };
        let socket = pooler.console.socket();
        assert_eq!(socket.to_str(), Some("/var/run/postgresql/.s.PGSQL.6432"));
        assert_eq!((&*pooler.name, &*pooler.console.user), ("pgbouncer", "pgbouncer"));
        assert_eq!(pooler.verify.target, Target::Auto);
        assert_eq!(pooler.part, None);
        assert!(!pooler.is_beside_another);
        assert_eq!(pooler.login, None);
    }

    #[test]
    fn a_login_has_the_database_postgres_unless_another_is_named() {
        let login = |keys: &str| {
            let config = config(&format!("[pgbouncer]\n{keys}")).unwrap();
            config.rotation.poolers[0].login.clone().unwrap()
        };
        assert_eq!(login("login_role = 'app'").database, "postgres");
        let named = login("login_role = 'app'\nlogin_database = 'shop'");
        assert_eq!((&*named.role, &*named.database), ("app", "shop"));
    }

    #[test]
    fn a_part_of_its_ini_is_published_where_it_has_a_name() {
        let config = config("[files]\npgbouncer = 'pgbouncer_tls.ini'\n[pgbouncer]").unwrap();
        let part = config.rotation.poolers[0].part.as_ref().unwrap();
        assert_eq!(part.to_str(), Some("/svids/pgbouncer_tls.ini"));
        let publish = config.place.directory().unwrap();
        assert!(publish.files.names().contains(&"pgbouncer_tls.ini".to_owned()));
        assert!(publish.keep_until_expiry);
    }

    #[test]
    fn q10_what_would_count_for_two_is_refused() {
        let host = |host: &str| format!("[[pgbouncer]]\nhost = '/run/{host}'\nname = '{host}'\n");
        let shared = config(&format!("{}{}", host("a"), host("b"))).unwrap();
        assert!(shared.rotation.poolers.iter().all(|it| it.is_beside_another));
        let verify = "verify = '127.0.0.1:6432'\n";
        for (text, why) in [
            (format!("{}{}", host("a"), host("a")), "two consumers have the name"),
            (host("postgres") + "[postgres]", "two consumers have the name"),
            ("[pgbouncer]\nport = 5432\n[postgres]".to_owned(), "two tables name the socket"),
            (format!("{}{verify}{}{verify}", host("a"), host("b")), "two tables name 127.0.0.1"),
            (format!("[pgbouncer]\n{verify}[postgres]\n{verify}"), "two tables name 127.0.0.1"),
            ("[pgbouncer]\nhost = 'run'".to_owned(), "Unix socket"),
            ("[pgbouncer]\npassword = 'x'".to_owned(), "password"),
            ("[files]\npgbouncer = 'svid.pem'".to_owned(), "two files have the same name"),
            ("[pgbouncer]\nlogin_database = 'app'".to_owned(), "without login_role"),
            ("[pgbouncer]\nlogin_role = ''".to_owned(), "must be a name"),
            ("[pgbouncer]\nlogin_role = 'a'\nlogin_database = 'pgbouncer'".to_owned(), "console"),
            (
                "[pgbouncer]\nlogin_role = 'a'\nverify = 'none'".to_owned(),
                "no address to log in at",
            ),
        ] {
            let error = config(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
