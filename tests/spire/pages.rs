//! SPIRE accepts what the pages tell readers to type.

use std::path::Path;

use test_support::{Account, eventually};

use crate::LIMIT;
use crate::spire::Spire;

/// The parent that the pages write, in whose place every reader has an own one.
const PARENT: &str = "spiffe://example.org/spire/agent/join_token/0c1d2e";
/// The agent's socket on the pages.
const SOCKET: &str = "/run/spire/agent/public/api.sock";

#[test]
fn spire_takes_the_commands_of_the_pages() {
    // One server for each: SPIRE takes no entry twice, and pages may say the same.
    for (page, expected) in [("README.md", (2, 0)), ("docs/vm.md", (1, 1))] {
        let spire = Spire::start(&[]);
        let socket = spire.socket();
        let (mut entries, mut looks) = (0, 0);
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        // A backslash goes on in the next line.
        for line in text.replace("\\\n", " ").lines() {
            let words: Vec<&str> =
                line.split_whitespace().take_while(|word| *word != "#").collect();
            let own = words.iter().map(|word| match *word {
                PARENT => spire.parent(),
                SOCKET => &socket,
                word => word,
            });
            match own.collect::<Vec<_>>().as_slice() {
                ["spire-server", command @ ..] => {
                    let said =
                        spire.ask(command).unwrap_or_else(|said| panic!("{page}: {line}: {said}"));
                    println!("{page}: {line}\n{said}");
                    entries += usize::from(said.contains("Entry ID"));
                }
                ["sudo", "-u", "postgres", "spire-agent", command @ ..] => {
                    let workload = Account::server();
                    assert_eq!(workload.name(), "postgres", "root runs it, and has that user");
                    // The agent asks its server every few seconds.
                    eventually(LIMIT, line, || match spire.workload_asks(command) {
                        Ok(said) => said.contains("SPIFFE ID:"),
                        Err(said) => {
                            println!("{said}");
                            false
                        }
                    });
                    looks += 1;
                }
                _ => {}
            }
        }
        assert_eq!((entries, looks), expected, "{page}");
    }
}
