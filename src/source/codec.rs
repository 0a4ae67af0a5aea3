//! The messages of a call as their bytes: what is in them is counted before anything is made of it ([`super::wire`]).

use bytes::Buf as _;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use zeroize::Zeroizing;

/// Sends empty messages, and hands on the bytes of those that come.
pub(super) struct Uncoded;

impl Codec for Uncoded {
    type Encode = ();
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
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Uncoded {
    type Item = Zeroizing<Vec<u8>>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        // Of exact size: a buffer that grew would leave copies of a key behind.
        let mut message = Zeroizing::new(vec![0; bytes.remaining()]);
        bytes.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}
