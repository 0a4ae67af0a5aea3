//! `pgsvid setup`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};

use super::{Failure, MISUSED, Place, lines, on_one_thread, say};
use crate::config::{self, Environment, Parts};
use crate::setup::{self, Apply, Owner, Piece, Revert, text};
use crate::text::harmless;

#[derive(Debug, Subcommand)]
pub(super) enum Setup {
    /// Print role and grants, for psql as a superuser
    Sql(Place),
    /// Print the settings, for postgresql.conf
    PostgresqlConf(Place),
    /// Print who is let in, for pg_hba.conf
    Hba(Place),
    /// Print which workload is which role, for pg_ident.conf
    Ident(Place),
    /// Print all of them
    All(Place),
    /// Do it, over a superuser's connection to PostgreSQL's Unix socket
    ///
    /// Shows first what it will do. Makes the role and its grants, and sets the TLS settings by ALTER SYSTEM once a
    /// valid set is published; a handshake proves that it is served, and the settings are put back if it is not.
    /// Records what it replaced, for `setup revert`. Run it where PostgreSQL's data directory is, as its user, or as
    /// root, who becomes that user.
    Apply(Apply_),
    /// Take back what `setup apply` has done
    Revert(Carrying),
}

#[derive(Debug, Args)]
pub(super) struct Apply_ {
    #[command(flatten)]
    carrying: Carrying,
    /// Write to pg_hba.conf and pg_ident.conf, too: a marked block at the top, with a copy of each file beside it
    #[arg(long)]
    hba: bool,
}

#[derive(Debug, Args)]
pub(super) struct Carrying {
    #[command(flatten)]
    place: Place,
    /// Superuser to log in as
    #[arg(long, value_name = "ROLE", default_value = "postgres", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    superuser: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
}

pub(super) fn run(what: Setup, environment: &Environment) -> Result<(), Failure> {
    let (piece, place) = match what {
        Setup::Apply(Apply_ { carrying, hba }) => return apply(carrying, hba, environment),
        Setup::Revert(carrying) => return revert(carrying, environment),
        Setup::Sql(place) => (Piece::Sql, place),
        Setup::PostgresqlConf(place) => (Piece::PostgresqlConf, place),
        Setup::Hba(place) => (Piece::Hba, place),
        Setup::Ident(place) => (Piece::Ident, place),
        Setup::All(place) => (Piece::All, place),
    };
    let settings = load(place, "postgres".to_owned(), environment)?;
    let _ = std::io::stdout().write_all(text(&settings, piece).as_bytes());
    Ok(())
}

fn load(
    place: Place,
    superuser: String,
    environment: &Environment,
) -> Result<setup::Settings, Failure> {
    let misused = |error: config::Error| Failure { status: MISUSED, text: error.to_string() };
    let parts = Parts::load(&place.into(), environment).map_err(misused)?;
    let server = parts.server().map_err(misused)?;
    let publish = parts.publish.ok_or_else(|| misused(config::Error::NoDirectory))?;
    Ok(setup::Settings {
        server,
        publish,
        expectations: parts.expectations,
        roles: parts.roles,
        ident: parts.ident,
        superuser,
    })
}

fn apply(carrying: Carrying, hba: bool, environment: &Environment) -> Result<(), Failure> {
    let Carrying { place, superuser, dry_run, yes } = carrying;
    let settings = load(place, superuser, environment)?;
    let heading = heading(&settings);
    on_one_thread_setup(async move {
        let apply = Apply::prepare(settings, hba).await.map_err(|error| failed(&error))?;
        let plan = apply.plan().clone();
        show(&format!("{heading}, version {}:", harmless(apply.version())));
        tell_owner(apply.owner());
        if !plan.has_steps() && plan.by_hand.is_empty() {
            say("  nothing is to be done: all of it is there");
        }
        let shown = plan.text();
        if !shown.is_empty() {
            show(shown.trim_end());
        }
        let unfinished = || Failure {
            status: super::FAILED,
            text: "not all of it can be done here: see what is to be done by hand".to_owned(),
        };
        let go = if plan.has_steps() && !dry_run { agreed(yes) } else { Ok(false) };
        match go {
            Ok(true) => apply.carry_out(&mut done).await.map_err(|error| failed(&error))?,
            Ok(false) => apply.leave().await,
            Err(failure) => {
                apply.leave().await;
                return Err(failure);
            }
        }
        if dry_run || plan.by_hand.is_empty() { Ok(()) } else { Err(unfinished()) }
    })
}

fn revert(carrying: Carrying, environment: &Environment) -> Result<(), Failure> {
    let Carrying { place, superuser, dry_run, yes } = carrying;
    let settings = load(place, superuser, environment)?;
    let heading = heading(&settings);
    on_one_thread_setup(async move {
        let revert = Revert::prepare(settings).await.map_err(|error| failed(&error))?;
        show(&format!("{heading}, version {}:", harmless(revert.version())));
        tell_owner(revert.owner());
        if !revert.has_steps() {
            say("  nothing is to be taken back: `pgsvid setup apply` has done nothing here");
            revert.leave().await;
            return Ok(());
        }
        show(revert.text().trim_end());
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

/// Whether the person at the terminal agrees. Who is not there has to say so beforehand.
fn agreed(yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure {
            status: MISUSED,
            text: "nothing was changed: add --yes to do it, since there is nobody to ask"
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

/// Says whose rights are left of root's.
fn tell_owner(owner: Option<&Owner>) {
    if let Some(owner) = owner {
        show(&format!(
            "  note     root's rights are given up: this goes on as {owner}, who runs the server"
        ));
    }
}

/// Prints lines that repeat what a server, its files or the record say.
fn show(text: &str) {
    say(&lines(text));
}

fn failed(error: &setup::Error) -> Failure {
    Failure { status: super::FAILED, text: harmless(&error.to_string()).into_owned() }
}

fn on_one_thread_setup(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    on_one_thread(async { Ok(work.await) })?
}
