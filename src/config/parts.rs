//! What there is of a configuration, for commands that need neither all of it nor any.

use super::given::Resolver;
use super::{Environment, Error, Flags, ident, identity, publish, read, roles, server, service};
use crate::companions::role_map::RoleMap;
use crate::consumers;
use crate::material::Expectations;

/// The parts that stand by themselves. What is given must be right; what is not given is absent.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What the published identity must be.
    pub expectations: Expectations,
    /// Where identities are published.
    pub publish: Option<crate::publish::Settings>,
    /// The servers that take part.
    pub servers: Vec<server::Reached>,
    /// Which workload may be which role.
    pub roles: RoleMap,
    /// Name of the file that the map is published as, if it is.
    pub ident: Option<String>,
}

impl Parts {
    /// Reads the file that flags or environment name, as [`super::Config::load`] does.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, Error> {
        let (path, file) = read(flags, environment)?;
        let resolver = Resolver { file: path.as_deref(), environment };
        let (_, expectations) = identity(&resolver, &file, flags)?;
        let servers = server::servers(&resolver, &file, flags)?;
        let roles = roles::roles(&resolver, &file, &servers)?;
        let (publish, ident) = match publish(&resolver, &file, flags) {
            Ok(settings) => {
                let service = service(&resolver, &file, &settings)?;
                let ident = ident(&resolver, &file, &settings, service.as_ref())?;
                (Some(settings), ident)
            }
            Err(Error::NoDirectory) => (None, None),
            Err(error) => return Err(error),
        };
        Ok(Self { expectations, publish, servers, roles, ident })
    }

    /// The one server that takes part, with the published files as it sees them; for commands that need both.
    pub fn server(&self) -> Result<consumers::Server, Error> {
        let reached = match &self.servers[..] {
            [] => return Err(Error::NoPostgres),
            [one] => one.clone(),
            several => {
                let names = several.iter().map(|server| server.name.clone()).collect();
                return Err(Error::SeveralPostgres { names });
            }
        };
        let publish = self.publish.as_ref().ok_or(Error::NoDirectory)?;
        let role_map = self.ident.as_ref().map(|_| self.roles.expressions());
        Ok(server::server(reached, publish, role_map))
    }
}
