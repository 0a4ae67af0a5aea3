//! The messages of one call.

use tokio_util::sync::DropGuard;
use tonic::{Response, Streaming};
use zeroize::Zeroizing;

use super::Endpoint;
use super::error::{Contact, Error};

/// The messages, in order, as bytes. Waiting for one may be given up without loss.
pub(super) struct Messages {
    endpoint: Endpoint,
    contact: Contact,
    stream: Streaming<Zeroizing<Vec<u8>>>,
    /// What reads from the connection goes on as long as somebody wants the messages.
    _tasks: DropGuard,
}

impl Messages {
    /// The messages that follow a response's head.
    pub(super) fn of(
        response: Response<Streaming<Zeroizing<Vec<u8>>>>,
        endpoint: &Endpoint,
        tasks: DropGuard,
    ) -> Self {
        Self {
            endpoint: endpoint.clone(),
            contact: Contact::First,
            stream: response.into_inner(),
            _tasks: tasks,
        }
    }

    /// The next message; `None` if the agent has ended the stream in order.
    pub(super) async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let message = self.stream.message().await;
        let message = message.map_err(|status| Error::of(&status, &self.endpoint, self.contact))?;
        if message.is_some() {
            self.contact = Contact::Served;
        }
        Ok(message)
    }
}
