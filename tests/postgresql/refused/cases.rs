//! The table: the fault in the files, PostgreSQL's log message, and pgsvid's findings.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use dev_agent::KeyType;
use test_support::openssl;

use crate::refused::server::What::{self, Bundle, Certificate, Key};
use crate::refused::server::{Copy, truncated};

/// The copy of one file, otherwise good, has one defect.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) of: What,
    /// Makes the copy.
    pub(crate) defect: fn(&Copy<'_>),
    /// What PostgreSQL logs: the proof that it refused for this reason.
    pub(crate) log: &'static str,
    /// What pgsvid says of the cause, besides the setting; `{path}`, `{uid}`, `{certificate}` and `{key}` stand for
    /// the copy, PostgreSQL's uid and the published files.
    pub(crate) cause: &'static str,
    pub(crate) fix: &'static str,
}

const NAME_THE_PUBLISHED: &str = "to the published file, then reload";
const BOTH: &str = "let ssl_cert_file and ssl_key_file both name the published files, then reload";
const PROTECTED: &str = "has group or world access";

pub(crate) const PAIRS: &[Case] = &[
    Case {
        name: "the old key with the new certificate",
        of: Key,
        defect: |copy| copy.write(copy.old.key_pem(), 0o600),
        log: "key values mismatch",
        cause: "the key in {path} does not belong to the certificate in {certificate}",
        fix: BOTH,
    },
    Case {
        name: "the old certificate with the new key",
        of: Certificate,
        defect: |copy| copy.write(copy.old.chain_pem(), 0o644),
        log: "key values mismatch",
        cause: "the key in {key} does not belong to the certificate in {path}",
        fix: BOTH,
    },
    Case {
        name: "an RSA certificate with an EC key",
        of: Certificate,
        defect: |copy| copy.write(copy.of_type(KeyType::Rsa2048).chain_pem(), 0o644),
        log: "check of private key failed",
        cause: "the key in {key} does not belong to the certificate in {path}",
        fix: BOTH,
    },
];

/// What is wrong with them lies in files that a pgsvid in its sandbox cannot read.
pub(crate) const UNSEEN: &[Case] = &[
    Case {
        name: "the old key with the new certificate",
        of: Key,
        defect: |copy| copy.write(copy.old.key_pem(), 0o600),
        log: "key values mismatch",
        cause: "pgsvid's sandbox does not let it read {path}",
        fix: "pgsvid check sees more, because it has no sandbox",
    },
    Case {
        name: "an empty certificate",
        of: Certificate,
        defect: |copy| copy.write("", 0o644),
        log: "could not load server certificate file",
        cause: "pgsvid's sandbox does not let it read {path}",
        fix: "pgsvid check sees more, because it has no sandbox",
    },
];

pub(crate) const ABSENT: &[Case] = &[
    Case {
        name: "no certificate",
        of: Certificate,
        defect: |_| {},
        log: "could not load server certificate file",
        cause: "{path} (ssl_cert_file) does not exist, or is a link to nothing",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "no key",
        of: Key,
        defect: |_| {},
        log: "could not access private key file",
        cause: "{path} (ssl_key_file) does not exist, or is a link to nothing",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "no bundle",
        of: Bundle,
        defect: |_| {},
        log: "could not load root certificate file",
        cause: "{path} (ssl_ca_file) does not exist, or is a link to nothing",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a dangling ..data",
        of: Key,
        defect: |copy| {
            symlink("..v1", copy.directory().join("..data")).unwrap();
            symlink("..data/svid_key.pem", &copy.path).unwrap();
        },
        log: "No such file or directory",
        cause: "{path} (ssl_key_file) does not exist, or is a link to nothing",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "no directory",
        of: Certificate,
        defect: |copy| fs::remove_dir(copy.directory()).unwrap(),
        log: "No such file or directory",
        cause: "{path} (ssl_cert_file) does not exist, or is a link to nothing",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a certificate that is a directory",
        of: Certificate,
        defect: |copy| fs::create_dir(&copy.path).unwrap(),
        log: "could not load server certificate file",
        cause: "{path} (ssl_cert_file) is not a regular file",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a key that is a directory",
        of: Key,
        defect: |copy| fs::create_dir(&copy.path).unwrap(),
        log: "is not a regular file",
        cause: "{path} (ssl_key_file) is not a regular file",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a key that is a FIFO",
        of: Key,
        defect: |copy| {
            rustix::fs::mkfifoat(rustix::fs::CWD, &copy.path, 0o600.into()).unwrap();
        },
        log: "is not a regular file",
        cause: "{path} (ssl_key_file) is not a regular file",
        fix: NAME_THE_PUBLISHED,
    },
];

pub(crate) const PROTECTION: &[Case] = &[
    Case {
        name: "an unreadable certificate",
        of: Certificate,
        defect: |copy| copy.write(copy.good(), 0o000),
        log: "could not load server certificate file",
        cause: "{path} (ssl_cert_file) has mode 0000 and belongs to uid {uid}: PostgreSQL (uid {uid}) cannot read it",
        fix: "setpriv --reuid={uid} chmod 0644 {path}",
    },
    Case {
        name: "an unreadable key",
        of: Key,
        defect: |copy| copy.write(copy.good(), 0o000),
        log: "could not load private key file",
        cause: "{path} has mode 0000: PostgreSQL cannot read it",
        fix: "setpriv --reuid={uid} chmod 0600 {path}",
    },
    Case {
        name: "an unreadable bundle",
        of: Bundle,
        defect: |copy| copy.write(copy.good(), 0o000),
        log: "could not load root certificate file",
        cause: "{path} (ssl_ca_file) has mode 0000 and belongs to uid {uid}: PostgreSQL (uid {uid}) cannot read it",
        fix: "setpriv --reuid={uid} chmod 0644 {path}",
    },
    Case {
        name: "a directory that nobody may enter",
        of: Key,
        defect: |copy| {
            copy.write(copy.good(), 0o600);
            fs::set_permissions(copy.directory(), Permissions::from_mode(0o0)).unwrap();
        },
        log: "Permission denied",
        cause: "{path} (ssl_key_file) lies below a directory that pgsvid may not enter; PostgreSQL can load it only \
                if its own uid may",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "the server's key 0640",
        of: Key,
        defect: |copy| copy.write(copy.good(), 0o640),
        log: PROTECTED,
        cause: "{path} has mode 0640; PostgreSQL accepts a key of uid {uid} with 0600 at most",
        fix: "setpriv --reuid={uid} chmod 0600 {path}",
    },
    Case {
        name: "the server's key 0644",
        of: Key,
        defect: |copy| copy.write(copy.good(), 0o644),
        log: PROTECTED,
        cause: "{path} has mode 0644; PostgreSQL accepts a key of uid {uid} with 0600 at most",
        fix: "setpriv --reuid={uid} chmod 0600 {path}",
    },
];

/// Only root can give files away.
pub(crate) const OWNERS: &[Case] = &[
    Case {
        name: "root's key 0660",
        of: Key,
        defect: |copy| copy.write_as(copy.good(), 0o660, 0),
        log: PROTECTED,
        cause: "{path} has mode 0660; PostgreSQL accepts a key of uid 0 with 0640 at most",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "root's key 0644",
        of: Key,
        defect: |copy| copy.write_as(copy.good(), 0o644, 0),
        log: PROTECTED,
        cause: "{path} has mode 0644; PostgreSQL accepts a key of uid 0 with 0640 at most",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "root's key 0600",
        of: Key,
        defect: |copy| copy.write_as(copy.good(), 0o600, 0),
        log: "Permission denied",
        cause: "{path} belongs to root with mode 0600: PostgreSQL cannot read it",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "the key of a third uid",
        of: Key,
        defect: |copy| copy.write_as(copy.good(), 0o600, 54321),
        log: "must be owned by the database user or root",
        cause: "{path} is owned by uid 54321, PostgreSQL runs as uid {uid}",
        fix: NAME_THE_PUBLISHED,
    },
];

pub(crate) const CONTENT: &[Case] = &[
    Case {
        name: "an empty certificate",
        of: Certificate,
        defect: |copy| copy.write("", 0o644),
        log: "could not load server certificate file",
        cause: "{path} (ssl_cert_file) is empty",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "an empty key",
        of: Key,
        defect: |copy| copy.write("", 0o600),
        log: "could not load private key file",
        cause: "{path} (ssl_key_file) is empty",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "an empty bundle",
        of: Bundle,
        defect: |copy| copy.write("", 0o644),
        log: "no certificate or crl found",
        cause: "{path} (ssl_ca_file) is empty",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a truncated certificate",
        of: Certificate,
        defect: |copy| copy.write(truncated(&copy.good()), 0o644),
        log: "could not load server certificate file",
        cause: "{path} (ssl_cert_file) is cut short or damaged",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a truncated key",
        of: Key,
        defect: |copy| copy.write(truncated(&copy.good()), 0o600),
        log: "could not load private key file",
        cause: "{path} (ssl_key_file) is cut short or damaged",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a truncated bundle",
        of: Bundle,
        defect: |copy| copy.write(truncated(&copy.good()), 0o644),
        log: "could not load root certificate file",
        cause: "{path} (ssl_ca_file) is cut short or damaged",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a bundle whose second certificate is truncated",
        of: Bundle,
        defect: |copy| copy.write(copy.good() + &truncated(&copy.good()), 0o644),
        log: "could not load root certificate file",
        cause: "{path} (ssl_ca_file) is cut short or damaged",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a certificate instead of the key",
        of: Key,
        defect: |copy| copy.write(copy.new.chain_pem(), 0o600),
        log: "could not load private key file",
        cause: "{path} (ssl_key_file) holds no private key of a supported type",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "no PEM",
        of: Certificate,
        defect: |copy| copy.write("hello\n", 0o644),
        log: "could not load server certificate file",
        cause: "{path} (ssl_cert_file) holds no PEM",
        fix: NAME_THE_PUBLISHED,
    },
    Case {
        name: "a key with a passphrase",
        of: Key,
        defect: |copy| {
            let arguments = ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:secret"];
            copy.write(openssl(&arguments, copy.good()), 0o600);
        },
        log: "cannot be reloaded because it requires a passphrase",
        cause: "{path} (ssl_key_file) has a passphrase, but PostgreSQL cannot ask for one during a reload",
        fix: NAME_THE_PUBLISHED,
    },
];
