//! A transaction whose outcome can be queried later by its ID, even if this process was killed in the meantime.

use super::error::Error;
use super::session::Session;
use super::socket::Allowance;
use super::statements::literal;

/// The outcome of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was committed.
    Committed,
    /// It was rolled back.
    Aborted,
    /// It still runs.
    Running,
    /// It is so old that the server no longer knows it, or it is not one of this server's.
    Unknown,
}

impl Session {
    /// Begins a transaction that may write, and returns its ID, which the server never uses again.
    pub async fn begin(&self) -> Result<String, Error> {
        self.rows("BEGIN READ WRITE", Allowance::FEW).await?;
        let rows = self
            .rows("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text", Allowance::FEW)
            .await?;
        rows.into_iter().next().and_then(|mut row| row.pop()?).ok_or(Error::Unexpected)
    }

    /// Executes a statement in the transaction, and commits it. If the server refuses, nothing was done.
    pub async fn commit(&self, statement: &str) -> Result<(), Error> {
        let outcome = match self.without_event_triggers(statement).await {
            Ok(()) => self.rows(statement, Allowance::FEW).await.map(drop),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // Losing the connection ends the transaction, too.
            let _ = self.rows("ROLLBACK", Allowance::FEW).await;
            return outcome;
        }
        self.rows("COMMIT", Allowance::FEW).await.map(drop)
    }

    /// The outcome of the transaction with this ID (PostgreSQL: "Transaction ID and Snapshot Information Functions").
    pub async fn outcome_of(&self, transaction: &str) -> Result<Outcome, Error> {
        // The ID comes from a file. If it is not a number, the outcome is unknown.
        let Ok(number) = transaction.parse::<u64>() else { return Ok(Outcome::Unknown) };
        let number = literal(&number.to_string());
        let query = format!("SELECT pg_catalog.pg_xact_status({number}::pg_catalog.xid8)");
        let rows = match self.rows(&query, Allowance::FEW).await {
            // An ID that this server has not reached yet.
            Err(Error::Refused { .. }) => return Ok(Outcome::Unknown),
            rows => rows?,
        };
        Ok(match rows.first().and_then(|row| row.first()?.as_deref()) {
            Some("committed") => Outcome::Committed,
            Some("aborted") => Outcome::Aborted,
            Some("in progress") => Outcome::Running,
            _ => Outcome::Unknown,
        })
    }
}
