//! The messages of a call as bytes: their contents are counted before anything is built from them ([`super::wire`]).

use bytes::{Buf as _, BufMut as _};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use zeroize::Zeroizing;

/// Sends the bytes of requests, and passes on the bytes of messages received.
pub(super) struct Uncoded;

impl Codec for Uncoded {
    type Encode = Vec<u8>;
    type Decode = Zeroizing<Vec<u8>>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Uncoded {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, request: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&request);
        Ok(())
    }
}

impl Decoder for Uncoded {
    type Item = Zeroizing<Vec<u8>>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // Of exact size: a growing buffer would leave copies of a key behind.
        let mut message = Zeroizing::new(vec![0; bytes.remaining()]);
        bytes.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}
