//! Commands and signals that follow a publication: what a hook is, the messages between daemon and parent about it, when it is
//! due, what its end means, and the process that carries it out.
//!
//! The daemon, which is confined, runs nothing. It gives the [`Table`] to its parent before it is confined and before it opens
//! any socket, and asks for hooks by their number after that.

mod course;
mod explain;
mod message;
mod pid_file;
mod runner;
mod settings;
mod table;

pub use course::{Course, Run};
pub use explain::{changed, explain};
pub use message::{APPLICATION, Answer, End, Request, SetSum, TAIL};
pub use pid_file::find;
pub use runner::{LINE, Report, carry_out, order};
pub use settings::{Action, Hook, SIGNALS, User, When, signal};
pub use table::{Entry, MOST, NoTable, Table, TooLarge};

use tokio::sync::mpsc::UnboundedReceiver;

/// The connection to the parent, which runs the hooks.
pub struct Line {
    /// Requests a run; false if the request could not be sent.
    pub ask: Box<dyn Fn(&Request) -> bool + Send + Sync>,
    /// The results of runs.
    pub answers: UnboundedReceiver<Answer>,
}
