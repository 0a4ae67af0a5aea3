//! The servers of others that are looked at.

use std::net::IpAddr;

use super::file::{File, Served};
use super::given::Resolver;
use super::{Error, keys, rules};
use crate::consumers::ServedAddress;
use crate::verify::{Begin, Target};

/// The port if none is given.
const PORT: u16 = 5432;
/// Most tables: each is looked at again and again.
const MOST: usize = 64;

/// Each name that is looked at, in the order of the file. `names` are those of the other consumers.
pub(super) fn served(
    resolver: &Resolver<'_>,
    file: &File,
    names: &[&str],
) -> Result<Vec<ServedAddress>, Error> {
    let mut all: Vec<ServedAddress> = Vec::new();
    if file.served.0.len() > MOST {
        return Err(resolver.in_file("served", format!("there are more than {MOST} [[served]]")));
    }
    for table in &file.served.0 {
        let one = address(resolver, table)?;
        let mut known = names.iter().copied().chain(all.iter().map(|it| it.name.as_str()));
        if known.any(|name| name == one.name) {
            let why = format!("two consumers have the name {:?}: give each its own", one.name);
            return Err(resolver.in_file(keys::SERVED_NAME.name, why));
        }
        if let Some(other) = all.iter().find(|it| (&it.host, it.port) == (&one.host, one.port)) {
            let why = format!("two tables name {}: leave one of them out", other.shown());
            return Err(resolver.in_file(keys::SERVED_ADDRESS.name, why));
        }
        all.push(one);
    }
    Ok(all)
}

fn address(resolver: &Resolver<'_>, table: &Served) -> Result<ServedAddress, Error> {
    let wrong = |key: &keys::Key, why: String| resolver.in_file(key.name, why);
    let (host, port) = split(&table.address).map_err(|why| wrong(&keys::SERVED_ADDRESS, why))?;
    let server_name = match table.server_name.as_deref() {
        Some("") => None,
        Some(name) => {
            let mut names =
                rules::host_names(name).map_err(|why| wrong(&keys::SERVED_SERVER_NAME, why))?;
            if names.len() > 1 {
                let why = "write one name".to_owned();
                return Err(wrong(&keys::SERVED_SERVER_NAME, why));
            }
            names.pop()
        }
        // Few certificates have addresses.
        None if host.parse::<IpAddr>().is_ok() => None,
        None => Some(host.trim_end_matches('.').to_owned()),
    };
    let time = |key: &keys::Key, given: &Option<String>| {
        let text = given.as_deref().unwrap_or(key.default_text());
        rules::interval(text).map_err(|why| wrong(key, why))
    };
    let mut one = ServedAddress {
        name: String::new(),
        host,
        port,
        server_name,
        every: time(&keys::SERVED_EVERY, &table.every)?,
        begin: if table.starttls.unwrap_or(true) { Begin::SslRequest } else { Begin::Direct },
        within: time(&keys::SERVED_WITHIN, &table.within)?,
    };
    one.name = match &table.name {
        Some(name) => {
            rules::name(name).map_err(|why| wrong(&keys::SERVED_NAME, why))?;
            name.clone()
        }
        None => one.shown(),
    };
    Ok(one)
}

/// Host and port. A dot at the end of a name is kept: it says that the name is complete.
fn split(text: &str) -> Result<(String, u16), String> {
    let whole = |text: &str| match text.parse() {
        Ok(Target::Address(host, port)) => Some((host, port)),
        _ => None,
    };
    // An address of IPv6 may be written without brackets, if no port follows.
    let bare = text.parse::<IpAddr>().ok().map(|address| (address.to_string(), PORT));
    let found = bare.or_else(|| whole(text)).or_else(|| whole(&format!("{text}:{PORT}")));
    let (host, port) = found.ok_or_else(|| {
        format!("{text:?} is neither HOST nor HOST:PORT (an IPv6 address with a port goes in brackets, [::1]:5432)")
    })?;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((address.to_string(), port));
    }
    let name = host.strip_suffix('.').unwrap_or(&host);
    rules::host_names(name)?;
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::config;
    use super::*;

    #[test]
    fn a_table_with_an_address_alone_looks_at_port_5432_and_expects_the_name_of_the_host() {
        let config = config("[[served]]\naddress = 'cluster-rw.db'").unwrap();
        let [one] = &config.rotation.served[..] else { panic!("there is not one") };
        assert_eq!(
            (&*one.name, &*one.host, one.port),
            ("cluster-rw.db:5432", "cluster-rw.db", 5432)
        );
        assert_eq!(one.server_name.as_deref(), Some("cluster-rw.db"));
        assert_eq!((one.every, one.within), (Duration::from_secs(60), Duration::from_secs(120)));
        assert_eq!(one.begin, Begin::SslRequest);
    }

    #[test]
    fn addresses_as_people_write_them() {
        for (text, host, port, name) in [
            ("db:6432", "db", 6432, Some("db")),
            ("db.example.", "db.example.", 5432, Some("db.example")),
            ("::1", "::1", 5432, None),
            ("[::1]", "::1", 5432, None),
            ("[fd00::1]:5433", "fd00::1", 5433, None),
            ("10.0.0.5", "10.0.0.5", 5432, None),
        ] {
            let config = config(&format!("[served]\naddress = '{text}'")).unwrap();
            let one = &config.rotation.served[0];
            assert_eq!((&*one.host, one.port), (host, port), "{text}");
            assert_eq!(one.server_name.as_deref(), name, "{text}");
        }
    }

    #[test]
    fn y11_what_cannot_be_meant_is_refused() {
        let table = |more: &str| format!("[[served]]\naddress = 'db'\n{more}\n");
        for (text, why) in [
            ("[[served]]".to_owned(), "address"),
            ("[[served]]\naddress = ''".to_owned(), "neither HOST nor HOST:PORT"),
            ("[[served]]\naddress = 'auto'".to_owned() + "\nname = 'a:b'", "is not a name"),
            ("[[served]]\naddress = 'db:0'".to_owned(), "neither HOST nor HOST:PORT"),
            ("[[served]]\naddress = 'a b'".to_owned(), "neither HOST nor HOST:PORT"),
            ("[[served]]\naddress = 'a..b'".to_owned(), "is not a DNS name"),
            ("[[served]]\naddress = '*.db'".to_owned(), "is a pattern"),
            (table("every = '0s'"), "shorter than a second"),
            (table("within = 'soon'"), "is not a duration"),
            (table("server_name = 'a,b'"), "write one name"),
            (table("").repeat(2), "two consumers have the name"),
            (table("name = 'a'") + &table("name = 'b'"), "two tables name db:5432"),
            (table("name = 'postgres'") + "[postgres]", "two consumers have the name"),
            (
                table("name = 'x'") + "[[hooks]]\nname = 'x'\ncommand = ['/bin/true']",
                "has the name",
            ),
            ("[[served]]\naddress = 'db'\n".repeat(MOST + 1), "more than 64"),
        ] {
            let error = config(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_check_of_the_name_can_be_turned_off_and_tls_can_begin_at_once() {
        let text = "[[served]]\naddress = 'db'\nserver_name = ''\nstarttls = false";
        let config = config(text).unwrap();
        let one = &config.rotation.served[0];
        assert_eq!((one.server_name.as_deref(), one.begin), (None, Begin::Direct));
        assert!(config.source.expectations().users.servers);
    }
}
