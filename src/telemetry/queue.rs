//! The queue before standard error: a separate thread writes, and lines that find no room are dropped.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::time::Instant;

use crate::threads;

/// How many lines may wait. The queue is allocated at the start, 32 bytes a line; a rotation writes a handful of lines.
const LINES: usize = 1024;
/// How long the end of the process waits for the reader of the log. Lines still queued then are lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the end of the process checks whether the queue has room.
const RETRY_EVERY: Duration = Duration::from_millis(10);

enum Queued {
    Line(Vec<u8>),
    /// Answered once all earlier lines are written.
    End(SyncSender<()>),
}

/// Puts lines into the queue.
#[derive(Clone)]
pub(super) struct Writer(SyncSender<Queued>);

/// When dropped, waits a limited time until the queue is written.
pub(super) struct Guard(SyncSender<Queued>);

/// The writer in use: the line of a panicking task is written before the process ends.
static IN_USE: OnceLock<Writer> = OnceLock::new();

/// Starts the thread, which writes each line in one piece.
pub(super) fn start(
    output: impl io::Write + Send + 'static,
) -> Result<(Writer, Guard), threads::Refused> {
    let (sender, receiver) = sync_channel(LINES);
    threads::start("log", "writes the log", move || write(&receiver, output))?;
    Ok((Writer(sender.clone()), Guard(sender)))
}

fn write(queue: &Receiver<Queued>, mut output: impl io::Write) {
    for queued in queue {
        match queued {
            // There is no place to report an error.
            Queued::Line(line) => drop(output.write_all(&line)),
            Queued::End(written) => drop(written.send(())),
        }
    }
}

impl io::Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(Queued::Line(line.to_vec()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        Writer(self.0.clone()).flush_all();
    }
}

/// Makes this the writer that [`flush`] waits for. A second call has no effect.
pub(super) fn use_for_flush(writer: &Writer) {
    let _ = IN_USE.set(writer.clone());
}

/// Waits a limited time until all lines are written.
pub(super) fn flush() {
    if let Some(writer) = IN_USE.get() {
        writer.flush_all();
    }
}

impl Writer {
    fn flush_all(&self) {
        let deadline = Instant::now() + PATIENCE;
        let (written, answer) = sync_channel(1);
        let mut end = Queued::End(written);
        while let Err(TrySendError::Full(again)) = self.0.try_send(end) {
            if Instant::now() >= deadline {
                return;
            }
            end = again;
            std::thread::sleep(RETRY_EVERY);
        }
        let _ = answer.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Accepts a line only when told to.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl io::Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_the_end_waits_for_one_that_does() {
        let ((go, may), (line, lines)) = (channel(), channel());
        let (mut writer, guard) = start(Slow(may, line)).unwrap();
        let begun = Instant::now();
        for number in 0..2 * LINES {
            writer.write_all(&number.to_be_bytes()).unwrap();
        }
        drop(guard);
        assert!(begun.elapsed() < 2 * PATIENCE, "{:?}", begun.elapsed());
        go.send(()).unwrap();
        drop(go);
        drop(Guard(writer.0.clone()));
        // The first lines are there, and nothing was written in parts.
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [0_usize.to_be_bytes().to_vec()]);
    }

    #[test]
    fn what_was_queued_is_written_when_the_guard_is_dropped() {
        let ((go, may), (line, lines)) = (channel(), channel());
        let (mut writer, guard) = start(Slow(may, line)).unwrap();
        for number in 0..LINES {
            go.send(()).unwrap();
            writer.write_all(&number.to_be_bytes()).unwrap();
        }
        drop(guard);
        assert_eq!(lines.try_iter().count(), LINES);
    }
}
