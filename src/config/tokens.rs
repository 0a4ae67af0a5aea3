//! The files with tokens, and that of the JWT bundle.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::file::{File, JwtBundle, JwtTable};
use super::given::Resolver;
use super::keys::{self, Key};
use super::{Error, rules};
use crate::publish::{Place, SingleFile};
use crate::source;
use crate::tokens::{Bundle, Format, Settings, Token};

/// Most tables `[[jwt]]`.
const MOST: usize = 64;
/// Longest audience, in bytes, and most audiences of a token.
const LONGEST_AUDIENCE: usize = 1024;
const MOST_AUDIENCES: usize = 32;

/// The tokens, if any are configured.
pub(super) fn tokens(
    resolver: &Resolver<'_>,
    file: &File,
    source: &source::Settings,
    place: &Place,
) -> Result<Option<Settings>, Error> {
    if file.jwt.is_empty() && file.jwt_bundle.is_none() {
        return Ok(None);
    }
    let key = if file.jwt.is_empty() { "jwt_bundle" } else { "jwt" };
    let Some(agent) = source.workload_api() else {
        let why = "only an agent gives JWT-SVIDs, and [certificates] names files: leave it out";
        return Err(resolver.in_file(key, why));
    };
    if file.jwt.len() > MOST {
        return Err(resolver.in_file("jwt", format!("there are more than {MOST} [[jwt]] tables")));
    }
    let group = place.directory().and_then(|publish| publish.group);
    let token = |table| token(resolver, table, group);
    let tokens = file.jwt.iter().map(token).collect::<Result<Vec<_>, _>>()?;
    let bundle =
        file.jwt_bundle.as_ref().map(|table| bundle(resolver, table, group)).transpose()?;
    let settings = Settings {
        endpoint: agent.endpoint.clone(),
        hint: agent.selection.hint.clone(),
        spiffe_id: agent.selection.spiffe_id.clone(),
        tokens,
        bundle,
    };
    apart(resolver, &settings, place)?;
    Ok(Some(settings))
}

fn token(resolver: &Resolver<'_>, table: &JwtTable, group: Option<u32>) -> Result<Token, Error> {
    let extra = table.extra_audiences.iter().flatten();
    let mut audience: Vec<String> = Vec::new();
    for (key, given) in [(&keys::JWT_AUDIENCE, &table.audience)]
        .into_iter()
        .chain(extra.map(|given| (&keys::JWT_EXTRA_AUDIENCES, given)))
    {
        if given.is_empty() || given.len() > LONGEST_AUDIENCE || given.chars().any(char::is_control)
        {
            let why = format!(
                "{given:?} is no audience: write 1 to {LONGEST_AUDIENCE} characters, such as the name that the server expects in aud"
            );
            return Err(resolver.in_file(key.name, why));
        }
        if audience.contains(given) {
            return Err(
                resolver.in_file(key.name, format!("{given:?} is there twice: leave one out"))
            );
        }
        audience.push(given.clone());
    }
    if audience.len() > MOST_AUDIENCES {
        let why =
            format!("a token has at most {MOST_AUDIENCES} audiences: write another [[jwt]] table");
        return Err(resolver.in_file(keys::JWT_EXTRA_AUDIENCES.name, why));
    }
    let mode = rules::token_mode(table.mode.as_deref(), group.is_some())
        .map_err(|why| resolver.in_file(keys::JWT_MODE.name, why))?;
    let path = path(resolver, &keys::JWT_FILE, &table.file)?;
    Ok(Token { audience, file: SingleFile { path, mode, group } })
}

fn bundle(resolver: &Resolver<'_>, table: &JwtBundle, group: Option<u32>) -> Result<Bundle, Error> {
    let key = &keys::JWT_BUNDLE_FORMAT;
    let format = match table.format.as_deref().unwrap_or(key.default_text()) {
        "jwks" => Format::Jwks,
        "spiffe-helper" => Format::SpiffeHelper,
        other => {
            let why = format!("{other:?} is neither \"jwks\" nor \"spiffe-helper\"");
            return Err(resolver.in_file(key.name, why));
        }
    };
    let mode = rules::certificate_mode(table.mode.as_deref())
        .map_err(|why| resolver.in_file(keys::JWT_BUNDLE_MODE.name, why))?;
    let path = path(resolver, &keys::JWT_BUNDLE_FILE, &table.file)?;
    Ok(Bundle { file: SingleFile { path, mode, group }, format })
}

fn path(resolver: &Resolver<'_>, key: &'static Key, path: &Path) -> Result<PathBuf, Error> {
    let wrong = |why: String| resolver.in_file(key.name, why);
    rules::absolute(path).map_err(wrong)?;
    // pgsvid's own entries begin with two dots, such as those of generations.
    let is_plain =
        path.components().all(|it| !it.as_os_str().as_encoded_bytes().starts_with(b".."));
    let name = path.file_name().and_then(|name| name.to_str()).filter(|_| is_plain);
    let text = path.to_string_lossy();
    let Some(name) = name.filter(|name| text.ends_with(&format!("/{name}"))) else {
        return Err(wrong(format!(
            "{text:?} is not the path of a file for this; write one in which no name begins with two dots, and without a / at its end"
        )));
    };
    rules::file_name(name).map_err(wrong)?;
    if path.parent() == Some(Path::new("/")) {
        return Err(wrong(format!(
            "{text} is directly in /, and the sandbox lets pgsvid write into the file's directory: use a directory that holds nothing else"
        )));
    }
    Ok(path.to_owned())
}

/// Fails if two files are the same one, or one is a published file or the configuration file.
fn apart(resolver: &Resolver<'_>, settings: &Settings, place: &Place) -> Result<(), Error> {
    let mut taken: Vec<PathBuf> = Vec::new();
    if let Some(publish) = place.directory() {
        taken.extend(publish.files.names().into_iter().map(|name| publish.directory.join(name)));
    }
    let tokens = settings.tokens.iter().map(|it| (&keys::JWT_FILE, &it.file.path));
    let bundle = settings.bundle.iter().map(|it| (&keys::JWT_BUNDLE_FILE, &it.file.path));
    for (key, path) in tokens.chain(bundle) {
        // However often a slash is repeated.
        let path: PathBuf = path.components().collect();
        let wrong = |what| {
            let why = format!("{} {what}: give it another name", path.display());
            Err(resolver.in_file(key.name, why))
        };
        if resolver.file.is_some_and(|file| is_configuration(file, &path)) {
            return wrong("is the configuration file");
        }
        if taken.iter().any(|other| is_same(other, &path)) {
            return wrong("is written for something else already");
        }
        taken.push(path);
    }
    Ok(())
}

/// Whether both paths name the same entry of the same directory: links may lead to one directory on several paths.
fn is_same(one: &Path, other: &Path) -> bool {
    let directory = |path: &Path| std::fs::metadata(path.parent()?).ok().as_ref().map(inode);
    let of_one = || directory(&std::path::absolute(one).ok()?);
    one == other
        || one.file_name() == other.file_name()
            && of_one().is_some_and(|found| directory(other) == Some(found))
}

/// Whether this is the configuration file. A link to it would only be replaced.
fn is_configuration(file: &Path, path: &Path) -> bool {
    let read = std::fs::metadata(file).ok().as_ref().map(inode);
    let written = std::fs::symlink_metadata(path).ok().as_ref().map(inode);
    is_same(file, path) || read.is_some() && read == written
}

/// The device and the inode.
fn inode(found: &std::fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, Flags};
    use super::*;

    fn loaded(toml: &str) -> Result<Config, String> {
        loaded_in(tempfile::tempdir().unwrap().path(), "/svids", toml)
    }

    fn loaded_in(directory: &Path, svids: &str, toml: &str) -> Result<Config, String> {
        let path = directory.join("pgsvid.toml");
        let text = format!(
            "[workload_api]\nendpoint = \"unix:///agent.sock\"\n[files]\ndirectory = \"{svids}\"\n{toml}"
        );
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let flags = Flags { config: Some(path), ..Flags::default() };
        Config::load(&flags, &Environment::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn t09_tokens_and_bundle_are_read_with_their_defaults() {
        let config = loaded(
            "[[jwt]]\naudience = \"a\"\nextra_audiences = [\"b\", \"c\"]\nfile = \"/tokens/one\"\n\
             [[jwt]]\naudience = \"a\"\nfile = \"/svids/two\"\nmode = \"0640\"\n\
             [jwt_bundle]\nfile = \"/tokens/bundle.json\"\n",
        )
        .unwrap();
        let tokens = config.tokens.unwrap();
        assert_eq!(tokens.tokens[0].audience, ["a", "b", "c"]);
        assert_eq!(tokens.tokens[0].file.mode, 0o600);
        assert_eq!(tokens.tokens[1].file.mode, 0o640);
        let bundle = tokens.bundle.unwrap();
        assert_eq!((bundle.format, bundle.file.mode), (Format::Jwks, 0o644));
        assert!(loaded("").unwrap().tokens.is_none());
    }

    #[test]
    fn t09_what_is_wrong_is_named_by_its_key() {
        let jwt = |more: &str| format!("[[jwt]]\naudience = \"a\"\nfile = \"/t/one\"\n{more}");
        let with_file = |file: &str| format!("[[jwt]]\naudience = \"a\"\nfile = \"{file}\"\n");
        for (toml, key) in [
            (jwt("mode = \"0644\""), "jwt.mode"),
            (jwt("mode = \"0660\""), "jwt.mode"),
            (jwt("mode = \"0200\""), "jwt.mode"),
            (jwt("extra_audiences = [\"a\"]"), "jwt.extra_audiences"),
            (jwt("extra_audiences = [\"\"]"), "jwt.extra_audiences"),
            ("[[jwt]]\naudience = \"\"\nfile = \"/t/one\"\n".to_owned(), "jwt.audience"),
            (with_file("one"), "jwt.file"),
            (with_file("/t/"), "jwt.file"),
            (with_file("/t/../one"), "jwt.file"),
            (with_file("/t/..new-one"), "jwt.file"),
            (with_file("/svids/..data/one"), "jwt.file"),
            (with_file("/svids/svid.pem"), "jwt.file"),
            (with_file("/svids//svid_key.pem"), "jwt.file"),
            (jwt(&with_file("/t/one")), "jwt.file"),
            (jwt("[jwt_bundle]\nfile = \"/t/one\"\n"), "jwt_bundle.file"),
            ("[jwt_bundle]\nfile = \"/t/one\"\nformat = \"pem\"\n".to_owned(), "jwt_bundle.format"),
            ("[jwt_bundle]\nfile = \"/t/one\"\nmode = \"0666\"\n".to_owned(), "jwt_bundle.mode"),
        ] {
            let error = loaded(&toml).unwrap_err();
            assert!(
                error.contains(&format!("{key}: ")) || error.contains(&format!("{key} ")),
                "{toml}: {error}"
            );
        }
    }

    #[test]
    fn t09_links_to_the_published_directory_and_the_configuration_file_are_known() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).display().to_string();
        std::fs::create_dir(path("svids")).unwrap();
        std::os::unix::fs::symlink(path("svids"), path("link")).unwrap();
        std::os::unix::fs::symlink(place.path(), path("here")).unwrap();
        let load = |file: &str| {
            let toml = format!("[[jwt]]\naudience = \"a\"\nfile = \"{}\"\n", path(file));
            loaded_in(place.path(), &path("svids"), &toml)
        };
        for taken in ["link/svid.pem", "here/svids/svid.pem", "pgsvid.toml", "here/pgsvid.toml"] {
            let error = load(taken).unwrap_err();
            assert!(error.contains("jwt.file"), "{taken}: {error}");
        }
        load("link/token").unwrap();
        load("svid.pem").unwrap();
    }
}
