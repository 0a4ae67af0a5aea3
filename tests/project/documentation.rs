//! Proves the documentation: its examples, commands, keys, snippets and links.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use dev_agent::{DevAgent, Entry};
use pgsvid::config::keys::{self, Default, Key};
use test_support::{Account, Cluster, Directory, Program, Psql};

use crate::generated;

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

pub(crate) fn files_with(extension: &str, directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
        if path.is_dir() && !hidden && !path.ends_with("target") {
            found.extend(files_with(extension, &path));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

/// Every page of the repository, with its text.
pub(crate) fn pages() -> Vec<(PathBuf, String)> {
    files_with("md", root()).into_iter().map(|path| (path.clone(), read(path))).collect()
}

/// A fenced block of a page.
pub(crate) struct Block {
    language: String,
    text: String,
}

/// The fenced blocks, and what is outside of them.
pub(crate) fn blocks(markdown: &str) -> (Vec<Block>, String) {
    let mut blocks = Vec::new();
    let mut prose = String::new();
    let mut open: Option<Block> = None;
    for line in markdown.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), text: String::new() });
            }
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => prose.extend([line, "\n"]),
        }
    }
    assert!(open.is_none(), "a block is not closed");
    (blocks, prose)
}

/// The blocks of one language.
pub(crate) fn blocks_in(markdown: &str, language: &str) -> Vec<String> {
    let (blocks, _) = blocks(markdown);
    blocks.into_iter().filter(|block| block.language == language).map(|block| block.text).collect()
}

fn pgsvid<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(PGSVID).env_clear().args(arguments).output().unwrap()
}

#[track_caller]
fn assert_success(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The arguments of every `pgsvid` command line of a page: in blocks, and between backticks in its prose.
pub(crate) fn commands(markdown: &str) -> Vec<Vec<String>> {
    let (blocks, prose) = blocks(markdown);
    let mut lines = Vec::new();
    for Block { language, text } in blocks {
        let text = text.replace("\\\n", " ");
        lines.extend(text.lines().filter_map(|line| match language.as_str() {
            "sh" => Some(line.to_owned()),
            "console" => line.strip_prefix("$ ").map(str::to_owned),
            "ini" => line.strip_prefix("ExecStart=").map(str::to_owned),
            _ => None,
        }));
    }
    lines.extend(prose.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " ")));
    lines.iter().filter_map(|line| arguments(line)).collect()
}

/// The arguments, if the line is a `pgsvid` command.
fn arguments(line: &str) -> Option<Vec<String>> {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next_if(|word| {
        *word == "sudo" || *word == "-u" || (word.contains('=') && !word.starts_with('-'))
    }) {
        if word == "-u" {
            words.next();
        }
    }
    if Path::new(words.next()?).file_name()? != "pgsvid" {
        return None;
    }
    let arguments: Vec<_> = words
        .take_while(|word| {
            !["&", "&&", "|", ">", "2>", "--"].contains(word) && !word.starts_with('#')
        })
        .map(str::to_owned)
        .collect();
    (!arguments.is_empty()).then_some(arguments)
}

/// `check --offline` on the flags of a `run` or `fetch`.
fn offline(command: &[String]) -> Vec<String> {
    let mut offline = vec!["check".to_owned(), "--offline".to_owned()];
    let mut words = command[1..].iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--timeout" => drop(words.next()),
            _ => offline.push(word.clone()),
        }
    }
    for (flag, value) in [("--endpoint", "unix:///agent.sock"), ("--directory", "/svids")] {
        if !offline.iter().any(|word| word == flag) {
            offline.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    offline
}

#[test]
fn every_example_configuration_is_valid() {
    let examples = files_with("toml", &root().join("examples"));
    let examples: Vec<_> =
        examples.into_iter().filter(|path| !path.ends_with("Cargo.toml")).collect();
    assert!(examples.len() >= 4, "{examples:?}");
    for path in examples {
        let output = pgsvid([Path::new("check"), "--offline".as_ref(), "--config".as_ref(), &path]);
        assert_success(&path.display().to_string(), &output);
    }
}

#[test]
fn every_toml_block_is_a_configuration_or_a_part_of_one() {
    let mut checked = 0;
    for (page, text) in pages() {
        for block in blocks_in(&text, "toml") {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(block.as_bytes()).unwrap();
            let path = file.path().to_str().unwrap();
            let mut arguments = vec!["check", "--offline", "--config", path];
            if !block.contains("endpoint =") && !block.contains("[certificates]") {
                arguments.extend(["--endpoint", "unix:///agent.sock"]);
            }
            if !block.contains("directory =") {
                arguments.extend(["--directory", "/svids"]);
            }
            assert_success(&format!("{}:\n{block}", page.display()), &pgsvid(arguments));
            checked += 1;
        }
    }
    assert!(checked > 0);
}

#[test]
fn every_command_line_is_taken() {
    let mut checked = 0;
    for (page, text) in pages() {
        for command in commands(&text) {
            let what = format!("{}: pgsvid {}", page.display(), command.join(" "));
            let help = command.iter().map(String::as_str).chain(["--help"]);
            assert_success(&what, &pgsvid(help));
            let takes_settings = ["run", "fetch"].contains(&command[0].as_str());
            // Whether a configuration exists here says nothing.
            let names_a_file =
                |word: &String| ["--config", "-c", "--helper-config"].contains(&word.as_str());
            if takes_settings && !command.iter().any(names_a_file) {
                assert_success(&what, &pgsvid(offline(&command)));
            }
            checked += 1;
        }
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn a_wrong_command_line_is_found() {
    let page = "```sh\nsudo -u postgres pgsvid run \\\n    --nonsense\n```\nand `pgsvid nothing`\n";
    let found = commands(page);
    assert_eq!(found, [vec!["run", "--nonsense"], vec!["nothing"]]);
    for command in found {
        let help = command.iter().map(String::as_str).chain(["--help"]);
        assert_eq!(pgsvid(help).status.code(), Some(2));
    }
}

/// The keys of the table, as the reference shows them.
fn table_of(name: &str) -> String {
    let head = "| key | flag | variable | default | meaning |\n|---|---|---|---|---|\n";
    let mut lines = vec![head.to_owned()];
    let in_table = |key: &&Key| key.name.rsplit_once('.').is_some_and(|(table, _)| table == name);
    for key in keys::ALL.into_iter().filter(in_table) {
        let words = |of: &[Option<&str>], between: &str| {
            let of: Vec<_> = of.iter().flatten().map(|word| format!("`{word}`")).collect();
            if of.is_empty() { "none".to_owned() } else { of.join(between) }
        };
        let default = match key.default {
            Default::Required => "required".to_owned(),
            Default::Text(text) => format!("`\"{text}\"`"),
            Default::Bare(bare) => format!("`{bare}`"),
            Default::Words(words) => words.to_owned(),
        };
        let Key { name, meaning, .. } = key;
        let flag = words(&[key.flag, key.short], ", ");
        let variable = words(&[key.variable, key.foreign], "; ");
        lines.push(format!("| `{name}` | {flag} | {variable} | {default} | {meaning} |\n"));
    }
    lines.concat()
}

#[test]
fn the_tables_of_the_reference_are_those_of_the_code() {
    const BEGIN: &str = "<!-- keys of ";
    const END: &str = "<!-- end -->";
    generated::changed("docs/configuration.md", |page| {
        let mut shown = 0;
        let mut parts = page.split(BEGIN);
        let mut wanted = vec![parts.next().unwrap().to_owned()];
        for part in parts {
            let (name, rest) = part.split_once(" -->").unwrap();
            let (_, after) = rest.split_once(END).unwrap();
            let table = table_of(name);
            // Without the head.
            shown += table.lines().count() - 2;
            wanted.push(format!("{BEGIN}{name} -->\n{table}{END}{after}"));
        }
        assert_eq!(shown, keys::ALL.len(), "a key's table is not on the page");
        wanted.concat()
    });
}

#[test]
fn the_reference_has_every_flag() {
    let reference = read("docs/configuration.md");
    // And how many flags each has at least, so that none is left out because help reads otherwise.
    for (command, least) in [("run", 10), ("exec", 15), ("fetch", 10), ("check", 10), ("status", 5)]
    {
        let help = String::from_utf8(pgsvid([command, "--help"]).stdout).unwrap();
        let flags = help.split_whitespace().filter(|word| word.starts_with("--"));
        let mut found = 0;
        for flag in flags {
            let flag = flag.trim_end_matches(|c: char| !c.is_ascii_lowercase());
            assert!(reference.contains(&format!("`{flag}")), "{command} has {flag}");
            found += 1;
        }
        assert!(found >= least, "{help}");
    }

    // What the tables do not have.
    assert!(reference.contains("`PGSVID_CONFIG`"));
}

#[test]
fn the_example_with_everything_has_every_key() {
    let text = read("examples/everything/pgsvid.toml");
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            line.trim_start_matches('[').split(']').next().unwrap().clone_into(&mut table);
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{table}.{key}"));
        }
    }
    let options: BTreeSet<_> =
        keys.iter().filter(|key| key.starts_with("files.service.options.")).cloned().collect();
    let mut keys: BTreeSet<_> = keys.difference(&options).cloned().collect();
    keys.insert("files.service.options".to_owned());
    // The other source, which has an example of its own.
    let of_files = |name: &str| name.starts_with("certificates.");
    let all = keys::ALL.iter().map(|key| key.name.to_owned());
    let (others, all): (BTreeSet<_>, BTreeSet<_>) = all.partition(|name| of_files(name));
    assert_eq!(keys, all);
    let text = read("examples/certificates/pgsvid.toml");
    for key in others {
        let (_, name) = key.split_once('.').unwrap();
        assert!(text.lines().any(|line| line.starts_with(&format!("{name} = "))), "{key}");
    }
}

/// The lines that count, with single blanks.
fn statements(text: &str) -> BTreeSet<String> {
    text.lines()
        .map(|line| line.split(" #").next().unwrap().split_whitespace().collect::<Vec<_>>())
        .map(|words| words.join(" "))
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '-']))
        .collect()
}

/// Each line of docs/postgresql.md for a file of PostgreSQL's is one that `pgsvid setup` prints, or one of the examples.
#[test]
fn the_page_about_postgresql_shows_what_setup_prints() {
    let page = read("docs/postgresql.md");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let toml = blocks_in(&page, "toml").into_iter().find(|block| block.contains("[[roles]]"));
    file.write_all(toml.expect("a configuration with roles").as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let output = pgsvid(["setup", "all", "--directory", "/var/lib/pgsvid", "--config", path]);
    assert_success("setup all", &output);
    let printed = String::from_utf8(output.stdout).unwrap();

    let known: BTreeSet<String> = statements(&printed)
        .into_iter()
        .chain(examples())
        .chain(NEWER.map(str::to_owned))
        .collect();
    let shown: BTreeSet<String> = ["sql", "conf"]
        .iter()
        .flat_map(|language| blocks_in(&page, language))
        .flat_map(|block| statements(&block))
        .collect();
    assert!(shown.len() >= 17, "{shown:?}");
    assert!(shown.is_subset(&known), "{:?}", shown.difference(&known));
    // And the two ways of reading the map, in the table.
    for line in [
        "include_if_exists \"/var/lib/pgsvid/pg_ident.conf\"",
        "ident_file = '/var/lib/pgsvid/pg_ident.conf'",
    ] {
        assert!(page.contains(line) && printed.contains(line), "{line} is not in:\n{printed}");
    }
}

/// Role, login and settings are on one page below docs/; the others link to it.
#[test]
fn the_recipe_for_postgresql_is_on_one_page() {
    for (path, text) in pages() {
        let is_other = path.starts_with(root().join("docs")) && !path.ends_with("postgresql.md");
        for recipe in ["CREATE ROLE pgsvid", "peer map=pgsvid", "ssl_key_file = '"] {
            let found = blocks(&text).0.iter().any(|block| block.text.contains(recipe));
            assert!(!is_other || !found, "{}: {recipe}", path.display());
        }
    }
}

/// Lines that only PostgreSQL 16 and later know: `setup` prints them for these alone, or as a comment.
const NEWER: [&str; 2] =
    ["reserved_connections = 3", "GRANT pg_use_reserved_connections TO pgsvid WITH INHERIT TRUE;"];

/// The lines of `examples/database`.
fn examples() -> BTreeSet<String> {
    ["role.sql", "postgresql.conf", "pg_hba.conf", "pg_ident.conf"]
        .iter()
        .flat_map(|name| statements(&read(format!("examples/database/{name}"))))
        .collect()
}

/// `examples/database`, for those who set PostgreSQL up by hand. What differs: paths, port, and the name of the
/// operating-system user.
#[test]
fn the_example_of_a_database_lets_both_clients_in() {
    const REPORTS: &str = "spiffe://example.org/ns/applications/sa/reports";
    const CLIENT: &str = "spiffe://example.org/ns/applications/sa/dbclient";
    let [files, client_files, reports_files] = [(); 3].map(|()| Directory::new());
    let agent = DevAgent::builder(files.subdirectory("agent").join("api.sock"))
        .entry(Entry::new("spiffe://example.org/ns/applications/sa/dbserver").dns("dbserver-svc"))
        .entry(Entry::new(CLIENT).dns("dbclient"))
        .entry(Entry::new(REPORTS).dns("reports").unique_id(true))
        .start()
        .unwrap();
    let published = files.subdirectory("svids");
    let example = |name: &str| {
        read(format!("examples/database/{name}"))
            .replace("/var/lib/pgsvid", published.to_str().unwrap())
            .replace("'*'", "'127.0.0.1'")
            .replace(" postgres         pgsvid", &format!(" {} pgsvid", Account::server().name()))
    };
    let fetch = |directory: &Path, identity: &str| {
        let arguments = ["fetch", "--endpoint", &agent.endpoint(), "--spiffe-id", identity]
            .map(str::to_owned)
            .into_iter()
            .chain(["--directory".to_owned(), directory.display().to_string()]);
        assert!(Program::spawn(PGSVID, arguments, &[]).wait_exit(LIMIT).success());
    };
    fetch(&published, "spiffe://example.org/ns/applications/sa/dbserver");
    let cluster = Cluster::builder()
        .conf(&example("postgresql.conf"))
        .hba(&example("pg_hba.conf"))
        .ident(&example("pg_ident.conf"))
        .start();
    cluster.sql("postgres", "postgres", &example("role.sql"));
    assert_eq!(cluster.sql("pgsvid", "postgres", "SELECT pg_reload_conf()"), "t");
    // By the CN, and by the whole subject.
    for (role, identity, files) in
        [("dbclient", CLIENT, &client_files), ("reports", REPORTS, &reports_files)]
    {
        fetch(files.path(), identity);
        let place = format!("host=dbserver-svc hostaddr=127.0.0.1 port={}", cluster.port());
        let output = Psql::new()
            .env("PGSSLCERT", files.join("svid.pem"))
            .env("PGSSLKEY", files.join("svid_key.pem"))
            .env("PGSSLROOTCERT", files.join("svid_bundle.pem"))
            .env("PGCONNECT_TIMEOUT", "10")
            .arg(format!("{place} dbname=products user={role} sslmode=verify-full"))
            .script("SELECT current_user")
            .run();
        assert_eq!(output.stdout, role, "{output:?}\n{}", cluster.log());
    }
}
