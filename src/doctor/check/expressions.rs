//! What the regular expressions of `pg_ident.conf` match, by the server's own engine. Some take seconds, so the time for
//! all of them is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::companions::role_map::Workload;
use crate::config::Config;
use crate::diagnose::strangers;
use crate::sql::{Error, Mapping, Session, lookalikes};

/// How many are tried.
const MOST: usize = 200;
/// How long all of them may take. The one that is being tried then has the limit of a statement besides.
const LONGEST: Duration = Duration::from_secs(10);

/// What was found. An expression that is in none of these was not tried, or not to its end.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    /// For each expression the first stranger's name that it matches.
    pub(super) strangers: BTreeMap<String, Option<String>>,
    /// For each expression what stands for `\1` where it matches the name of pgsvid's user.
    pub(super) own: BTreeMap<String, Option<String>>,
    /// Those that the server cannot compile, with their lines.
    pub(super) broken: Vec<(u32, String)>,
}

/// Tries the expressions in these mappings. Those that we have written ourselves name one workload each.
pub(super) async fn try_all<'a>(
    session: &Session,
    config: &Config,
    mappings: impl Iterator<Item = &'a Mapping>,
    own_name: Option<&str>,
) -> Expressions {
    let ours: BTreeSet<String> = config.roles.workloads.iter().map(Workload::expression).collect();
    let mut found = Expressions {
        strangers: ours.iter().map(|expression| (expression.clone(), None)).collect(),
        ..Expressions::default()
    };
    let strangers = strangers();
    let end = Instant::now() + LONGEST;
    let mut tried = BTreeSet::new();
    for mapping in mappings {
        let name = &mapping.system_user;
        let Some(expression) = name.strip_prefix('/') else { continue };
        if ours.contains(name) || tried.contains(name) {
            continue;
        }
        if tried.len() == MOST || Instant::now() >= end {
            break;
        }
        tried.insert(name);
        match try_one(session, expression, own_name, &strangers).await {
            Ok((stranger, own)) => {
                found.strangers.insert(name.clone(), stranger);
                if own_name.is_some() {
                    found.own.insert(name.clone(), own);
                }
            }
            Err(error) if error.is_about_an_expression() => {
                found.broken.push((mapping.line, name.clone()));
            }
            // It cannot be told then.
            Err(_) => {}
        }
    }
    found
}

async fn try_one(
    session: &Session,
    expression: &str,
    own_name: Option<&str>,
    strangers: &[String],
) -> Result<(Option<String>, Option<String>), Error> {
    let own = match own_name {
        Some(name) => session.first_part(expression, name).await?,
        None => None,
    };
    let alike = lookalikes(expression);
    let names: Vec<&str> = strangers.iter().chain(&alike).map(String::as_str).collect();
    Ok((session.first_match(expression, &names).await?, own))
}
