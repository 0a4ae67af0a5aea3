//! Findings: a code, a severity, a cause and a remedy, in one form for every command, log event and page.
//!
//! Programs and documents use the code. Sentences may change.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Serialize, Serializer};

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong.
    Ok,
    /// The check was not made; `text` has the reason.
    Skipped,
    /// It works, but will cause trouble.
    Warning,
    /// It does not work.
    Failure,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One result of an examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of thing that was examined.
    pub code: Code,
    /// How serious it is.
    pub severity: Severity,
    /// The path, setting or state that it is about, if it distinguishes two findings with the same code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The result. It names the object.
    pub text: String,
    /// The reason, if the text does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The command, SQL or line that fixes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The command within `fix`, if there is one, ready to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Box<str>>,
    /// How many findings of its severity it stands for, if it stands for more than one: there were too many to list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<NonZeroU32>,
}

impl Finding {
    fn new(code: Code, severity: Severity, text: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            object: None,
            text: text.into(),
            cause: None,
            fix: None,
            command: None,
            stands_for: None,
        }
    }

    /// How many findings it is: itself, or those that it stands for.
    #[must_use]
    pub fn count(&self) -> usize {
        self.stands_for.map_or(1, |it| usize::try_from(it.get()).unwrap_or(usize::MAX))
    }

    /// A finding of severity `Ok`.
    pub fn ok(code: Code, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Ok, text)
    }

    /// A finding of severity `Skipped`.
    pub fn skipped(code: Code, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Skipped, text)
    }

    /// A finding of severity `Warning`.
    pub fn warning(code: Code, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, text)
    }

    /// A finding of severity `Failure`.
    pub fn failure(code: Code, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Failure, text)
    }

    /// Sets the path or setting that it is about.
    #[must_use]
    pub fn about(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into()).filter(|cause| !cause.is_empty());
        self
    }

    /// Sets the remedy.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into()).filter(|fix| !fix.is_empty());
        self
    }

    /// Sets the command of the remedy, which is printed alone on its line where there is room. Appends the command to the remedy
    /// unless it is already there.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        let command = command.into();
        match &mut self.fix {
            Some(fix) if fix.contains(&command) => {}
            Some(fix) => *fix = format!("{fix}: {command}"),
            None => self.fix = Some(command.clone()),
        }
        self.command = (!command.is_empty()).then(|| command.into());
        self
    }

    /// Sets the command, if there is one.
    #[must_use]
    pub fn command_if_any(self, command: Option<String>) -> Self {
        match command {
            Some(command) => self.command(command),
            None => self,
        }
    }

    /// The remedy without its command, for output that shows the command separately; `None` if the remedy is only the command.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        advice(self.fix.as_deref(), self.command.as_deref())
    }

    /// The cause, or the text if no cause is set.
    #[must_use]
    pub fn why(&self) -> &str {
        self.cause.as_ref().unwrap_or(&self.text)
    }

    /// Uses another finding's text as the cause, and its fix.
    #[must_use]
    pub fn because_of(mut self, found: Self) -> Self {
        self.cause = Some(found.text);
        self.fix = found.fix;
        self.command = found.command;
        self
    }
}

/// The first `most` of the findings, the most serious ones first if there are more, and for each severity one finding about the
/// rest. So nothing that somebody can create in any number hides what else is reported. `kind` says in the plural what they are
/// about.
#[must_use]
pub fn limited(mut findings: Vec<Finding>, most: usize, kind: &str) -> Vec<Finding> {
    if findings.len() <= most {
        return findings;
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let rest = findings.split_off(most);
    for severity in [Severity::Failure, Severity::Warning, Severity::Skipped, Severity::Ok] {
        let mut same = rest.iter().filter(|finding| finding.severity == severity);
        let Some(first) = same.next() else { continue };
        let count = first.count() + same.map(Finding::count).sum::<usize>();
        let text = format!("… and {count} more about {kind}");
        let fix = if severity == Severity::Ok { "" } else { "fix those above, then check again" };
        let more = Finding::new(first.code, severity, text).fix(fix);
        let stands_for = u32::try_from(count).ok().and_then(NonZeroU32::new);
        findings.push(Finding { stands_for, ..more });
    }
    findings
}

/// The parts of a remedy before and after its command. `None` if the remedy does not contain that command.
#[must_use]
pub fn split_at_command<'a>(fix: &'a str, command: &str) -> Option<(&'a str, &'a str)> {
    let (before, after) = fix.split_once(command)?;
    let before = before.trim_end().trim_end_matches([':', ';', ',']);
    Some((before, after.trim_start_matches([':', ';', ',']).trim()))
}

/// A remedy without its command.
#[must_use]
pub fn advice(fix: Option<&str>, command: Option<&str>) -> Option<String> {
    let fix = fix?;
    let Some((before, after)) = command.and_then(|command| split_at_command(fix, command)) else {
        return Some(fix.to_owned());
    };
    let said: Vec<&str> = [before, after].into_iter().filter(|said| !said.is_empty()).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Declares the codes: variant, name, and meaning.
macro_rules! codes {
    ($($variant:ident, $name:literal, $meaning:literal;)*) => {
        /// The kind of thing that was examined. The names are stable: documents, alerts and scripts use them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// All of them, in the order of the document.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, as in JSON and in the log.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The meaning, in a sentence without a full stop.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

codes! {
    // Configuration and machine.
    Configuration, "configuration", "a setting, as pgsvid understands it";
    IdentWithoutPostgresql, "ident-without-postgresql", "`files.ident` is set, but no PostgreSQL is configured that could read the map";
    SocketPathLong, "socket-path-too-long", "the path of a socket is longer than the kernel allows";
    GroupNeedsRoot, "group-needs-root", "`files.group` is set, and pgsvid does not run as root";
    ExtraAuthority, "extra-authority", "an authority of `files.extra_authorities`, whose clients PostgreSQL lets in too";
    ExtraAuthorityLeftOut, "extra-authority-left-out", "an authority of `files.extra_authorities` is not published: OpenSSL could mistake it for another one, or too many others have its name for pgsvid to check that";
    ExtraAuthoritiesUnreadable, "extra-authorities-unreadable", "a file of `files.extra_authorities` cannot be used";
    FileExchangeable, "file-exchangeable", "other users of the machine can replace a file that pgsvid or PostgreSQL reads";
    SandboxOpenToData, "sandbox-open-to-data", "the sandbox lets pgsvid read a directory that holds PostgreSQL's data";
    SandboxOpenToDirectory, "sandbox-open-to-directory", "the sandbox lets pgsvid write into a directory that holds files of others";
    StorePasswordUnusable, "store-password-unusable", "a file of `files.extra.password_file` cannot be used as a password";
    MountsUnread, "mounts-unread", "the mounts of this machine cannot be read";
    MountSubpath, "mount-subpath", "a published file is a mount of its own (subPath), so its contents never change";
    MountReadOnly, "mount-read-only", "the published directory is mounted read-only";
    MountNetwork, "mount-network", "the published directory lies on a network file system";
    // Workload API.
    AgentAnswer, "agent-answer", "the agent's answer, and the SVIDs offered";
    AgentNotListening, "agent-not-listening", "the agent's socket does not exist, or no process listens there";
    AgentSocketWrong, "agent-socket-wrong", "the file at the agent's path is not a socket";
    AgentSocketForbidden, "agent-socket-forbidden", "pgsvid's user may not use the agent's socket";
    AgentSocketExchangeable, "agent-socket-exchangeable", "other users of the machine could have put the agent's socket in its place";
    AgentNotGrpc, "agent-not-grpc", "the process at the agent's address does not speak gRPC, or ended the connection with another protocol";
    AgentSilent, "agent-silent", "the agent does not answer in time";
    AgentNotRegistered, "agent-not-registered", "the agent has no registration entry for this process";
    AgentRefuses, "agent-refuses", "the agent refuses the request";
    AgentConnectionFailed, "agent-connection-failed", "the connection to the agent cannot be opened, or broke";
    AgentMessageUnreadable, "agent-message-unreadable", "the agent's message cannot be read";
    SvidChoice, "svid-choice", "which of the offered SVIDs pgsvid uses, by `svid.spiffe_id` and `svid.hint`";
    // Files as the source.
    CertificatesRead, "certificates-read", "the files of `[certificates]` form one set; their owner";
    CertificatesPolled, "certificates-polled", "the file system of `[certificates]` reports no changes, so pgsvid checks the files at intervals";
    CertificatesExchangeable, "certificates-exchangeable", "other users can replace a file of `[certificates]`, and so choose the certificate and the authorities";
    CertificatesKeyReadable, "certificates-key-readable", "every user can read the private key of `[certificates]`";
    CertificatesMissing, "certificates-missing", "a file of `[certificates]` does not exist";
    CertificatesUnreadable, "certificates-unreadable", "a file of `[certificates]` cannot be read";
    CertificatesUnsettled, "certificates-unsettled", "the files of `[certificates]` keep changing, so pgsvid uses no set of them";
    CertificatesSilent, "certificates-silent", "the file system of `[certificates]` does not answer";
    CertificatesFormat, "certificates-format", "a file of `[certificates]` does not hold what PostgreSQL reads: unencrypted PEM";
    CertificatesRevocationLists, "certificates-revocation-lists", "a bundle that PostgreSQL or libpq reads in place holds revocation lists";
    CertificatesPair, "certificates-pair", "the key of `[certificates]` does not belong to the certificate";
    CertificatesUnsigned, "certificates-not-signed-by-bundle", "no authority in the bundle of `[certificates]` has signed the certificate";
    CertificatesExpired, "certificates-expired", "the certificate of `[certificates]` has expired";
    CertificatesEarly, "certificates-not-yet-valid", "the certificate of `[certificates]` is not valid yet";
    // SVID.
    Svid, "svid", "the SVID: key, chain and bundle belong together";
    SvidLifetime, "svid-lifetime", "when the SVID expires, and when its renewal is due";
    SvidExpired, "svid-expired", "the offered SVID has expired";
    SvidNotYetValid, "svid-not-yet-valid", "the offered SVID is not valid yet";
    SvidIdentityUnexpected, "svid-identity-unexpected", "the SVID is not for the configured SPIFFE ID or trust domain";
    SvidIdentityInvalid, "svid-identity-invalid", "the SVID does not have exactly one valid SPIFFE ID";
    SvidKeyUnsupported, "svid-key-unsupported", "the SVID's private key is not of a supported type";
    SvidKeyMismatch, "svid-key-mismatch", "the SVID's private key does not belong to its leaf";
    SvidNotSigned, "svid-not-signed-by-bundle", "no self-signed authority of the bundle has signed the SVID's chain";
    SvidMalformed, "svid-malformed", "the SVID breaks another rule of the specification";
    BundleTooLarge, "bundle-too-large", "the bundle has more authorities, or the chain more bytes, than a TLS handshake has room for";
    SvidDnsName, "svid-dns-name", "the SVID's DNS names and subject; without a DNS name verify-full is impossible";
    SvidDnsNameMissing, "svid-dns-name-missing", "the SVID lacks a name of `svid.dns_names`";
    SvidDnsNameLost, "svid-dns-name-lost", "the SVID lacks a host name that the published one before it had";
    SvidSubjectChanged, "svid-subject-changed", "the SVID has another CN or subject than the published one before it";
    SvidIdentityChanged, "svid-identity-changed", "the SVID has another SPIFFE ID than the published one before it";
    SvidSharedSubject, "svid-shared-subject", "the SVID has the subject that all workloads without a DNS name share";
    SvidNotForServers, "svid-not-for-servers", "the SVID is for a server, but its extended key usage or an authority's does not allow that";
    SvidNotForClients, "svid-not-for-clients", "the SVID is for a client, but its extended key usage or an authority's does not allow that";
    SvidEd25519, "svid-ed25519", "the SVID is signed with Ed25519, for which libpq has no channel binding";
    AuthorityLeftOut, "authority-left-out", "OpenSSL would mistake an authority of the agent's bundle for the one that signed the chain, and refuse the chain; so it is not published";
    SignatureUnchecked, "signature-unchecked", "a signature in the chain, or a key, is of a kind that pgsvid cannot check, so it cannot judge the chain";
    FederatedAuthorities, "federated-authorities", "authorities of other trust domains are published";
    AuthorityOrder, "authority-order", "a new authority has signed the published leaf, and pgsvid cannot prove that every server already trusts it";
    // Published files.
    DirectoryMissing, "directory-missing", "the published directory cannot be opened";
    DirectoryShared, "directory-shared", "others may write to the published directory, or rename it";
    DirectoryOwner, "directory-owner", "the published directory belongs to another user";
    DirectoryReplaceable, "directory-replaceable", "another user can put another directory in the place of the published one";
    DirectoryAcl, "directory-acl", "the published directory has a default access control list";
    DirectoryForeignFile, "directory-foreign-file", "others could have created a file that has one of pgsvid's names";
    DirectoryObstacle, "directory-obstacle", "a file that pgsvid did not create is where a link must be";
    DirectoryUnusable, "directory-unusable", "another step on the published directory failed";
    DirectoryFull, "directory-full", "the volume of the published directory has no room for another set";
    ReadersPathOpen, "readers-path-open", "other users can redirect readers on the path of `files.seen_as`";
    CheckAsRoot, "check-as-root", "`check` runs as root, but the directory belongs to another user";
    NothingPublished, "nothing-published", "nothing is published yet";
    LinksMissing, "links-missing", "published names do not lead through `..data`";
    PublishedSet, "published-set", "the published files are one set";
    PublishedNewest, "published-set-newest", "whether the published set is the agent's newest SVID";
    PublishedIdentity, "published-identity-differs", "the published set is for another SPIFFE ID than the agent's SVID";
    PublishedAuthorities, "published-authorities-differ", "the agent's bundle has other authorities than the published one";
    // PostgreSQL's TLS files.
    HandshakeTooLarge, "handshake-too-large", "a message of PostgreSQL's TLS handshake is larger than clients accept";
    TlsFilesReadable, "tls-files-readable", "whether PostgreSQL may read the published files, and accepts the key's owner and mode";
    TlsFilesOutsideSandbox, "tls-files-outside-sandbox", "pgsvid's sandbox does not let it read files that PostgreSQL's settings name";
    TlsFileMissing, "tls-file-missing", "a file that PostgreSQL's settings name does not exist";
    TlsFileOutOfReach, "tls-file-out-of-reach", "a file that PostgreSQL's settings name lies below a directory that pgsvid may not enter";
    TlsFileNotRegular, "tls-file-not-regular", "a file that PostgreSQL's settings name is not a regular file";
    TlsFileEmpty, "tls-file-empty", "a file that PostgreSQL's settings name is empty";
    TlsFileNoPem, "tls-file-no-pem", "a file that PostgreSQL's settings name holds no PEM";
    TlsFileDamaged, "tls-file-damaged", "a file that PostgreSQL's settings name is cut short or damaged";
    CertificateMissing, "certificate-missing", "a file that should hold certificates holds none";
    CertificateUnreadable, "certificate-unreadable", "PostgreSQL may not read a file of certificates";
    KeyOwnerRefused, "key-owner-refused", "the private key belongs to a user whose keys PostgreSQL refuses";
    KeyModeRefused, "key-mode-refused", "the private key's mode is wider than PostgreSQL accepts";
    KeyUnreadable, "key-unreadable", "PostgreSQL may not read the private key";
    KeyPassphrase, "key-passphrase", "the private key has a passphrase";
    KeyUnsupported, "key-unsupported", "the file of the private key holds no key of a supported type";
    KeyPair, "key-pair", "whether private key and certificate belong together";
    CrlHoldsCertificate, "crl-holds-certificate", "a file for revocation lists holds a certificate, which PostgreSQL trusts as an authority";
    TlsFileNotLoaded, "tls-file-not-loaded", "whether PostgreSQL has loaded the present `ssl_crl_file`, and an `ssl_ca_file` that pgsvid does not publish";
    // PostgreSQL over SQL.
    PostgresqlNotRunning, "postgresql-not-running", "no process listens on PostgreSQL's socket";
    PostgresqlStarting, "postgresql-starting", "PostgreSQL starts, recovers or shuts down";
    PostgresqlSilent, "postgresql-silent", "PostgreSQL does not answer in time";
    SocketForbidden, "socket-forbidden", "pgsvid's user may not use PostgreSQL's socket";
    SocketOfOtherUser, "socket-of-other-user", "a process of another user than PostgreSQL's listens on the socket";
    SocketOfOtherServer, "socket-of-other-server", "the socket is that of a server with another port";
    NotPostgresql, "not-postgresql", "the process that answers is not PostgreSQL";
    SessionLost, "session-lost", "the connection to PostgreSQL ended before the answer came";
    CatalogPlanted, "catalog-planted", "a role that is not a superuser has put a function or an operator into `pg_catalog`, which a superuser's session could run";
    SessionRefused, "session-refused", "PostgreSQL refused the session or a statement, for a reason that has no code of its own";
    ConnectionSlots, "connection-slots", "no connection slot is free, of the server's or of the role's CONNECTION LIMIT";
    RoleLoginRefused, "role-login-refused", "the role is missing, may not log in, or is not one that pgsvid's user may log in as";
    RolePasswordRefused, "role-password-refused", "the role's password is wrong, or there is none";
    LoginMethodUnsupported, "login-method-unsupported", "PostgreSQL asks for a login method that pgsvid is not configured for";
    PasswordFileUnreadable, "password-file-unreadable", "the file of `postgres.password_file` cannot be read";
    ScramIterations, "scram-iterations", "the role's password is stored with more SCRAM iterations than pgsvid computes";
    DatabaseMissing, "database-missing", "the database does not exist";
    ConnectPrivilege, "connect-privilege", "the role may not connect to the database";
    ReloadPrivilege, "reload-privilege", "whether the role may call `pg_reload_conf()`";
    SessionRights, "session-rights", "whether the role may see the sessions of others, and end them if `postgres.end_sessions` is set";
    OwnRoleSuperuser, "own-role-superuser", "the role that pgsvid logs in as can make itself a superuser";
    SslSettings, "ssl-settings", "whether PostgreSQL's settings lead to the published files";
    SslOff, "ssl-off", "the setting ssl is off";
    SslSettingElsewhere, "ssl-setting-elsewhere", "`ssl_cert_file`, `ssl_key_file` or `ssl_ca_file` names another file";
    SslSettingEmpty, "ssl-setting-empty", "`ssl_cert_file`, `ssl_key_file` or `ssl_ca_file` is empty";
    SslMinProtocolVersion, "ssl-min-protocol-version", "PostgreSQL accepts old TLS versions";
    SslSettingRefused, "ssl-setting-refused", "another setting of TLS keeps PostgreSQL from loading the files, or from starting";
    SslSettingSuspect, "ssl-setting-suspect", "PostgreSQL refuses files that look right, and other settings of TLS are not at their defaults";
    SslSettingUnknown, "ssl-setting-unknown", "pgsvid cannot tell whether PostgreSQL accepts another setting of TLS";
    SslSuitesUncommon, "ssl-suites-uncommon", "`ssl_tls13_ciphers` names no cipher suite that clients offer by default";
    SslGroupsUncommon, "ssl-groups-uncommon", "`ssl_ecdh_curve` or `ssl_groups` names no group that clients offer by default";
    SslReloadRefused, "ssl-reload-refused", "PostgreSQL's log says that it refused TLS files or settings at its last reload";
    ClientCertificatesRefused, "client-certificates-refused", "PostgreSQL refuses the published certificate from a client: its revocation lists do not cover the authority";
    SslSni, "ssl-sni", "`ssl_sni` is on, so PostgreSQL serves other files than the three settings name";
    ReservedConnections, "reserved-connections", "no connection slot is reserved for pgsvid";
    PostgresqlConfError, "postgresql-conf-error", "PostgreSQL cannot load its configuration";
    PostgresqlConfNotLoaded, "postgresql-conf-not-loaded", "`postgresql.conf` changed after PostgreSQL last loaded it";
    ListenAddressesUnknown, "listen-addresses-unknown", "pgsvid could not ask PostgreSQL where it listens";
    ReplicationCertificate, "replication-certificate", "whether standbys and subscribers show PostgreSQL a certificate";
    ReplicationRights, "replication-rights", "pgsvid's role may not see the replication connections";
    ReplicationNotReceiving, "replication-not-receiving", "a standby or a subscription receives nothing";
    ConnectionPathPinned, "connection-path-pinned", "PostgreSQL connects with the files of one generation, by their own paths, which are deleted later";
    ConnectionOtherFiles, "connection-other-files", "PostgreSQL connects with a certificate or key that is no published file";
    ConnectionUnseen, "connection-unseen", "not everything that PostgreSQL connects to could be seen, or is shown";
    CitusNodes, "citus-nodes", "whether the nodes of a Citus cluster reach each other";
    // PostgreSQL over TLS.
    VerdictCurrent, "verdict-current", "the published certificate is served";
    VerdictUnverifiable, "verdict-unverifiable", "pgsvid cannot see what PostgreSQL serves";
    VerdictUnreachable, "verdict-unreachable", "no server answers where PostgreSQL should listen";
    VerdictPlaintext, "verdict-plaintext", "PostgreSQL has TLS turned off";
    VerdictExpired, "verdict-expired", "the served certificate has expired";
    VerdictForeign, "verdict-foreign", "the served certificate is not pgsvid's";
    VerdictStillOld, "verdict-still-old", "PostgreSQL still serves the previous files: it refused the new ones, or did not reload";
    VerdictOldAuthorities, "verdict-old-authorities", "PostgreSQL serves the new certificate, but trusts other authorities";
    VerdictHandedOver, "verdict-handed-over", "each Secret holds the published set";
    VerdictStandby, "verdict-standby", "another replica writes the Secrets";
    VerdictAdmitted, "verdict-admitted", "the server lets the client in with the published certificate";
    VerdictRefused, "verdict-refused", "the server refuses the client: its certificate, its role or its database";
    VerdictPasswordAsked, "verdict-password-asked", "the server asks the client for a password or another proof: the certificate alone does not let it in";
    VerdictServerUntrusted, "verdict-server-untrusted", "the client does not trust the server: by the published authorities, or by its name";
    VerdictUnavailable, "verdict-unavailable", "the server takes no new session at the moment, so nothing is known about the client";
    PublishedExpired, "published-certificate-expired", "the served certificate is the published one, but it has expired: no newer one was published";
    LoadedAuthorities, "loaded-authorities", "whether PostgreSQL has loaded the published authorities, as far as a handshake shows";
    ServedValidity, "served-certificate-validity", "whether the served certificate is valid now";
    ServedChain, "served-certificate-chain", "whether an authority of the bundle has signed the served certificate";
    ServedName, "served-certificate-name", "whether sslmode=verify-full accepts the served certificate for the host";
    ServerUnreachable, "server-unreachable", "no server answers at the server's address";
    ServerTlsOff, "server-tls-off", "the server has TLS turned off";
    ServerTlsUnspoken, "server-tls-unspoken", "the server supports no key exchange, cipher suite or protocol version that pgsvid supports";
    ServerUntrusted, "server-untrusted", "a client does not trust the server, for a reason that has no code of its own";
    ClientCertificatesUnasked, "client-certificates-not-requested", "the server does not ask clients for a certificate";
    // Servers that are only looked at.
    ServedNameUnresolved, "served-name-unresolved", "the name of a `[[served]]` has no address, or cannot be looked up";
    ServedMixed, "served-mixed", "an address of a `[[served]]` shows the published set, and then another one again";
    ServedInstancesMany, "served-instances-many", "the name of a `[[served]]` has more addresses than pgsvid looks at";
    // The running daemon.
    DaemonStatus, "daemon-status", "what the running daemon reports, and `check` itself does not see";
    // JWT-SVIDs.
    JwtToken, "jwt-token", "whether the agent gives a token for each audience";
    JwtUnsupported, "jwt-unsupported", "the agent has no JWT-SVIDs";
    JwtRejected, "jwt-rejected", "a token of the agent breaks a rule, and is not written";
    JwtUnverified, "jwt-unverified", "pgsvid cannot verify the signature of a token";
    JwtBundle, "jwt-bundle", "whether the agent gives the keys with which tokens are verified";
    JwtFile, "jwt-file", "whether a file with a token can be written, and what is in it";
    JwtExpired, "jwt-expired", "the token in a file has expired";
    // Hooks.
    HookCommand, "hook-command", "whether a hook's command exists, and may be executed by its user";
    HookReloadsPatroni, "hook-reloads-patroni", "a hook reloads Patroni, which must not happen before the set is proven to be good";
    HookCommandExposed, "hook-command-exposed", "other users can change the program that a hook runs, its interpreter, or a file among its arguments";
    HookCommandFailed, "hook-command-failed", "a hook's command ended with another exit status than 0";
    HookTimedOut, "hook-timed-out", "a hook took longer than `hooks.timeout`, and was killed";
    HookKilled, "hook-killed", "a hook's command was ended by a signal that pgsvid did not send";
    HookNotExecutable, "hook-not-executable", "a hook's command cannot be executed";
    HookUserRefused, "hook-user-refused", "pgsvid may not become the user of `hooks.user`";
    HookPidFile, "hook-pid-file", "whether a hook's pid file names a process";
    HookProcessGone, "hook-process-gone", "the process that a hook's pid file names is gone";
    HookProcessReused, "hook-process-reused", "the process that a hook's pid file names is younger than the file: the number was given to another one";
    HookProcessForeign, "hook-process-foreign", "the process that a hook's pid file names belongs to another user than the file, or runs another program";
    HookSignalRefused, "hook-signal-refused", "the kernel does not let a hook signal the process";
    HookProcessDied, "hook-process-died", "the process ended after the hook's signal, which should have made it reload";
    HookUnanswered, "hook-unanswered", "the result of a hook's run is not known";
    HookChanged, "hook-changed", "the configuration of a hook was changed after pgsvid was started";
    // PgBouncer.
    PasswordFileReadable, "password-file-readable", "other users can read a password that the configuration names";
    PgbouncerNotRunning, "pgbouncer-not-running", "no process listens on PgBouncer's socket";
    PgbouncerSilent, "pgbouncer-silent", "PgBouncer does not answer in time, or ended the connection before the answer came";
    PgbouncerSocketForbidden, "pgbouncer-socket-forbidden", "pgsvid's user may not use PgBouncer's socket";
    PgbouncerSocketOfOtherUser, "pgbouncer-socket-of-other-user", "a process of another user than PgBouncer's listens on its socket";
    PgbouncerConsoleRefused, "pgbouncer-console-refused", "PgBouncer's admin console does not admit pgsvid";
    NotPgbouncer, "not-pgbouncer", "the process that answers is not PgBouncer";
    PgbouncerSettings, "pgbouncer-settings", "whether PgBouncer's settings lead to the published files";
    PgbouncerSettingElsewhere, "pgbouncer-setting-elsewhere", "a `client_tls_*_file` or `server_tls_*_file` of PgBouncer's is not the published file";
    PgbouncerPortTaken, "pgbouncer-port-taken", "another PgBouncer has the same port, and they do not share it";
    PgbouncerFilesMix, "pgbouncer-files-mix", "during a rotation PgBouncer may read a certificate and a key of different sets for its connections to PostgreSQL";
    PgbouncerFilesUnusable, "pgbouncer-files-unusable", "PgBouncer opens the files of `[certificates]` at each connection to PostgreSQL, and they are no usable set";
    PgbouncerOpen, "pgbouncer-open", "PgBouncer lets clients in without proof of who they are";
    PgbouncerClearText, "pgbouncer-clear-text", "PgBouncer asks for passwords without TLS";
    PgbouncerAdministrators, "pgbouncer-administrators", "clients that come over the network may administer PgBouncer, or see its state";
    PgbouncerHostUnnamed, "pgbouncer-host-unnamed", "PgBouncer's ini names PostgreSQL by a host that is no name of its certificate";
    PgbouncerServerUnverified, "pgbouncer-server-unverified", "PgBouncer does not verify the PostgreSQL that it connects to";
    PgbouncerRolesByName, "pgbouncer-roles-by-name", "PgBouncer lets every certificate with a certain CN log in as a role that `[[roles]]` gives only to the workload with a certain identifier";
    PgbouncerForcedRole, "pgbouncer-forced-role", "`user=` in the section `[databases]` of PgBouncer's ini makes every client of a database the same role, whatever its certificate says";
    PgbouncerConsole, "pgbouncer-console", "what an attacker who takes over pgsvid can do through PgBouncer's console";
    PgbouncerReloadFailed, "pgbouncer-reload-failed", "PgBouncer answers a reload with an error";
    PgbouncerLogin, "pgbouncer-login", "whether a login through PgBouncer gets in, and PostgreSQL sees the published certificate (`pgbouncer.login_role`)";
    PgbouncerShowsOther, "pgbouncer-shows-other", "PgBouncer shows PostgreSQL another certificate than the published one, or none";
    PgbouncerAuthoritiesUnproven, "pgbouncer-authorities-unproven", "no handshake shows which authorities PgBouncer trusts";
    // Patroni.
    PatroniOpen, "patroni-open", "no password protects Patroni's REST API, which can run programs";
    PatroniNotRunning, "patroni-not-running", "no process listens at the address of Patroni's REST API";
    PatroniSilent, "patroni-silent", "Patroni's REST API accepts connections, but does not answer: another reload would hang Patroni";
    PatroniWaits, "patroni-waits", "Patroni is not asked to reload before PostgreSQL is proven to serve the set";
    PatroniUnanswered, "patroni-unanswered", "a request to Patroni's REST API failed";
    PatroniAuthentication, "patroni-authentication", "Patroni's REST API demands a name and a password, and did not accept those that pgsvid sent, if any";
    PatroniUntrusted, "patroni-untrusted", "the password for Patroni's REST API was not sent, because its certificate is not trusted";
    PatroniDenied, "patroni-denied", "Patroni's REST API denies access to pgsvid";
    PatroniRefusesCertificate, "patroni-refuses-certificate", "Patroni's REST API does not trust the published certificate, so pgsvid cannot ask it";
    PatroniPasswordFile, "patroni-password-file", "the password for Patroni's REST API cannot be read";
    NotPatroni, "not-patroni", "the server at Patroni's address gives an answer that is not Patroni's";
    PatroniAuthoritiesPending, "patroni-authorities-pending", "Patroni's REST API may not have loaded changed authorities before the next certificate";
    PatroniFilesMix, "patroni-files-mix", "Patroni may read a certificate and a key of different sets, which ends its REST API";
    PatroniLoopWait, "patroni-loop-wait", "whether pgsvid waits long enough for Patroni's next loop";
    PatroniOwnsFile, "patroni-owns-file", "which of PostgreSQL's files Patroni overwrites";
    PatroniUnwatched, "patroni-unwatched", "Patroni manages PostgreSQL, and no `[patroni]` is configured";
    // Kubernetes.
    KubernetesServer, "kubernetes-server", "the API server answers, and which user pgsvid is there";
    KubernetesUnreachable, "kubernetes-unreachable", "the API server cannot be reached, or does not answer in time";
    KubernetesNameUnresolved, "kubernetes-name-unresolved", "the API server's name could not be looked up";
    KubernetesUntrusted, "kubernetes-untrusted", "no certificate authority of `kubernetes.ca_file` has signed the API server's certificate, or the server has another name";
    KubernetesFileUnreadable, "kubernetes-file-unreadable", "the token or the certificate authorities for the API server cannot be read";
    KubernetesUnauthorized, "kubernetes-unauthorized", "the API server does not accept the token";
    KubernetesFailing, "kubernetes-failing", "the API server answers with an error of its own, or is overloaded";
    KubernetesAnswerUnusable, "kubernetes-answer-unusable", "the answer is not a Kubernetes API answer, or is longer than pgsvid reads";
    SecretAccess, "secret-access", "whether pgsvid may read, apply and watch a Secret";
    SecretState, "secret-state", "whether a Secret has the fields that pgsvid writes";
    SecretForbidden, "secret-forbidden", "RBAC does not let pgsvid read, apply, watch or create a Secret";
    SecretMissing, "secret-missing", "a Secret that has to exist does not";
    SecretNamespaceMissing, "secret-namespace-missing", "the namespace of a Secret does not exist";
    SecretOwnedByAnother, "secret-owned-by-another", "another manager applies fields of a Secret that pgsvid writes";
    SecretImmutable, "secret-immutable", "a Secret is immutable, so its fields can never be changed";
    SecretTooLarge, "secret-too-large", "a Secret would have more than 1 MiB";
    SecretRefused, "secret-refused", "the API server refuses a Secret for another reason, such as an admission policy or a quota";
    SecretContested, "secret-contested", "another writer keeps changing the fields of a Secret";
    SecretNotKept, "secret-not-kept", "a Secret is not up to date, and the replica that holds the Lease does not write it";
    SecretAwaitsAuthorities, "secret-awaits-authorities", "a Secret gets no newer certificate until the Secrets with its authorities could be written";
    SecretType, "secret-type", "a Secret exists with another type than the configured one";
    SecretUnwatched, "secret-unwatched", "changes of a Secret are noticed late, because the API server does not keep a watch open";
    SecretFieldUnavailable, "secret-field-unavailable", "a field of a Secret cannot be made, because its password file cannot be used";
    LeaseUnusable, "lease-unusable", "the Lease by which replicas take turns cannot be read or written";
    // Who is let in.
    AccessRules, "access-rules", "`pg_hba.conf` and `pg_ident.conf`: TLS clients need a certificate";
    AccessFilesUnread, "access-files-unread", "`pg_hba.conf` and `pg_ident.conf` cannot be read";
    AccessFilesLoaded, "access-files-loaded", "whether PostgreSQL has loaded `pg_hba.conf` and `pg_ident.conf` as they are on disk";
    AccessFileInForce, "access-file-in-force", "whether pgsvid judges the file that PostgreSQL uses";
    AccessFileRestart, "access-file-after-restart", "PostgreSQL uses another `pg_hba.conf` or `pg_ident.conf` after its next restart";
    HbaLineWrong, "hba-line-wrong", "PostgreSQL objects to a line of `pg_hba.conf` or `pg_ident.conf`";
    HbaLineUnclear, "hba-line-unclear", "a line of `pg_hba.conf` or `pg_ident.conf` cannot be judged";
    HbaNulByte, "hba-nul-byte", "a line of `pg_hba.conf` or `pg_ident.conf` has a NUL byte";
    HbaUnreadableForServer, "hba-unreadable-for-server", "PostgreSQL's user cannot read `pg_hba.conf`, `pg_ident.conf`, or a file that they name";
    HbaReadOtherwise, "hba-read-otherwise", "PostgreSQL reads `pg_hba.conf` or `pg_ident.conf` in another way than pgsvid";
    HbaCertificateLineMissing, "hba-certificate-line-missing", "`pg_hba.conf` has no line that lets clients in by their certificate";
    HbaAnyRole, "hba-any-role", "a line of `pg_hba.conf` lets clients log in as any role that they name, for example by `trust`";
    HbaWithoutCertificate, "hba-without-certificate", "a line of `pg_hba.conf` lets TLS clients in without a certificate";
    HbaPasswordWithoutTls, "hba-password-without-tls", "a line of `pg_hba.conf` may ask for a password without TLS";
    HbaLineNeverReached, "hba-line-never-reached", "a line of `pg_hba.conf` is never reached: an earlier one matches all that it matches";
    HbaDnWithoutMap, "hba-dn-without-map", "a line of `pg_hba.conf` says `clientname=DN` and has no map";
    HbaClientnameHidden, "hba-clientname-hidden", "PostgreSQL's view may hide `clientname=DN`";
    OthersOverSocket, "others-over-socket", "a line for the Unix socket lets users of the machine log in as a role of `[[roles]]` or a superuser, or replicate";
    IdentUnread, "ident-unread", "`pg_ident.conf` cannot be read";
    IdentMapMissing, "ident-map-missing", "`pg_hba.conf` names a map that has no line in `pg_ident.conf`";
    IdentMapAdmitsAll, "ident-map-admits-all", "a line of `pg_ident.conf` admits every workload or user as a role";
    IdentExpressionLoose, "ident-expression-loose", "a regular expression of `pg_ident.conf` matches other names too";
    IdentExpressionBroken, "ident-expression-broken", "PostgreSQL cannot compile a regular expression of `pg_ident.conf`";
    IdentExpressionUndetermined, "ident-expression-undetermined", "pgsvid cannot determine which names a regular expression of `pg_ident.conf` admits";
    IdentExpressionNotTested, "ident-expression-not-tested", "pgsvid could not test which names a regular expression of `pg_ident.conf` matches";
    SuperuserOverSocket, "superuser-over-socket", "whether pgsvid's user, or every user of the machine, may log in over the socket as a superuser";
    SuperuserByCertificate, "superuser-by-certificate", "whether a workload may log in by its certificate as a superuser";
    Roles, "roles", "whether PostgreSQL's files agree with `[[roles]]`";
    RolesIdentLineExtra, "roles-ident-line-extra", "a line of the map in `pg_ident.conf` lets a workload log in as a role that `[[roles]]` does not give it";
    RolesHbaLineMissing, "roles-hba-line-missing", "no line of `pg_hba.conf` uses the map for a role of `[[roles]]`";
    RolesIdentLineMissing, "roles-ident-line-missing", "`pg_ident.conf` lacks lines of `[[roles]]`";
    RolesLineBelow, "roles-line-below", "a line below the one that uses the map lets a certificate log in as a role of `[[roles]]` in another way";
    RolesLineAbove, "roles-line-above", "a line above the one that uses the map decides about a role of `[[roles]]`";
    RoleWithoutLogin, "role-without-login", "a role of `[[roles]]`, or of a client, may not log in";
    RoleMissing, "role-missing", "a role of `[[roles]]`, or of a client, does not exist";
    // Clients.
    ClientLogin, "client-login", "a login as a client, with the published certificate";
    LoginRefused, "login-refused", "PostgreSQL refuses the login, and the deciding line is not known";
    LoginUndecided, "login-undecided", "PostgreSQL refuses the login, and pgsvid cannot judge all lines of its files";
    LoginLineMissing, "login-line-missing", "no line of `pg_hba.conf` matches the login";
    LoginOtherLine, "login-other-line", "the line that decides about the login does not have the method cert";
    LoginNameMissing, "login-name-missing", "`pg_hba.conf` asks for the CN, and the certificate has none";
    LoginNameDiffers, "login-name-differs", "the certificate's name is not the role's, and there is no map";
    LoginMapLineMissing, "login-map-line-missing", "the map does not let the certificate's name log in as the role";
    LoginFilesNotLoaded, "login-files-not-loaded", "the files let the client in, but PostgreSQL has not loaded them";
    LoginPassword, "login-password", "PostgreSQL asks the role for a password";
    LoginRejected, "login-rejected", "no line of `pg_hba.conf` lets the client in, or a line rejects it or wants a valid client certificate";
    LoginNameRefused, "login-name-refused", "a line of `pg_hba.conf` decides about the client, and the certificate's name does not match the role, or the map has no line that allows it";
    LoginRoleRefused, "login-role-refused", "the client's role does not exist, or may not log in";
    LoginDirectTls, "login-direct-tls", "the server has no direct TLS, which `sslnegotiation=direct` needs";
    LoginNameUnresolved, "login-name-unresolved", "the name of a client's host has no address, or cannot be looked up";
    LoginSessionState, "login-session-state", "no server of the list is in the state that `target_session_attrs` wants";
    LoginCertificateRefused, "login-certificate-refused", "the server refuses the client's certificate in the handshake";
    ServiceFile, "service-file", "the connection service file is complete, strict, and within libpq's limits";
    ServiceFileNotConfigured, "service-file-not-configured", "no connection service file is published";
    ServiceFileUnreadable, "service-file-unreadable", "libpq cannot read the connection service file";
    ServiceSectionMissing, "service-section-missing", "the connection service file lacks the section that PGSERVICE names";
    ServiceLineTooLong, "service-line-too-long", "a line of the connection service file is longer than libpq reads";
    ServiceSyntax, "service-syntax", "libpq does not understand a line of the connection service file";
    ServiceKeywordNew, "service-keyword-new", "older versions of libpq do not know a keyword of the connection service file";
    ServiceKeywordMissing, "service-keyword-missing", "the connection service file does not set sslcert, sslkey or sslrootcert";
    ServicePathRelative, "service-path-relative", "the connection service file names a relative path";
    ServiceAuthorities, "service-authorities", "the connection service file names other authorities than the published ones";
    ServiceDrivers, "service-drivers", "which drivers can use a section of the connection service file";
    PgjdbcPem, "pgjdbc-pem", "older versions of pgjdbc do not read a key in PEM, and newer ones only with an option if it is one of an elliptic curve";
    PgjdbcRefuses, "pgjdbc-refuses", "a name, an alias or a keyword keeps pgjdbc from using a key, a key store or a section";
    ServicePathMissing, "service-path-missing", "the connection service file names a file that cannot be found";
    ServiceValue, "service-value", "libpq refuses a value of the service, or of a variable";
    ServiceHosts, "service-hosts", "libpq cannot pair the hosts, addresses and ports of the service";
    ServiceSocket, "service-socket", "the service leads to a Unix socket, which has no TLS";
    ServiceHostName, "service-host-name", "no server certificate can have the host of the service as a name";
    ServiceCertificateUnused, "service-certificate-unused", "a value of the service keeps libpq from showing a certificate";
    ServiceMethod, "service-method", "a value of the service makes libpq refuse a login by certificate alone";
    ClientRevocationList, "client-revocation-list", "libpq checks revocation lists, but has none of an authority in the chain";
    PgserviceUnset, "pgservice-unset", "PGSERVICEFILE is set, but PGSERVICE is not";
    SslmodeNotStrict, "sslmode-not-strict", "with this sslmode libpq may connect without TLS and not say so";
    SslmodeServerUnproven, "sslmode-server-unproven", "this sslmode does not prove which server answers";
    SslmodeUnknown, "sslmode-unknown", "libpq has no such sslmode";
    SslrootcertSystem, "sslrootcert-system", "`sslrootcert=system` does not know the trust domain's authority";
    ClientKeyMode, "client-key-mode", "libpq refuses the private key for its mode";
    // Files given to inspect.
    Store, "store", "no password was given for a PKCS#12, so pgsvid did not check it, or did not read what is encrypted";
    StoreUntrusted, "store-untrusted", "a PKCS#12 without a key holds certificates that Java does not trust";
    FileUnreadable, "file-unreadable", "pgsvid cannot read a file, or a part of it";
    InspectionLimited, "inspection-limited", "there are more leaves than pgsvid judges";
    CertificateValidity, "certificate-validity", "whether a certificate is valid now";
    CertificateChain, "certificate-chain", "whether an authority has signed the leaf";
    IntermediateExpired, "intermediate-expired", "an intermediate certificate has expired";
    AuthorityValidity, "authority-validity", "an authority has expired, or is not valid yet";
    LeafNotFirst, "leaf-not-first", "the leaf is not the first certificate of its file";
    SvidProfile, "svid-profile", "whether the leaf is an X.509-SVID";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_remedy_without_its_command_is_the_words_around_it() {
        let found = || Finding::failure(Code::SslOff, "ssl is off");
        for (found, wanted) in [
            (found(), None),
            (found().fix("start it"), Some("start it")),
            (found().command("df -h"), None),
            (found().fix("make room").command("df -h"), Some("make room")),
            (found().fix("first: df -h; then wait").command("df -h"), Some("first; then wait")),
        ] {
            assert_eq!(found.advice().as_deref(), wanted, "{found:?}");
        }
    }

    #[test]
    fn names_are_unique_and_of_one_form_and_each_has_its_sentence() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let name = code.name();
            assert!(seen.insert(name), "{name} comes twice");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(plain) && name.len() <= 34, "{name}");
            let says = code.meaning();
            assert!(
                !says.is_empty() && !says.ends_with('.') && !says.contains('|'),
                "{name}: {says}"
            );
        }
    }
}
