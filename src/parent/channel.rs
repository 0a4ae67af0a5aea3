//! What parent and daemon tell each other: a byte each, over a pair of sockets.

use std::io;

/// The variable by which the parent tells the daemon that it is one, and how the one before ended.
pub const VARIABLE: &str = "PGSVID_PARENT";
/// What the daemon says, once: it has published a valid set.
pub(super) const READY: u8 = b'r';

/// What the parent tells the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Publish, reload and verify again.
    Again,
    /// End. The second time: at once.
    End,
}

impl Order {
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Again => b'a',
            Self::End => b'e',
        }
    }

    pub(super) fn of(byte: u8) -> io::Result<Self> {
        [Self::Again, Self::End]
            .into_iter()
            .find(|order| order.byte() == byte)
            .ok_or_else(|| io::Error::other("the parent has sent what is no order"))
    }
}

/// The daemon that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predecessor {
    /// How many have ended since the parent was started.
    pub restarts: u32,
    /// How it ended: an exit status, or a signal.
    pub ended: String,
}

impl Predecessor {
    /// The value of [`VARIABLE`].
    pub(super) fn variable(predecessor: Option<&Self>) -> String {
        predecessor.map_or_else(|| "0".to_owned(), |one| format!("{} {}", one.restarts, one.ended))
    }

    pub(super) fn of(variable: &str) -> Option<Self> {
        let (restarts, ended) = variable.split_once(' ')?;
        Some(Self { restarts: restarts.parse().ok()?, ended: ended.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_predecessors_arrive_as_they_were_sent() {
        for order in [Order::Again, Order::End] {
            assert_eq!(Order::of(order.byte()).unwrap(), order);
        }
        assert!(Order::of(READY).is_err());
        assert_eq!(Predecessor::of(&Predecessor::variable(None)), None);
        let one = Predecessor { restarts: 3, ended: "signal: 9 (SIGKILL)".to_owned() };
        assert_eq!(Predecessor::of(&Predecessor::variable(Some(&one))), Some(one));
    }
}
