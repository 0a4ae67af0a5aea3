//! Parts of a configuration, for commands that do not need all of it.

use super::given::Resolver;
use super::source::policy;
use super::{
    Environment, Error, Extra, Flags, extra, identity, patroni, place, pooler, read, roles, server,
};
use crate::companions::role_map::RoleMap;
use crate::consumers;
use crate::material::Expectations;

/// The independent parts. Values that are given must be valid; a part without its values is `None` or empty.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The requirements for the published identity.
    pub expectations: Expectations,
    /// Where consumers find the set.
    pub place: Option<crate::publish::Place>,
    /// The configured servers.
    pub servers: Vec<server::ServerConfig>,
    /// Each configured PgBouncer, if it is known where identities are published.
    pub poolers: Vec<consumers::Pooler>,
    /// Patroni's REST API, if it is configured, and it is known where identities are published.
    pub patroni: Option<consumers::RestApi>,
    /// Which workload may log in as which role.
    pub roles: RoleMap,
    /// Name of the file that the map is published as, if it is published.
    pub ident: Option<String>,
}

impl Parts {
    /// Reads the file that flags or environment name, as [`super::Config::load`] does.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, Error> {
        let (path, file) = read(flags, environment)?;
        let resolver = Resolver { file: path.as_deref(), environment };
        let (_, mut expectations) = identity(&resolver, &file, flags)?;
        expectations.policy = policy(&file, &expectations);
        let servers = server::servers(&resolver, &file, flags)?;
        let roles = roles::roles(&resolver, &file, &servers)?;
        let (mut poolers, mut rest_api) = (Vec::new(), None);
        let (place, ident) = match place::place(&resolver, &file, flags) {
            Ok(mut place) => {
                let Extra { ident, pgbouncer, patroni, .. } =
                    extra(&resolver, &file, &mut place, &roles)?;
                poolers = pooler::poolers(&resolver, &file, &place, &servers, pgbouncer.as_ref())?;
                let part = patroni.as_ref();
                rest_api = patroni::rest_api(&resolver, &file, &place, &servers, &poolers, part)?;
                (Some(place), ident)
            }
            Err(Error::NoDirectory) => (None, None),
            Err(error) => return Err(error),
        };
        Ok(Self { expectations, place, servers, poolers, patroni: rest_api, roles, ident })
    }

    /// The only configured server, with the published files' paths for it; for commands that need both.
    pub fn server(&self) -> Result<consumers::Server, Error> {
        let reached = match &self.servers[..] {
            [] => return Err(Error::NoPostgres),
            [one] => one.clone(),
            several => {
                let names = several.iter().map(|server| server.name.clone()).collect();
                return Err(Error::SeveralPostgres { names });
            }
        };
        let place = self.place.as_ref().ok_or(Error::NoDirectory)?;
        let role_map = self.ident.as_ref().map(|_| self.roles.expressions());
        Ok(server::server(reached, place, role_map))
    }
}
