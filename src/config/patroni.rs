//! Patroni's REST API.

use super::file::{File, Patroni};
use super::given::Resolver;
use super::server::{self, ServerConfig};
use super::{Error, keys, rules};
use crate::consumers::{Pooler, RestApi};
use crate::patroni::Credentials;
use crate::publish::Place;
use crate::verify::{self, AddressOverlap, Begin, Target};

/// The REST API of the Patroni of this machine, if it is configured. `part` is the name of the published part of Patroni's
/// configuration, if there is one.
pub(super) fn rest_api(
    resolver: &Resolver<'_>,
    file: &File,
    place: &Place,
    servers: &[ServerConfig],
    poolers: &[Pooler],
    part: Option<&String>,
) -> Result<Option<RestApi>, Error> {
    let table = match &file.patroni.0[..] {
        [] => return Ok(None),
        [table] => table,
        _ => {
            let why = "there are several [[patroni]]: a machine has one Patroni; run another pgsvid for the other";
            return Err(resolver.in_file("patroni", why));
        }
    };
    if servers.is_empty() || servers.iter().any(|it| it.verify.target == Target::Nowhere) {
        let why = "[patroni] needs a [postgres] that is verified: Patroni reads a set only after PostgreSQL is proven to serve it";
        return Err(resolver.in_file("patroni", why));
    }
    let others = servers.iter().map(|it| &it.name).chain(poolers.iter().map(|it| &it.name));
    if others.into_iter().any(|name| name == NAME) {
        let why = format!("another consumer has the name {NAME:?}, which is Patroni's: rename it");
        return Err(resolver.in_file("patroni", why));
    }
    // Without a directory the files are another program's, which may replace one after the other.
    if place.directory().is_none() {
        let why = "[patroni] needs files.directory: Patroni must never read files that do not fit together, and only pgsvid's own sets always do";
        return Err(resolver.in_file("patroni", why));
    }
    let api = read(resolver, table, place, part)?;
    let meets = |it: &&ServerConfig| {
        api.verify.target.meets(0, &it.verify.target, it.session.port) == AddressOverlap::Certain
    };
    if let Some(server) = servers.iter().find(meets) {
        let why = format!(
            "it is also where {} is verified: name restapi.listen of Patroni's configuration",
            server.name
        );
        return Err(resolver.in_file(keys::PATRONI_ADDRESS.name, why));
    }
    Ok(Some(api))
}

/// Patroni's name among the consumers: a machine has one.
const NAME: &str = "patroni";

fn read(
    resolver: &Resolver<'_>,
    table: &Patroni,
    place: &Place,
    part: Option<&String>,
) -> Result<RestApi, Error> {
    let wrong = |key: &'static keys::Key, why: String| resolver.in_file(key.name, why);
    let address = resolver.value(&keys::PATRONI_ADDRESS, None, table.address.as_deref());
    let target = address.or_default()?.parse_with(|text| match text.parse::<Target>() {
        Ok(target @ Target::Address(..)) => Ok(target),
        _ => Err("it is not HOST:PORT (an IPv6 address goes in brackets, [::1]:8008)".to_owned()),
    })?;
    let interval = |key: &'static keys::Key, given: &Option<String>| {
        let text = given.as_deref().unwrap_or(key.default_text());
        rules::interval(text).map_err(|why| wrong(key, why))
    };
    let every = interval(&keys::PATRONI_VERIFY_EVERY, &table.verify_every)?;
    let loads_within = interval(&keys::PATRONI_LOADS_WITHIN, &table.loads_within)?;
    if loads_within > RestApi::LONGEST {
        return Err(wrong(&keys::PATRONI_LOADS_WITHIN, "it is longer than ten minutes".to_owned()));
    }
    let credentials = match (&table.username, &table.password_file) {
        (None, None) => None,
        (Some(username), Some(password_file)) => {
            if username.is_empty() || username.contains(':') {
                let why = "it is empty, or has a colon, which no name may have (RFC 7617)";
                return Err(wrong(&keys::PATRONI_USERNAME, why.to_owned()));
            }
            rules::absolute(password_file)
                .map_err(|why| wrong(&keys::PATRONI_PASSWORD_FILE, why))?;
            let (username, password_file) = (username.clone(), password_file.clone());
            Some(Credentials { username, password_file })
        }
        (Some(_), None) => {
            let why = "patroni.username needs patroni.password_file";
            return Err(wrong(&keys::PATRONI_USERNAME, why.to_owned()));
        }
        (None, Some(_)) => {
            let why = "patroni.password_file needs patroni.username";
            return Err(wrong(&keys::PATRONI_PASSWORD_FILE, why.to_owned()));
        }
    };
    Ok(RestApi {
        name: NAME.to_owned(),
        verify: verify::Settings { target, every, looks_up: true, begin: Begin::Tls },
        credentials,
        loads_within,
        paths: server::published_paths(place),
        part: part.map(|name| place.readers_base().join(name)),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::config;

    #[test]
    fn a_table_without_keys_is_patronis_default() {
        let config = config("[files]\npatroni = 'pgsvid.yml'\n[postgres]\n[patroni]").unwrap();
        let api = config.rotation.patroni.unwrap();
        assert_eq!(api.verify.target.to_string(), "127.0.0.1:8008");
        assert_eq!(api.loads_within, Duration::from_secs(30));
        assert_eq!(api.part.unwrap().to_str(), Some("/svids/pgsvid.yml"));
        assert!(api.credentials.is_none());
        assert!(config.place.directory().unwrap().keep_until_expiry);
    }

    #[test]
    fn r17_what_could_not_be_proven_or_asked_is_refused() {
        for (text, why) in [
            ("[patroni]", "needs a [postgres]"),
            ("[postgres]\nverify = 'none'\n[patroni]", "needs a [postgres]"),
            ("[postgres]\nname = 'patroni'\n[patroni]", "another consumer has the name"),
            ("[postgres]\n[patroni]\naddress = 'auto'", "HOST:PORT"),
            ("[postgres]\nverify = '127.0.0.1:8008'\n[patroni]", "also where postgres is verified"),
            ("[postgres]\n[patroni]\nusername = 'a'", "needs patroni.password_file"),
            ("[postgres]\n[patroni]\npassword_file = '/a'", "needs patroni.username"),
            ("[postgres]\n[patroni]\nusername = 'a:b'\npassword_file = '/a'", "colon"),
            ("[postgres]\n[patroni]\nloads_within = '11m'", "ten minutes"),
            ("[postgres]\n[[patroni]]\n[[patroni]]", "a machine has one Patroni"),
            ("[files]\npatroni = 'tls'\n[postgres]\n[patroni]", "yml"),
        ] {
            let error = config(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
