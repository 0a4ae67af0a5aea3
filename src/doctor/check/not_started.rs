//! A PostgreSQL that cannot start from the files that it reads where another program writes them.

use crate::diagnose;
use crate::doctor::finding::{Code, Finding};
use crate::{sql, survey};

/// The failure if nobody listens on the socket, and PostgreSQL cannot start from the files that it reads.
pub(super) fn finding(
    error: &sql::Error,
    settings: &sql::Settings,
    unusable: Option<&Finding>,
) -> Option<Finding> {
    let prevents_a_start = |it: &&Finding| {
        matches!(
            it.code,
            Code::CertificatesPair
                | Code::CertificatesMissing
                | Code::CertificatesUnreadable
                | Code::CertificatesFormat
        )
    };
    let unusable = unusable.filter(prevents_a_start)?;
    if !matches!(error, sql::Error::NotRunning) {
        return None;
    }
    let Finding { code, text, .. } = diagnose::session(error, settings);
    let remedy = unusable.advice().unwrap_or_default();
    Some(
        Finding::failure(code, text)
            .cause(format!("with ssl = on it cannot start from the files of [certificates]: {}", unusable.text))
            .fix(format!("replace the files, and start PostgreSQL ({remedy}); or, to start it once without TLS"))
            .command(survey::start_without_tls(settings)),
    )
}
