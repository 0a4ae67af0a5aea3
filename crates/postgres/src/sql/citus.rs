//! Whether the nodes of a Citus cluster reach each other (Citus: `citus_check_cluster_node_health`).

use super::error::Error;
use super::statements::identifier;
use pgsvid_base::text::shown;

/// How many pairs are named.
const MOST: usize = 5;

/// The answer of the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Citus {
    /// The role may not ask.
    Denied,
    /// It was asked.
    Asked {
        /// The number of pairs of nodes.
        pairs: u64,
        /// How many of them are not known to reach each other: the answer was NULL, or false.
        broken: u64,
        /// The first of these: `a:5432 to b:5432`, escaped.
        examples: Vec<String>,
    },
}

/// The schema of the function, and whether the role may execute it; no row without the extension. Anybody may create a function of
/// that name, so it must belong to the extension, and to a superuser, so that nobody else could have replaced it.
pub(super) const ALLOWED: &str = "\
    SELECT n.nspname, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE') \
      FROM pg_catalog.pg_extension e \
      JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid \
       AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e' \
      JOIN pg_catalog.pg_proc p ON p.oid = d.objid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
      JOIN pg_catalog.pg_roles o ON o.oid = p.proowner AND o.rolsuper \
     WHERE e.extname = 'citus' AND p.proname = 'citus_check_cluster_node_health' AND p.pronargs = 0";

/// One row for each pair of nodes.
pub(super) fn query(schema: &str) -> String {
    format!(
        "SELECT pg_catalog.concat(from_nodename, ':', from_nodeport), pg_catalog.concat(to_nodename, ':', to_nodeport), \
                COALESCE(result, false)::pg_catalog.text FROM {}.citus_check_cluster_node_health() LIMIT 10000",
        identifier(schema)
    )
}

pub(super) fn parse(rows: &[Vec<Option<String>>]) -> Result<Citus, Error> {
    let (mut broken, mut examples) = (0, Vec::new());
    for row in rows {
        let [Some(from), Some(to), Some(works)] = row.as_slice() else {
            return Err(Error::Unexpected);
        };
        if works != "true" {
            broken += 1;
            if examples.len() < MOST {
                examples.push(format!("{} to {}", shown(from), shown(to)));
            }
        }
    }
    Ok(Citus::Asked { pairs: rows.len() as u64, broken, examples })
}
