//! The documentation, proved: its examples, commands, keys, snippets and links.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use dev_agent::{DevAgent, Entry};
use pgsvid::config::keys::{self, Default, Key};
use test_support::{Account, Cluster, Directory, Program, Psql};

const PGSVID: &str = env!("CARGO_BIN_EXE_pgsvid");
const LIMIT: Duration = Duration::from_secs(30);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn files_with(extension: &str, directory: &Path) -> Vec<PathBuf> {
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
fn pages() -> Vec<(PathBuf, String)> {
    files_with("md", root()).into_iter().map(|path| (path.clone(), read(path))).collect()
}

/// A fenced block of a page.
struct Block {
    language: String,
    text: String,
}

/// The fenced blocks, and what is outside of them.
fn blocks(markdown: &str) -> (Vec<Block>, String) {
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
fn blocks_in(markdown: &str, language: &str) -> Vec<String> {
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
fn commands(markdown: &str) -> Vec<Vec<String>> {
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
        .take_while(|word| !["&", "&&", "|", ">", "2>"].contains(word) && !word.starts_with('#'))
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
            if !block.contains("endpoint =") {
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
            if takes_settings && !command.iter().any(|word| word == "--config" || word == "-c") {
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
    let page = read("docs/configuration.md");
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
    let wanted = wanted.concat();
    assert_eq!(shown, keys::ALL.len(), "a key's table is not on the page");
    if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
        let path = root().join("docs/configuration.md");
        std::fs::File::create(path).unwrap().write_all(wanted.as_bytes()).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "docs/configuration.md is stale: PGSVID_WRITE_DOCS=1 cargo test --test project tables_of_the_reference"
    );
}

#[test]
fn the_reference_has_every_flag() {
    let reference = read("docs/configuration.md");
    // And how many flags each has at least, so that none is left out because help reads otherwise.
    for (command, least) in [("run", 10), ("fetch", 10), ("check", 10), ("status", 5)] {
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
    assert_eq!(keys, keys::ALL.iter().map(|key| key.name.to_owned()).collect());
}

/// The lines that count, with single blanks.
fn statements(text: &str) -> BTreeSet<String> {
    text.lines()
        .map(|line| line.split(" #").next().unwrap().split_whitespace().collect::<Vec<_>>())
        .map(|words| words.join(" "))
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '-']))
        .collect()
}

#[test]
fn the_page_about_setup_shows_what_is_printed() {
    let page = read("docs/setup.md");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let configuration = &blocks_in(&page, "toml")[0];
    file.write_all(configuration.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let output = pgsvid(["setup", "all", "--directory", "/var/lib/pgsvid", "--config", path]);
    assert_success("setup all", &output);
    let printed = String::from_utf8(output.stdout).unwrap();
    let shown = blocks_in(&page, "conf").concat();
    assert_eq!(shown.lines().count(), 5, "{shown}");
    // And the two ways of reading the map, in the table.
    let ways = [
        "include_if_exists \"/var/lib/pgsvid/pg_ident.conf\"",
        "ident_file = '/var/lib/pgsvid/pg_ident.conf'",
    ];
    for line in shown.lines().chain(ways) {
        assert!(page.contains(line) && printed.contains(line), "{line} is not in:\n{printed}");
    }
}

#[test]
fn pages_show_what_the_examples_have() {
    // Only newer servers than the examples are for know these.
    let sixteen = [
        "reserved_connections = 3",
        "GRANT pg_use_reserved_connections TO pgsvid WITH INHERIT TRUE;",
    ];
    let examples: BTreeSet<String> =
        ["role.sql", "postgresql.conf", "pg_hba.conf", "pg_ident.conf"]
            .iter()
            .flat_map(|name| statements(&read(format!("examples/database/{name}"))))
            .chain(sixteen.map(str::to_owned))
            .collect();
    for page in ["README.md", "docs/postgresql.md"] {
        let page = read(page);
        let shown: BTreeSet<String> = ["sql", "conf"]
            .iter()
            .flat_map(|language| blocks_in(&page, language))
            .flat_map(|block| statements(&block))
            .collect();
        assert!(shown.len() >= 9, "{shown:?}");
        assert!(shown.is_subset(&examples), "{:?}", shown.difference(&examples));
    }
    let client = statements(&read("examples/client/pgsvid.toml"));
    let last = blocks_in(&read("README.md"), "toml").pop().unwrap();
    assert_eq!(statements(&last), client);
}

/// The README's three steps for a database and two steps for a client, as they are written, and the snippets of
/// `examples/database`. What differs: paths, port, and the name of the operating-system user.
#[test]
fn the_steps_of_the_readme_work() {
    const REPORTS: &str = "spiffe://example.org/ns/applications/sa/reports";
    let readme = read("README.md");
    let [files, client_files, reports_files] = [(); 3].map(|()| Directory::new());
    let agent = DevAgent::builder(files.subdirectory("agent").join("api.sock"))
        .entry(Entry::new("spiffe://example.org/ns/applications/sa/dbserver").dns("dbserver-svc"))
        .entry(Entry::new("spiffe://example.org/ns/applications/sa/dbclient").dns("dbclient"))
        .entry(Entry::new(REPORTS).dns("reports").unique_id(true))
        .start()
        .unwrap();
    let published = files.subdirectory("svids");
    let here = |text: &str| {
        text.replace("unix:///tmp/spire-agent/public/api.sock", &agent.endpoint())
            .replace("/var/lib/pgsvid", published.to_str().unwrap())
            .replace("/var/lib/dbclient", client_files.path().to_str().unwrap())
            .replace("'*'", "'127.0.0.1'")
            .replace(" postgres         pgsvid", &format!(" {} pgsvid", Account::server().name()))
    };
    let example = |name: &str| here(&read(format!("examples/database/{name}")));
    let command = |name: &str| -> Vec<String> {
        let found = commands(&readme).into_iter().find(|c| c[0] == name && c.len() > 3);
        found.expect("the README has it").iter().map(|word| here(word)).collect()
    };

    // The first certificate, then PostgreSQL, then the daemon.
    let fetch = Program::spawn(PGSVID, command("fetch"), &[]);
    assert!(fetch.wait_exit(LIMIT).success());
    assert!(fetch.standard_output().contains("sa/dbserver  expires in "));
    let cluster = Cluster::builder()
        .conf(&example("postgresql.conf"))
        .hba(&example("pg_hba.conf"))
        .ident(&example("pg_ident.conf"))
        .start();
    cluster.sql("postgres", "postgres", &example("role.sql"));
    let port = cluster.port().to_string();
    let mut run: Vec<String> = command("run")
        .iter()
        .map(|word| {
            word.replace("/var/run/postgresql", cluster.socket_directory().to_str().unwrap())
        })
        .collect();
    assert!(run.iter().any(|word| word == "--postgres"), "{run:?}");
    run.extend(["--port".to_owned(), port.clone()]);
    let json = [("PGSVID_LOG_FORMAT", "json")];
    let database = Program::spawn(PGSVID, run, &json);
    database.wait_for_event(LIMIT, |event| event["verdict"] == "current");
    let mark = database.mark();
    agent.rotate().unwrap();
    database.wait_for_event_after(mark, LIMIT, |event| event["verdict"] == "current");

    // The client, by its service file.
    let network = format!("host = \"dbserver-svc\"\nhostaddr = \"127.0.0.1\"\nport = \"{port}\"");
    let toml = blocks_in(&readme, "toml").pop().unwrap();
    let toml = here(&toml).replace("host = \"dbserver-svc\"", &network);
    let path = files.write("client.toml", toml, 0o644);
    let client = Program::spawn(PGSVID, ["run", "--config", path.to_str().unwrap()], &json);
    client.wait_for_event(LIMIT, |event| event["message"] == "published");
    let variables: Vec<(String, String)> = readme
        .lines()
        .find(|line| line.starts_with("PGSERVICEFILE="))
        .expect("the README has it")
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), here(value)))
        .collect();
    assert_eq!(variables.len(), 2);
    let psql = variables.iter().fold(Psql::new(), |psql, (name, value)| psql.env(name, value));
    let psql = psql
        .script("SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .env("PGCONNECT_TIMEOUT", "10");
    let output = psql.run();
    assert_eq!(output.stdout, "dbclient|t", "{output:?}\n{}", cluster.log());
    let elsewhere = psql.clone().arg("host=elsewhere").run();
    assert!(elsewhere.stderr.contains("does not match host name"), "{elsewhere:?}");
    let other_role = psql.arg("user=reports").run();
    assert!(other_role.stderr.contains("authentication failed"), "{other_role:?}");

    // The workload that pg_ident.conf knows by its whole subject.
    let directory = reports_files.path().to_str().unwrap();
    let endpoint = agent.endpoint();
    let arguments =
        ["fetch", "--endpoint", &endpoint, "--directory", directory, "--spiffe-id", REPORTS];
    assert!(Program::spawn(PGSVID, arguments, &[]).wait_exit(LIMIT).success());
    let output = Psql::new()
        .env("PGSSLCERT", reports_files.join("svid.pem"))
        .env("PGSSLKEY", reports_files.join("svid_key.pem"))
        .env("PGSSLROOTCERT", reports_files.join("svid_bundle.pem"))
        .arg(format!(
            "host=dbserver-svc hostaddr=127.0.0.1 port={port} dbname=products user=reports \
             sslmode=verify-full"
        ))
        .script("SELECT current_user")
        .run();
    assert_eq!(output.stdout, "reports", "{output:?}\n{}", cluster.log());
}

/// The name that a heading gets as a target of links.
/// The threat model names the test of each claim.
#[test]
fn every_test_that_the_threat_model_names_exists() {
    let sources: String = ["src", "tests"]
        .into_iter()
        .flat_map(|directory| files_with("rs", &root().join(directory)))
        .map(read)
        .collect();
    let page = read("docs/threat-model.md");
    let is_name = |word: &&str| {
        word.matches('_').count() > 2
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let names: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let is_there =
            sources.contains(&format!("fn {name}(")) || sources.contains(&format!("\"{name}\""));
        assert!(is_there, "there is no test {name}");
    }
}

fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn relative_links_lead_somewhere() {
    let mut checked = 0;
    for (page, text) in pages() {
        let (_, prose) = blocks(&text);
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let (_, target) = blocks(&read(&target));
                let found =
                    target.lines().any(|line| line.starts_with('#') && slug(line) == anchor);
                assert!(found, "{}: {link}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}
