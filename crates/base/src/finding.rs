//! What pgsvid finds, and says in the same way wherever it does: a code, how bad it is, why, and what fixes it.
//!
//! Programs and documents go by the code. Sentences may change.

use std::fmt;

use serde::{Serialize, Serializer};

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It could not be looked at, and why.
    Skipped,
    /// It works, and will hurt somebody.
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

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing was found or examined.
    pub code: Code,
    /// How to take it.
    pub severity: Severity,
    /// Which path, setting or state of these it is about, where two findings with this code differ by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What was found: names the object.
    pub text: String,
    /// Why, where the text does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The command, SQL or line that fixes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The command in it, if there is one: ready to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Box<str>>,
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
        }
    }

    /// All is well.
    pub fn ok(code: Code, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Ok, text)
    }

    /// Could not be looked at.
    pub fn skipped(code: Code, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Skipped, text)
    }

    /// Will hurt somebody.
    pub fn warning(code: Code, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, text)
    }

    /// Does not work.
    pub fn failure(code: Code, text: impl Into<String>) -> Self {
        Self::new(code, Severity::Failure, text)
    }

    /// Adds which path or setting it is about.
    #[must_use]
    pub fn about(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Adds why.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into()).filter(|cause| !cause.is_empty());
        self
    }

    /// Adds how to fix it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into()).filter(|fix| !fix.is_empty());
        self
    }

    /// Names the command in the remedy, which stands alone where there is room; it is added if the remedy does not hold it.
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

    /// Why something is wrong: the cause, or the text where that says it.
    #[must_use]
    pub fn why(&self) -> &str {
        self.cause.as_ref().unwrap_or(&self.text)
    }

    /// Takes another finding for the cause, and its remedy for the remedy.
    #[must_use]
    pub fn because_of(mut self, found: Self) -> Self {
        self.cause = Some(found.text);
        self.fix = found.fix;
        self.command = found.command;
        self
    }
}

/// Declares the codes: variant, name, and what it means.
macro_rules! codes {
    ($($variant:ident, $name:literal, $says:literal;)*) => {
        /// What kind of thing was found or examined. The names are stable: documents, alerts and scripts go by them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $says] $variant,)*
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

            /// What it means, in a sentence without a full stop.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self {
                    $(Self::$variant => $says,)*
                }
            }
        }
    };
}

codes! {
    // Configuration and machine.
    Configuration, "configuration", "a setting, as it is understood";
    IdentWithoutPostgresql, "ident-without-postgresql", "`files.ident` is set, and no PostgreSQL takes part that could read the map";
    SocketPathLong, "socket-path-too-long", "the path of a socket is longer than the kernel takes";
    GroupNeedsRoot, "group-needs-root", "`files.group` is set, and pgsvid does not run as root";
    ExtraAuthority, "extra-authority", "an authority of `files.extra_authorities`, whose clients PostgreSQL lets in too";
    ExtraAuthorityLeftOut, "extra-authority-left-out", "OpenSSL could take an authority of `files.extra_authorities` for one of ours, so it is not published";
    ExtraAuthoritiesUnreadable, "extra-authorities-unreadable", "a file of `files.extra_authorities` cannot be used";
    FileExchangeable, "file-exchangeable", "other users of the machine can exchange a file that pgsvid or PostgreSQL reads";
    SandboxOpenToData, "sandbox-open-to-data", "the sandbox lets pgsvid read a directory that holds PostgreSQL's data";
    MountsUnread, "mounts-unread", "the mounts of this machine cannot be read";
    MountSubpath, "mount-subpath", "a published file is a mount of its own (subPath), and never changes";
    MountReadOnly, "mount-read-only", "the published directory is mounted read-only";
    MountNetwork, "mount-network", "the published directory lies on a network file system";
    // Workload API.
    AgentAnswer, "agent-answer", "the agent answers, and what it offers";
    AgentNotListening, "agent-not-listening", "the agent's socket does not exist, or nobody listens there";
    AgentSocketWrong, "agent-socket-wrong", "what stands at the agent's path is no socket";
    AgentSocketForbidden, "agent-socket-forbidden", "pgsvid's user may not use the agent's socket";
    AgentNotGrpc, "agent-not-grpc", "what listens at the agent's address does not speak gRPC, or broke off with something else";
    AgentSilent, "agent-silent", "the agent does not answer in time";
    AgentNotRegistered, "agent-not-registered", "the agent has no registration entry for this process";
    AgentRefuses, "agent-refuses", "the agent refuses the request";
    AgentConnectionFailed, "agent-connection-failed", "the connection to the agent cannot be made, or broke";
    AgentMessageUnreadable, "agent-message-unreadable", "the agent's message cannot be read";
    SvidChoice, "svid-choice", "which of the offered SVIDs is taken, by `svid.spiffe_id` and `svid.hint`";
    // SVID.
    Svid, "svid", "the SVID: key, chain and bundle belong together";
    SvidLifetime, "svid-lifetime", "when the SVID expires, and when its renewal is due";
    SvidExpired, "svid-expired", "the offered SVID has expired";
    SvidNotYetValid, "svid-not-yet-valid", "the offered SVID is not valid yet";
    SvidIdentityUnexpected, "svid-identity-unexpected", "the SVID is not for the configured SPIFFE ID or trust domain";
    SvidIdentityInvalid, "svid-identity-invalid", "the SVID has not exactly one valid SPIFFE ID";
    SvidKeyUnsupported, "svid-key-unsupported", "the SVID's private key is of no supported type";
    SvidKeyMismatch, "svid-key-mismatch", "the SVID's private key does not belong to its leaf";
    SvidNotSigned, "svid-not-signed-by-bundle", "no self-signed authority of the bundle has signed the SVID's chain";
    SvidMalformed, "svid-malformed", "the SVID breaks another rule of the specification";
    BundleTooLarge, "bundle-too-large", "the bundle has more authorities than a TLS handshake has room for";
    SvidDnsName, "svid-dns-name", "the SVID's DNS names and subject; without a DNS name verify-full is impossible";
    SvidSharedSubject, "svid-shared-subject", "the SVID has the subject that all workloads without a DNS name share";
    SvidEd25519, "svid-ed25519", "the SVID is signed with Ed25519, for which libpq has no channel binding";
    AuthorityLeftOut, "authority-left-out", "OpenSSL would take an authority of the agent's bundle for the one that has signed our chain, and refuse it, so it is not published";
    SignatureUnchecked, "signature-unchecked", "a signature in the chain is of an algorithm that OpenSSL knows and pgsvid does not";
    FederatedAuthorities, "federated-authorities", "authorities of other trust domains are published";
    // Published files.
    DirectoryMissing, "directory-missing", "the published directory cannot be opened";
    DirectoryShared, "directory-shared", "others may write to the published directory, or rename it";
    DirectoryOwner, "directory-owner", "the published directory belongs to another user";
    DirectoryReplaceable, "directory-replaceable", "another user can put another directory in the place of the published one";
    DirectoryAcl, "directory-acl", "the published directory has a default access control list";
    DirectoryForeignFile, "directory-foreign-file", "something at one of pgsvid's names could have been put there by others";
    DirectoryObstacle, "directory-obstacle", "something that is not pgsvid's stands where a link has to be";
    DirectoryUnusable, "directory-unusable", "another step on the published directory failed";
    ReadersPathOpen, "readers-path-open", "others can lead readers elsewhere on the path of `files.seen_as`";
    CheckAsRoot, "check-as-root", "check runs as root, and the directory belongs to another user";
    NothingPublished, "nothing-published", "nothing is published yet";
    LinksMissing, "links-missing", "published names do not lead through `..data`";
    PublishedSet, "published-set", "the published files are one set";
    PublishedNewest, "published-set-newest", "whether the published set is the agent's newest SVID";
    PublishedIdentity, "published-identity-differs", "the published set is for another SPIFFE ID than the agent gives";
    PublishedAuthorities, "published-authorities-differ", "the agent's bundle has other authorities than the published one";
    // PostgreSQL's TLS files.
    TlsFilesReadable, "tls-files-readable", "whether PostgreSQL may read the published files, and takes the key's owner and mode";
    TlsFilesWithheld, "tls-files-withheld", "the contents of files that PostgreSQL's settings name cannot be seen from pgsvid's sandbox";
    TlsFileMissing, "tls-file-missing", "a file that PostgreSQL's settings name does not exist";
    TlsFileOutOfReach, "tls-file-out-of-reach", "a file that PostgreSQL's settings name lies below a directory that pgsvid may not enter";
    TlsFileNotRegular, "tls-file-not-regular", "a file that PostgreSQL's settings name is not a regular file";
    TlsFileEmpty, "tls-file-empty", "a file that PostgreSQL's settings name is empty";
    TlsFileNoPem, "tls-file-no-pem", "a file that PostgreSQL's settings name holds no PEM";
    TlsFileDamaged, "tls-file-damaged", "a file that PostgreSQL's settings name is cut short or damaged";
    CertificateMissing, "certificate-missing", "a file that should hold certificates holds none";
    CertificateUnreadable, "certificate-unreadable", "PostgreSQL may not read a file of certificates";
    KeyOwnerRefused, "key-owner-refused", "the private key belongs to a user whose keys PostgreSQL refuses";
    KeyModeRefused, "key-mode-refused", "the private key's mode is wider than PostgreSQL takes";
    KeyUnreadable, "key-unreadable", "PostgreSQL may not read the private key";
    KeyPassphrase, "key-passphrase", "the private key has a passphrase";
    KeyUnsupported, "key-unsupported", "the file of the private key holds no key of a supported type";
    KeyPair, "key-pair", "whether private key and certificate belong together";
    CrlHoldsCertificate, "crl-holds-certificate", "a certificate stands where revocation lists should be, and counts as an authority";
    // PostgreSQL over SQL.
    PostgresqlNotRunning, "postgresql-not-running", "nobody listens on PostgreSQL's socket";
    PostgresqlStarting, "postgresql-starting", "PostgreSQL starts, recovers or shuts down";
    PostgresqlSilent, "postgresql-silent", "PostgreSQL does not answer in time";
    SocketForbidden, "socket-forbidden", "pgsvid's user may not use PostgreSQL's socket";
    SocketOfOtherUser, "socket-of-other-user", "a process of another user than PostgreSQL's listens on the socket";
    SocketOfOtherServer, "socket-of-other-server", "the socket is that of a server with another port";
    NotPostgresql, "not-postgresql", "what answers is no PostgreSQL";
    SessionLost, "session-lost", "the connection to PostgreSQL ended before the answer came";
    SessionRefused, "session-refused", "PostgreSQL refused the session or a statement, for a reason that has no code of its own";
    ConnectionSlots, "connection-slots", "no connection slot is free, of all or of the role's CONNECTION LIMIT";
    RoleLoginRefused, "role-login-refused", "the role is missing, may not log in, or is not the one that pgsvid's user may be";
    RolePasswordRefused, "role-password-refused", "the role's password is wrong, or there is none";
    LoginMethodUnsupported, "login-method-unsupported", "PostgreSQL asks for a login that pgsvid is not configured for";
    PasswordFileUnreadable, "password-file-unreadable", "the file of `postgres.password_file` cannot be read";
    ScramIterations, "scram-iterations", "the role's password is stored with more SCRAM iterations than pgsvid makes";
    DatabaseMissing, "database-missing", "the database does not exist";
    ConnectPrivilege, "connect-privilege", "the role may not connect to the database";
    ReloadPrivilege, "reload-privilege", "whether the role may call `pg_reload_conf()`";
    OwnRoleSuperuser, "own-role-superuser", "the role that pgsvid logs in as can make itself a superuser";
    SslSettings, "ssl-settings", "whether PostgreSQL's settings lead to the published files";
    SslOff, "ssl-off", "the setting ssl is off";
    SslSettingElsewhere, "ssl-setting-elsewhere", "`ssl_cert_file`, `ssl_key_file` or `ssl_ca_file` names another file";
    SslSettingEmpty, "ssl-setting-empty", "`ssl_cert_file`, `ssl_key_file` or `ssl_ca_file` is empty";
    SslMinProtocolVersion, "ssl-min-protocol-version", "PostgreSQL takes old protocols";
    SslSettingRefused, "ssl-setting-refused", "another setting of TLS keeps PostgreSQL from loading the files, or from starting";
    SslSettingSuspect, "ssl-setting-suspect", "PostgreSQL refuses files that look right, and other settings of TLS are not at their defaults";
    SslSettingUnknown, "ssl-setting-unknown", "whether PostgreSQL takes another setting of TLS cannot be told";
    SslReloadRefused, "ssl-reload-refused", "by its log PostgreSQL refused what it should have loaded for TLS at its last reload";
    ClientCertificatesRefused, "client-certificates-refused", "PostgreSQL refuses the published certificate from a client: its revocation lists do not suit the authority";
    SslSni, "ssl-sni", "`ssl_sni` is on, and other files are served than the three settings say";
    ReservedConnections, "reserved-connections", "no connection slot is reserved for pgsvid";
    PostgresqlConfError, "postgresql-conf-error", "PostgreSQL cannot load its configuration";
    PostgresqlConfNotLoaded, "postgresql-conf-not-loaded", "`postgresql.conf` changed after PostgreSQL last loaded it";
    ListenAddressesUnknown, "listen-addresses-unknown", "PostgreSQL could not be asked where it listens";
    // PostgreSQL over TLS.
    VerdictCurrent, "verdict-current", "the published certificate is served";
    VerdictUnverifiable, "verdict-unverifiable", "what PostgreSQL serves cannot be seen";
    VerdictUnreachable, "verdict-unreachable", "nobody answers where PostgreSQL should listen";
    VerdictPlaintext, "verdict-plaintext", "PostgreSQL has TLS turned off";
    VerdictExpired, "verdict-expired", "a certificate is served that has expired";
    VerdictForeign, "verdict-foreign", "a certificate is served that is not pgsvid's";
    VerdictStillOld, "verdict-still-old", "PostgreSQL refused the new files, and serves the old ones";
    VerdictOldAuthorities, "verdict-old-authorities", "the new certificate is served, and other authorities are trusted";
    PublishedExpired, "published-certificate-expired", "the published certificate is served, and has expired: no newer one has come";
    LoadedAuthorities, "loaded-authorities", "whether PostgreSQL has loaded the published authorities, as far as a handshake shows it";
    ServedValidity, "served-certificate-validity", "whether the served certificate is valid now";
    ServedChain, "served-certificate-chain", "whether an authority of the bundle vouches for the served certificate";
    ServedName, "served-certificate-name", "whether sslmode=verify-full takes the served certificate for the host";
    ServerUnreachable, "server-unreachable", "nobody answers at the server's address";
    ServerTlsOff, "server-tls-off", "the server has TLS turned off";
    ServerUntrusted, "server-untrusted", "a client does not trust the server, for a reason that has no code of its own";
    ClientCertificatesUnasked, "client-certificates-not-requested", "the server asks clients for no certificate";
    // Who is let in.
    AccessRules, "access-rules", "`pg_hba.conf` and `pg_ident.conf`: TLS clients need a certificate";
    AccessFilesUnread, "access-files-unread", "`pg_hba.conf` and `pg_ident.conf` cannot be read";
    AccessFilesLoaded, "access-files-loaded", "whether PostgreSQL has loaded `pg_hba.conf` and `pg_ident.conf` as they are";
    AccessFileInForce, "access-file-in-force", "whether the file that is judged is the one that PostgreSQL uses";
    AccessFileRestart, "access-file-after-restart", "PostgreSQL uses another `pg_hba.conf` or `pg_ident.conf` after its next restart";
    HbaLineWrong, "hba-line-wrong", "PostgreSQL objects to a line of `pg_hba.conf` or `pg_ident.conf`";
    HbaLineUnclear, "hba-line-unclear", "a line of `pg_hba.conf` or `pg_ident.conf` cannot be judged";
    HbaNulByte, "hba-nul-byte", "a line of `pg_hba.conf` or `pg_ident.conf` has a NUL byte";
    HbaUnreadableForServer, "hba-unreadable-for-server", "PostgreSQL's user cannot read `pg_hba.conf`, `pg_ident.conf`, or a file that they name";
    HbaReadOtherwise, "hba-read-otherwise", "PostgreSQL reads `pg_hba.conf` or `pg_ident.conf` in another way than pgsvid";
    HbaCertificateLineMissing, "hba-certificate-line-missing", "`pg_hba.conf` has no line that lets clients in by their certificate";
    HbaAnyRole, "hba-any-role", "a line of `pg_hba.conf` lets clients be any role that they name, such as trust";
    HbaWithoutCertificate, "hba-without-certificate", "a line of `pg_hba.conf` lets TLS clients in without a certificate";
    HbaPasswordWithoutTls, "hba-password-without-tls", "a line of `pg_hba.conf` may ask for a password without TLS";
    HbaLineNeverReached, "hba-line-never-reached", "a line of `pg_hba.conf` matches only what an earlier one matches";
    HbaDnWithoutMap, "hba-dn-without-map", "a line of `pg_hba.conf` says `clientname=DN` and has no map";
    HbaClientnameHidden, "hba-clientname-hidden", "PostgreSQL's view may hide `clientname=DN`";
    IdentUnread, "ident-unread", "`pg_ident.conf` cannot be read";
    IdentMapMissing, "ident-map-missing", "`pg_hba.conf` uses a map that has no line in `pg_ident.conf`";
    IdentMapAdmitsAll, "ident-map-admits-all", "a line of `pg_ident.conf` admits every workload or user as a role";
    IdentExpressionLoose, "ident-expression-loose", "a regular expression of `pg_ident.conf` matches other names too";
    IdentExpressionBroken, "ident-expression-broken", "PostgreSQL cannot compile a regular expression of `pg_ident.conf`";
    IdentExpressionUntold, "ident-expression-untold", "whom a regular expression of `pg_ident.conf` admits cannot be told";
    IdentExpressionUntried, "ident-expression-untried", "what a regular expression of `pg_ident.conf` matches could not be tried";
    SuperuserOverSocket, "superuser-over-socket", "whether pgsvid's user may log in over the socket as a superuser";
    SuperuserByCertificate, "superuser-by-certificate", "whether a workload may log in by its certificate as a superuser";
    Roles, "roles", "whether PostgreSQL's files say what `[[roles]]` says";
    RolesIdentLineExtra, "roles-ident-line-extra", "a line of the map in `pg_ident.conf` lets a workload be a role that `[[roles]]` does not give it";
    RolesHbaLineMissing, "roles-hba-line-missing", "no line of `pg_hba.conf` asks the map for a role of `[[roles]]`";
    RolesIdentLineMissing, "roles-ident-line-missing", "`pg_ident.conf` lacks lines of `[[roles]]`";
    RolesLineBelow, "roles-line-below", "a line below the one that asks the map lets a certificate be a role of `[[roles]]` in another way";
    RolesLineAbove, "roles-line-above", "a line above the one that asks the map decides about a role of `[[roles]]`";
    RoleWithoutLogin, "role-without-login", "a role of `[[roles]]` may not log in";
    RoleMissing, "role-missing", "a role of `[[roles]]` does not exist";
    // Clients.
    ClientLogin, "client-login", "a login as a client, with the published certificate";
    LoginRefused, "login-refused", "PostgreSQL refuses the login, and the deciding line is not known";
    LoginUndecided, "login-undecided", "PostgreSQL refuses the login, and not all lines of its files can be judged";
    LoginLineMissing, "login-line-missing", "no line of `pg_hba.conf` matches the login";
    LoginOtherLine, "login-other-line", "another line than one of cert decides about the login";
    LoginNameMissing, "login-name-missing", "`pg_hba.conf` asks for the CN, and the certificate has none";
    LoginNameDiffers, "login-name-differs", "the certificate's name is not the role's, and there is no map";
    LoginMapLineMissing, "login-map-line-missing", "the map does not let the certificate's name be the role";
    LoginFilesNotLoaded, "login-files-not-loaded", "the files let the client in, and PostgreSQL has not read them";
    LoginPassword, "login-password", "the role is asked for a password";
    LoginCertificateRefused, "login-certificate-refused", "the server refuses the client's certificate in the handshake";
    ServiceFile, "service-file", "the connection service file is complete, strict, and within libpq's limits";
    ServiceFileNotConfigured, "service-file-not-configured", "no connection service file is published";
    ServiceFileUnreadable, "service-file-unreadable", "libpq cannot read the connection service file";
    ServiceSectionMissing, "service-section-missing", "the connection service file lacks the section that PGSERVICE names";
    ServiceLineTooLong, "service-line-too-long", "a line of the connection service file is longer than libpq reads";
    ServiceSyntax, "service-syntax", "libpq does not understand a line of the connection service file";
    ServiceKeywordNew, "service-keyword-new", "older versions of libpq do not know a keyword of the connection service file";
    ServiceKeywordMissing, "service-keyword-missing", "the connection service file does not say sslcert, sslkey or sslrootcert";
    ServicePathRelative, "service-path-relative", "the connection service file names a relative path";
    ServicePathMissing, "service-path-missing", "the connection service file names a file that cannot be found";
    ServiceValue, "service-value", "libpq refuses a value of the service, or of a variable";
    ServiceHosts, "service-hosts", "libpq cannot pair the hosts, addresses and ports of the service";
    ServiceSocket, "service-socket", "the service leads to a Unix socket, where there is no TLS";
    ServiceHostName, "service-host-name", "no server certificate has the host of the service as a name";
    ServiceCertificateUnused, "service-certificate-unused", "with a value of the service libpq shows no certificate";
    ServiceMethod, "service-method", "with a value of the service libpq takes no login by a certificate alone";
    ClientRevocationList, "client-revocation-list", "libpq reads revocation lists, and has none of an authority that it needs";
    PgserviceUnset, "pgservice-unset", "PGSERVICEFILE is set, and PGSERVICE is not";
    SslmodeNotStrict, "sslmode-not-strict", "with this sslmode libpq may connect without TLS, in silence";
    SslmodeServerUnproven, "sslmode-server-unproven", "this sslmode does not prove which server answers";
    SslmodeUnknown, "sslmode-unknown", "libpq has no such sslmode";
    SslrootcertSystem, "sslrootcert-system", "`sslrootcert=system` does not know the trust domain's authority";
    ClientKeyMode, "client-key-mode", "libpq refuses the private key for its mode";
    // Files that inspect is given.
    FileUnreadable, "file-unreadable", "a file, or a part of it, cannot be read";
    InspectionLimited, "inspection-limited", "there are more leaves than are judged";
    CertificateValidity, "certificate-validity", "whether a certificate is valid now";
    CertificateChain, "certificate-chain", "whether an authority vouches for the leaf";
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
    fn names_are_unique_and_of_one_form_and_each_has_its_sentence() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let name = code.name();
            assert!(seen.insert(name), "{name} comes twice");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(name.chars().all(plain) && name.len() <= 34, "{name}");
            let says = code.says();
            assert!(
                !says.is_empty() && !says.ends_with('.') && !says.contains('|'),
                "{name}: {says}"
            );
        }
    }
}
