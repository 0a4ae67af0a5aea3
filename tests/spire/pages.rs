//! What the pages tell readers to type to SPIRE is what SPIRE takes.

use std::path::Path;

use crate::spire::Spire;

/// The parent that the pages write, in whose place every reader has an own one.
const PARENT: &str = "spiffe://example.org/spire/agent/join_token/0c1d2e";

#[test]
fn spire_takes_the_commands_of_the_pages() {
    // One server for each: SPIRE takes no entry twice, and pages may say the same.
    for (page, expected) in [("README.md", 2), ("docs/vm.md", 1), ("docs/client.md", 1)] {
        let spire = Spire::start(&[]);
        let mut entries = 0;
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        // A backslash goes on in the next line.
        for line in text.replace("\\\n", " ").lines() {
            let words: Vec<&str> =
                line.split_whitespace().take_while(|word| *word != "#").collect();
            let ["spire-server", command @ ..] = words.as_slice() else { continue };
            let own =
                command.iter().map(|word| if *word == PARENT { spire.parent() } else { *word });
            let command: Vec<&str> = own.collect();
            let said = spire.ask(&command).unwrap_or_else(|said| panic!("{page}: {line}: {said}"));
            println!("{page}: {line}\n{said}");
            entries += usize::from(said.contains("Entry ID"));
        }
        assert_eq!(entries, expected, "{page}");
    }
}
