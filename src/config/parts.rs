//! What there is of a configuration, for commands that need neither all of it nor any.

use super::given::Resolver;
use super::{Environment, Error, Flags, publish, read, server};
use crate::{postgres, verify};

/// The parts that stand by themselves. What is given must be right; what is not given is absent.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where identities are published.
    pub publish: Option<crate::publish::Settings>,
    /// The PostgreSQL that takes part: its session, and where to see what it serves.
    pub postgres: Option<(postgres::Settings, verify::Settings)>,
}

impl Parts {
    /// Reads the file that flags or environment name, as [`super::Config::load`] does.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, Error> {
        let (path, file) = read(flags, environment)?;
        let resolver = Resolver { file: path.as_deref(), environment };
        let publish = match publish(&resolver, &file, flags) {
            Ok(settings) => Some(settings),
            Err(Error::NoDirectory) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { publish, postgres: server::postgres(&resolver, &file, flags)? })
    }
}
