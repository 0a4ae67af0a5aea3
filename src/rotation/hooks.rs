//! The hooks: starts their runs, handles the results, and reports these.

use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::barrier::PATIENCE;
use super::{Rotation, record};
use crate::finding::Finding;
use crate::hooks::{Action, Answer, Course, End, Hook, Line, Request, When, changed, explain};
use crate::status::{self, Status};
use crate::text::harmless;
use crate::timing;

/// All hooks, with their state.
pub(super) struct Hooks {
    all: Vec<One>,
    /// The connection to the parent; `None` if there are no hooks.
    line: Option<Line>,
    /// The token of the latest run.
    tokens: u32,
    /// Whether others may have replaced the published files: then all hooks are due again once the set is handed over again.
    distrusted: bool,
    /// Whether the end was requested: then no run is started any more.
    closed: bool,
}

struct One {
    hook: Hook,
    course: Course,
}

impl Hooks {
    /// The hooks of the configuration.
    pub(super) fn new(hooks: &[Hook], line: Option<Line>) -> Self {
        let line = line.filter(|_| !hooks.is_empty());
        let all = if line.is_some() { hooks } else { &[] };
        let all = all.iter().map(|hook| One { course: Course::new(hook), hook: hook.clone() });
        Self { all: all.collect(), line, tokens: 0, distrusted: false, closed: false }
    }

    /// Their entries in the status at the start.
    pub(super) fn status(&self) -> Vec<status::Hook> {
        let known = |One { hook, .. }: &One| {
            let mut known = status::Hook::named(&hook.name, hook.when.name());
            if hook.number.is_none() {
                known.fails(&changed(hook), None);
            }
            known
        };
        self.all.iter().map(known).collect()
    }

    /// Logs the hooks that cannot run, because the configuration has changed since the parent was started.
    pub(super) fn tell_changed(&self) {
        for One { hook, .. } in self.all.iter().filter(|one| one.hook.number.is_none()) {
            let Finding { code, text, cause, fix, .. } = changed(hook);
            error!(event = "hook-changed", consumer = hook.name, %code, cause, fix, "{text}");
        }
    }

    /// Records that readers may have found files of other users for a while.
    pub(super) fn distrust(&mut self) {
        self.distrusted = true;
        self.all.iter_mut().for_each(|one| one.course.withdraw_proof());
    }

    /// Records that this set is handed over to the consumers.
    pub(super) fn published(&mut self, generation: u64) {
        let distrusted = std::mem::take(&mut self.distrusted);
        let all = self.all.iter_mut().filter(|one| one.hook.when != When::Jwt);
        for One { course, .. } in all {
            course.published(generation);
            if distrusted {
                course.distrust();
            }
        }
    }

    /// Records that this many files with tokens were written so far.
    pub(super) fn token_written(&mut self, count: u64) {
        let all = self.all.iter_mut().filter(|one| one.hook.when == When::Jwt);
        all.for_each(|one| one.course.published(count));
    }

    /// Records that every server is proven to serve this set.
    pub(super) fn proven(&mut self, generation: u64) {
        self.all.iter_mut().for_each(|one| one.course.proven(generation));
    }

    /// No run is started from here on.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether any of them runs.
    pub(super) fn are_running(&self) -> bool {
        self.all.iter().any(|one| one.course.is_running())
    }

    /// When a hook is due, or the answer of a running one is overdue. While readers find files of others (`displaced`), no
    /// hook begins.
    pub(super) fn next(&self, displaced: bool) -> Option<Instant> {
        let now = Instant::now();
        let held = displaced || self.closed;
        let active = self.all.iter().filter(|one| one.hook.number.is_some());
        active
            .filter(|one| !held || one.course.is_running())
            .filter_map(|one| one.course.due(now))
            .min()
    }

    /// The result of a run, if an answer has arrived.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        match self.line.as_mut().map(|line| line.answers.poll_recv(context)) {
            Some(Poll::Ready(Some(answer))) => Poll::Ready(answer),
            // If the channel is closed, its owner reports why.
            Some(Poll::Ready(None) | Poll::Pending) | None => Poll::Pending,
        }
    }

    /// Waits for the next result of a run. Safe to cancel.
    pub(super) async fn answer(&mut self) -> Answer {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}

impl Rotation {
    /// Starts the runs that are due.
    pub(super) fn run_hooks(&mut self) {
        if self.displaced || self.hooks.closed {
            return;
        }
        let (now, mut lost) = (Instant::now(), Vec::new());
        let set = self.status.borrow().published.as_ref().map(|it| *it.set.bytes());
        let set = set.unwrap_or_default();
        let Hooks { all, line: Some(line), tokens, .. } = &mut self.hooks else { return };
        for (at, One { hook, course }) in all.iter_mut().enumerate() {
            let Some(number) = hook.number else { continue };
            let Some(run) = course.begin(tokens.wrapping_add(1), now) else { continue };
            *tokens = run.token;
            if hook.barrier {
                self.attempts.barrier.begin(BARRIER + at, now + PATIENCE);
            }
            let request = Request { number, token: run.token, generation: run.generation, set };
            if !(line.ask)(&request) {
                lost.push(Answer::plain(run.token, End::Unanswered));
            }
        }
        for answer in lost {
            self.hook_ended(&answer);
        }
        self.tell_hooks();
    }

    /// Ends the wait for overdue answers, and starts the runs that are due.
    pub(super) fn see_to_hooks(&mut self) {
        let now = Instant::now();
        let overdue = self.hooks.all.iter().filter_map(|one| one.course.overdue(now));
        let overdue: Vec<_> = overdue.collect();
        for run in overdue {
            self.hook_ended(&Answer::plain(run.token, End::Unanswered));
        }
        self.run_hooks();
    }

    /// Handles the result of a run.
    pub(super) fn hook_ended(&mut self, answer: &Answer) {
        let now = Instant::now();
        for (at, One { hook, course }) in self.hooks.all.iter_mut().enumerate() {
            let Some((run, delay, is_news)) = course.ended(answer.token, answer.end, now) else {
                continue;
            };
            self.attempts.barrier.end(BARRIER + at);
            let took = std::time::Duration::from_millis(answer.took.into());
            let found = explain(hook, answer.end);
            tell(hook, answer, run.generation, found.as_ref(), delay.filter(|_| is_news));
            let retry = record::due(delay.map(|delay| now + delay));
            self.status.send_modify(|status| {
                let Some(known) = status.hooks.get_mut(at) else { return };
                // The hook did not run, because an earlier run has not ended.
                if !matches!(answer.end, End::Busy | End::NotNeeded) {
                    known.ran(took, found.is_none());
                }
                match &found {
                    None => known.succeeds(run.generation, timing::now()),
                    // This is not a failure: an earlier run has not ended.
                    Some(_) if answer.end == End::Busy => known.retry = retry,
                    Some(found) => known.fails(found, retry),
                }
            });
        }
        self.tell_hooks();
    }

    /// Updates the status of the hooks.
    fn tell_hooks(&self) {
        let hooks = &self.hooks.all;
        let tell = |status: &mut Status| {
            let mut changed = false;
            for (known, One { course, .. }) in status.hooks.iter_mut().zip(hooks) {
                let now = (course.is_running(), course.is_pending(), course.waits_for_proof());
                let before = (known.running, known.pending, known.waits_for_proof);
                (known.running, known.pending, known.waits_for_proof) = now;
                changed |= now != before;
            }
            changed
        };
        if !hooks.is_empty() {
            watch::Sender::send_if_modified(&self.status, tell);
        }
    }
}

/// The numbers of hooks at the barrier begin here. Smaller numbers are for servers.
const BARRIER: usize = 1 << 16;

fn tell(
    hook: &Hook,
    answer: &Answer,
    generation: u64,
    found: Option<&Finding>,
    next: Option<std::time::Duration>,
) {
    let consumer = hook.name.as_str();
    let output = String::from_utf8_lossy(&answer.output);
    let output = harmless(output.trim());
    let output = (!output.is_empty()).then_some(output.as_ref());
    // Only if the output is longer than what is logged.
    let written = usize::try_from(answer.written).ok().filter(|it| *it > answer.output.len());
    let took_ms = answer.took;
    match (found, next) {
        (None, _) if answer.end == End::NotNeeded => {
            debug!(consumer, generation, "there is nothing to do for this set");
        }
        (None, _) => {
            info!(
                event = "hook-succeeded",
                consumer,
                generation,
                took_ms,
                output,
                written,
                "{}",
                match hook.action {
                    Action::Application => "the application was told about the new set",
                    _ => "the hook has succeeded",
                }
            );
        }
        (Some(Finding { code, text, cause, fix, command, .. }), Some(delay))
            if answer.end != End::Busy =>
        {
            let next = format!("retrying in {}", timing::shortly(delay));
            error!(
                event = "hook-failed", consumer,
                generation, %code, cause, fix, command = command.as_deref(), took_ms, output, written, next, "{text}"
            );
        }
        (Some(Finding { code, text, .. }), _) => {
            debug!(consumer, generation, %code, took_ms, output, "still: {text}");
        }
    }
}

#[cfg(test)]
mod tests;
