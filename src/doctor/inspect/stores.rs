//! What each PKCS#12 is good for.

use super::File;
use crate::doctor::finding::{Code, Finding};
use crate::doctor::words;
use crate::material::pkcs12::{Facts, Integrity, PGJDBC_ALIAS, pgjdbc_takes};
use crate::material::reading::Item;
use crate::text::ascii;

/// The findings about a file that is a PKCS#12; none about another file.
pub(super) fn judge(file: &File) -> Vec<Finding> {
    let path = words::path(&file.path);
    let stores = file.items.iter().filter_map(|item| match item {
        Ok(Item::Store(facts)) => Some(facts),
        _ => None,
    });
    stores.flat_map(|facts| of_store(&path, facts)).collect()
}

fn of_store(path: &str, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.locked || facts.integrity == Integrity::Unchecked {
        let text = if facts.locked {
            format!(
                "{path}: what is encrypted in it was not read, and the password was not checked"
            )
        } else {
            format!("{path}: its password was not checked, so a change would not show")
        };
        let fix = "name the file that holds its password: --password-file FILE";
        findings.push(Finding::skipped(Code::Store, text).fix(fix));
    }
    if facts.aliases.is_empty() && facts.certificates > facts.trusted && !facts.locked {
        let others = facts.certificates - facts.trusted;
        findings.push(
            Finding::warning(
                Code::StoreUntrusted,
                format!("{path}: Java does not trust {others} of its {} certificates", facts.certificates),
            )
            .cause("they lack Oracle's attribute trustedKeyUsage (2.16.840.1.113894.746875.1.1)")
            .fix("let pgsvid write it ([[files.extra]] with content = \"truststore\"), or add each with keytool -importcert"),
        );
    }
    if !facts.aliases.is_empty() && !facts.aliases.iter().any(|alias| pgjdbc_takes(alias)) {
        let found: Vec<String> =
            facts.aliases.iter().map(|alias| format!("{:?}", ascii(alias))).collect();
        findings.push(
            Finding::warning(
                Code::PgjdbcRefuses,
                format!("{path}: pgjdbc shows only a key with the alias {PGJDBC_ALIAS}, and here it is {}", found.join(", ")),
            )
            .fix("leave files.extra.alias out, or give openssl pkcs12 -name user; other Java programs take any alias"),
        );
    }
    findings
}
