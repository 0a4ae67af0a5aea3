//! Why PostgreSQL refuses files: its own rules, applied in its own order.
//!
//! PostgreSQL: `be-secure-openssl.c` (`be_tls_init`) and `be-secure-common.c` (`check_ssl_key_file_permissions`).

use super::failure;
use crate::survey::{Content, FileFacts, Files, Present, State};
use pgsvid_base::finding::{Code, Finding};
use pgsvid_base::text::argument;

/// The causes that can be seen in the three files; empty if they look right from here.
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
        withheld(seen.iter().filter(|(_, found)| found.is_none()).map(|(facts, _)| *facts));
    let mut findings: Vec<Finding> =
        seen.into_iter().filter_map(|(facts, found)| Some(found?.about(object(facts)))).collect();
    findings.extend(pair(files));
    findings.extend(unseen);
    findings
}

/// What cannot be told: said, so that nobody takes the silence for a clean bill.
fn withheld<'a>(files: impl Iterator<Item = &'a FileFacts>) -> Option<Finding> {
    let is_withheld = |facts: &&FileFacts| {
        matches!(&facts.state, State::Present(Present { content: Content::Withheld, .. }))
    };
    let paths: Vec<String> = files.filter(is_withheld).map(shown).collect();
    let paths = paths.join(", ");
    (!paths.is_empty()).then(|| {
        failure(
            Code::TlsFilesWithheld,
            format!("what is in {paths} cannot be seen from pgsvid's sandbox"),
            "let the settings name the published files, then reload; pgsvid check sees more, \
             being in no sandbox"
                .to_owned(),
        )
        .about(paths)
    })
}

/// What holds for any of the files: it is there, regular, and readable for the server.
fn present<'a>(facts: &'a FileFacts, setting: &str) -> Result<&'a Present, Option<Finding>> {
    let path = shown(facts);
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
            format!("{path} ({setting}) does not exist, or leads to nothing"),
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
    let path = shown(facts);
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
            chmod("0644", facts, present, setting),
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
        _ => return None,
    };
    Some(failure(code, cause, name_the_published(setting)))
}

fn private_key(facts: &FileFacts, server_uid: Option<u32>) -> Option<Finding> {
    let setting = "ssl_key_file";
    let path = shown(facts);
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
            format!("{path} ({setting}) has a passphrase, which a reload cannot ask for"),
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

/// The command that gives a file this mode. Who may write to its directory can have put a link there by the time that root
/// types it, to a file of root's: so it runs as the file's owner, who has no more rights over other files than before.
fn chmod(mode: &str, facts: &FileFacts, present: &Present, setting: &str) -> String {
    let path = argument(shown(facts));
    match present.uid {
        // The way to what is published was judged: nobody else could put a link there.
        0 if facts.published => format!("chmod {mode} {path}"),
        0 => name_the_published(setting),
        owner => format!("setpriv --reuid={owner} chmod {mode} {path}"),
    }
}

/// Another owner is no remedy for a file that may be anybody's: given away as root it might be one of root's by then.
fn name_the_published(setting: &str) -> String {
    format!("let {setting} name the published file, then reload")
}

/// Owned by the server: no bit for group or others. Owned by root: at most 0640. Anybody else: refused.
fn key_owner_and_mode(
    facts: &FileFacts,
    key: &Present,
    server_uid: Option<u32>,
) -> Option<Finding> {
    let server = server_uid?;
    let (path, published, setting) = (shown(facts), facts.published, "ssl_key_file");
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
    let (allowed, limit) = if key.uid == 0 { (0o740, "0640") } else { (0o700, "0600") };
    if key.mode & 0o777 & !allowed != 0 {
        return Some(failure(
            Code::KeyModeRefused,
            format!(
                "{path} has mode {:04o}; PostgreSQL takes a key of uid {} with {limit} at most",
                key.mode, key.uid
            ),
            chmod(limit, facts, key, setting),
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
            chmod(limit, facts, key, setting),
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
                shown(&files.private_key),
                shown(&files.certificate)
            ),
            "let ssl_cert_file and ssl_key_file both name the published files, then reload"
                .to_owned(),
        )
    })
}

/// Whether the mode lets the server read. Its groups are not known here, so a group bit counts.
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

/// What tells a finding about a file from the next: its path, and what may be changed about it.
fn object(facts: &FileFacts) -> String {
    match &facts.state {
        State::Present(Present { uid, mode, .. }) => {
            format!("{} (uid {uid}, mode {mode:04o})", shown(facts))
        }
        _ => shown(facts),
    }
}

fn shown(facts: &FileFacts) -> String {
    match &facts.path {
        Some(path) => path.display().to_string(),
        None => facts.named.clone(),
    }
}
