//! Why PostgreSQL refuses files: its own rules, applied in its own order.
//!
//! PostgreSQL: `be-secure-openssl.c` (`be_tls_init`) and `be-secure-common.c` (`check_ssl_key_file_permissions`).

use super::failure;
use crate::survey::{Content, FileFacts, Files, Present, State};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::key_mode::KeyMode;
use pgsvid_base::text::argument;

/// The causes that the three files show; empty if they look right from here.
#[must_use]
pub fn refused_files(files: &Files) -> Vec<Finding> {
    let mut seen = vec![
        (&files.certificate, certificate(&files.certificate, "ssl_cert_file", files.server_uid)),
        (&files.private_key, private_key(&files.private_key, files.server_uid)),
    ];
    let mut authorities = None;
    if files.authorities.state != State::NotSet {
        authorities = certificate(&files.authorities, "ssl_ca_file", files.server_uid);
    }
    seen.push((&files.authorities, authorities));
    let unseen =
        outside_sandbox(seen.iter().filter(|(_, found)| found.is_none()).map(|(facts, _)| *facts));
    let mut findings: Vec<Finding> =
        seen.into_iter().filter_map(|(facts, found)| Some(found?.about(object(facts)))).collect();
    findings.extend(pair(files));
    // Known faults come first. Files that could not be read are reported once these faults are fixed.
    if findings.is_empty() {
        findings.extend(unseen);
    }
    findings
}

/// The finding about files that pgsvid's sandbox does not let it read. It is only reported if there is no other finding:
/// an empty list would mean that all is well.
fn outside_sandbox<'a>(files: impl Iterator<Item = &'a FileFacts>) -> Option<Finding> {
    let is_withheld = |facts: &&FileFacts| {
        matches!(&facts.state, State::Present(Present { content: Content::OutsideSandbox, .. }))
    };
    let paths: Vec<String> = files.filter(is_withheld).map(path_of).collect();
    let paths = paths.join(", ");
    (!paths.is_empty()).then(|| {
        failure(
            Code::TlsFilesOutsideSandbox,
            format!("pgsvid's sandbox does not let it read {paths}"),
            "let the settings name the published files, then reload; pgsvid check sees more, \
             because it has no sandbox"
                .to_owned(),
        )
        .about(paths)
    })
}

/// The owner, mode and content of a file, if the setting is not empty and names a regular file. The error is the finding, or
/// `None` if pgsvid does not know the path on this side. Whether the server can read the file is not checked here.
fn present<'a>(facts: &'a FileFacts, setting: &str) -> Result<&'a Present, Option<Finding>> {
    let path = path_of(facts);
    match &facts.state {
        State::Present(present) => Ok(present),
        State::OutOfSight => Err(None),
        State::NotSet => Err(Some(failure(
            Code::SslSettingEmpty,
            format!("{setting} is empty"),
            format!("set {setting} to the published file, then reload"),
        ))),
        State::Missing => Err(Some(failure(
            Code::TlsFileMissing,
            format!("{path} ({setting}) does not exist, or is a link to nothing"),
            name_the_published(setting),
        ))),
        State::Closed => Err(Some(failure(
            Code::TlsFileOutOfReach,
            format!(
                "{path} ({setting}) lies below a directory that pgsvid may not enter; PostgreSQL can load it only \
                 if its own uid may"
            ),
            name_the_published(setting),
        ))),
        State::NotRegular => Err(Some(failure(
            Code::TlsFileNotRegular,
            format!("{path} ({setting}) is not a regular file"),
            name_the_published(setting),
        ))),
    }
}

fn certificate(facts: &FileFacts, setting: &str, server_uid: Option<u32>) -> Option<Finding> {
    let path = path_of(facts);
    let present = match present(facts, setting) {
        Ok(present) => present,
        Err(finding) => return finding,
    };
    if !readable(present, server_uid) {
        return Some(failure(
            Code::CertificateUnreadable,
            format!(
                "{path} ({setting}) has mode {:04o} and belongs to uid {}: PostgreSQL{} cannot read it",
                present.mode,
                present.uid,
                runs_as(server_uid)
            ),
            chmod("0644", facts, present, server_uid, setting),
        ));
    }
    let (code, cause) = match &present.content {
        Content::Empty => (Code::TlsFileEmpty, format!("{path} ({setting}) is empty")),
        Content::NoPem => (Code::TlsFileNoPem, format!("{path} ({setting}) holds no PEM")),
        Content::Broken => {
            (Code::TlsFileDamaged, format!("{path} ({setting}) is cut short or damaged"))
        }
        Content::Pem { leaf: None, .. } | Content::RevocationLists | Content::Parameters => {
            (Code::CertificateMissing, format!("{path} ({setting}) holds no certificate"))
        }
        Content::Pem { trusted_alone: true, .. } if setting == "ssl_ca_file" => (
            Code::CertificateMissing,
            format!(
                "{path} ({setting}) only holds certificates with OpenSSL's trust settings (BEGIN TRUSTED CERTIFICATE), and from these \
                 alone PostgreSQL loads no authority"
            ),
        ),
        _ => return None,
    };
    Some(failure(code, cause, name_the_published(setting)))
}

fn private_key(facts: &FileFacts, server_uid: Option<u32>) -> Option<Finding> {
    let setting = "ssl_key_file";
    let path = path_of(facts);
    let present = match present(facts, setting) {
        Ok(present) => present,
        Err(finding) => return finding,
    };
    if let Some(finding) = key_owner_and_mode(facts, present, server_uid) {
        return Some(finding);
    }
    let (code, cause) = match &present.content {
        Content::Empty => (Code::TlsFileEmpty, format!("{path} ({setting}) is empty")),
        Content::NoPem => (Code::TlsFileNoPem, format!("{path} ({setting}) holds no PEM")),
        Content::Broken => {
            (Code::TlsFileDamaged, format!("{path} ({setting}) is cut short or damaged"))
        }
        Content::Passphrase => (
            Code::KeyPassphrase,
            format!(
                "{path} ({setting}) has a passphrase, but PostgreSQL cannot ask for one during a reload"
            ),
        ),
        Content::Pem { private_key: None, .. } | Content::RevocationLists | Content::Parameters => {
            (
                Code::KeyUnsupported,
                format!("{path} ({setting}) holds no private key of a supported type"),
            )
        }
        _ => return None,
    };
    Some(failure(code, cause, name_the_published(setting)))
}

/// The command that sets this mode on a file. It runs as the file's owner, because anyone who may write to the directory can
/// put a link to one of root's files there before root runs the command. No command is given for a file that is neither
/// published nor PostgreSQL's: it may be another user's secret, which the author of the setting wants to be opened.
fn chmod(
    mode: &str,
    facts: &FileFacts,
    present: &Present,
    server_uid: Option<u32>,
    setting: &str,
) -> String {
    let path = argument(path_of(facts));
    match present.uid {
        // The path to the published files was checked: nobody else can put a link there.
        0 if facts.published => format!("chmod {mode} {path}"),
        0 => name_the_published(setting),
        owner if facts.published || Some(owner) == server_uid => {
            format!("setpriv --reuid={owner} chmod {mode} {path}")
        }
        _ => name_the_published(setting),
    }
}

/// The remedy for a file that may belong to any user. A command that changes its owner would be dangerous: when root runs it,
/// the path may lead to one of root's files.
fn name_the_published(setting: &str) -> String {
    format!("set {setting} to the published file, then reload")
}

/// A key of the server's user: no permission for group or others. A key of root: at most 0640. A key of anybody else is
/// refused.
fn key_owner_and_mode(
    facts: &FileFacts,
    key: &Present,
    server_uid: Option<u32>,
) -> Option<Finding> {
    let server = server_uid?;
    let (path, published, setting) = (path_of(facts), facts.published, "ssl_key_file");
    if key.uid != server && key.uid != 0 {
        return Some(failure(
            Code::KeyOwnerRefused,
            format!("{path} is owned by uid {}, PostgreSQL runs as uid {server}", key.uid),
            if published {
                format!(
                    "run pgsvid as uid {server} (securityContext.runAsUser, or User= in the unit), or as root \
                     with files.group"
                )
            } else {
                name_the_published(setting)
            },
        ));
    }
    let limit = KeyMode::of(key.uid);
    if !limit.accepts(key.mode) {
        return Some(failure(
            Code::KeyModeRefused,
            format!(
                "{path} has mode {:04o}; PostgreSQL accepts a key of uid {} with {limit} at most",
                key.mode, key.uid
            ),
            chmod(&limit.to_string(), facts, key, server_uid, setting),
        ));
    }
    if key.uid == 0 && server != 0 && key.mode & 0o040 == 0 {
        return Some(failure(
            Code::KeyUnreadable,
            format!("{path} belongs to root with mode {:04o}: PostgreSQL cannot read it", key.mode),
            if published {
                format!(
                    "set files.group to PostgreSQL's group, or run pgsvid as PostgreSQL's uid {server}"
                )
            } else {
                name_the_published(setting)
            },
        ));
    }
    (!readable(key, server_uid)).then(|| {
        failure(
            Code::KeyUnreadable,
            format!("{path} has mode {:04o}: PostgreSQL cannot read it", key.mode),
            chmod(&limit.to_string(), facts, key, server_uid, setting),
        )
    })
}

fn pair(files: &Files) -> Option<Finding> {
    let (State::Present(certificate), State::Present(key)) =
        (&files.certificate.state, &files.private_key.state)
    else {
        return None;
    };
    let (
        Content::Pem { leaf_key: Some(leaf_key), .. },
        Content::Pem { private_key: Some(private_key), .. },
    ) = (&certificate.content, &key.content)
    else {
        return None;
    };
    (leaf_key != private_key).then(|| {
        failure(
            Code::KeyPair,
            format!(
                "the key in {} does not belong to the certificate in {}",
                path_of(&files.private_key),
                path_of(&files.certificate)
            ),
            "let ssl_cert_file and ssl_key_file both name the published files, then reload"
                .to_owned(),
        )
    })
}

/// Whether the mode lets the server read the file. The server's groups are not known here, so a group bit counts.
pub(super) fn readable(present: &Present, server_uid: Option<u32>) -> bool {
    match server_uid {
        None | Some(0) => true,
        Some(uid) if uid == present.uid => present.mode & 0o400 != 0,
        Some(_) => present.mode & 0o044 != 0,
    }
}

fn runs_as(server_uid: Option<u32>) -> String {
    server_uid.map(|uid| format!(" (uid {uid})")).unwrap_or_default()
}

/// Distinguishes findings about a file: its path, and what may change about it.
fn object(facts: &FileFacts) -> String {
    match &facts.state {
        State::Present(Present { uid, mode, .. }) => {
            format!("{} (uid {uid}, mode {mode:04o})", path_of(facts))
        }
        _ => path_of(facts),
    }
}

fn path_of(facts: &FileFacts) -> String {
    match &facts.path {
        Some(path) => path.display().to_string(),
        None => facts.named.clone(),
    }
}
