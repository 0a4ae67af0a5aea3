//! What keeps pgjdbc from using a section of a service file, or a file that it names.

use std::path::Path;

use crate::companions::service_file;
use crate::doctor::finding::{Code, Finding};
use crate::publish::{Content, FileSpec};

/// Keywords of libpq that pgjdbc knows, too: the names of its properties (`PGProperty`), with `host`, `port` and `dbname` (the same from
/// 42.5.5 to 42.7.14).
const KNOWN: [&str; 13] = [
    "dbname",
    "gsslib",
    "host",
    "options",
    "password",
    "port",
    "replication",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslrootcert",
    "user",
];

/// The finding if the section has a keyword that pgjdbc does not know.
pub(super) fn unknown_keywords(service: &service_file::Settings) -> Option<Finding> {
    let keywords = service.options.keys().map(String::as_str);
    let unknown: Vec<&str> = keywords.filter(|keyword| !KNOWN.contains(keyword)).collect();
    if unknown.is_empty() {
        return None;
    }
    let (section, listed) = (&service.name, unknown.join(", "));
    let text = format!(
        "[{section}] has keywords that pgjdbc does not know, so it uses nothing of the section: {listed}"
    );
    let fix = "leave them out of files.service.options, or give libpq a section of its own; what pgjdbc has instead belongs into the URL, such as connectTimeout";
    Some(Finding::warning(Code::PgjdbcRefuses, text).fix(fix).about(section.as_str()))
}

/// The finding if pgjdbc reads a file in another format, because of its name.
pub(super) fn misnamed(file: &FileSpec) -> Option<Finding> {
    let name = &file.name;
    let (taken_for, better) = match &file.content {
        Content::KeyStore { .. } if !has_extension(name, &["p12", "pfx"]) => {
            ("a key in PEM or DER", "svid.p12")
        }
        Content::KeyDer if has_extension(name, &["p12", "pfx"]) => ("PKCS#12", "svid_key.pk8"),
        // Up to 42.7.8 `.pem` was DER, and from 42.7.13 on `.key` may be either.
        Content::KeyDer if has_extension(name, &["pem", "key"]) => {
            ("PEM, in some versions from 42.7.9 on", "svid_key.pk8")
        }
        _ => return None,
    };
    let text =
        format!("pgjdbc derives the format from the file's name, and reads {name} as {taken_for}");
    let fix = format!("give it another name in files.extra.name, such as {better}");
    Some(Finding::warning(Code::PgjdbcRefuses, text).fix(fix))
}

/// The first version of pgjdbc that reads a key in PEM from a file of this name. By the name it looks for PEM from 42.7.9 on, and in the
/// file itself from 42.7.13 on. `None` if it takes the file for PKCS#12.
pub(super) fn reads_pem_from(name: &str) -> Option<&'static str> {
    if has_extension(name, &["p12", "pfx"]) {
        return None;
    }
    Some(if has_extension(name, &["pem"]) { "42.7.9" } else { "42.7.13" })
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    let extension = Path::new(name).extension().and_then(|it| it.to_str()).unwrap_or_default();
    extensions.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::companions::parameters::Value;

    #[test]
    fn a_section_for_pgjdbc_has_only_keywords_that_it_knows() {
        let found = |keywords: &[&str]| {
            let options =
                keywords.iter().map(|it| ((*it).to_owned(), String::from(Value::Number(1))));
            let [file, name, private_key] = ["f", "db", "svid_key.pk8"].map(str::to_owned);
            let service =
                service_file::Settings { file, name, private_key, options: options.collect() };
            unknown_keywords(&service).map(|found| found.text)
        };
        assert_eq!(found(&["host", "port", "dbname", "user", "sslmode"]), None);
        let both = found(&["connect_timeout", "host", "hostaddr"]).unwrap();
        assert!(both.ends_with(": connect_timeout, hostaddr"), "{both}");
    }

    #[test]
    fn a_key_in_pem_is_read_from_different_versions_on_by_its_name() {
        for (name, version) in [
            ("svid_key.pem", Some("42.7.9")),
            ("svid.key", Some("42.7.13")),
            ("svid_key", Some("42.7.13")),
            ("svid_key.P12", None),
        ] {
            assert_eq!(reads_pem_from(name), version, "{name}");
        }
    }
}
