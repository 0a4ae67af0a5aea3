//! The daemon's connection to the parent for hooks: sends their table, and requests their runs.

use anyhow::Context as _;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::config::Config;
use crate::hooks::{Answer, Hook, Line, Table};
use crate::parent::Channel;

/// Sends the parent the table of hooks, and records their numbers. Call it before anything but the configuration is read.
pub fn agree(config: &mut Config, channel: &Channel) -> anyhow::Result<()> {
    let hooks = &mut config.rotation.hooks;
    let numbers =
        channel.agree(&Table::new(hooks)?).context("cannot send the hooks to the parent")?;
    for (hook, number) in hooks.iter_mut().zip(numbers) {
        hook.number = number;
    }
    Ok(())
}

/// How the loop asks the parent to run a hook, and the sender to which the parent's answers are passed. The first is `None`
/// if there are no hooks.
pub(super) fn line(
    channel: &Channel,
    hooks: &[Hook],
) -> anyhow::Result<(Option<Line>, UnboundedSender<Answer>)> {
    let (sender, answers) = unbounded_channel();
    if hooks.is_empty() {
        return Ok((None, sender));
    }
    let asker = channel.asker().context("cannot ask the parent for hooks")?;
    let ask = Box::new(move |request: &_| asker.ask(request));
    Ok((Some(Line { ask, answers }), sender))
}
