//! The dependencies of pgsvid: licences, sources, versions and the one crypto provider, by the lists of `deny.toml`, offline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// As cargo names the registry that needs no configuration.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// `deny.toml`, as far as it is read here.
#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Named>,
    skip: Vec<Named>,
}

/// A crate, with or without `@version`.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// What `cargo metadata` says, as far as it is read here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_root: String,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: String,
}

#[derive(Deserialize)]
struct Resolve {
    root: String,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    features: Vec<String>,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `None` for what is linked, else `build` or `dev`.
    kind: Option<String>,
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn rules() -> Rules {
    toml::from_str(&read("deny.toml")).unwrap()
}

/// What is built into the binary, or takes part in building it, for one target.
struct Shipped {
    packages: Vec<Package>,
    nodes: BTreeMap<String, Node>,
    workspace: String,
}

fn shipped(target: &str) -> Shipped {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--offline",
            "--locked",
            "--filter-platform",
            target,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let Metadata { packages, resolve, workspace_root } =
        serde_json::from_slice(&output.stdout).unwrap();
    let nodes: BTreeMap<String, Node> =
        resolve.nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
    let mut reached = BTreeSet::new();
    let mut ahead = vec![resolve.root];
    while let Some(id) = ahead.pop() {
        let is_wanted = |kind: &Kind| kind.kind.as_deref() != Some("dev");
        let wanted = nodes[&id].deps.iter().filter(|of| of.dep_kinds.iter().any(is_wanted));
        if reached.insert(id.clone()) {
            ahead.extend(wanted.map(|of| of.pkg.clone()));
        }
    }
    let packages: Vec<Package> =
        packages.into_iter().filter(|package| reached.contains(&package.id)).collect();
    assert!(packages.len() > 100, "the graph of {target} has {} packages", packages.len());
    Shipped { packages, nodes, workspace: workspace_root }
}

/// `name version`, for each package that a rule is broken by, on any target.
fn breaches(broken: impl Fn(&Shipped, &Package) -> bool) -> BTreeSet<String> {
    let of = |target: &String| {
        let shipped = shipped(target);
        let bad = shipped.packages.iter().filter(|package| broken(&shipped, package));
        bad.map(|package| format!("{} {}", package.name, package.version)).collect::<Vec<_>>()
    };
    rules().graph.targets.iter().flat_map(of).collect()
}

#[test]
fn every_licence_is_one_that_is_allowed() {
    let allowed = rules().licenses.allow;
    let refused = breaches(|_, package| {
        package.license.as_deref().is_none_or(|licence| !permits(licence, &allowed))
    });
    assert!(refused.is_empty(), "add no dependency under such a licence: {refused:?}");
}

#[test]
fn everything_comes_from_the_registry_or_from_here() {
    let strangers = breaches(|shipped, package| match &package.source {
        Some(source) => source != REGISTRY,
        None => !Path::new(&package.manifest_path).starts_with(&shipped.workspace),
    });
    assert!(strangers.is_empty(), "they come from git or from a path outside: {strangers:?}");
}

#[test]
fn no_crate_is_there_in_two_versions_without_a_reason() {
    let rules = rules();
    let mut unused: BTreeSet<String> =
        rules.bans.skip.iter().map(|skipped| skipped.name.clone()).collect();
    for Named { name, reason } in &rules.bans.skip {
        assert!(name.contains('@') && !reason.is_empty(), "{name} has no version, or no reason");
    }
    for target in &rules.graph.targets {
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in shipped(target).packages {
            versions.entry(package.name).or_default().insert(package.version);
        }
        for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
            let excused: Vec<_> = versions
                .iter()
                .map(|version| format!("{name}@{version}"))
                .filter(|version| rules.bans.skip.iter().any(|skipped| skipped.name == *version))
                .collect();
            unused.retain(|name| !excused.contains(name));
            assert_eq!(
                excused.len() + 1,
                versions.len(),
                "{target}: {name} in versions {versions:?}"
            );
        }
    }
    assert!(unused.is_empty(), "deny.toml excuses what is not there: {unused:?}");
}

#[test]
fn ring_is_the_one_crypto_provider() {
    let banned = rules().bans.deny;
    assert!(banned.iter().any(|banned| banned.name == "openssl-sys"));
    let found = breaches(|_, package| banned.iter().any(|banned| banned.name == package.name));
    assert!(found.is_empty(), "deny.toml bans {found:?}");
    for target in &rules().graph.targets {
        let shipped = shipped(target);
        let named = |name: &str| -> Vec<&Package> {
            shipped.packages.iter().filter(|package| package.name == name).collect()
        };
        assert_eq!(named("ring").len(), 1);
        for package in ["rustls", "tokio-rustls"].iter().flat_map(|name| named(name)) {
            let features = &shipped.nodes[&package.id].features;
            let has = |name: &str| features.iter().any(|feature| feature == name);
            assert!(has("ring") && !has("aws_lc_rs") && !has("aws-lc-rs"), "{features:?}");
        }
    }
}

/// What is fuzzed is what is shipped: the lock file of the fuzz targets names the same versions.
#[test]
fn the_fuzz_targets_are_built_from_the_same_versions() {
    let versions = |file: &str| -> BTreeMap<String, BTreeSet<String>> {
        #[derive(Deserialize)]
        struct Lock {
            package: Vec<Locked>,
        }
        #[derive(Deserialize)]
        struct Locked {
            name: String,
            version: String,
        }
        let lock: Lock = toml::from_str(&read(file)).unwrap();
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Locked { name, version } in lock.package {
            versions.entry(name).or_default().insert(version);
        }
        versions
    };
    let ours = versions("Cargo.lock");
    for (name, fuzzed) in versions("fuzz/Cargo.lock") {
        if let Some(shipped) = ours.get(&name) {
            assert!(
                fuzzed.is_subset(shipped),
                "{name}: {fuzzed:?} instead of {shipped:?}; run cp Cargo.lock fuzz/ && \
                 cargo metadata --manifest-path fuzz/Cargo.toml --format-version=1 >/dev/null"
            );
        }
    }
}

/// Whether an SPDX expression leaves a choice among `allowed`. A slash is an old way to write OR.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let permitted = any_of(&mut rest, allowed);
    permitted == Some(true) && rest.is_empty()
}

/// AND binds closer than OR; `None` is no expression.
fn any_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut permitted = all_of(rest, allowed)?;
    while let Some((&"OR", after)) = rest.split_first() {
        *rest = after;
        permitted |= all_of(rest, allowed)?;
    }
    Some(permitted)
}

fn all_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut permitted = one(rest, allowed)?;
    while let Some((&"AND", after)) = rest.split_first() {
        *rest = after;
        permitted &= one(rest, allowed)?;
    }
    Some(permitted)
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if *first == "(" {
        let permitted = any_of(rest, allowed)?;
        let (close, after) = rest.split_first()?;
        *rest = after;
        return (*close == ")").then_some(permitted);
    }
    let mut licence = (*first).to_owned();
    if let Some((&"WITH", [exception, after @ ..])) = rest.split_first() {
        licence = format!("{licence} WITH {exception}");
        *rest = after;
    }
    Some(allowed.contains(&licence))
}

#[test]
fn expressions_are_judged_as_spdx_has_them() {
    let allowed = ["MIT", "ISC", "Apache-2.0"].map(str::to_owned).into();
    for (expression, permitted) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("GPL-3.0-only AND MIT OR ISC", true),
        ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", false),
        ("(GPL-3.0-only OR MIT) AND ISC", true),
        ("MIT/GPL-3.0-only", true),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("Apache-2.0 WITH LLVM-exception OR ISC", true),
        ("", false),
        ("MIT OR", false),
        ("(MIT", false),
        ("MIT ISC", false),
    ] {
        assert_eq!(permits(expression, &allowed), permitted, "{expression:?}");
    }
}
