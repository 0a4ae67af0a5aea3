//! psql that connects repeatedly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{ConnectLoop, Counts, Psql};

/// How often one psql connects.
const CONNECTIONS: usize = 20;

/// One psql after the other, each of which connects many times: each time it reads the service file, if there is one, and the
/// three files.
#[derive(Debug)]
pub struct Reconnecting {
    /// Its attempts are runs of psql.
    pub running: ConnectLoop,
    succeeded: Arc<AtomicU64>,
}

impl Reconnecting {
    /// Starts to run this psql again and again.
    pub fn start(psql: Psql) -> Self {
        let again = "\\c -reuse-previous=off dbname=postgres\nSELECT 1;\n";
        let psql = psql.script(&format!("SELECT 1;\n{}", again.repeat(CONNECTIONS - 1)));
        let succeeded = Arc::new(AtomicU64::new(0));
        let running = ConnectLoop::start({
            let succeeded = Arc::clone(&succeeded);
            move || {
                let output = psql.run();
                let answers = output.stdout.lines().filter(|line| *line == "1").count();
                succeeded.fetch_add(answers.try_into().expect("it is small"), Ordering::Relaxed);
                if output.status.success() { Ok(()) } else { Err(cause(&output.stderr)) }
            }
        });
        Self { running, succeeded }
    }

    /// The number of connections, instead of the number of runs; a run ends with the first failure.
    pub fn stop(self) -> Counts {
        let failures = self.running.stop().failures;
        Counts { succeeded: self.succeeded.load(Ordering::Relaxed), failures }
    }
}

/// The error without the parts that differ from one failure to the next.
fn cause(error: &str) -> String {
    let words = error.split(' ').filter(|word| !word.contains("..v"));
    words.collect::<Vec<_>>().join(" ")
}
