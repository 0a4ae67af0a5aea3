//! Which tokens are written where.

use crate::publish::SingleFile;
use crate::source::Endpoint;

/// The tokens and the JWT bundle.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent's address.
    pub endpoint: Endpoint,
    /// Of several tokens of the chosen SPIFFE ID the first with this hint is used.
    pub hint: Option<String>,
    /// The SPIFFE ID that is configured, if one is.
    pub spiffe_id: Option<String>,
    /// The tokens.
    pub tokens: Vec<Token>,
    /// The JWT bundle, if it is written.
    pub bundle: Option<Bundle>,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The recipients: at least one audience.
    pub audience: Vec<String>,
    /// Its file.
    pub file: SingleFile,
}

/// The JWT bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its file.
    pub file: SingleFile,
    /// What is in it.
    pub format: Format,
}

/// What is in the file of a JWT bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The JWK set of the own trust domain (RFC 7517), as the agent sent it.
    Jwks,
    /// spiffe-helper's: a JSON object from each trust domain's name to its JWK set in base64.
    SpiffeHelper,
}

impl Settings {
    /// Every file that is written.
    pub fn files(&self) -> impl Iterator<Item = &SingleFile> {
        let tokens = self.tokens.iter().map(|token| &token.file);
        tokens.chain(self.bundle.iter().map(|bundle| &bundle.file))
    }
}
