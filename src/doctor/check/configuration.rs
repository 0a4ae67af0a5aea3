//! The configuration, and its effect on this machine: socket paths, mounts, the user ID.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::material::Material;
use crate::publish::Place;
use crate::source::{Endpoint, ExtraAuthorities, OBSTACLE_FIX, Settings, obstacle_cause};
use crate::sql::LONGEST_SOCKET;
use crate::survey;
use crate::timing;
use crate::verify::Target;
use crate::watching::Watching;

/// What the configuration says, without examining anything else.
pub(super) fn offline(config: &Config) -> Section {
    let subject = match &config.file {
        Some(path) => path.display().to_string(),
        None => "no file".to_owned(),
    };
    let mut section = Section::new(Group::Configuration, subject);
    section.add(Finding::ok(
        Code::Configuration,
        match &config.source {
            Settings::WorkloadApi(settings) => format!("Workload API {}", settings.endpoint),
            Settings::Files(settings) => {
                let [certificate, key, bundle] = settings.paths.all().map(Path::display);
                format!("certificate {certificate}, key {key}, bundle {bundle}, which another program writes")
            }
        },
    ));
    section.add(Finding::ok(
        Code::Configuration,
        match &config.place {
            Place::Directory(publish) => format!("files in {}", publish.directory.display()),
            Place::InPlace(_) => {
                "no files.directory: PostgreSQL and other programs read these files where they are"
                    .to_owned()
            }
            Place::Memory => {
                "no files.directory: the set is in memory, and goes to the Secrets".to_owned()
            }
        },
    ));
    if let Some(Endpoint::Unix(path)) = config.source.workload_api().map(|it| &it.endpoint) {
        section.extend(socket_length(path, "workload_api.endpoint"));
    }
    for service in &config.services {
        let file = config.place.readers_base().join(&service.file);
        section.add(Finding::ok(
            Code::Configuration,
            format!("for libpq: PGSERVICEFILE={} PGSERVICE={}", file.display(), service.name),
        ));
        let mode = service.options.get("sslmode").map(String::as_str);
        section.extend(super::clients::sslmode(mode, "files.service.options"));
    }
    section.extend(super::drivers::formats(config));
    section.extend(role_map(config));
    let several = config.rotation.servers.len() > 1;
    for server in &config.rotation.servers {
        let name = if several { format!(" {}", server.name) } else { String::new() };
        section.add(Finding::ok(
            Code::Configuration,
            format!(
                "PostgreSQL{name} at {}, role {}, database {}, {}",
                server.session.socket().display(),
                server.session.user,
                server.session.database,
                verified_at(&server.verify.target)
            ),
        ));
        section.extend(socket_length(&server.session.socket(), "postgres.host"));
    }
    for pooler in &config.rotation.poolers {
        let socket = pooler.console.socket();
        let text = format!(
            "PgBouncer {} at {}, user {}, {}",
            pooler.name,
            socket.display(),
            pooler.console.user,
            verified_at(&pooler.verify.target)
        );
        section.add(Finding::ok(Code::Configuration, text));
        section.extend(socket_length(&socket, "pgbouncer.host"));
    }
    if let Some(api) = &config.rotation.patroni {
        let (address, within) = (&api.verify.target, api.loads_within.as_secs());
        let text = format!(
            "Patroni at {address}, reloaded after PostgreSQL; the next set waits for it for {within} s at most"
        );
        section.add(Finding::ok(Code::Configuration, text));
    }
    section.extend(others(config));
    for hook in &config.rotation.hooks {
        let (name, when) = (&hook.name, hook.when.occasion());
        let text = format!("hook {name}, after {when}");
        section.add(Finding::ok(Code::Configuration, text));
    }
    for token in config.tokens.iter().flat_map(|tokens| &tokens.tokens) {
        let (audience, file) = (token.audience.join(", "), token.file.path.display());
        section.add(Finding::ok(Code::Configuration, format!("a token for {audience} in {file}")));
    }
    section.extend(secrets(config));
    let is_memory = matches!(config.place, Place::Memory);
    let rotation = &config.rotation;
    let has_servers = !(rotation.servers.is_empty() && rotation.poolers.is_empty());
    if !has_servers && rotation.served.is_empty() && !is_memory {
        section.add(Finding::ok(
            Code::Configuration,
            "no PostgreSQL is configured: the files are published for clients",
        ));
    }
    section
}

/// Where the handshake takes place.
fn verified_at(target: &Target) -> String {
    match target {
        Target::Auto => "verified at the address that its settings name".to_owned(),
        Target::Nowhere => "not verified by a handshake".to_owned(),
        other => format!("verified at {other}"),
    }
}

/// The Kubernetes Secrets, and their fields.
fn secrets(config: &Config) -> Vec<Finding> {
    let targets = config.rotation.secrets.iter().flat_map(|secrets| &secrets.targets);
    let told = targets.map(|target| {
        let fields: Vec<_> = target.fields.keys().map(String::as_str).collect();
        let text = format!("Secret {}: {}", target.shown(), fields.join(", "));
        Finding::ok(Code::Configuration, text)
    });
    told.collect()
}

/// The clients that log in, and the servers that are only probed.
fn others(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for client in &config.rotation.clients {
        let text = format!("{}: logs in after each publication", client.shown());
        findings.push(Finding::ok(Code::Configuration, text));
    }
    for served in &config.rotation.served {
        let within = timing::shortly(served.within);
        let text = format!(
            "pgsvid probes {}; it should serve each set within {within} after publication",
            served.shown()
        );
        findings.push(Finding::ok(Code::Configuration, text));
    }
    findings
}

fn role_map(config: &Config) -> Vec<Finding> {
    let map = &config.roles;
    let mut findings = Vec::new();
    if !map.workloads.is_empty() {
        let roles = map.roles().len();
        findings.push(Finding::ok(
            Code::Configuration,
            format!(
                "[[roles]] lets {} log in as {}",
                counted(map.workloads.len(), "workload"),
                counted(roles, "role")
            ),
        ));
    }
    match &config.ident {
        Some(name) => findings.push(Finding::ok(Code::Configuration, format!(
            "for PostgreSQL: the map {}",
            config.place.readers_base().join(name).display()
        ))),
        None if !map.lines.is_empty() => findings.push(Finding::ok(Code::Configuration, format!(
            "files.ident_lines: {}, for `pgsvid setup ident` only, because files.ident is not set",
            counted(map.lines.len(), "line")
        ))),
        None => {}
    }
    if config.ident.is_some() && config.rotation.servers.is_empty() {
        findings.push(
            Finding::warning(
                Code::IdentWithoutPostgresql,
                "files.ident is for a PostgreSQL, but none is configured: nothing reloads it when \
                 the map changes",
            )
            .fix("add a [postgres] table, or leave files.ident out"),
        );
    }
    findings
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn socket_length(path: &Path, key: &str) -> Option<Finding> {
    let length = path.as_os_str().len();
    (length > LONGEST_SOCKET).then(|| {
        Finding::failure(Code::SocketPathLong, format!(
            "{key}: the socket's path has {length} bytes, more than the {LONGEST_SOCKET} that the kernel allows"
        ))
        .fix("use a shorter path, or a symbolic link with one")
    })
}

/// The effect of the configuration on this machine.
pub(super) fn machine(config: &Config, material: Option<&Material>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.place.directory().is_some_and(|it| it.group.is_some())
        && !rustix::process::geteuid().is_root()
    {
        findings.push(
            Finding::failure(
                Code::GroupNeedsRoot,
                "files.group needs root: PostgreSQL only accepts a key that a group can read if root owns it",
            )
            .fix("leave files.group out, or run pgsvid as root"),
        );
    }
    let extra = config.rotation.extra_authorities.clone();
    match ExtraAuthorities::read(extra, &Watching::blind()) {
        Ok(extra) => {
            let left_out = material.map_or_else(Vec::new, |material| extra.left_out(material));
            findings.extend(extra.certificates().iter().map(|authority| {
            let name = authority.distinguished_name();
            if let Some((_, why)) = left_out.iter().find(|(found, _)| *found == authority) {
                return Finding::warning(Code::ExtraAuthorityLeftOut, format!("{name} of files.extra_authorities is not published"))
                    .cause(obstacle_cause(*why))
                    .fix(OBSTACLE_FIX);
            }
            Finding::ok(Code::ExtraAuthority, format!(
                "files.extra_authorities also lets in anyone who has a certificate of {name}"
            ))
        }));
        }
        Err(error) => findings.push(
            Finding::failure(Code::ExtraAuthoritiesUnreadable, error.to_string())
                .fix("fix the file, or leave it out of files.extra_authorities"),
        ),
    }
    findings.extend(super::exchangeable::extra_authorities(config));
    let servers = config.rotation.servers.iter();
    for data in servers.filter_map(|server| survey::data_directory(&server.session)) {
        findings.extend(super::exchangeable::over_data(config, &data));
    }
    match survey::mounts() {
        Ok(mounts) => findings.extend(on_mounts(config, &mounts)),
        Err(error) => findings.push(Finding::skipped(
            Code::MountsUnread,
            format!("mounts: cannot read /proc/self/mountinfo: {error}"),
        )),
    }
    findings
}

/// Whether the published directory is mounted read-only.
pub(super) fn is_mounted_read_only(config: &Config) -> bool {
    let mounts = survey::mounts().unwrap_or_default();
    survey::mount_of(&resolved(config), &mounts).is_some_and(|mount| mount.read_only)
}

/// The directory of the set, without links on its path.
fn resolved(config: &Config) -> PathBuf {
    let directory = config.place.base();
    std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned())
}

fn on_mounts(config: &Config, mounts: &[survey::Mount]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if matches!(config.place, Place::Memory) {
        return findings;
    }
    let directory = config.place.base();
    let resolved = resolved(config);
    // A mount on a link is a mount on the link's target, so all mounts within the directory count.
    for mount in mounts.iter().filter(|mount| mount.point != resolved) {
        if mount.point.starts_with(&resolved) {
            findings.push(
                Finding::failure(Code::MountSubpath, format!(
                    "{} is a mount of its own (subPath): its contents never change after it was mounted",
                    mount.point.display()
                ))
                .fix(format!("mount the whole volume at {}, without subPath", directory.display())),
            );
        }
    }
    if config.place.directory().is_some()
        && let Some(mount) = survey::mount_of(&resolved, mounts)
    {
        let (shown, point) = (directory.display(), mount.point.display());
        if mount.read_only {
            findings.push(
                Finding::failure(
                    Code::MountReadOnly,
                    format!("{shown} lies on {point}, which is mounted read-only"),
                )
                .fix("mount the volume read-write for pgsvid; its readers may mount it read-only"),
            );
        }
        if mount.is_remote() {
            findings.push(
                Finding::warning(Code::MountNetwork, format!(
                    "{shown} lies on a network file system ({}): it may be slow or unavailable when it is needed, and \
                     private keys cross the network",
                    mount.kind
                ))
                .fix("publish to a tmpfs: an emptyDir with medium: Memory, or /run"),
            );
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::config::Flags;
    use crate::doctor::Severity;
    use crate::survey::Mount;

    #[test]
    fn mounts_are_judged() {
        let flags = Flags {
            endpoint: Some("unix:///run/agent.sock".to_owned()),
            directory: Some("/nowhere/svids".to_owned()),
            ..Flags::default()
        };
        let config = Config::load(&flags, &BTreeMap::new()).unwrap();
        let mount = |point: &str, kind: &str, read_only| Mount {
            point: PathBuf::from(point),
            kind: kind.to_owned(),
            read_only,
        };
        let root = mount("/", "overlay", false);
        for (extra, found) in [
            (mount("/nowhere/svids", "tmpfs", false), None),
            (
                mount("/nowhere/svids/svid.pem", "ext4", false),
                Some((Severity::Failure, Code::MountSubpath)),
            ),
            (mount("/nowhere", "ext4", true), Some((Severity::Failure, Code::MountReadOnly))),
            (mount("/nowhere", "nfs4", false), Some((Severity::Warning, Code::MountNetwork))),
            (mount("/nowhere/svids2", "nfs4", true), None),
        ] {
            let findings = on_mounts(&config, &[root.clone(), extra.clone()]);
            let seen = findings.first().map(|finding| (finding.severity, finding.code));
            assert_eq!(seen, found, "{extra:?}");
        }
    }
}
