//! A transaction whose outcome can be asked for later, by its number: also when this process was killed meanwhile.

use super::error::Error;
use super::session::Session;
use super::socket::Allowance;
use super::statements::literal;

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What it did is done.
    Committed,
    /// What it did is undone.
    Aborted,
    /// It still runs.
    Running,
    /// It is so old that the server has forgotten it, or is none of this server's.
    Unknown,
}

impl Session {
    /// Begins a transaction that may write, and returns its number. It is the server's own, and is used only once.
    pub async fn begin(&self) -> Result<String, Error> {
        self.rows("BEGIN READ WRITE", Allowance::FEW).await?;
        let rows = self
            .rows("SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text", Allowance::FEW)
            .await?;
        rows.into_iter().next().and_then(|mut row| row.pop()?).ok_or(Error::Unexpected)
    }

    /// Executes a statement in the transaction, and commits it. After a refusal nothing was done.
    pub async fn commit(&self, statement: &str) -> Result<(), Error> {
        let outcome = match self.without_event_triggers(statement).await {
            Ok(()) => self.rows(statement, Allowance::FEW).await.map(drop),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // A connection that is lost ends the transaction, too.
            let _ = self.rows("ROLLBACK", Allowance::FEW).await;
            return outcome;
        }
        self.rows("COMMIT", Allowance::FEW).await.map(drop)
    }

    /// What became of the transaction with that number (PostgreSQL: "Transaction ID and Snapshot Information Functions").
    pub async fn outcome_of(&self, transaction: &str) -> Result<Outcome, Error> {
        // The number comes from a file. What is none is unknown.
        let Ok(number) = transaction.parse::<u64>() else { return Ok(Outcome::Unknown) };
        let number = literal(&number.to_string());
        let query = format!("SELECT pg_catalog.pg_xact_status({number}::pg_catalog.xid8)");
        let rows = match self.rows(&query, Allowance::FEW).await {
            // A number that this server has not reached yet.
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
