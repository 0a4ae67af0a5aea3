//! What there is of a configuration, for commands that need neither all of it nor any.

use super::given::Resolver;
use super::{Environment, Error, Flags, ident, identity, publish, read, roles, server, service};
use crate::companions::role_map::RoleMap;
use crate::material::Expectations;
use crate::{consumers, sql, verify};

/// The parts that stand by themselves. What is given must be right; what is not given is absent.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What the published identity must be.
    pub expectations: Expectations,
    /// Where identities are published.
    pub publish: Option<crate::publish::Settings>,
    /// The PostgreSQL that takes part: its session, and where to see what it serves.
    pub postgres: Option<(sql::Settings, verify::Settings)>,
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
        let postgres = server::postgres(&resolver, &file, flags)?;
        let roles = roles::roles(&resolver, &file, postgres.as_ref().map(|(session, _)| session))?;
        let (publish, ident) = match publish(&resolver, &file, flags) {
            Ok(settings) => {
                let service = service(&resolver, &file, &settings)?;
                let ident = ident(&resolver, &file, &settings, service.as_ref())?;
                (Some(settings), ident)
            }
            Err(Error::NoDirectory) => (None, None),
            Err(error) => return Err(error),
        };
        Ok(Self { expectations, publish, postgres, roles, ident })
    }

    /// The server that takes part, with the published files as it sees them; for commands that need both.
    pub fn server(&self) -> Result<consumers::Server, Error> {
        let (session, verify) = self.postgres.clone().ok_or(Error::NoPostgres)?;
        let publish = self.publish.as_ref().ok_or(Error::NoDirectory)?;
        Ok(server::server(
            session,
            verify,
            publish,
            self.ident.as_ref().map(|_| self.roles.expressions()),
        ))
    }
}
