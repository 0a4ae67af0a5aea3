//! One certificate for people and for scripts: the same facts, whether it is in a file or from a server.

use std::time::SystemTime;

use serde::Serialize;

use super::words::{for_pasting, for_pg_ident, remaining};
use crate::material::{AllowedUses, Certificate, Details, unique_identifier, workload_id};
use crate::text::ascii;
use crate::{sql, timing};

/// Column at which values begin.
const COLUMN: usize = 13;

/// The role of a certificate in a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The certificate of a server or a client.
    Leaf,
    /// A CA between leaf and root.
    Intermediate,
    /// A self-signed CA.
    Root,
}

impl Role {
    /// The role of a certificate, according to its contents.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        match (Details::of(certificate).is_authority, certificate.is_self_signed()) {
            (false, _) => Self::Leaf,
            (true, false) => Self::Intermediate,
            (true, true) => Self::Root,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Intermediate => "authority",
            Self::Root => "root",
        }
    }
}

/// The facts. Its texts are unchanged from the certificate; [`View::lines`] escapes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    role: Role,
    /// The SPIFFE ID, if there is exactly one URI name, and it is the ID of a workload or of a trust domain.
    spiffe_id: Option<String>,
    uris: Vec<String>,
    dns_names: Vec<String>,
    ip_addresses: Vec<String>,
    common_name: Option<String>,
    subject: String,
    /// The subject in the form of `clientname=DN` and `pg_ident.conf`.
    distinguished_name: String,
    issuer: String,
    key: String,
    signature_algorithm: String,
    not_before: String,
    not_after: String,
    serial: String,
    sha256: String,
    is_authority: bool,
    is_self_signed: bool,
    key_usages: Vec<&'static str>,
    extended_key_usages: Vec<String>,
    x500_unique_identifier: Option<String>,
    /// The x500UniqueIdentifier computed from this SPIFFE ID, whether the subject contains it or not.
    computed_x500_unique_identifier: Option<String>,
    /// The uses that the leaf's own extensions allow: `servers and clients`, `servers alone`, `clients alone` or `neither
    /// servers nor clients`.
    good_for: &'static str,
    #[serde(skip)]
    validity: (SystemTime, SystemTime),
}

impl View {
    /// Reads the facts.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        let details = Details::of(certificate);
        let spiffe_id = match certificate.uris() {
            [uri] if workload_id(uri).is_ok() => Some(uri.clone()),
            [uri] if details.is_authority && uri.starts_with("spiffe://") => Some(uri.clone()),
            _ => None,
        };
        let workload = spiffe_id.as_ref().filter(|_| !details.is_authority);
        Self {
            role: Role::of(certificate),
            computed_x500_unique_identifier: workload.map(|id| unique_identifier(id)),
            spiffe_id,
            uris: certificate.uris().to_vec(),
            dns_names: certificate.dns_names().to_vec(),
            ip_addresses: details.ip_addresses.iter().map(ToString::to_string).collect(),
            common_name: certificate.common_name(),
            subject: certificate.subject_text(),
            distinguished_name: certificate.distinguished_name(),
            issuer: details.issuer,
            key: details.key,
            signature_algorithm: details.signature,
            not_before: timing::utc(certificate.not_before()),
            not_after: timing::utc(certificate.not_after()),
            serial: certificate.serial().to_string(),
            sha256: certificate.fingerprint().to_string().replace(':', ""),
            is_authority: details.is_authority,
            is_self_signed: certificate.is_self_signed(),
            key_usages: details.key_usages,
            extended_key_usages: details.extended_key_usages,
            x500_unique_identifier: details.unique_identifier,
            good_for: AllowedUses::of_leaf(certificate).in_words(),
            validity: (certificate.not_before(), certificate.not_after()),
        }
    }

    /// All facts, one line each; the first begins with the role.
    #[must_use]
    pub fn lines(&self, now: SystemTime) -> Vec<String> {
        let mut lines = self.short_lines(now);
        lines.push(line("subject", &ascii(&self.subject)));
        if !self.is_self_signed {
            lines.push(line("issuer", &ascii(&self.issuer)));
        }
        let signed = if self.is_self_signed { "self-signed with" } else { "signed with" };
        lines.push(line("key", &format!("{}    {signed} {}", self.key, self.signature_algorithm)));
        let usages: Vec<&str> = self.key_usages.clone();
        let extended: Vec<&str> = self.extended_key_usages.iter().map(String::as_str).collect();
        let usages: Vec<String> = [usages, extended]
            .iter()
            .filter(|names| !names.is_empty())
            .map(|names| names.join(", "))
            .collect();
        let may = if usages.is_empty() { "not restricted".to_owned() } else { usages.join("; ") };
        lines.push(line("usage", &may));
        if self.role == Role::Leaf {
            lines.push(line("good for", self.good_for));
        }
        lines.push(line("serial", &self.serial));
        lines.push(line("sha256", &self.sha256));
        if !self.is_authority {
            lines.extend(self.lines_for_pg_ident());
        }
        lines
    }

    /// The names, and the remaining time.
    #[must_use]
    pub fn short_lines(&self, now: SystemTime) -> Vec<String> {
        let title = self.spiffe_id.as_deref().unwrap_or(&self.subject);
        let mut lines = vec![line(self.role.name(), &ascii(title))];
        let mut names = Vec::new();
        if self.spiffe_id.is_none() {
            names.extend(self.uris.iter().map(|uri| format!("URI {}", ascii(uri))));
        }
        names.extend(self.dns_names.iter().map(|name| format!("DNS {}", ascii(name))));
        names.extend(self.ip_addresses.iter().map(|address| format!("IP {address}")));
        names.extend(self.common_name.iter().map(|name| format!("CN {}", ascii(name))));
        if !names.is_empty() {
            lines.push(line("", &names.join("    ")));
        }
        let (not_before, not_after) = self.validity;
        lines.push(line(
            "valid",
            &format!(
                "{} – {} ({})",
                self.not_before,
                self.not_after,
                remaining(not_before, not_after, now)
            ),
        ));
        lines
    }

    /// The names that map this certificate to a role.
    fn lines_for_pg_ident(&self) -> Vec<String> {
        let common_name = match &self.common_name {
            Some(name) => for_pg_ident(&sql::unquoted_system_user(&for_pasting(name))),
            None if self.distinguished_name.is_empty() => "none".to_owned(),
            None => "none: `cert` needs clientname=DN".to_owned(),
        };
        let name = match self.distinguished_name.as_str() {
            "" => "none: the subject is empty, so `cert` refuses it; give the entry a DNS name (-dns), which becomes \
                   the CN"
                .to_owned(),
            // In ASCII and not shortened, because it is for pasting.
            name => for_pg_ident(&sql::unquoted_system_user(name)),
        };
        let mut lines =
            vec![line("pg_ident", &format!("CN {common_name}")), line("", &format!("DN {name}"))];
        let identifier = match (&self.x500_unique_identifier, &self.computed_x500_unique_identifier)
        {
            (Some(found), Some(computed)) if found == computed => {
                format!("{found}, as computed from the SPIFFE ID")
            }
            (Some(found), Some(computed)) => {
                format!("{}, which is not the SPIFFE ID's: {computed}", ascii(found))
            }
            (Some(found), None) => ascii(found),
            (None, Some(computed)) => format!("none; the SPIFFE ID's is {computed}"),
            (None, None) => return lines,
        };
        lines.push(line("", &format!("x500UniqueIdentifier {identifier}")));
        lines
    }
}

/// A line with a label, and a value that begins at column [`COLUMN`].
pub(super) fn line(label: &str, value: &str) -> String {
    format!("  {label:width$}{value}", width = COLUMN - 2)
}
