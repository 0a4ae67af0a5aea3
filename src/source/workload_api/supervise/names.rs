//! Reports about the names of an identity: which SVID was chosen of several, and which names have changed.

use tracing::{debug, warn};

use super::Supervisor;
use super::agent::Agent;
use super::outcome::tell;
use crate::entries;
use crate::material::Names;
use crate::source::workload_api::Choice;
use crate::text::{ascii, shown};

impl<A: Agent> Supervisor<A> {
    /// Reports once, before anything else, that there is a choice between several SVIDs.
    pub(super) fn tell_choice(&mut self, choice: Option<Choice>) {
        let Some(Choice { count, list, taken, is_kept, fix }) = choice else { return };
        if self.choice == list {
            return;
        }
        let why = if is_kept { "it is published already" } else { "it is the first" };
        tell!(
            self,
            warn,
            event = "several-identities",
            taken,
            why,
            offered = list,
            fix,
            "the agent offers {count} SVIDs that fit the configuration; pgsvid uses one, and keeps it while it is offered"
        );
        self.choice = list;
    }

    /// Reports which names have changed, and which configured names are missing.
    pub(super) fn compare(&mut self, names: &Names) {
        let wanted = &self.source.settings.expectations.dns_names;
        let lacking = names.lacks(wanted);
        if lacking.iter().any(|name| !self.lacking.contains(name)) {
            let command = entries::add_hosts(&names.spiffe_id, &lacking);
            tell!(
                self,
                warn,
                event = "identity-names-missing",
                missing = shown(&lacking.join(", ")),
                fix = "add it to the registration entry",
                command,
                "the SVID lacks a name of svid.dns_names: clients that connect to it with sslmode=verify-full refuse the server"
            );
        }
        self.lacking = lacking;
        let Some(before) = self.source.settings.selection.published.replace(names.clone()) else {
            return;
        };
        if let Some(was) = names.identity_change(&before) {
            tell!(
                self,
                warn,
                event = "identity-changed",
                before = ascii(&was.before),
                spiffe_id = ascii(&was.now),
                fix = "see which registration entries this workload has; svid.spiffe_id restricts pgsvid to one SPIFFE ID",
                "the SPIFFE ID is another one than before: the agent no longer offers the old one"
            );
        }
        // Configured names have their own line.
        let mut lost = names.lacks(&before.hosts);
        lost.retain(|host| !self.lacking.iter().any(|lacking| lacking.eq_ignore_ascii_case(host)));
        if !lost.is_empty() {
            let command = entries::add_hosts(&names.spiffe_id, &lost);
            tell!(
                self,
                warn,
                event = "identity-names-lost",
                lost = shown(&lost.join(", ")),
                left = shown(&names.hosts.join(", ")),
                fix = "unless this is intended, give the registration entry the name again",
                command,
                "the new SVID lacks a name that the one before had: clients that connect to it with sslmode=verify-full \
                 refuse the server"
            );
        }
        if let Some(was) = names.subject_change(&before) {
            tell!(
                self,
                warn,
                event = "identity-subject-changed",
                before = ascii(&was.before),
                now = ascii(&was.now),
                fix = "unless this is intended, restore the first DNS name of the registration entry; otherwise map the \
                       new name to the role in pg_ident.conf",
                "the new SVID has another CN or subject: `cert` uses it as the role, so logins with it may be refused, or \
                 get another role"
            );
        }
    }
}
