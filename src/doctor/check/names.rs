//! The names in the SVID, compared with the configured ones and with those of the published SVID.

use crate::doctor::finding::{Code, Finding};
use crate::entries;
use crate::material::{Material, Names};
use crate::source;
use crate::text::{ascii, shown};

/// The findings about names that the SVID lacks, and names that differ from the published SVID's.
pub(super) fn findings(svid: Option<&Material>, settings: &source::Settings) -> Vec<Finding> {
    let Some(names) = svid.map(Names::of) else { return Vec::new() };
    let mut found = Vec::new();
    let missing = names.lacks(&settings.expectations().dns_names);
    if !missing.is_empty() {
        let listed = shown(&missing.join(", "));
        let text = format!(
            "the SVID lacks {listed} of svid.dns_names: clients that connect to it with sslmode=verify-full refuse the server"
        );
        let finding = Finding::failure(Code::SvidDnsNameMissing, text)
            .about(listed)
            .fix("remove it from svid.dns_names, or add it to the registration entry");
        found.push(finding.command_if_any(entries::add_hosts(&names.spiffe_id, &missing)));
    }
    let Some(published) = settings.published() else { return without_entries(found, settings) };
    if let Some(was) = names.identity_change(published) {
        let (before, now) = (ascii(&was.before), ascii(&was.now));
        let text = format!("the SVID is {now}, but the published one is {before}");
        found.push(Finding::warning(Code::SvidIdentityChanged, text).about(now).fix(
            "see which registration entries this workload has; svid.spiffe_id restricts pgsvid to one SPIFFE ID",
        ));
    }
    let lost = names.lacks(&published.hosts);
    if !lost.is_empty() && settings.expectations().dns_names.is_empty() {
        let listed = shown(&lost.join(", "));
        let text = format!(
            "the SVID lacks {listed}, which the published one has: clients that connect to it with sslmode=verify-full will \
             refuse the server"
        );
        let finding = Finding::warning(Code::SvidDnsNameLost, text)
            .about(listed)
            .fix("unless this is intended, give the registration entry the name again");
        found.push(finding.command_if_any(entries::add_hosts(&names.spiffe_id, &lost)));
    }
    if let Some(was) = names.subject_change(published) {
        let (before, now) = (ascii(&was.before), ascii(&was.now));
        let text = format!(
            "the SVID's subject is {now}, but the published one's is {before}: `cert` uses it as the role"
        );
        found.push(Finding::warning(Code::SvidSubjectChanged, text).about(now).fix(
            "unless this is intended, restore the registration entry's first DNS name, which becomes the CN",
        ));
    }
    without_entries(found, settings)
}

/// The findings as they are for an agent's SVID; for certificates from files with another remedy and without a command, because
/// only an agent's SVIDs have registration entries.
fn without_entries(found: Vec<Finding>, settings: &source::Settings) -> Vec<Finding> {
    if settings.files().is_none() {
        return found;
    }
    let fix = "unless that was meant, let the certificate be issued with the names and the subject that it should have";
    found.into_iter().map(|one| Finding { command: None, ..one }.fix(fix)).collect()
}
