//! `dev-agent`: a SPIFFE Workload API for laptops and demonstrations.

#![expect(
    clippy::print_stderr,
    reason = "the program reports to standard error; the library prints nothing"
)]

mod arguments;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use dev_agent::{DevAgent, Stop};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dev-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Before the socket exists: a process that sees it may send a signal.
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let agent = arguments.builder().start()?;
    let mut activity = agent.watch();
    announce(&agent, arguments);

    let mut issued = activity.borrow_and_update().issued;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            changed = activity.changed() => changed.context("the agent has ended")?,
        }
        let now = *activity.borrow_and_update();
        if now.issued != issued {
            issued = now.issued;
            eprintln!("dev-agent: renewed, {}", streams(now.open_streams));
            list(&agent);
        }
    }
    agent.stop(Stop::Terminate);
    eprintln!("dev-agent: stopped");
    Ok(())
}

fn announce(agent: &DevAgent, arguments: &Arguments) {
    let endpoint = agent.endpoint();
    let authority = agent.authority();
    eprintln!(
        "dev-agent: serving trust domain {}, CA valid until {}",
        arguments.trust_domain(),
        humantime::format_rfc3339_seconds(authority.not_after()),
    );
    list(agent);
    eprintln!("dev-agent: ready; workloads need SPIFFE_ENDPOINT_SOCKET={endpoint}");
}

fn list(agent: &DevAgent) {
    for svid in agent.svids() {
        let hint = match svid.hint.as_str() {
            "" => String::new(),
            hint => format!("  hint {hint}"),
        };
        eprintln!(
            "  {}  serial {}  expires in {} ({}){hint}",
            svid.spiffe_id,
            svid.serial_hex(),
            lifetime(svid.not_before, svid.not_after),
            humantime::format_rfc3339_seconds(svid.not_after),
        );
    }
}

// It was issued just now, and dated back by this much, as SPIRE does it.
fn lifetime(not_before: SystemTime, not_after: SystemTime) -> humantime::FormattedDuration {
    let validity = not_after.duration_since(not_before).unwrap_or_default();
    humantime::format_duration(validity.saturating_sub(Duration::from_secs(10)))
}

fn streams(open: u64) -> String {
    match open {
        0 => "no workload is connected".to_owned(),
        1 => "1 workload is connected".to_owned(),
        open => format!("{open} workloads are connected"),
    }
}
