//! A message of the Workload API as slices of its bytes: nothing is copied, and every list has a limit.
//!
//! A decoder generated from the definition builds a structure for each field before anybody can count them: an empty SVID has
//! two bytes on the wire and 120 in memory, so that 4 MiB became 317. Here a field is a slice of the message. The encoding is
//! that of Protocol Buffers (<https://protobuf.dev/programming-guides/encoding/>), the fields are those of
//! `proto/proto/workload.proto`.

use std::collections::BTreeMap;

/// Most SVIDs in a message. SPIRE sends one for each registration entry of the workload; more than a few is rare.
const MOST_SVIDS: usize = 256;
/// Most revocation lists. They are counted and ignored.
const MOST_LISTS: usize = 1024;
/// Most federated trust domains.
const MOST_FEDERATED: usize = 1024;

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not the encoding of Protocol Buffers, or a known field of another type.
    #[error("it is not a message of the Workload API")]
    Malformed,
    /// More of one field than the limit.
    #[error("it holds more than {most} {what}")]
    TooMany {
        /// The field, such as `SVIDs`.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A field that may occur once occurred again: readers would disagree about which one counts.
    #[error("it holds a {0} twice")]
    Repeated(&'static str),
}

/// An `X509SVIDResponse`.
#[derive(Debug)]
pub struct Message<'a> {
    /// The SVIDs, in the message's order.
    pub svids: Vec<Svid<'a>>,
    /// Bundles of other trust domains, by the domain.
    pub federated: BTreeMap<&'a str, &'a [u8]>,
}

/// An `X509SVID`. A missing field is empty.
#[derive(Clone, Copy, Default)]
pub struct Svid<'a> {
    /// `spiffe_id`
    pub spiffe_id: &'a str,
    /// `x509_svid`: concatenated DER certificates.
    pub chain: &'a [u8],
    /// `x509_svid_key`: PKCS#8 DER.
    pub key: &'a [u8],
    /// `bundle`: concatenated DER certificates.
    pub bundle: &'a [u8],
    /// `hint`
    pub hint: &'a str,
}

/// Prints no key.
impl std::fmt::Debug for Svid<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Svid")
            .field("spiffe_id", &self.spiffe_id)
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}

impl<'a> Message<'a> {
    /// Reads a message, up to its first fault.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut message = Self { svids: Vec::new(), federated: BTreeMap::new() };
        let mut lists = 0;
        for field in Fields(bytes) {
            match field? {
                (1, value) => {
                    within(message.svids.len(), MOST_SVIDS, "SVIDs")?;
                    message.svids.push(Svid::read(value.bytes()?)?);
                }
                (2, value) => {
                    value.bytes()?;
                    within(lists, MOST_LISTS, "revocation lists")?;
                    lists += 1;
                }
                (3, value) => {
                    within(message.federated.len(), MOST_FEDERATED, "federated bundles")?;
                    let (domain, bundle) = entry(value.bytes()?)?;
                    if message.federated.insert(domain, bundle).is_some() {
                        return Err(Unreadable::Repeated("federated trust domain"));
                    }
                }
                // A later version of the API may add fields: they are skipped.
                _ => {}
            }
        }
        Ok(message)
    }
}

impl<'a> Svid<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut svid = Self::default();
        let mut seen = Seen::default();
        for field in Fields(bytes) {
            match field? {
                (1, value) => svid.spiffe_id = seen.once(1, value, "SPIFFE ID")?.text()?,
                (2, value) => svid.chain = seen.once(2, value, "certificate chain")?.bytes()?,
                (3, value) => svid.key = seen.once(3, value, "private key")?.bytes()?,
                (4, value) => svid.bundle = seen.once(4, value, "bundle")?.bytes()?,
                (5, value) => svid.hint = seen.once(5, value, "hint")?.text()?,
                _ => {}
            }
        }
        Ok(svid)
    }
}

/// One entry of the map of federated bundles: the trust domain and its bundle.
pub(super) fn entry(bytes: &[u8]) -> Result<(&str, &[u8]), Unreadable> {
    let (mut domain, mut bundle) = Default::default();
    let mut seen = Seen::default();
    for field in Fields(bytes) {
        match field? {
            (1, value) => domain = seen.once(1, value, "federated trust domain")?.text()?,
            (2, value) => bundle = seen.once(2, value, "federated bundle")?.bytes()?,
            _ => {}
        }
    }
    Ok((domain, bundle))
}

/// Fails unless there is room for one more than `count`.
pub(super) fn within(count: usize, most: usize, what: &'static str) -> Result<(), Unreadable> {
    if count < most { Ok(()) } else { Err(Unreadable::TooMany { what, most }) }
}

/// The fields that have occurred, as bits.
#[derive(Default)]
pub(super) struct Seen(u8);

impl Seen {
    pub(super) fn once<'a>(
        &mut self,
        number: u8,
        value: Value<'a>,
        what: &'static str,
    ) -> Result<Value<'a>, Unreadable> {
        if self.0 & 1 << number != 0 {
            return Err(Unreadable::Repeated(what));
        }
        self.0 |= 1 << number;
        Ok(value)
    }
}

/// The value of a field: bytes, or a number, which no field here uses.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Bytes(&'a [u8]),
    Number,
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Unreadable> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number => Err(Unreadable::Malformed),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Unreadable::Malformed)
    }
}

/// The fields of a message, each with its number. Ends after the first malformed one.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Unreadable::Malformed))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = u32::try_from(self.number()?).ok()?;
        let value = match key & 7 {
            0 => self.number().map(|_| Value::Number)?,
            1 => self.take(8).map(|_| Value::Number)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Number)?,
            // Groups (3 and 4), which nest: no message of proto3 has one.
            _ => return None,
        };
        Some((key >> 3, value)).filter(|(number, _)| *number > 0)
    }

    /// A varint: seven bits a byte, the lowest first, at most 64 bits.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use pgsvid_proto::{X509svid, X509svidResponse};
    use prost::Message as _;

    use super::*;

    /// The bytes of the field with this number.
    type Nth<'a> = &'a dyn Fn(u16) -> Vec<u8>;

    const EMPTY_SVID: [u8; 2] = [1 << 3 | 2, 0];

    #[test]
    fn it_is_read_as_the_generated_decoder_reads_it() {
        let svid = |id: &str, hint: &str| X509svid {
            spiffe_id: id.to_owned(),
            x509_svid: vec![1; 300],
            x509_svid_key: vec![2; 3],
            bundle: vec![3; 70_000],
            hint: hint.to_owned(),
        };
        let wanted = X509svidResponse {
            svids: vec![svid("spiffe://a/1", ""), X509svid::default(), svid("", "é")],
            crl: vec![vec![4; 5]; 3],
            federated_bundles: [("b", vec![5; 200]), ("c", Vec::new())]
                .map(|(domain, bundle)| (domain.to_owned(), bundle))
                .into(),
        };
        let bytes = wanted.encode_to_vec();
        let read = Message::read(&bytes).unwrap();
        let svids = read.svids.iter().map(|svid| X509svid {
            spiffe_id: svid.spiffe_id.to_owned(),
            x509_svid: svid.chain.to_vec(),
            x509_svid_key: svid.key.to_vec(),
            bundle: svid.bundle.to_vec(),
            hint: svid.hint.to_owned(),
        });
        assert_eq!(svids.collect::<Vec<_>>(), wanted.svids);
        let federated = read.federated.into_iter();
        let federated = federated.map(|(domain, bundle)| (domain.to_owned(), bundle.to_vec()));
        assert_eq!(
            federated.collect::<std::collections::HashMap<_, _>>(),
            wanted.federated_bundles
        );
        // Cut off anywhere except between two fields it is invalid.
        let whole: Vec<_> =
            (0..bytes.len()).filter(|end| Message::read(&bytes[..*end]).is_ok()).collect();
        let also: Vec<_> = (0..bytes.len())
            .filter(|end| X509svidResponse::decode(&bytes[..*end]).is_ok())
            .collect();
        assert_eq!(whole, also);
    }

    #[test]
    fn a14_every_list_has_an_end() {
        let federated = |number: u16| {
            let key = format!("{number}");
            let entry = [&[1 << 3 | 2, u8::try_from(key.len()).unwrap()], key.as_bytes()].concat();
            [&[3 << 3 | 2, u8::try_from(entry.len()).unwrap()], &entry[..]].concat()
        };
        let cases: [(&str, usize, Nth<'_>); 3] = [
            ("SVIDs", 256, &|_| EMPTY_SVID.to_vec()),
            ("revocation lists", 1024, &|_| vec![2 << 3 | 2, 0]),
            ("federated bundles", 1024, &federated),
        ];
        for (what, most, nth) in cases {
            let message = |count: usize| -> Vec<u8> {
                (0..count).flat_map(|number| nth(u16::try_from(number).unwrap())).collect()
            };
            assert!(Message::read(&message(most)).is_ok(), "{what}");
            let refused = Message::read(&message(most + 1)).unwrap_err();
            assert_eq!(refused, Unreadable::TooMany { what, most });
        }
    }

    #[test]
    fn a14_any_number_of_fields_of_a_later_version_is_skipped() {
        let unknown =
            [&[15 << 3, 1][..], &[14 << 3 | 2, 1, 0], &[13 << 3 | 5, 0, 0, 0, 0]].concat();
        let unknown = unknown.repeat(2000);
        let within = |outer: u8, inner: &[u8]| {
            let bits = |shift: usize| u8::try_from(inner.len() >> shift & 0x7f).unwrap();
            let length = [bits(0) | 0x80, bits(7) | 0x80, bits(14)];
            [&[outer << 3 | 2][..], &length, inner].concat()
        };
        let svid = [&unknown[..], &[1 << 3 | 2, 1, b'a'], &unknown].concat();
        let domain = [&unknown[..], &[1 << 3 | 2, 1, b'b'], &unknown].concat();
        let message = [&unknown[..], &within(1, &svid), &within(3, &domain), &unknown].concat();
        let read = Message::read(&message).unwrap();
        assert_eq!((read.svids.len(), read.svids[0].spiffe_id), (1, "a"));
        assert_eq!(read.federated.keys().collect::<Vec<_>>(), [&"b"]);
        // The result of the generated decoder.
        let decoded = X509svidResponse::decode(&message[..]).unwrap();
        assert_eq!(decoded.svids[0].spiffe_id, "a");
    }

    #[test]
    fn a14_what_may_come_once_is_refused_the_second_time() {
        let within = |outer: u8, inner: &[u8]| {
            [&[outer << 3 | 2, u8::try_from(inner.len()).unwrap()], inner].concat()
        };
        for number in 1..=5 {
            let twice = [number << 3 | 2, 0].repeat(2);
            let refused = Message::read(&within(1, &twice)).unwrap_err();
            assert!(matches!(refused, Unreadable::Repeated(_)), "field {number}: {refused}");
        }
        for number in 1..=2 {
            let twice = [number << 3 | 2, 0].repeat(2);
            let refused = Message::read(&within(3, &twice)).unwrap_err();
            assert!(matches!(refused, Unreadable::Repeated(_)), "field {number}: {refused}");
        }
        let same = within(3, &[1 << 3 | 2, 1, b'a']).repeat(2);
        assert!(matches!(Message::read(&same), Err(Unreadable::Repeated(_))));
    }

    #[test]
    fn a14_what_is_no_message_is_refused() {
        for bytes in [
            &[0][..],
            &[1 << 3 | 2],
            &[1 << 3 | 2, 1],
            // An SVID that is a number, and groups, closed or not.
            &[1 << 3, 1],
            &[15 << 3 | 3, 15 << 3 | 4],
            &[15 << 3 | 3],
            &[1 << 3 | 2, 2, 15 << 3 | 3, 15 << 3 | 4],
            // Lengths and numbers that no integer can hold.
            &[1 << 3 | 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
            &[15 << 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
            // A SPIFFE ID that is not text.
            &[1 << 3 | 2, 3, 1 << 3 | 2, 1, 255],
        ] {
            assert_eq!(Message::read(bytes).unwrap_err(), Unreadable::Malformed, "{bytes:?}");
        }
    }
}
