//! Every key of the file: its flag, its variables, its default and its meaning. The look-up, the reference page, and the
//! schema for editors use this list.

use crate::material::pkcs12::PGJDBC_ALIAS;

/// One key of the file, and where else its value may come from.
#[derive(Debug)]
pub struct Key {
    /// The key's name with its table: `files.directory`.
    pub name: &'static str,
    /// Its flag, with the dashes.
    pub flag: Option<&'static str>,
    /// Its short flag, with the dash.
    pub short: Option<&'static str>,
    /// pgsvid's own variable, which overrides the file.
    pub variable: Option<&'static str>,
    /// Another program's variable, which the file overrides.
    pub foreign: Option<&'static str>,
    /// The value if none is given.
    pub default: Default,
    /// Its meaning, for the reference.
    pub meaning: &'static str,
}

/// The value if none is given.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// There is no default: a value must be given.
    Required,
    /// This value.
    Text(&'static str),
    /// This number or boolean, in TOML.
    Bare(&'static str),
    /// A default that is not one value, in words.
    Words(&'static str),
}

impl Key {
    const fn new(name: &'static str, default: Default, meaning: &'static str) -> Self {
        Self { name, flag: None, short: None, variable: None, foreign: None, default, meaning }
    }

    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    const fn short(mut self, short: &'static str) -> Self {
        self.short = Some(short);
        self
    }

    const fn variable(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }

    const fn foreign(mut self, foreign: &'static str) -> Self {
        self.foreign = Some(foreign);
        self
    }

    /// The default as text; empty if it is not one value.
    pub(super) fn default_text(&self) -> &'static str {
        match self.default {
            Default::Text(text) | Default::Bare(text) => text,
            Default::Required | Default::Words(_) => "",
        }
    }
}

pub(super) const WORKLOAD_API_ENDPOINT: Key =
    Key::new("workload_api.endpoint", Default::Required, "the agent")
        .flag("--endpoint")
        .variable("PGSVID_ENDPOINT")
        .foreign("SPIFFE_ENDPOINT_SOCKET");
pub(super) const CERTIFICATES_CERTIFICATE: Key = Key::new(
    "certificates.certificate",
    Default::Words("required in this table"),
    "instead of an agent: path of a PEM file that somebody else writes, the leaf and its intermediates",
);
pub(super) const CERTIFICATES_PRIVATE_KEY: Key = Key::new(
    "certificates.private_key",
    Default::Words("required in this table"),
    "path of its key: PEM in PKCS#8, PKCS#1 or SEC1, without a passphrase",
);
pub(super) const CERTIFICATES_BUNDLE: Key = Key::new(
    "certificates.bundle",
    Default::Words("required in this table"),
    "path of a PEM file with the CA certificates, among them the root of the chain",
);
pub(super) const CERTIFICATES_RENEWAL_PERCENT: Key = Key::new(
    "certificates.renewal_percent",
    Default::Bare("67"),
    "after how many percent of its lifetime its writer renews the certificate, from 10 to 95: cert-manager and step after 67, Vault Agent after about 90",
);
pub(super) const SVID_SPIFFE_ID: Key = Key::new(
    "svid.spiffe_id",
    Default::Words("the first SVID"),
    "use the SVID with this SPIFFE ID, and no other",
)
.flag("--spiffe-id")
.variable("PGSVID_SPIFFE_ID");
pub(super) const SVID_TRUST_DOMAIN: Key =
    Key::new("svid.trust_domain", Default::Words("any"), "refuse an SVID of another trust domain")
        .variable("PGSVID_TRUST_DOMAIN");
pub(super) const SVID_HINT: Key =
    Key::new("svid.hint", Default::Words("none"), "use the SVID with this hint")
        .flag("--hint")
        .variable("PGSVID_HINT");
pub(super) const SVID_DNS_NAMES: Key = Key::new(
    "svid.dns_names",
    Default::Words("none"),
    "a list of names that clients connect to: pgsvid warns if the SVID lacks one",
)
.flag("--dns-names")
.variable("PGSVID_DNS_NAMES");
pub(super) const FILES_DIRECTORY: Key =
    Key::new(
        "files.directory",
        Default::Required,
        "where to publish. With `[certificates]` you may leave it out. pgsvid then publishes nothing: PostgreSQL reads the files where they are",
    )
        .flag("--directory")
        .short("-d")
        .variable("PGSVID_DIRECTORY");
pub(super) const FILES_CERTIFICATE: Key =
    Key::new("files.certificate", Default::Text("svid.pem"), "file name: leaf, then intermediates");
pub(super) const FILES_PRIVATE_KEY: Key = Key::new(
    "files.private_key",
    Default::Text("svid_key.pem"),
    "file name: the key, PKCS#8 in PEM",
);
pub(super) const FILES_BUNDLE: Key =
    Key::new("files.bundle", Default::Text("svid_bundle.pem"), "file name: the CA certificates");
pub(super) const FILES_PRIVATE_KEY_MODE: Key = Key::new(
    "files.private_key_mode",
    Default::Words("`\"0600\"`; with a group `\"0640\"`"),
    "exact mode of the key",
);
pub(super) const FILES_CERTIFICATE_MODE: Key =
    Key::new("files.certificate_mode", Default::Text("0644"), "exact mode of the other files");
pub(super) const FILES_GROUP: Key = Key::new(
    "files.group",
    Default::Words("none"),
    "group of the files, by name or number; only as root",
)
.flag("--group")
.variable("PGSVID_GROUP");
pub(super) const FILES_FEDERATED_BUNDLES: Key = Key::new(
    "files.federated_bundles",
    Default::Bare("false"),
    "add the CAs of federated trust domains",
);
pub(super) const FILES_EXTRA_AUTHORITIES: Key = Key::new(
    "files.extra_authorities",
    Default::Words("none"),
    "list of PEM files whose certificates are added to the bundle; their names may take 16,000 bytes, some 150 CAs",
);
pub(super) const FILES_KEEP_AT_MOST: Key =
    Key::new("files.keep_at_most", Default::Bare("16"), "most generations on disk, from 2 to 1000");
pub(super) const FILES_PUBLISH_EVERY: Key = Key::new(
    "files.publish_every",
    Default::Text("5s"),
    "limits publications when SVIDs keep changing: after 120 in a row, only the newest is published once per this time. A changed bundle, and an SVID whose predecessor is about to expire, do not wait. `\"0s\"`: none waits",
);
pub(super) const FILES_SEEN_AS: Key = Key::new(
    "files.seen_as",
    Default::Words("`files.directory`"),
    "the directory's path for its readers",
);
pub(super) const FILES_IDENT: Key = Key::new(
    "files.ident",
    Default::Words("none"),
    "file name: publish the map of `[[roles]]` for PostgreSQL",
);
pub(super) const FILES_IDENT_LINES: Key = Key::new(
    "files.ident_lines",
    Default::Words("none"),
    "list of more lines for it, such as a map of the operator's own",
);
pub(super) const FILES_SERVICE_FILE: Key =
    Key::new("files.service.file", Default::Text("pg_service.conf"), "file name");
pub(super) const FILES_SERVICE_NAME: Key = Key::new(
    "files.service.name",
    Default::Words("required in this table"),
    "the section's name, which clients give as `PGSERVICE`",
);
pub(super) const FILES_SERVICE_PRIVATE_KEY: Key = Key::new(
    "files.service.private_key",
    Default::Words("`files.private_key`"),
    "the published file that `sslkey` names: one of `[[files.extra]]` with the key, such as the DER that pgjdbc and libpq both read",
);
pub(super) const FILES_SERVICE_OPTIONS: Key = Key::new(
    "files.service.options",
    Default::Words("`sslmode = \"verify-full\"`"),
    "libpq keywords and values: text, numbers, true or false",
);
pub(super) const FILES_PGBOUNCER: Key = Key::new(
    "files.pgbouncer",
    Default::Words("none"),
    "name of a part of PgBouncer's ini, published with each set: it names that set's own files, so that none can mix",
);
pub(super) const FILES_PATRONI: Key = Key::new(
    "files.patroni",
    Default::Words("none"),
    "name, ending in `.yml`, of a part of Patroni's configuration, published with each set: it names that set's own files, so that none can mix",
);
pub(super) const FILES_EXTRA_NAME: Key = Key::new(
    "files.extra.name",
    Default::Words("required in this table"),
    "the set in another format, in each `[[files.extra]]`: file name",
);
pub(super) const FILES_EXTRA_CONTENT: Key = Key::new(
    "files.extra.content",
    Default::Words("required in this table"),
    "`combined`: key, leaf and intermediates in PEM. `der-key`: the key, PKCS#8 in DER. `der-certificate`: leaf, then intermediates, in DER. `pkcs12`: key and chain. `truststore`: the CA certificates in a PKCS#12 that Java trusts",
);
pub(super) const FILES_EXTRA_PASSWORD_FILE: Key = Key::new(
    "files.extra.password_file",
    Default::Words("none; `pkcs12` needs one"),
    "file with the password of a `pkcs12` or `truststore`: one line of printable ASCII, read for each publication",
);
pub(super) const FILES_EXTRA_ALIAS: Key = Key::new(
    "files.extra.alias",
    Default::Text(PGJDBC_ALIAS),
    "name of the entry in a `pkcs12`; pgjdbc uses no other than the default",
);
pub(super) const POSTGRES_NAME: Key = Key::new(
    "postgres.name",
    Default::Text("postgres"),
    "its name in the status and in metrics, and for `--name`; each of several `[[postgres]]` needs its own",
);
pub(super) const POSTGRES_HOST: Key =
    Key::new("postgres.host", Default::Text("/var/run/postgresql"), "its socket's directory")
        .flag("--postgres")
        .variable("PGSVID_POSTGRES")
        .foreign("PGHOST");
pub(super) const POSTGRES_PORT: Key =
    Key::new("postgres.port", Default::Bare("5432"), "its port, which names the socket")
        .flag("--port")
        .foreign("PGPORT");
pub(super) const POSTGRES_USER: Key =
    Key::new("postgres.user", Default::Text("pgsvid"), "role that may call `pg_reload_conf()`")
        .flag("--user")
        .variable("PGSVID_USER")
        .foreign("PGUSER");
pub(super) const POSTGRES_DATABASE: Key = Key::new(
    "postgres.database",
    Default::Text("postgres"),
    "database in which the role may call it",
)
.flag("--database")
.variable("PGSVID_DATABASE")
.foreign("PGDATABASE");
pub(super) const POSTGRES_OS_USER: Key = Key::new(
    "postgres.os_user",
    Default::Words("`\"postgres\"`; with a group `\"root\"`"),
    "the user who runs pgsvid, for peer authentication",
);
pub(super) const POSTGRES_PASSWORD_FILE: Key = Key::new(
    "postgres.password_file",
    Default::Words("none"),
    "file with the role's password, if peer authentication is impossible",
);
pub(super) const POSTGRES_REQUIRE_PEER: Key = Key::new(
    "postgres.require_peer",
    Default::Words("none"),
    "the user, by name or number, that must listen on the socket",
);
pub(super) const POSTGRES_VERIFY: Key = Key::new(
    "postgres.verify",
    Default::Text("auto"),
    "where to verify what is served: `auto`, `none`, `HOST:PORT`",
)
.flag("--verify")
.variable("PGSVID_VERIFY");
pub(super) const POSTGRES_VERIFY_EVERY: Key = Key::new(
    "postgres.verify_every",
    Default::Text("5m"),
    "how often to verify when nothing has changed; at least `\"1s\"`",
);
pub(super) const POSTGRES_CLIENT_SVID_LIFE: Key = Key::new(
    "postgres.client_svid_life",
    Default::Words("the longest life of pgsvid's own SVIDs since its start"),
    "the longest life of a client's certificate; an older session has outlived it. At least `\"1s\"`",
);
pub(super) const POSTGRES_END_SESSIONS: Key = Key::new(
    "postgres.end_sessions",
    Default::Text("off"),
    "`\"after 10m\"`: end sessions that have outlived the client's certificate by that time (it needs `client_svid_life`); never those of superusers or replication",
);
pub(super) const PGBOUNCER_NAME: Key = Key::new(
    "pgbouncer.name",
    Default::Text("pgbouncer"),
    "its name in the status and in metrics; each of several `[[pgbouncer]]` needs its own",
);
pub(super) const PGBOUNCER_HOST: Key = Key::new(
    "pgbouncer.host",
    Default::Text("/var/run/postgresql"),
    "its socket's directory, `unix_socket_dir` of its ini",
);
pub(super) const PGBOUNCER_PORT: Key = Key::new(
    "pgbouncer.port",
    Default::Bare("6432"),
    "its port, `listen_port` of its ini, which names the socket",
);
pub(super) const PGBOUNCER_USER: Key = Key::new(
    "pgbouncer.user",
    Default::Text("pgbouncer"),
    "user of its console; the default is admitted without a password if pgsvid runs as PgBouncer's own user",
);
pub(super) const PGBOUNCER_VERIFY: Key = Key::new(
    "pgbouncer.verify",
    Default::Text("auto"),
    "where to verify what is served: `auto`, `none`, `HOST:PORT`",
);
pub(super) const PGBOUNCER_VERIFY_EVERY: Key = Key::new(
    "pgbouncer.verify_every",
    Default::Text("5m"),
    "how often to verify when nothing has changed; at least `\"1s\"`",
);
pub(super) const PGBOUNCER_LOGIN_ROLE: Key = Key::new(
    "pgbouncer.login_role",
    Default::Words("no login"),
    "role as which to log in through it after each publication, to prove which certificate it shows to PostgreSQL",
);
pub(super) const PGBOUNCER_LOGIN_DATABASE: Key = Key::new(
    "pgbouncer.login_database",
    Default::Text("postgres"),
    "database of that login; it needs `login_role`",
);
pub(super) const PATRONI_ADDRESS: Key = Key::new(
    "patroni.address",
    Default::Text("127.0.0.1:8008"),
    "where Patroni's REST API listens: `HOST:PORT`, as in `restapi.listen` of its configuration",
);
pub(super) const PATRONI_USERNAME: Key = Key::new(
    "patroni.username",
    Default::Words("none"),
    "the name of `restapi.authentication`, if that is set",
);
pub(super) const PATRONI_PASSWORD_FILE: Key =
    Key::new("patroni.password_file", Default::Words("none"), "the file with its password");
pub(super) const PATRONI_LOADS_WITHIN: Key = Key::new(
    "patroni.loads_within",
    Default::Text("30s"),
    "how long Patroni may take to execute a reload: three times its `loop_wait`. The next set waits so long, and ten seconds more",
);
pub(super) const PATRONI_VERIFY_EVERY: Key = Key::new(
    "patroni.verify_every",
    Default::Text("5m"),
    "how often to verify when nothing has changed; at least `\"1s\"`",
);
pub(super) const CLIENT_NAME: Key = Key::new(
    "client.name",
    Default::Text("client"),
    "its name in the log, in metrics and in the status; with several `[[client]]` each needs its own",
);
pub(super) const CLIENT_SERVICE: Key = Key::new(
    "client.service",
    Default::Words("the only `[files.service]`"),
    "the name of the `[files.service]` whose options say where the application connects, and as which role",
);
pub(super) const CLIENT_OPTIONS: Key = Key::new(
    "client.options",
    Default::Words("those of the service"),
    "libpq keywords and values instead: at least `host` and `user`",
);
pub(super) const CLIENT_VERIFY_EVERY: Key = Key::new(
    "client.verify_every",
    Default::Text("5m"),
    "how often to log in when nothing has changed, at most; at least `\"1s\"`. A random fifth is taken off, so that many clients do not log in at once",
);
pub(super) const CLIENT_READINESS: Key = Key::new(
    "client.readiness",
    Default::Bare("false"),
    "whether `/readyz` answers 503 while the client is refused",
);
pub(super) const SERVED_NAME: Key = Key::new(
    "served.name",
    Default::Words("the address"),
    "its name in the log, in metrics and in the status",
);
pub(super) const SERVED_ADDRESS: Key = Key::new(
    "served.address",
    Default::Words("required in this table"),
    "servers that others reload, in each `[[served]]`: `HOST` or `HOST:PORT`, port 5432 by default. Each address of the name is looked at as an instance of its own, 32 at most",
);
pub(super) const SERVED_SERVER_NAME: Key = Key::new(
    "served.server_name",
    Default::Words("the host, if it is a name"),
    "the name that the certificate must have for clients with `verify-full`; `\"\"`: it is not checked",
);
pub(super) const SERVED_EVERY: Key = Key::new(
    "served.every",
    Default::Text("1m"),
    "how often to look when nothing has changed; at least `\"1s\"`",
);
pub(super) const SERVED_STARTTLS: Key = Key::new(
    "served.starttls",
    Default::Bare("true"),
    "`true`: TLS begins with PostgreSQL's SSLRequest; `false`: with the handshake",
);
pub(super) const SERVED_WITHIN: Key = Key::new(
    "served.within",
    Default::Text("2m"),
    "how long an instance may take to serve a set; after that it is a problem",
);
pub(super) const ROLES_SPIFFE_ID: Key = Key::new(
    "roles.spiffe_id",
    Default::Words("required in this table"),
    "the workload, or a template with `{placeholders}`",
);
pub(super) const ROLES_ROLE: Key = Key::new(
    "roles.role",
    Default::Words("`\"{role}\"`, if `values` has it"),
    "the PostgreSQL role",
);
pub(super) const ROLES_BY: Key = Key::new(
    "roles.by",
    Default::Words("this or `roles.cn` is required"),
    "`\"uid\"`: PostgreSQL recognises it by its x500UniqueIdentifier",
);
pub(super) const ROLES_CN: Key = Key::new(
    "roles.cn",
    Default::Words("this or `roles.by` is required"),
    "PostgreSQL recognises it by this CN",
);
pub(super) const ROLES_VALUES: Key =
    Key::new("roles.values", Default::Words("none"), "a list of values for each placeholder");
pub(super) const HOOKS_NAME: Key = Key::new(
    "hooks.name",
    Default::Words("required in this table"),
    "its name in the log, the status and metrics",
);
pub(super) const HOOKS_COMMAND: Key = Key::new(
    "hooks.command",
    Default::Words("this or `hooks.signal` is required"),
    "a list: the program's absolute path, and its arguments. No shell reads them",
);
pub(super) const HOOKS_SIGNAL: Key = Key::new(
    "hooks.signal",
    Default::Words("this or `hooks.command` is required"),
    "the signal that is sent: `HUP`, `USR1`, `USR2`, `INT`, `QUIT`, `TERM`, `WINCH` or `CONT`",
);
pub(super) const HOOKS_PID_FILE: Key = Key::new(
    "hooks.pid_file",
    Default::Words("required with `hooks.signal`"),
    "the file whose first line is the number of the process that gets the signal",
);
pub(super) const HOOKS_PROCESS: Key = Key::new(
    "hooks.process",
    Default::Words("any"),
    "the name of the program that this process must run",
);
pub(super) const HOOKS_WHEN: Key = Key::new(
    "hooks.when",
    Default::Text("published"),
    "`published`: after each publication; `proven`: once every PostgreSQL, PgBouncer and Patroni is proven to serve what was published; `jwt`: after a file of `[[jwt]]` or `[jwt_bundle]` was written",
);
pub(super) const HOOKS_TIMEOUT: Key = Key::new(
    "hooks.timeout",
    Default::Text("30s"),
    "after this time it is killed with all that it has started; from `\"1s\"` to `\"1h\"`",
);
pub(super) const HOOKS_BARRIER: Key = Key::new(
    "hooks.barrier",
    Default::Bare("false"),
    "`true`: the next set waits for it, ten seconds at most",
);
pub(super) const HOOKS_USER: Key = Key::new(
    "hooks.user",
    Default::Words("the user of pgsvid"),
    "the user, by name or number, that it runs as; only if pgsvid runs as root",
);
pub(super) const HOOKS_ENVIRONMENT: Key = Key::new(
    "hooks.environment",
    Default::Words("none"),
    "variables for the command, beside `PATH` and pgsvid's own",
);
pub(super) const JWT_AUDIENCE: Key = Key::new(
    "jwt.audience",
    Default::Words("required in this table"),
    "the recipient of the token: what the server expects in `aud`",
);
pub(super) const JWT_EXTRA_AUDIENCES: Key =
    Key::new("jwt.extra_audiences", Default::Words("none"), "further audiences of the same token");
pub(super) const JWT_FILE: Key = Key::new(
    "jwt.file",
    Default::Words("required in this table"),
    "path of the file that holds the token, without a newline",
);
pub(super) const JWT_MODE: Key = Key::new(
    "jwt.mode",
    Default::Words("`0600`; `0640` with `files.group`"),
    "its mode: 0640 at most",
);
pub(super) const JWT_BUNDLE_FILE: Key = Key::new(
    "jwt_bundle.file",
    Default::Words("required in this table"),
    "path of the file that holds the keys with which tokens of the trust domain are verified",
);
pub(super) const JWT_BUNDLE_FORMAT: Key = Key::new(
    "jwt_bundle.format",
    Default::Text("jwks"),
    "`jwks`: the JWK set of the own trust domain; `spiffe-helper`: an object from each trust domain to its JWK set in base64",
);
pub(super) const JWT_BUNDLE_MODE: Key =
    Key::new("jwt_bundle.mode", Default::Text("0644"), "its mode: 0644 at most");
pub(super) const SECRETS_NAMESPACE: Key = Key::new(
    "secrets.namespace",
    Default::Words("`kubernetes.namespace`"),
    "the namespace of a Kubernetes Secret that each set is written to",
);
pub(super) const SECRETS_NAME: Key =
    Key::new("secrets.name", Default::Words("required in this table"), "its name");
pub(super) const SECRETS_TYPE: Key =
    Key::new("secrets.type", Default::Text("Opaque"), "its type, if pgsvid creates it");
pub(super) const SECRETS_CREATE: Key = Key::new(
    "secrets.create",
    Default::Bare("false"),
    "`true`: pgsvid creates it if it does not exist; `false`: it waits until somebody does",
);
pub(super) const SECRETS_LABELS: Key = Key::new(
    "secrets.labels",
    Default::Words("none"),
    "labels that it gets, such as `cnpg.io/reload`",
);
pub(super) const SECRETS_ANNOTATIONS: Key =
    Key::new("secrets.annotations", Default::Words("none"), "annotations that it gets");
pub(super) const SECRETS_OWNER_API_VERSION: Key = Key::new(
    "secrets.owner.api_version",
    Default::Words("required in this table"),
    "the API version of the object in the same namespace with which the Secret is removed; needs `create = true`",
);
pub(super) const SECRETS_OWNER_KIND: Key =
    Key::new("secrets.owner.kind", Default::Words("required in this table"), "its kind");
pub(super) const SECRETS_OWNER_NAME: Key =
    Key::new("secrets.owner.name", Default::Words("required in this table"), "its name");
pub(super) const SECRETS_OWNER_UID: Key =
    Key::new("secrets.owner.uid", Default::Words("required in this table"), "its uid");
pub(super) const SECRETS_FIELDS: Key = Key::new(
    "secrets.fields",
    Default::Words("required in this table"),
    "its fields: each key has a content (`chain`, `key`, `bundle`, `combined`, `der-key`, `der-certificate`, `pkcs12`, `truststore`), or a table of `content`, `base64`, `password_file` and `alias`",
);
pub(super) const KUBERNETES_SERVER: Key = Key::new(
    "kubernetes.server",
    Default::Words("that of the cluster that pgsvid runs in"),
    "the API server: `https://HOST:PORT`",
);
pub(super) const KUBERNETES_CA_FILE: Key = Key::new(
    "kubernetes.ca_file",
    Default::Text("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
    "path of a PEM file with the authorities that may have signed it",
);
pub(super) const KUBERNETES_TOKEN_FILE: Key = Key::new(
    "kubernetes.token_file",
    Default::Text("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    "path of the file with the token, which is read for each request",
);
pub(super) const KUBERNETES_NAMESPACE: Key = Key::new(
    "kubernetes.namespace",
    Default::Words("that of the ServiceAccount"),
    "the own namespace, which a table without a namespace means",
);
pub(super) const KUBERNETES_FIELD_MANAGER: Key = Key::new(
    "kubernetes.field_manager",
    Default::Text("pgsvid"),
    "the name by which Kubernetes records which fields pgsvid has applied; two installations that write to one Secret need two names",
);
pub(super) const LEASE_NAME: Key = Key::new(
    "lease.name",
    Default::Text("pgsvid"),
    "the Lease by which several replicas with this configuration take turns; each of them needs this table",
);
pub(super) const LEASE_NAMESPACE: Key =
    Key::new("lease.namespace", Default::Words("`kubernetes.namespace`"), "its namespace");
pub(super) const LEASE_DURATION: Key = Key::new(
    "lease.duration",
    Default::Text("10s"),
    "how long a replica that is gone keeps the others waiting; from `\"3s\"` to `\"5m\"`",
);
pub(super) const HEALTH_LISTEN: Key = Key::new(
    "health.listen",
    Default::Words("none"),
    "where to listen: `127.0.0.1:9809`, or `unix:/path`",
)
.variable("PGSVID_HEALTH_LISTEN");
pub(super) const SANDBOX_ENABLED: Key = Key::new(
    "sandbox.enabled",
    Default::Bare("true"),
    "`false`: pgsvid can do whatever its user can",
);
pub(super) const LOG_FORMAT: Key =
    Key::new("log.format", Default::Text("text"), "`text`, or `json`: one object a line")
        .flag("--log-format")
        .variable("PGSVID_LOG_FORMAT");
pub(super) const LOG_LEVEL: Key =
    Key::new("log.level", Default::Text("info"), "`error`, `warn`, `info`, `debug` or `trace`")
        .flag("--log-level")
        .variable("PGSVID_LOG_LEVEL");

/// All keys, in the order of the reference.
pub const ALL: [&Key; 114] = [
    &WORKLOAD_API_ENDPOINT,
    &CERTIFICATES_CERTIFICATE,
    &CERTIFICATES_PRIVATE_KEY,
    &CERTIFICATES_BUNDLE,
    &CERTIFICATES_RENEWAL_PERCENT,
    &SVID_SPIFFE_ID,
    &SVID_TRUST_DOMAIN,
    &SVID_HINT,
    &SVID_DNS_NAMES,
    &FILES_DIRECTORY,
    &FILES_CERTIFICATE,
    &FILES_PRIVATE_KEY,
    &FILES_BUNDLE,
    &FILES_PRIVATE_KEY_MODE,
    &FILES_CERTIFICATE_MODE,
    &FILES_GROUP,
    &FILES_FEDERATED_BUNDLES,
    &FILES_EXTRA_AUTHORITIES,
    &FILES_KEEP_AT_MOST,
    &FILES_PUBLISH_EVERY,
    &FILES_SEEN_AS,
    &FILES_IDENT,
    &FILES_IDENT_LINES,
    &FILES_SERVICE_FILE,
    &FILES_SERVICE_NAME,
    &FILES_SERVICE_PRIVATE_KEY,
    &FILES_SERVICE_OPTIONS,
    &FILES_PGBOUNCER,
    &FILES_PATRONI,
    &FILES_EXTRA_NAME,
    &FILES_EXTRA_CONTENT,
    &FILES_EXTRA_PASSWORD_FILE,
    &FILES_EXTRA_ALIAS,
    &POSTGRES_NAME,
    &POSTGRES_HOST,
    &POSTGRES_PORT,
    &POSTGRES_USER,
    &POSTGRES_DATABASE,
    &POSTGRES_OS_USER,
    &POSTGRES_PASSWORD_FILE,
    &POSTGRES_REQUIRE_PEER,
    &POSTGRES_VERIFY,
    &POSTGRES_VERIFY_EVERY,
    &POSTGRES_CLIENT_SVID_LIFE,
    &POSTGRES_END_SESSIONS,
    &PGBOUNCER_NAME,
    &PGBOUNCER_HOST,
    &PGBOUNCER_PORT,
    &PGBOUNCER_USER,
    &PGBOUNCER_VERIFY,
    &PGBOUNCER_VERIFY_EVERY,
    &PGBOUNCER_LOGIN_ROLE,
    &PGBOUNCER_LOGIN_DATABASE,
    &PATRONI_ADDRESS,
    &PATRONI_USERNAME,
    &PATRONI_PASSWORD_FILE,
    &PATRONI_LOADS_WITHIN,
    &PATRONI_VERIFY_EVERY,
    &CLIENT_NAME,
    &CLIENT_SERVICE,
    &CLIENT_OPTIONS,
    &CLIENT_VERIFY_EVERY,
    &CLIENT_READINESS,
    &SERVED_NAME,
    &SERVED_ADDRESS,
    &SERVED_SERVER_NAME,
    &SERVED_EVERY,
    &SERVED_STARTTLS,
    &SERVED_WITHIN,
    &ROLES_SPIFFE_ID,
    &ROLES_ROLE,
    &ROLES_BY,
    &ROLES_CN,
    &ROLES_VALUES,
    &HOOKS_NAME,
    &HOOKS_COMMAND,
    &HOOKS_SIGNAL,
    &HOOKS_PID_FILE,
    &HOOKS_PROCESS,
    &HOOKS_WHEN,
    &HOOKS_TIMEOUT,
    &HOOKS_BARRIER,
    &HOOKS_USER,
    &HOOKS_ENVIRONMENT,
    &JWT_AUDIENCE,
    &JWT_EXTRA_AUDIENCES,
    &JWT_FILE,
    &JWT_MODE,
    &JWT_BUNDLE_FILE,
    &JWT_BUNDLE_FORMAT,
    &JWT_BUNDLE_MODE,
    &SECRETS_NAMESPACE,
    &SECRETS_NAME,
    &SECRETS_TYPE,
    &SECRETS_CREATE,
    &SECRETS_LABELS,
    &SECRETS_ANNOTATIONS,
    &SECRETS_OWNER_API_VERSION,
    &SECRETS_OWNER_KIND,
    &SECRETS_OWNER_NAME,
    &SECRETS_OWNER_UID,
    &SECRETS_FIELDS,
    &KUBERNETES_SERVER,
    &KUBERNETES_CA_FILE,
    &KUBERNETES_TOKEN_FILE,
    &KUBERNETES_NAMESPACE,
    &KUBERNETES_FIELD_MANAGER,
    &LEASE_NAME,
    &LEASE_NAMESPACE,
    &LEASE_DURATION,
    &HEALTH_LISTEN,
    &SANDBOX_ENABLED,
    &LOG_FORMAT,
    &LOG_LEVEL,
];
