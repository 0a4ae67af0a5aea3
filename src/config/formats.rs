//! The set in other formats: `[[files.extra]]`.

use std::path::PathBuf;

use super::file::{ExtraFile, File};
use super::given::Resolver;
use super::secret_table::SecretFieldTable;
use super::{Error, keys, rules};
use crate::material::pkcs12;
use crate::publish::Content;

/// The values of `files.extra.content`.
const CONTENTS: [&str; 5] = ["combined", "der-key", "der-certificate", "pkcs12", "truststore"];

/// Each file's name and content, in the order of the configuration.
pub(super) fn formats(
    resolver: &Resolver<'_>,
    file: &File,
) -> Result<Vec<(String, Content)>, Error> {
    file.files.extra.iter().map(|table| format(resolver, table)).collect()
}

fn format(resolver: &Resolver<'_>, table: &ExtraFile) -> Result<(String, Content), Error> {
    let name = rules::file_name(&table.name)
        .map_err(|why| resolver.in_file(keys::FILES_EXTRA_NAME.name, why))?;
    let password_file = password_file(resolver, table)?;
    if table.alias.is_some() && table.content != "pkcs12" {
        let why = format!("{name}: only content = \"pkcs12\" has an alias: leave it out");
        return Err(resolver.in_file(keys::FILES_EXTRA_ALIAS.name, why));
    }
    let content = match (table.content.as_str(), password_file) {
        ("combined", None) => Content::Combined,
        ("der-key", None) => Content::KeyDer,
        ("der-certificate", None) => Content::ChainDer,
        ("pkcs12", Some(password_file)) => {
            Content::KeyStore { password_file, alias: alias(resolver, table)? }
        }
        ("pkcs12", None) => {
            let why = format!(
                "{name} needs a password, because Java finds no key in a store unless the key is encrypted: write one to a file, and name that file \
                 here"
            );
            return Err(resolver.in_file(keys::FILES_EXTRA_PASSWORD_FILE.name, why));
        }
        ("truststore", password_file) => Content::TrustStore { password_file },
        (known, Some(_)) if CONTENTS.contains(&known) => {
            let why = format!(
                "{name}: content = {known:?} is not encrypted: leave the password out, or write content = \"pkcs12\""
            );
            return Err(resolver.in_file(keys::FILES_EXTRA_PASSWORD_FILE.name, why));
        }
        (other, _) => {
            let why = format!("{other:?} is none of {}", CONTENTS.join(", "));
            return Err(resolver.in_file(keys::FILES_EXTRA_CONTENT.name, why));
        }
    };
    Ok((name.to_owned(), content))
}

/// The content of a field of a Secret. Fails with what is wrong.
pub(super) fn field(table: &SecretFieldTable) -> Result<Content, String> {
    let SecretFieldTable { content, password_file, alias, .. } = table;
    if let Some(path) = password_file {
        rules::absolute(path)?;
    }
    if alias.is_some() && content != "pkcs12" {
        return Err("only content = \"pkcs12\" has an alias: leave it out".to_owned());
    }
    Ok(match (content.as_str(), password_file.clone()) {
        ("truststore", password_file) => Content::TrustStore { password_file },
        ("pkcs12", Some(password_file)) => {
            let alias = alias.as_deref().unwrap_or(keys::FILES_EXTRA_ALIAS.default_text());
            pkcs12::check_alias(alias).map_err(|why| why.to_string())?;
            Content::KeyStore { password_file, alias: alias.to_owned() }
        }
        ("pkcs12", None) => {
            return Err("a key store needs a password: name its file as password_file".to_owned());
        }
        (_, Some(_)) => {
            return Err(format!("content = {content:?} is not encrypted: leave the password out"));
        }
        ("chain", None) => Content::Chain,
        ("key", None) => Content::Key,
        ("bundle", None) => Content::Bundle,
        ("combined", None) => Content::Combined,
        ("der-key", None) => Content::KeyDer,
        ("der-certificate", None) => Content::ChainDer,
        (other, None) => {
            let known = ["chain", "key", "bundle"].into_iter().chain(CONTENTS);
            let known: Vec<_> = known.collect();
            return Err(format!("{other:?} is none of {}", known.join(", ")));
        }
    })
}

fn password_file(resolver: &Resolver<'_>, table: &ExtraFile) -> Result<Option<PathBuf>, Error> {
    let Some(path) = &table.password_file else { return Ok(None) };
    rules::absolute(path)
        .map_err(|why| resolver.in_file(keys::FILES_EXTRA_PASSWORD_FILE.name, why))?;
    Ok(Some(path.clone()))
}

fn alias(resolver: &Resolver<'_>, table: &ExtraFile) -> Result<String, Error> {
    let key = &keys::FILES_EXTRA_ALIAS;
    let alias = table.alias.as_deref().unwrap_or(key.default_text());
    pkcs12::check_alias(alias).map_err(|why| resolver.in_file(key.name, why.to_string()))?;
    Ok(alias.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    #[test]
    fn each_content_becomes_a_file_with_the_mode_of_what_it_holds() {
        let text = "[[files.extra]]\nname = 'all.pem'\ncontent = 'combined'\n\
                    [[files.extra]]\nname = 'key.pk8'\ncontent = 'der-key'\n\
                    [[files.extra]]\nname = 'svid.der'\ncontent = 'der-certificate'\n\
                    [[files.extra]]\nname = 'svid.p12'\ncontent = 'pkcs12'\npassword_file = '/run/p'\n\
                    [[files.extra]]\nname = 'trust.p12'\ncontent = 'truststore'\n";
        let files = config(text).unwrap().place.directory().unwrap().files.clone();
        let found: Vec<_> =
            files.others().iter().map(|file| (file.name.as_str(), file.mode)).collect();
        let expected = [
            ("all.pem", 0o600),
            ("key.pk8", 0o600),
            ("svid.der", 0o644),
            ("svid.p12", 0o600),
            ("trust.p12", 0o644),
        ];
        assert_eq!(found, expected);
        let Content::KeyStore { alias, .. } = &files.others()[3].content else {
            panic!("{files:?}")
        };
        // pgjdbc shows the key of no other alias.
        assert_eq!(alias, "user");
        assert_eq!(files.password_files(), [std::path::Path::new("/run/p")]);
    }

    #[test]
    fn e05_what_cannot_be_published_is_refused_with_the_key_that_is_wrong() {
        let file = |text: &str| format!("[[files.extra]]\nname = 'a'\n{text}\n");
        for (text, key) in [
            (file("content = 'jks'"), "files.extra.content"),
            (file("content = 'pkcs12'"), "files.extra.password_file"),
            (file("content = 'combined'\npassword_file = '/a'"), "files.extra.password_file"),
            (file("content = 'pkcs12'\npassword_file = 'a'"), "files.extra.password_file"),
            (file("content = 'der-key'\nalias = 'user'"), "files.extra.alias"),
            (file("content = 'truststore'\nalias = 'user'"), "files.extra.alias"),
            (file("content = 'pkcs12'\npassword_file = '/a'\nalias = ''"), "files.extra.alias"),
            (file("content = 'pkcs12'\npassword_file = '/a'\nalias = 'ä'"), "files.extra.alias"),
            ("[[files.extra]]\nname = 'a/b'\ncontent = 'der-key'".to_owned(), "files.extra.name"),
            (
                "[[files.extra]]\nname = 'svid.pem'\ncontent = 'der-key'".to_owned(),
                "two files have the same name",
            ),
            (
                file("content = 'der-key'") + &file("content = 'combined'"),
                "two files have the same name",
            ),
            (
                file("content = 'der-certificate'")
                    + "[files.service]\nname = 'b'\nprivate_key = 'a'",
                "files.service.private_key",
            ),
        ] {
            let error = config(&text).unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
        }
    }

    #[test]
    fn several_service_files_name_the_key_in_several_formats() {
        let text = "[[files.extra]]\nname = 'key.pk8'\ncontent = 'der-key'\n\
                    [[files.service]]\nname = 'db'\n\
                    [[files.service]]\nname = 'db'\nfile = 'java.conf'\nprivate_key = 'key.pk8'\n";
        let config = config(text).unwrap();
        let keys: Vec<_> =
            config.services.iter().map(|it| (it.file.as_str(), it.private_key.as_str())).collect();
        assert_eq!(keys, [("pg_service.conf", "svid_key.pem"), ("java.conf", "key.pk8")]);
        assert!(config.place.directory().unwrap().keep_until_expiry);
    }
}
