//! Where a role has rights or objects: it cannot be dropped before they are removed, database by database.

use super::error::Error;
use super::session::Session;
use super::socket::Allowance;
use super::statements::literal;

/// Most databases that are listed.
const MOST: usize = 50;

impl Session {
    /// The databases in which the role has rights or owns something, at most 50.
    pub async fn databases_of(&self, role: &str) -> Result<Vec<String>, Error> {
        let query = format!(
            "SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s \
               JOIN pg_catalog.pg_database d ON d.oid = s.dbid \
               JOIN pg_catalog.pg_authid r ON r.oid = s.refobjid \
              WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname = {} \
              ORDER BY 1 LIMIT {MOST}",
            literal(role)
        );
        let rows = self.rows(&query, Allowance::FEW).await?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }
}
