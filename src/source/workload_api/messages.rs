//! The messages of one call.

use tokio_util::sync::DropGuard;
use tonic::{Response, Streaming};
use zeroize::Zeroizing;

use super::Endpoint;
use super::error::{Contact, Error};

/// The messages as bytes, in order. Waiting for one is safe to cancel.
pub(super) struct Messages {
    endpoint: Endpoint,
    contact: Contact,
    stream: Streaming<Zeroizing<Vec<u8>>>,
    /// The tasks that read from the connection live as long as this value.
    _tasks: DropGuard,
}

impl Messages {
    /// The messages that follow a response's headers.
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

    /// The next message; `None` if the agent has ended the stream normally.
    pub(super) async fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let message = self.stream.message().await;
        let message = message.map_err(|status| Error::of(&status, &self.endpoint, self.contact))?;
        if message.is_some() {
            self.contact = Contact::Served;
        }
        Ok(message)
    }
}
