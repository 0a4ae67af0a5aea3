//! What the regular expressions of `pg_ident.conf` match, according to the server's own engine. Some take seconds, so the
//! total time is limited.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::companions::role_map::Workload;
use crate::config::Config;
use crate::diagnose::strangers;
use crate::sql::{Error, Mapping, Session, lookalikes};

/// How many expressions are tried.
const MOST: usize = 200;
/// How long all of them may take. The one that is running then still has the limit of a statement.
const LONGEST: Duration = Duration::from_secs(10);

/// The results. An expression that is in none of these was not tried, or not completely.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    /// For each expression the first unintended name that it matches.
    pub(super) strangers: BTreeMap<String, Option<String>>,
    /// For each expression the text for `\1` where it matches the name of pgsvid's user.
    pub(super) own: BTreeMap<String, Option<String>>,
    /// Those that the server cannot compile, with their lines.
    pub(super) broken: Vec<(u32, String)>,
}

/// Tries the expressions in these mappings. Those that pgsvid has written itself name one workload each.
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
            // The result for this expression stays unknown.
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
