//! `pgsvid setup`.

mod replication;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};

use super::flags::Settings;
use super::output::{lines, say};
use super::{Failure, MISUSED, on_one_thread};
use crate::config::{self, Environment, Flags, Parts};
use crate::kubernetes::Subject;
use crate::setup::{self, Apply, Owner, Piece, Revert, text};
use crate::text::{argument, harmless, shown};

#[derive(Debug, Subcommand)]
pub(super) enum Setup {
    /// Print role and grants, for psql as a superuser
    Sql(Box<Sql>),
    /// Print the settings, for postgresql.conf
    PostgresqlConf(Box<Settings>),
    /// Print which clients are let in, for pg_hba.conf
    Hba(Box<Settings>),
    /// Print which workload may log in as which role, for pg_ident.conf
    Ident(Box<Settings>),
    /// Print all of them
    All(Box<Settings>),
    /// Print what each [pgbouncer] needs, for PgBouncer's ini
    PgbouncerIni(Box<Settings>),
    /// Print a configuration of spiffe-helper as one of pgsvid
    ///
    /// Each key that pgsvid does not honour becomes a comment, with what to do instead.
    FromHelper {
        /// The helper.conf
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
    /// Print what replication by certificate needs on a primary, a standby and a subscriber
    ///
    /// Run it with the configuration of the standby or subscriber: its published files are named. Each part says where it belongs.
    Replication(Box<replication::Arguments>),
    /// Print the least rights that [[secrets]] needs, for kubectl apply
    ///
    /// Roles and RoleBindings, one of each for every namespace: the Secrets of the configuration by their names, and no others.
    Rbac(Box<Rbac>),
    /// Print what [patroni] needs, for Patroni's configuration on each node
    PatroniYaml(Box<Settings>),
    /// Apply it over a superuser's connection to PostgreSQL's Unix socket
    ///
    /// Shows the plan first. Creates the role and its grants, and sets the TLS settings by ALTER SYSTEM once a valid set is
    /// published; a handshake proves that PostgreSQL serves it, and otherwise the old settings are restored. Records what it
    /// replaced, for `setup revert`. Run it where PostgreSQL's data directory is, as PostgreSQL's user, or as root, which
    /// then switches to that user.
    ///
    /// Accepts the flags of `run`. Afterwards `pgsvid run` must be running: it renews what PostgreSQL then serves.
    Apply(Box<Apply_>),
    /// Undo what `setup apply` has done
    ///
    /// If there is no record of it, prints commands that undo a set-up that somebody made by hand. Accepts the flags of `run`.
    Revert(Box<Carrying>),
}

#[derive(Debug, Args)]
pub(super) struct Sql {
    #[command(flatten)]
    settings: Settings,
    /// Also let the role see the sessions of others, and end them if postgres.end_sessions is set
    #[arg(long)]
    sessions: bool,
}

#[derive(Debug, Args)]
pub(super) struct Rbac {
    #[command(flatten)]
    settings: Settings,
    /// The ServiceAccount of pgsvid's pods
    #[arg(long, value_name = "NAME", default_value = "pgsvid")]
    service_account: String,
    /// Its namespace [default: kubernetes.namespace of the configuration]
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Apply_ {
    #[command(flatten)]
    carrying: Carrying,
    /// Also write to pg_hba.conf and pg_ident.conf: a marked block at the top, with a copy of each file beside it
    #[arg(long)]
    hba: bool,
}

#[derive(Debug, Args)]
pub(super) struct Carrying {
    #[command(flatten)]
    settings: Settings,
    /// Superuser to log in as
    #[arg(long, value_name = "ROLE", default_value = "postgres", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    superuser: String,
    /// Show the plan, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
}

pub(super) fn run(what: Setup, environment: &Environment) -> Result<(), Failure> {
    let (piece, flags) = match what {
        Setup::Apply(arguments) => {
            let Apply_ { carrying, hba } = *arguments;
            return apply(carrying, hba, environment);
        }
        Setup::Revert(carrying) => return revert(*carrying, environment),
        Setup::Sql(arguments) => {
            let Sql { settings, sessions } = *arguments;
            let piece = if sessions { Piece::SqlWithSessions } else { Piece::Sql };
            (piece, Box::new(settings))
        }
        Setup::PostgresqlConf(flags) => (Piece::PostgresqlConf, flags),
        Setup::Hba(flags) => (Piece::Hba, flags),
        Setup::Ident(flags) => (Piece::Ident, flags),
        Setup::All(flags) => (Piece::All, flags),
        Setup::FromHelper { file } => {
            let text = config::from_helper(&file, environment)
                .map_err(|error| Failure { status: MISUSED, text: error.to_string() })?;
            let _ = std::io::stdout().write_all(text.as_bytes());
            return Ok(());
        }
        Setup::Replication(arguments) => return replication::run(*arguments, environment),
        Setup::PgbouncerIni(flags) => return pgbouncer_ini(&(*flags).into(), environment),
        Setup::Rbac(arguments) => return rbac(*arguments, environment),
        Setup::PatroniYaml(flags) => return patroni_yaml(&(*flags).into(), environment),
    };
    let settings = load(&(*flags).into(), "postgres".to_owned(), environment)?;
    let _ = std::io::stdout().write_all(text(&settings, piece).as_bytes());
    Ok(())
}

fn pgbouncer_ini(flags: &Flags, environment: &Environment) -> Result<(), Failure> {
    let misused = |error: config::Error| Failure { status: MISUSED, text: error.to_string() };
    let parts = Parts::load(flags, environment).map_err(misused)?;
    if parts.place.is_none() {
        return Err(misused(config::Error::NoDirectory));
    }
    if parts.poolers.is_empty() {
        return Err(misused(config::Error::NoPgbouncer));
    }
    let texts = parts.poolers.iter().map(setup::pgbouncer_ini);
    let texts: Vec<_> = texts.collect();
    let _ = std::io::stdout().write_all(texts.join("\n").as_bytes());
    Ok(())
}

fn rbac(arguments: Rbac, environment: &Environment) -> Result<(), Failure> {
    let misused = |text: String| Failure { status: MISUSED, text };
    let Rbac { settings, service_account, namespace } = arguments;
    let secrets = config::secrets(&settings.into(), environment)
        .map_err(|error| misused(error.to_string()))?
        .ok_or_else(|| {
            misused(
                "no Secret is configured: add a [[secrets]] table to the configuration".to_owned(),
            )
        })?;
    let namespace = namespace.or_else(|| secrets.namespace.clone()).ok_or_else(|| {
        misused(
            "the namespace of the ServiceAccount is not known: use --namespace, or set kubernetes.namespace"
                .to_owned(),
        )
    })?;
    let who = format!("{namespace}/{service_account}");
    let subject = Subject::service_account(namespace, service_account).ok_or_else(|| {
        misused(format!(
            "{} is no ServiceAccount with its namespace: write lower-case letters, digits and -",
            shown(&who)
        ))
    })?;
    let _ = std::io::stdout().write_all(setup::rbac(&secrets, &subject).as_bytes());
    Ok(())
}

fn patroni_yaml(flags: &Flags, environment: &Environment) -> Result<(), Failure> {
    let misused = |error: config::Error| Failure { status: MISUSED, text: error.to_string() };
    let settings = load(flags, "postgres".to_owned(), environment)?;
    let api = Parts::load(flags, environment).map_err(misused)?.patroni;
    let api = api.ok_or_else(|| misused(config::Error::NoPatroni))?;
    let yaml = setup::patroni_yaml(&settings, &api)
        .map_err(|error| Failure { status: MISUSED, text: error.to_string() })?;
    let _ = std::io::stdout().write_all(yaml.as_bytes());
    Ok(())
}

fn load(
    flags: &Flags,
    superuser: String,
    environment: &Environment,
) -> Result<setup::Settings, Failure> {
    let misused = |error: config::Error| Failure { status: MISUSED, text: error.to_string() };
    let parts = Parts::load(flags, environment).map_err(misused)?;
    let server = parts.server().map_err(misused)?;
    let place = parts.place.ok_or_else(|| misused(config::Error::NoDirectory))?;
    Ok(setup::Settings {
        server,
        place,
        expectations: parts.expectations,
        roles: parts.roles,
        ident: parts.ident,
        superuser,
    })
}

fn apply(carrying: Carrying, hba: bool, environment: &Environment) -> Result<(), Failure> {
    let Carrying { settings, superuser, dry_run, yes } = carrying;
    let flags = Flags::from(settings);
    let running = flags.command_line();
    let settings = load(&flags, superuser, environment)?;
    let heading = heading(&settings);
    let next = next(&settings, &running);
    on_one_thread_setup(async move {
        let apply = Apply::prepare(settings, hba).await.map_err(|error| failed(&error))?;
        let plan = apply.plan().clone();
        show(&format!("{heading}, version {}:", harmless(apply.version())));
        tell_owner(apply.owner());
        if !plan.has_steps() && plan.by_hand.is_empty() {
            say("  nothing to do: all of it exists already");
        }
        let shown = plan.text();
        if !shown.is_empty() {
            show(shown.trim_end());
        }
        if dry_run {
            show(&next);
        }
        let unfinished = || Failure {
            status: super::FAILED,
            text: "not all of it can be done here: see the steps marked by hand".to_owned(),
        };
        let go = if plan.has_steps() && !dry_run { agreed(yes) } else { Ok(false) };
        match go {
            Ok(true) => apply.carry_out(&mut done).await.map_err(|error| failed(&error))?,
            Ok(false) => {
                apply.leave().await;
                if !dry_run && plan.has_steps() {
                    return Ok(());
                }
            }
            Err(failure) => {
                apply.leave().await;
                return Err(failure);
            }
        }
        if dry_run {
            return Ok(());
        }
        show(&next);
        if plan.by_hand.is_empty() { Ok(()) } else { Err(unfinished()) }
    })
}

fn revert(carrying: Carrying, environment: &Environment) -> Result<(), Failure> {
    let Carrying { settings, superuser, dry_run, yes } = carrying;
    let flags = Flags::from(settings);
    let settings = load(&flags, superuser, environment)?;
    let heading = heading(&settings);
    let poolers = Parts::load(&flags, environment).map(|parts| parts.poolers).unwrap_or_default();
    on_one_thread_setup(async move {
        let revert = Revert::prepare(settings).await.map_err(|error| failed(&error))?;
        show(&format!("{heading}, version {}:", harmless(revert.version())));
        tell_owner(revert.owner());
        if !revert.has_steps() {
            say("    nothing to undo: there is no record of `pgsvid setup apply` for this server");
            if !revert.by_hand().is_empty() {
                show(revert.by_hand().trim_end());
            }
            revert.leave().await;
            return Ok(());
        }
        show(revert.text().trim_end());
        for pooler in &poolers {
            show(&setup::before_pooler(pooler));
        }
        match if dry_run { Ok(false) } else { agreed(yes) } {
            Ok(true) => revert.carry_out(&mut done).await.map_err(|error| failed(&error)),
            Ok(false) => {
                revert.leave().await;
                Ok(())
            }
            Err(failure) => {
                revert.leave().await;
                Err(failure)
            }
        }
    })
}

/// What keeps the certificate from expiring: the command line of `run` with the flags of this command.
fn next(settings: &setup::Settings, flags: &str) -> String {
    if settings.is_run() {
        return "  next     nothing: `pgsvid run` is running, and renews what PostgreSQL serves"
            .to_owned();
    }
    let user = settings.roles.login.as_ref().and_then(|login| login.os_user.as_ref());
    let user = user.map(|user| format!("sudo -u {} ", argument(user)));
    format!(
        "  next     `pgsvid run` must be running: nothing else renews what PostgreSQL serves\n           {}pgsvid run{flags}",
        user.unwrap_or_default()
    )
}

fn heading(settings: &setup::Settings) -> String {
    let session = &settings.server.session;
    format!(
        "PostgreSQL {}:{}, database {}, as {}",
        session.host.display(),
        session.port,
        session.database,
        settings.superuser
    )
}

/// Whether the person at the terminal agrees. Without a terminal, --yes must say so.
fn agreed(yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure {
            status: MISUSED,
            text:
                "nothing was changed: there is no terminal for the question; add --yes to confirm"
                    .to_owned(),
        });
    }
    let _ = write!(std::io::stderr(), "Do it? [y/N] ");
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    let agreed = matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        say("nothing was changed");
    }
    Ok(agreed)
}

fn done(line: &str) {
    say(&format!("  done     {}", harmless(line)));
}

/// Reports the user whose rights replace root's.
fn tell_owner(owner: Option<&Owner>) {
    if let Some(owner) = owner {
        show(&format!(
            "  note     root's rights are given up: this continues as {owner}, the user who runs the server"
        ));
    }
}

/// Prints lines that may repeat text of a server, its files or the record.
fn show(text: &str) {
    say(&lines(text));
}

fn failed(error: &setup::Error) -> Failure {
    Failure { status: super::FAILED, text: harmless(&error.to_string()).into_owned() }
}

fn on_one_thread_setup(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    on_one_thread(async { Ok(work.await) })?
}
