//! The Kubernetes Secrets that the set is written to, how the API server is reached, and the Lease by which replicas take turns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::File;
use super::given::Resolver;
use super::keys::{self, Key};
use super::secret_table::{SecretField, SecretOwner, SecretTable};
use super::{Error, formats, rules};
use crate::consumers::{
    SecretField as Field, SecretTarget as Target, SecretsLease as Lease, SecretsSettings as Secrets,
};
use crate::files;
use crate::kubernetes::{OwnerReference, SERVICE_ACCOUNT, Server, Settings};

/// The consumer's name in log, status and metrics.
const NAME: &str = "secrets";
/// How often Secrets are read again when their watches report nothing.
const EVERY: Duration = Duration::from_secs(300);
/// The shortest and the longest duration of a Lease.
const DURATIONS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(300));
/// The API server's name in every cluster.
const IN_CLUSTER: &str = "kubernetes.default.svc";
/// Largest file with a namespace, in bytes.
const LARGEST: u64 = 1024;

/// The Secrets; `None` if there is no `[[secrets]]`. `names` are those of the other consumers.
pub(super) fn secrets(
    resolver: &Resolver<'_>,
    file: &File,
    names: &[&str],
) -> Result<Option<Secrets>, Error> {
    if file.secrets.is_empty() {
        for (table, is_given) in
            [("kubernetes", file.kubernetes.is_some()), ("lease", file.lease.is_some())]
        {
            if is_given {
                let why = "it is about [[secrets]], and there are none; leave it out";
                return Err(resolver.in_file(table, why));
            }
        }
        return Ok(None);
    }
    if names.contains(&NAME) {
        let why = "another consumer has the name \"secrets\"; give that one another name";
        return Err(resolver.in_file("secrets", why));
    }
    let own = || own_namespace(resolver, file);
    let mut targets: Vec<Target> = Vec::new();
    for table in &file.secrets {
        let target = target(resolver, table, &own)?;
        if targets.iter().any(|it| (&it.namespace, &it.name) == (&target.namespace, &target.name)) {
            let why =
                format!("two tables are about the Secret {}; make one of them", target.shown());
            return Err(resolver.in_file(keys::SECRETS_NAME.name, why));
        }
        targets.push(target);
    }
    Ok(Some(Secrets {
        name: NAME.to_owned(),
        kubernetes: kubernetes(resolver, file)?,
        namespace: own().ok(),
        targets,
        lease: file.lease.as_ref().map(|_| lease(resolver, file, &own)).transpose()?,
        every: EVERY,
    }))
}

/// How the API server is reached: as every container of a pod does, unless it is configured.
fn kubernetes(resolver: &Resolver<'_>, file: &File) -> Result<Settings, Error> {
    let table = file.kubernetes.clone().unwrap_or_default();
    let server = match &table.server {
        Some(text) => {
            text.parse().map_err(|why| resolver.in_file(keys::KUBERNETES_SERVER.name, why))?
        }
        None => in_cluster(resolver),
    };
    let path = |key: &'static Key, given: &Option<PathBuf>| {
        let path = given.clone().unwrap_or_else(|| PathBuf::from(key.default_text()));
        rules::absolute(&path).map_err(|why| resolver.in_file(key.name, why))?;
        Ok(path)
    };
    let key = &keys::KUBERNETES_FIELD_MANAGER;
    let field_manager = table.field_manager.as_deref().unwrap_or(key.default_text());
    rules::name(field_manager).map_err(|why| resolver.in_file(key.name, why))?;
    if field_manager.contains('/') {
        return Err(resolver.in_file(key.name, "it holds a slash; leave it out"));
    }
    Ok(Settings {
        server,
        ca_file: path(&keys::KUBERNETES_CA_FILE, &table.ca_file)?,
        token_file: path(&keys::KUBERNETES_TOKEN_FILE, &table.token_file)?,
        field_manager: field_manager.to_owned(),
    })
}

/// The API server of the cluster that this pod is in.
fn in_cluster(resolver: &Resolver<'_>) -> Server {
    let variable = |name| resolver.environment.get(name).and_then(|value| value.to_str());
    let host = variable("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty());
    let port = variable("KUBERNETES_SERVICE_PORT").and_then(|port| port.parse().ok());
    Server::new(host.unwrap_or(IN_CLUSTER), port.unwrap_or(443))
}

fn own_namespace(resolver: &Resolver<'_>, file: &File) -> Result<String, Error> {
    let key = &keys::KUBERNETES_NAMESPACE;
    let given = file.kubernetes.as_ref().and_then(|table| table.namespace.clone());
    let of_account = || {
        let path = Path::new(SERVICE_ACCOUNT).join("namespace");
        files::text(&path, LARGEST).map(|text| text.trim().to_owned()).map_err(|cause| {
            let why = format!(
                "this process is in no pod with a ServiceAccount ({}: {cause}); write the namespace, here or in each table",
                path.display()
            );
            resolver.in_file(key.name, why)
        })
    };
    let namespace = given.map_or_else(of_account, Ok)?;
    label(&namespace).map_err(|why| resolver.in_file(key.name, why))?;
    Ok(namespace)
}

fn lease(
    resolver: &Resolver<'_>,
    file: &File,
    own: &impl Fn() -> Result<String, Error>,
) -> Result<Lease, Error> {
    let table = file.lease.clone().unwrap_or_default();
    let name = table.name.as_deref().unwrap_or(keys::LEASE_NAME.default_text());
    subdomain(name).map_err(|why| resolver.in_file(keys::LEASE_NAME.name, why))?;
    let namespace = namespace(resolver, &keys::LEASE_NAMESPACE, table.namespace.as_ref(), own)?;
    let key = &keys::LEASE_DURATION;
    let text = table.duration.as_deref().unwrap_or(key.default_text());
    let duration = rules::interval(text).map_err(|why| resolver.in_file(key.name, why))?;
    if !(DURATIONS.0..=DURATIONS.1).contains(&duration) || duration.subsec_nanos() != 0 {
        let why = format!("{text:?} is not a number of seconds from 3s to 5m");
        return Err(resolver.in_file(key.name, why));
    }
    // The sandbox allows no such call later.
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Lease { namespace, name: name.to_owned(), duration, host })
}

fn namespace(
    resolver: &Resolver<'_>,
    key: &'static Key,
    given: Option<&String>,
    own: &impl Fn() -> Result<String, Error>,
) -> Result<String, Error> {
    let Some(given) = given else { return own() };
    label(given).map_err(|why| resolver.in_file(key.name, why))?;
    Ok(given.clone())
}

fn target(
    resolver: &Resolver<'_>,
    table: &SecretTable,
    own: &impl Fn() -> Result<String, Error>,
) -> Result<Target, Error> {
    let wrong = |key: &'static Key, why: String| resolver.in_file(key.name, why);
    subdomain(&table.name).map_err(|why| wrong(&keys::SECRETS_NAME, why))?;
    let namespace = namespace(resolver, &keys::SECRETS_NAMESPACE, table.namespace.as_ref(), own)?;
    let kind = table.kind.as_deref().unwrap_or(keys::SECRETS_TYPE.default_text());
    let is_kind = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '/');
    if kind.is_empty() || kind.len() > 253 || !kind.chars().all(is_kind) {
        let why = format!("{kind:?} is no type of a Secret; write Opaque, or kubernetes.io/tls");
        return Err(wrong(&keys::SECRETS_TYPE, why));
    }
    for (key, map, value) in [
        (&keys::SECRETS_LABELS, &table.labels, label_value as fn(&str) -> Result<(), String>),
        (&keys::SECRETS_ANNOTATIONS, &table.annotations, |_| Ok(())),
    ] {
        for (name, text) in map {
            qualified(name).and_then(|()| value(text)).map_err(|why| wrong(key, why))?;
        }
    }
    let mut fields = BTreeMap::new();
    for (name, given) in &table.fields {
        let field = field(resolver, name, given)?;
        fields.insert(name.clone(), field);
    }
    if fields.is_empty() {
        let why = format!("the Secret {} gets no field; write \"tls.crt\" = \"chain\"", table.name);
        return Err(wrong(&keys::SECRETS_FIELDS, why));
    }
    if kind == "kubernetes.io/tls"
        && let Some(lacking) = ["tls.crt", "tls.key"].iter().find(|it| !fields.contains_key(**it))
    {
        let why = format!(
            "a Secret of the type {kind} needs the field {lacking}; add it, or leave the type out"
        );
        return Err(wrong(&keys::SECRETS_FIELDS, why));
    }
    if table.owner.is_some() && !table.create.unwrap_or(false) {
        let why = "only a Secret that pgsvid creates gets an owner: set create = true, or leave the owner out";
        return Err(wrong(&keys::SECRETS_OWNER_UID, why.to_owned()));
    }
    Ok(Target {
        namespace,
        name: table.name.clone(),
        kind: kind.to_owned(),
        create: table.create.unwrap_or(false),
        labels: table.labels.clone(),
        annotations: table.annotations.clone(),
        owner: table.owner.as_ref().map(|owner| self::owner(resolver, owner)).transpose()?,
        fields,
    })
}

fn owner(resolver: &Resolver<'_>, owner: &SecretOwner) -> Result<OwnerReference, Error> {
    let SecretOwner { api_version, kind, name, uid } = owner.clone();
    for (key, text) in [
        (&keys::SECRETS_OWNER_API_VERSION, &api_version),
        (&keys::SECRETS_OWNER_KIND, &kind),
        (&keys::SECRETS_OWNER_NAME, &name),
        (&keys::SECRETS_OWNER_UID, &uid),
    ] {
        let is_plain = |c: char| c.is_ascii_graphic();
        if text.is_empty() || text.len() > 253 || !text.chars().all(is_plain) {
            let why = "it is empty, too long, or has characters that no such name has";
            return Err(resolver.in_file(key.name, why));
        }
    }
    Ok(OwnerReference { api_version, kind, name, uid })
}

fn field(resolver: &Resolver<'_>, name: &str, given: &SecretField) -> Result<Field, Error> {
    let key = keys::SECRETS_FIELDS.name;
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty()
        || name.len() > 253
        || !name.chars().all(is_key)
        || matches!(name, "." | "..")
    {
        let why =
            format!("{name:?} is no key of a Secret: write letters, digits, and any of - _ .");
        return Err(resolver.in_file(key, why));
    }
    let content =
        formats::field(given).map_err(|why| resolver.in_file(key, format!("{name}: {why}")))?;
    Ok(Field { content, base64: given.base64 })
}

/// A name as Kubernetes has it for most objects (RFC 1123, subdomain).
fn subdomain(name: &str) -> Result<(), String> {
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!("{name:?} is no name of an object: write lower-case letters, digits, - and ."))
}

/// A name as Kubernetes has it for namespaces (RFC 1123, label).
fn label(name: &str) -> Result<(), String> {
    if is_label(name) {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name of a namespace: write at most 63 lower-case letters, digits and -"
    ))
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The key of a label or an annotation: a name, with or without a domain before a slash.
fn qualified(key: &str) -> Result<(), String> {
    let (domain, name) = key.split_once('/').map_or((None, key), |(it, name)| (Some(it), name));
    if domain.is_none_or(|it| subdomain(it).is_ok()) && is_word(name) {
        return Ok(());
    }
    Err(format!("{key:?} is no key of a label or an annotation; write example.org/name"))
}

fn label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_word(value) {
        return Ok(());
    }
    Err(format!(
        "{value:?} is no value of a label: write at most 63 letters, digits, and any of - _ ."
    ))
}

fn is_word(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(inner)
        && ends(text.chars().next())
        && ends(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    const BEGIN: &str = "[kubernetes]\nnamespace = 'own'\n[[secrets]]\nname = 'server'\n";

    #[test]
    fn a_table_becomes_a_secret_with_its_defaults() {
        let text = format!(
            "{BEGIN}labels = {{ 'cnpg.io/reload' = '' }}\n[secrets.fields]\n'tls.crt' = 'chain'\nROOT = {{ content = 'bundle', base64 = true }}\n\
             'a.p12' = {{ content = 'pkcs12', password_file = '/run/p' }}\n"
        );
        let config = config(&text).unwrap();
        let secrets = config.rotation.secrets.unwrap();
        assert_eq!(secrets.kubernetes.server, Server::new("kubernetes.default.svc", 443));
        assert_eq!(secrets.kubernetes.token_file, Path::new(SERVICE_ACCOUNT).join("token"));
        assert_eq!(secrets.lease, None);
        let [target] = &secrets.targets[..] else { panic!("{:?}", secrets.targets) };
        assert_eq!((target.shown().as_str(), target.kind.as_str()), ("own/server", "Opaque"));
        assert!(!target.create && target.fields["ROOT"].base64 && !target.fields["tls.crt"].base64);
    }

    #[test]
    fn without_a_directory_the_set_stays_in_memory() {
        let text = format!("{BEGIN}fields = {{ 'tls.crt' = 'chain' }}\n");
        let none = super::super::tests::without_directory(&text).unwrap();
        assert!(matches!(none.place, crate::publish::Place::Memory));
        assert!(matches!(config(&text).unwrap().place, crate::publish::Place::Directory(_)));
        for (more, key) in [
            ("[postgres]", "postgres"),
            ("[[hooks]]\nname = 'a'\ncommand = ['/a']", "hooks"),
            ("[files]\nbundle = 'b'", "files.bundle"),
        ] {
            let error =
                super::super::tests::without_directory(&format!("{text}{more}\n")).unwrap_err();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn v20_what_no_api_server_would_accept_is_refused_with_its_key() {
        let fields = "fields = { 'tls.crt' = 'chain' }\n";
        for (text, key) in [
            ("[[secrets]]\nname = 'a'\n".to_owned() + fields, "kubernetes.namespace"),
            (format!("{BEGIN}fields = {{}}"), "secrets.fields"),
            (format!("{BEGIN}fields = {{ 'a/b' = 'chain' }}"), "secrets.fields"),
            (format!("{BEGIN}fields = {{ a = 'jks' }}"), "secrets.fields"),
            (format!("{BEGIN}fields = {{ a = 'pkcs12' }}"), "secrets.fields"),
            (
                format!("{BEGIN}fields = {{ a = {{ content = 'key', alias = 'x' }} }}"),
                "secrets.fields",
            ),
            (format!("{BEGIN}type = 'kubernetes.io/tls'\n{fields}"), "tls.key"),
            (format!("{BEGIN}type = 'a b'\n{fields}"), "secrets.type"),
            (format!("{BEGIN}labels = {{ 'a b' = '' }}\n{fields}"), "secrets.labels"),
            (format!("{BEGIN}labels = {{ a = 'b c' }}\n{fields}"), "secrets.labels"),
            (format!("{BEGIN}annotations = {{ 'a//b' = '' }}\n{fields}"), "secrets.annotations"),
            (format!("{BEGIN}namespace = 'A'\n{fields}"), "secrets.namespace"),
            (format!("{BEGIN}{fields}[[secrets]]\nname = 'server'\n{fields}"), "two tables"),
            (format!("{BEGIN}{fields}[lease]\nduration = '1s'"), "lease.duration"),
            (format!("{BEGIN}{fields}[lease]\nname = '..'"), "lease.name"),
            (
                format!(
                    "{BEGIN}owner = {{ api_version = 'v1', kind = 'A', name = 'a', uid = '' }}\n{fields}"
                ),
                "secrets.owner.uid",
            ),
            (
                format!(
                    "{BEGIN}owner = {{ api_version = 'v1', kind = 'A', name = 'a', uid = 'u' }}\n{fields}"
                ),
                "create = true",
            ),
            (
                "[kubernetes]\nserver = 'http://a'\n[[secrets]]\nnamespace = 'a'\nname = 'a'\n"
                    .to_owned()
                    + fields,
                "kubernetes.server",
            ),
            ("[kubernetes]\nnamespace = 'a'\n".to_owned(), "there are none"),
            ("[lease]\nname = 'a'\n".to_owned(), "there are none"),
            (format!("{BEGIN}{fields}[postgres]\nname = 'secrets'"), "another consumer"),
        ] {
            let error = config(&text).unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
