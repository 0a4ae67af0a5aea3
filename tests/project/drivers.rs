//! docs/drivers.md shows the code of examples/drivers, and the figures are of the versions that are pinned there.

use crate::documentation::{read, root};
use crate::generated;

/// The directory, the file that the page shows, its language.
const SHOWN: [(&str, &str, &str); 10] = [
    ("psycopg", "pool.py", "python"),
    ("sqlalchemy", "pool.py", "python"),
    ("asyncpg", "pool.py", "python"),
    ("node-postgres", "pool.js", "js"),
    ("postgres.js", "pool.js", "js"),
    ("pgjdbc", "Pool.java", "java"),
    ("pgx", "pool.go", "go"),
    ("lib-pq", "pool.go", "go"),
    ("sqlx", "src/pool.rs", "rust"),
    ("tokio-postgres", "src/pool.rs", "rust"),
];

#[test]
fn the_page_about_drivers_shows_the_examples() {
    for (driver, file, language) in SHOWN {
        let code = read(format!("examples/drivers/{driver}/{file}"));
        generated::is_current(
            "docs/drivers.md",
            driver,
            &format!("\n```{language}\n{code}```\n\n"),
        );
    }
}

#[test]
fn every_driver_is_on_the_page() {
    let entries = std::fs::read_dir(root().join("examples/drivers")).unwrap();
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort_unstable();
    let mut shown = SHOWN.map(|(driver, ..)| driver.to_owned());
    shown.sort_unstable();
    assert_eq!(found, shown);
}

/// What is pinned for each driver, such as `psycopg 3.3.9`.
fn pinned() -> Vec<String> {
    let mut pinned = Vec::new();
    for driver in ["psycopg", "sqlalchemy", "asyncpg"] {
        let requirements = read(format!("examples/drivers/{driver}/requirements.txt"));
        pinned.extend(requirements.lines().map(|line| {
            let (name, version) = line.split_once("==").unwrap();
            format!("{} {version}", name.split('[').next().unwrap())
        }));
    }
    for (driver, name) in [("node-postgres", "pg"), ("postgres.js", "postgres")] {
        let package = read(format!("examples/drivers/{driver}/package.json"));
        let package: serde_json::Value = serde_json::from_str(&package).unwrap();
        pinned.push(format!("{driver} {}", package["dependencies"][name].as_str().unwrap()));
    }
    let pom = read("examples/drivers/pgjdbc/pom.xml");
    for (artifact, name) in [("postgresql", "pgjdbc"), ("HikariCP", "HikariCP")] {
        let (_, rest) = pom.split_once(&format!("<artifactId>{artifact}</artifactId>")).unwrap();
        let (_, rest) = rest.split_once("<version>").unwrap();
        pinned.push(format!("{name} {}", rest.split('<').next().unwrap()));
    }
    for (driver, module, name) in [("pgx", "jackc/pgx/v5", "pgx"), ("lib-pq", "lib/pq", "lib/pq")] {
        let module = format!("require github.com/{module} v");
        let manifest = read(format!("examples/drivers/{driver}/go.mod"));
        let version = manifest.lines().find_map(|line| line.strip_prefix(&module)).unwrap();
        pinned.push(format!("{name} {version}"));
    }
    let lock = read("examples/drivers/Cargo.lock");
    for name in ["sqlx", "tokio-postgres", "rustls", "deadpool-postgres"] {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).unwrap();
        pinned.push(format!("{name} {}", rest.split('"').next().unwrap()));
    }
    pinned
}

#[test]
fn the_figures_are_of_the_versions_that_are_pinned() {
    let page = read("docs/evidence/drivers.md");
    for driver in pinned() {
        assert!(page.contains(&driver), "no figures of {driver}: scripts/test-drivers");
    }
}
