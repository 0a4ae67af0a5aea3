//! Instructions for a server whose configuration another program manages: setup does not change such a server itself.

use std::fmt::Write as _;

use super::Settings;
use super::text::{Piece, text};
use crate::companions::patroni_yaml::scalar;
use crate::sql::Manager;

/// What to configure where, and why setup does not do it.
pub(super) fn instructions(settings: &Settings, manager: Manager) -> String {
    match manager {
        Manager::Patroni => format!(
            "Patroni manages this server's configuration, and would overwrite changes. Merge this into\n\
             `patronictl edit-config`, its pg_hba and pg_ident above your own lines. With a [patroni] table\n\
             `pgsvid setup patroni-yaml` prints what its nodes need, too.\n\n{}",
            patroni(settings, "", "")
        ),
        // CloudNativePG's documentation lists ssl and the ssl_*_file settings among the parameters that cannot be changed.
        Manager::CloudNativePg => "CloudNativePG manages this server's configuration, and sets the TLS \
             settings to its own files: it accepts\ncertificates from Secrets only (spec.certificates). pgsvid can \
             serve the clients of such a cluster, but not its server."
            .to_owned(),
        Manager::Somebody => format!(
            "allow_alter_system is off, so something else manages this server's configuration. Let its administrator set \
             this:\n\n{}",
            text(settings, Piece::PostgresqlConf)
        ),
    }
}

/// The section `postgresql` of Patroni's configuration; `hba` and `ident` are further lines.
pub(super) fn patroni(settings: &Settings, hba: &str, ident: &str) -> String {
    let mut yaml = "postgresql:\n  parameters:\n".to_owned();
    for (name, value) in settings.wanted() {
        let _ = writeln!(yaml, "    {name}: {}", scalar(&value));
    }
    for (key, lines) in
        [("pg_hba", settings.roles.hba() + hba), ("pg_ident", settings.roles.ident() + ident)]
    {
        let mut lines = lines.lines().filter(|line| !line.starts_with('#')).peekable();
        if lines.peek().is_some() {
            let _ = writeln!(yaml, "  {key}:");
        }
        for line in lines {
            let _ = writeln!(yaml, "  - {}", scalar(line));
        }
    }
    yaml
}
