//! Each key of spiffe-helper is honoured or refused by name.

use super::super::{Config, Environment, Flags};
use super::*;

/// Every key of the current version that pgsvid honours.
const WHOLE: &str = r#"
# a comment, and another form: // and /* */
agent_address = "/run/spire/agent/public/api.sock" // the agent
cert_dir = "/var/lib/postgresql/certs"
svid_file_name = "tls.crt"
svid_key_file_name = "tls.key"
svid_bundle_file_name = "ca.crt"
cert_file_mode = 0640
key_file_mode = "0400"
hint = "postgres"
include_federated_domains = true
add_intermediates_to_bundle = false
omit_expired = false
daemon_mode = true
cmd = "/usr/bin/logger"
cmd_args = "-t svid \"new files\""
health_checks {
    listener_enabled = false
    bind_port = 8081
    liveness_path = "/live"
    readiness_path = "/ready"
}
"#;

/// What is refused, as `key`, in the order of the file.
fn refused(text: &str) -> Vec<String> {
    translate(text, false).unwrap().refused.into_iter().map(|refused| refused.key).collect()
}

/// A helper.conf that is complete, with this in addition.
fn with(more: &str) -> String {
    format!(
        "cert_dir = \"/certs\"\nsvid_file_name = \"a\"\nsvid_key_file_name = \"b\"\nsvid_bundle_file_name = \"c\"\n{more}\n"
    )
}

fn write(path: &Path, text: &str) {
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

fn loaded(text: &str) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("helper.conf");
    write(&path, text);
    let flags = Flags { helper_config: Some(path), ..Flags::default() };
    Config::load(&flags, &Environment::new()).map_err(|error| error.to_string())
}

#[test]
fn e12_every_key_that_can_be_honoured_is_in_the_configuration() {
    assert_eq!(refused(WHOLE), [""; 0]);
    let config = loaded(WHOLE).unwrap();
    let source = config.source.workload_api().unwrap();
    assert_eq!(source.endpoint.to_string(), "unix:///run/spire/agent/public/api.sock");
    assert_eq!(source.selection.hint.as_deref(), Some("postgres"));
    assert!(source.federated_bundles && !config.once);
    let publish = config.place.directory().unwrap();
    assert_eq!(publish.directory, Path::new("/var/lib/postgresql/certs"));
    assert_eq!(publish.files.set_names(), ["tls.crt", "tls.key", "ca.crt"]);
    assert_eq!(
        (publish.files.certificate().mode, publish.files.private_key().mode),
        (0o640, 0o400)
    );
    let [hook] = &config.rotation.hooks[..] else { panic!("{:?}", config.rotation.hooks) };
    let crate::hooks::Action::Command(command) = &hook.action else { panic!("{hook:?}") };
    assert_eq!(command, &["/usr/bin/logger", "-t", "svid", "new files"]);
}

#[test]
fn t15_tokens_and_bundle_have_the_helpers_names_modes_and_format() {
    use crate::tokens::Format;
    let config = loaded(&with(
        "jwt_svids = [{jwt_audience=\"a\", jwt_extra_audiences=[\"b\", \"c\"], jwt_svid_file_name=\"t\"}, \
         {jwt_audience=\"d\", jwt_svid_file_name=\"u\"}]\njwt_svid_file_mode = 0640\njwt_bundle_file_name = \"b.json\"",
    ));
    let tokens = config.unwrap().tokens.unwrap();
    let found: Vec<_> =
        tokens.tokens.iter().map(|it| (it.audience.join(" "), it.file.path.clone())).collect();
    let wanted = [("a b c", "/certs/t"), ("d", "/certs/u")];
    assert_eq!(found, wanted.map(|(audience, path)| (audience.to_owned(), path.into())));
    assert_eq!(tokens.tokens[0].file.mode, 0o640);
    let bundle = tokens.bundle.unwrap();
    assert_eq!((bundle.format, bundle.file.mode), (Format::SpiffeHelper, 0o600));
    assert_eq!(bundle.file.path, Path::new("/certs/b.json"));
    // A file that has the name of another one is refused where both are known.
    let twice = "jwt_svids = [{jwt_audience=\"a\", jwt_svid_file_name=\"b\"}]";
    assert!(loaded(&with(twice)).unwrap_err().contains("jwt.file"));
}

#[test]
fn e12_a_signal_to_a_pid_file_becomes_a_hook() {
    let config =
        loaded(&with("renew_signal = \"SIGHUP\"\npid_file_name = \"/run/nginx.pid\"")).unwrap();
    let [hook] = &config.rotation.hooks[..] else { panic!("{:?}", config.rotation.hooks) };
    let crate::hooks::Action::Signal { signal, pid_file, .. } = &hook.action else {
        panic!("{hook:?}")
    };
    assert_eq!((signal.as_str(), pid_file.as_path()), ("HUP", Path::new("/run/nginx.pid")));
}

#[test]
fn e12_what_cannot_be_honoured_is_refused_by_its_name_and_line() {
    for (more, keys) in [
        ("", &[][..]),
        ("add_intermediates_to_bundle = true", &["add_intermediates_to_bundle"]),
        ("omit_expired = true", &["omit_expired"]),
        ("jwt_svids = [{jwt_audience=\"a\"}]", &["jwt_svids"]),
        ("jwt_svids = [{jwt_audience=\"a\", jwt_svid_file_name=\"a/t\"}]", &["jwt_svids"]),
        ("jwt_svids = [{jwt_audience=\"a\", jwt_svid_file_name=\"t\", odd=\"\"}]", &["jwt_svids"]),
        ("jwt_svids = [\"a\"]", &["jwt_svids"]),
        ("jwt_bundle_file_name = \"../b.json\"", &["jwt_bundle_file_name"]),
        (
            "jwt_svid_file_mode = 0644\njwt_bundle_file_mode = 600",
            &["jwt_svid_file_mode", "jwt_bundle_file_mode"],
        ),
        ("health_checks { listener_enabled = true }", &["health_checks"]),
        ("health_checks = { listener_enabled = true, bind_port = 9000 }", &["health_checks"]),
        ("health_checks { listener_enable = true }", &["health_checks"]),
        ("health_checks = { \"listener_enabled\" = true }", &["health_checks"]),
        ("health_checks = { \"listener_enabled\" = false }", &[]),
        ("agent_address = \"a.sock\"", &["agent_address"]),
        ("agent_address = \"unix:a.sock\"", &["agent_address"]),
        ("agent_address = \"tcp://nowhere\"", &["agent_address"]),
        ("pid_file_name = \"/run/a\"\nrenew_signal = \"${SIG}\"", &["renew_signal"]),
        ("hint = <<EOF\na\nEOF", &["hint"]),
        ("cmd = \"/usr/bin/ghostunnel\"\nrenew_signal = \"SIGUSR1\"", &["cmd"]),
        ("cmd = \"ghostunnel\"", &["cmd"]),
        ("cmd = \"/bin/a\"\ncmd_args = \"\\\"a\"", &["cmd_args"]),
        ("cmd_args = \"a\"", &["cmd_args"]),
        ("renew_signal = \"SIGHUP\"", &["renew_signal"]),
        ("renew_signal = \"SIGKILL\"\npid_file_name = \"/run/a\"", &["renew_signal"]),
        ("pid_file_name = \"/run/a\"", &["pid_file_name"]),
        ("pid_file_name = \"a\"\nrenew_signal = \"SIGHUP\"", &["pid_file_name"]),
        ("hint = \"${HOME}\"", &["hint"]),
        ("include_federated_domains = \"perhaps\"", &["include_federated_domains"]),
        ("agentAddress = \"/a\"", &["agentAddress"]),
        ("no_such_key = 1", &["no_such_key"]),
    ] {
        assert_eq!(refused(&with(more)), keys, "{more}");
        assert_eq!(loaded(&with(more)).is_err(), !keys.is_empty(), "{more}");
        if let Some(key) = keys.first() {
            let error = loaded(&with(more)).unwrap_err();
            assert!(
                error.contains("helper.conf:") && error.contains(&format!(": {key}: ")),
                "{error}"
            );
        }
    }
    for (text, key) in [
        (
            "svid_file_name = \"a\"\nsvid_key_file_name = \"b\"\nsvid_bundle_file_name = \"c\"",
            "cert_dir",
        ),
        (
            "cert_dir = \"certs\"\nsvid_file_name = \"a\"\nsvid_key_file_name = \"b\"\nsvid_bundle_file_name = \"c\"",
            "cert_dir",
        ),
        ("cert_dir = \"/certs\"\nsvid_file_name = \"a\"", "svid_file_name"),
        (
            "cert_dir = \"/certs\"\nsvid_file_name = \"a\"\nsvid_key_file_name = \"a\"\nsvid_bundle_file_name = \"c\"",
            "svid_key_file_name",
        ),
        (
            "cert_dir = \"/certs\"\nsvid_file_name = \"a/b\"\nsvid_key_file_name = \"b\"\nsvid_bundle_file_name = \"c\"",
            "svid_file_name",
        ),
    ] {
        assert_eq!(refused(text), [key], "{text}");
    }
}

/// `640` is decimal there: the helper gives the files mode 1200.
#[test]
fn e13_a_mode_without_a_leading_zero_is_refused_with_what_the_helper_makes_of_it() {
    for (key, mode, fits) in [
        ("key_file_mode", "0600", true),
        ("key_file_mode", "\"0600\"", true),
        ("key_file_mode", "0", true),
        ("key_file_mode", "600", false),
        ("key_file_mode", "\"600\"", false),
        ("key_file_mode", "0644", false),
        ("key_file_mode", "0999", false),
        ("cert_file_mode", "0444", true),
        ("cert_file_mode", "640", false),
        ("cert_file_mode", "0666", false),
        ("cert_file_mode", "-1", false),
    ] {
        let text = with(&format!("{key} = {mode}"));
        assert_eq!(refused(&text).is_empty(), fits, "{key} = {mode}");
    }
    let refused = translate(&with("cert_file_mode = 640"), false).unwrap().refused;
    assert!(refused[0].why.contains("mode 1200"), "{refused:?}");
}

#[test]
fn e12_the_agent_is_where_the_helper_looks_for_it() {
    let endpoint = |text: &str, variable| {
        let toml = translate(&with(text), variable).unwrap().toml;
        toml.lines().find_map(|line| line.strip_prefix("endpoint = ").map(str::to_owned))
    };
    let address = "agent_address = \"/a.sock\"";
    assert_eq!(endpoint(address, true).as_deref(), Some("\"unix:///a.sock\""));
    assert_eq!(
        endpoint("agent_address = \"unix:///a.sock\"", false).as_deref(),
        Some("\"unix:///a.sock\"")
    );
    assert_eq!(endpoint("", true), None);
    assert_eq!(
        endpoint("agent_address = \"\"", false).as_deref(),
        Some("\"unix:///tmp/spire-agent/public/api.sock\"")
    );
    assert_eq!(endpoint("", false).as_deref(), Some("\"unix:///tmp/spire-agent/public/api.sock\""));
}

#[test]
fn e12_what_is_no_hcl_or_says_something_twice_is_an_error_with_its_line() {
    for (text, line) in [
        ("cert_dir = \"/a\"\ncert_dir = \"/b\"\n", 2),
        ("a = 1\nb = = 2\n", 2),
        ("a = \"x\n", 1),
        ("{\"a\": 1}", 1),
        (&"k = 1\n".repeat(20_000), 1),
    ] {
        assert_eq!(translate(text, false).unwrap_err().0, line, "{text:.20}");
    }
    assert!(loaded(&with("daemon_mode = false")).unwrap().once);
}

/// What is printed is a configuration, whatever the file says.
#[test]
fn e12_what_is_printed_is_read_as_pgsvids_own_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("helper.conf");
    for text in [
        WHOLE.to_owned(),
        with("health_checks { listener_enabled = true }\njwt_svids = []\ndaemon_mode = false"),
        with(
            "jwt_svids = [{jwt_audience=\"a\", jwt_svid_file_name=\"t\"}]\njwt_svid_file_mode = 0666",
        ),
        with("hint = \"\\\"a\\\\ \\u007f\""),
        with("\"odd\nkey\" = 1").replace("\"odd\nkey\"", "odd-key"),
    ] {
        write(&path, &text);
        let printed = from_helper(&path, &Environment::new()).unwrap();
        let parsed = File::parse(&printed).unwrap_or_else(|error| panic!("{error:?}: {printed}"));
        assert!(parsed.files.directory.is_some());
        let refused = translate(&text, false).unwrap().refused.len();
        let comments = printed.lines().filter(|line| line.starts_with("# NOT TAKEN OVER")).count();
        assert_eq!(comments, refused, "{printed}");
    }
}

/// A value with a line break stays within its comment, and a terminal's escape sequence reaches no terminal.
#[test]
fn e12_what_is_refused_adds_no_line_outside_of_a_comment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("helper.conf");
    let table = "a\\n[[hooks]]\\nname = \\\"b\\\"\\n\\u001b[2J#";
    let files =
        "svid_file_name = \"a\"\nsvid_key_file_name = \"b\"\nsvid_bundle_file_name = \"c\"\n";
    for text in [
        format!("cert_dir = \"{table}\"\n{files}"),
        with(&format!("cmd = \"{table}\"")),
        with(&format!("pid_file_name = \"{table}\"\nrenew_signal = \"HUP\"")),
        with(&format!("agent_address = \"{table}\"")),
        with(&format!("health_checks = {{ \"{table}\" = 1 }}")),
    ] {
        write(&path, &text);
        let printed = from_helper(&path, &Environment::new()).unwrap();
        assert!(printed.contains("# NOT TAKEN OVER"), "{printed}");
        assert!(!printed.lines().any(|line| line.starts_with("[[hooks]]")), "{printed}");
        assert!(!printed.contains('\u{1b}'), "{printed:?}");
        let error = loaded(&text).unwrap_err();
        assert!(!error.contains(['\n', '\u{1b}']), "{error:?}");
    }
}
