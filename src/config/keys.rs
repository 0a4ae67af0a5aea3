//! Every key of the file: its flag, its variables, its default and its meaning. What is looked up, the reference page, and the
//! schema for editors come from this list.

/// One key of the file, and where else its value may come from.
#[derive(Debug)]
pub struct Key {
    /// With its table: `files.directory`.
    pub name: &'static str,
    /// Its flag, with the dashes.
    pub flag: Option<&'static str>,
    /// The same in one letter.
    pub short: Option<&'static str>,
    /// Our own variable: it goes before the file.
    pub variable: Option<&'static str>,
    /// Another program's variable: it comes after the file.
    pub foreign: Option<&'static str>,
    /// What holds where nothing is given.
    pub default: Default,
    /// What it says, in the words of the reference.
    pub meaning: &'static str,
}

/// What holds where nothing is given.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// There is none.
    Required,
    /// This value.
    Text(&'static str),
    /// This number or boolean, as TOML has it.
    Bare(&'static str),
    /// What cannot be written as one value, in the words of the reference.
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

    /// The default as text; empty where there is no such value.
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
pub(super) const SVID_SPIFFE_ID: Key =
    Key::new("svid.spiffe_id", Default::Words("the first SVID"), "take this one, and no other")
        .flag("--spiffe-id")
        .variable("PGSVID_SPIFFE_ID");
pub(super) const SVID_TRUST_DOMAIN: Key =
    Key::new("svid.trust_domain", Default::Words("any"), "refuse an SVID of another trust domain")
        .variable("PGSVID_TRUST_DOMAIN");
pub(super) const SVID_HINT: Key =
    Key::new("svid.hint", Default::Words("none"), "take the SVID with this hint")
        .flag("--hint")
        .variable("PGSVID_HINT");
pub(super) const FILES_DIRECTORY: Key =
    Key::new("files.directory", Default::Required, "where to publish")
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
    "group of the files, by name or number; as root only",
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
    "where SVIDs change without end: after 120 in a row, one is published in this time, the newest. A changed bundle, and an SVID whose predecessor is about to expire, do not wait. `\"0s\"`: none waits",
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
pub(super) const FILES_SERVICE_OPTIONS: Key = Key::new(
    "files.service.options",
    Default::Words("`sslmode = \"verify-full\"`"),
    "libpq keywords and values: text, numbers, true or false",
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
pub(super) const POSTGRES_DATABASE: Key =
    Key::new("postgres.database", Default::Text("postgres"), "database in which it may")
        .flag("--database")
        .variable("PGSVID_DATABASE")
        .foreign("PGDATABASE");
pub(super) const POSTGRES_OS_USER: Key = Key::new(
    "postgres.os_user",
    Default::Words("`\"postgres\"`; with a group `\"root\"`"),
    "who runs pgsvid, for peer authentication",
);
pub(super) const POSTGRES_PASSWORD_FILE: Key = Key::new(
    "postgres.password_file",
    Default::Words("none"),
    "file with the role's password, where peer cannot be",
);
pub(super) const POSTGRES_REQUIRE_PEER: Key = Key::new(
    "postgres.require_peer",
    Default::Words("none"),
    "the user, by name or number, that has to listen on the socket",
);
pub(super) const POSTGRES_VERIFY: Key = Key::new(
    "postgres.verify",
    Default::Text("auto"),
    "where to look: `auto`, `none`, `HOST:PORT`",
)
.flag("--verify")
.variable("PGSVID_VERIFY");
pub(super) const POSTGRES_VERIFY_EVERY: Key = Key::new(
    "postgres.verify_every",
    Default::Text("5m"),
    "how often to look when nothing has changed; at least `\"1s\"`",
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
    "`\"uid\"`: PostgreSQL knows it by its x500UniqueIdentifier",
);
pub(super) const ROLES_CN: Key = Key::new(
    "roles.cn",
    Default::Words("this or `roles.by` is required"),
    "PostgreSQL knows it by this CN",
);
pub(super) const ROLES_VALUES: Key =
    Key::new("roles.values", Default::Words("none"), "a list of values for each placeholder");
pub(super) const HEALTH_LISTEN: Key = Key::new(
    "health.listen",
    Default::Words("none"),
    "where to answer: `127.0.0.1:9809`, or `unix:/path`",
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
pub const ALL: [&Key; 40] = [
    &WORKLOAD_API_ENDPOINT,
    &SVID_SPIFFE_ID,
    &SVID_TRUST_DOMAIN,
    &SVID_HINT,
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
    &FILES_SERVICE_OPTIONS,
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
    &ROLES_SPIFFE_ID,
    &ROLES_ROLE,
    &ROLES_BY,
    &ROLES_CN,
    &ROLES_VALUES,
    &HEALTH_LISTEN,
    &SANDBOX_ENABLED,
    &LOG_FORMAT,
    &LOG_LEVEL,
];
