//! Whether PgBouncer lets in a client that shows no certificate. Its files may say that it does not, and not be loaded.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::Config;
use crate::consumers::Pooler;
use crate::doctor::finding::{Code, Finding};
use crate::login::{self, Login, Negotiation, Outcome, Verify, Versions};
use crate::material::{Certificate, Material};
use crate::pgbouncer::{self, Settings};
use crate::text::shown;

/// Most roles to try: each failed login is a line in PgBouncer's log.
const MOST: usize = 3;
/// How long all logins may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The finding if a stranger gets in.
pub(super) async fn finding(
    config: &Config,
    pooler: &Pooler,
    settings: &Settings,
    on_disk: Option<&Material>,
) -> Option<Finding> {
    if !matches!(settings.value("auth_type"), "cert" | "hba") {
        // The other methods are judged by their name alone.
        return None;
    }
    let (hosts, port) = pooler.verify.target.hosts(Some(settings.listens_on()), 0)?;
    let authorities: Vec<Certificate> = on_disk?.authorities().cloned().collect();
    let database = database(config, settings);
    let tried = async {
        for role in roles(config, settings) {
            let login = Login {
                name: "localhost",
                verify: Verify::Chain,
                negotiation: Negotiation::Request,
                versions: Versions::Both,
                role: &role,
                database: &database,
                replication: false,
                application_name: "pgsvid check",
                parameters: &[],
                authorities: &authorities,
                client: None,
            };
            if let Outcome::LoggedIn(_) = login::attempt((&hosts, port), &login).await.0 {
                return Some(open(&role, settings));
            }
        }
        None
    };
    timeout(LIMIT, tried).await.ok().flatten()
}

fn open(role: &str, settings: &Settings) -> Finding {
    let auth = settings.value("auth_type");
    Finding::failure(
        Code::PgbouncerOpen,
        format!("PgBouncer lets in a client without a certificate, as role {}", shown(role)),
    )
    .about(auth)
    .cause(format!("auth_type is {auth}; what its files say now may not be loaded"))
    .fix("correct the rules in auth_hba_file, and `systemctl reload pgbouncer`; sessions that are open stay")
}

/// The roles to try: those of the services, then those that PgBouncer knows.
fn roles(config: &Config, settings: &Settings) -> Vec<String> {
    let of_services = config.services.iter().filter_map(|it| it.options.get("user").cloned());
    let mut roles: Vec<String> = Vec::new();
    for role in of_services.chain(pgbouncer::users(settings, MOST)) {
        if roles.len() < MOST && !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles
}

/// A database that PgBouncer knows.
fn database(config: &Config, settings: &Settings) -> String {
    let of_service = config.service().and_then(|it| it.options.get("dbname").cloned());
    let known = || {
        let mut databases = pgbouncer::backends(settings).into_iter().map(|it| it.database);
        databases.find(|name| name != "*")
    };
    of_service.or_else(known).unwrap_or_else(|| "postgres".to_owned())
}
