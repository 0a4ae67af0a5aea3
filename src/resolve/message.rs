//! The two messages of DNS that are needed (RFC 1035, 4.1): a question for addresses, and its answer.
//!
//! A name server that follows the question to its end (recursion) answers with every address, so the names of an answer
//! are skipped, and no pointer of theirs is followed.

use std::net::IpAddr;

/// The length of the header.
const HEADER: usize = 12;
/// The class of the Internet.
const INTERNET: u16 = 1;
/// Longest name, as text without a dot at its end, and longest label.
const LONGEST: (usize, usize) = (253, 63);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Addresses of IPv4.
    A = 1,
    /// Addresses of IPv6 (RFC 3596).
    Aaaa = 28,
}

/// A name server's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The addresses, in their order; none if the name does not exist, or has none of this kind.
    Addresses(Vec<IpAddr>),
    /// The name server cannot answer; the code is one of RFC 1035, 4.1.1.
    Failed(u8),
}

/// The question with its length before it, as TCP wants it; `None` if that is no name of DNS.
pub(super) fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let is_label = |label: &str| (1..=LONGEST.1).contains(&label.len());
    if name.len() > LONGEST.0 || !name.split('.').all(is_label) {
        return None;
    }
    let mut message = Vec::with_capacity(HEADER + name.len() + 6);
    message.extend(id.to_be_bytes());
    // Recursion desired; one question, and no records.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).ok()?);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend((kind as u16).to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    let length = u16::try_from(message.len()).ok()?;
    Some([&length.to_be_bytes(), &message[..]].concat())
}

/// Reads the answer to the question with this number; `None` if it is none.
pub(super) fn answer(message: &[u8], id: u16) -> Option<Answer> {
    let mut rest = Rest(message);
    let (of, flags) = (rest.number()?, rest.number()?);
    let (questions, answers) = (rest.number()?, rest.number()?);
    rest.skip(4)?;
    // An answer, to a usual question.
    if of != id || flags >> 11 != 0b1_0000 {
        return None;
    }
    match flags.to_be_bytes()[1] & 0b1111 {
        0 => {}
        // The name does not exist.
        3 => return Some(Answer::Addresses(Vec::new())),
        code => return Some(Answer::Failed(code)),
    }
    for _ in 0..questions {
        rest.name()?;
        rest.skip(4)?;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        rest.name()?;
        let (kind, class) = (rest.number()?, rest.number()?);
        // The time to live: each look asks again.
        rest.skip(4)?;
        let length = rest.number()?;
        let data = rest.take(length.into())?;
        if class != INTERNET {
            continue;
        }
        if kind == Kind::A as u16 {
            found.push(<[u8; 4]>::try_from(data).ok()?.into());
        } else if kind == Kind::Aaaa as u16 {
            found.push(<[u8; 16]>::try_from(data).ok()?.into());
        }
    }
    Some(Answer::Addresses(found))
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(drop)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Skips a name: labels, then the root or a pointer.
    fn name(&mut self) -> Option<()> {
        loop {
            match self.take(1)?[0] {
                0 => return Some(()),
                pointer if pointer >= 0b1100_0000 => return self.skip(1),
                length if usize::from(length) <= LONGEST.1 => self.skip(length.into())?,
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The answer to `db.example`, an alias of a name with two addresses.
    fn answered() -> Vec<u8> {
        let mut message = question(7, "db.example", Kind::A).unwrap().split_off(2);
        message[2..4].copy_from_slice(&[0x85, 0x80]);
        message[7] = 3;
        // A pointer to the question's name, CNAME, Internet, 30 s, and a name.
        message.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 30, 0, 3, 1, b'b', 0]);
        for last in [1, 2] {
            message.extend([1, b'b', 0, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 0, 0, last]);
        }
        message
    }

    #[test]
    fn a_question_is_as_rfc_1035_has_it() {
        let asked = question(0x0102, "db.ns", Kind::Aaaa).unwrap();
        let wanted = b"\x00\x17\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02db\x02ns\x00\x00\x1c\x00\x01";
        assert_eq!(asked, wanted);
        for name in ["", "a..b", &"a".repeat(64), &"a.".repeat(127), "a."] {
            assert_eq!(question(1, name, Kind::A), None, "{name}");
        }
    }

    #[test]
    fn every_address_of_an_answer_counts_and_aliases_are_passed_over() {
        let wanted = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        assert_eq!(answer(&answered(), 7), Some(Answer::Addresses(wanted.to_vec())));
        assert_eq!(answer(&answered(), 8), None, "the answer to another question");
        for length in 0..answered().len() {
            assert_eq!(answer(&answered()[..length], 7), None, "{length}");
        }
    }

    #[test]
    fn a_name_that_does_not_exist_has_no_address_and_a_failure_is_none() {
        let mut message = answered();
        message[3] = 0x83;
        assert_eq!(answer(&message, 7), Some(Answer::Addresses(Vec::new())));
        message[3] = 0x82;
        assert_eq!(answer(&message, 7), Some(Answer::Failed(2)));
        // A question is no answer.
        message[2] = 1;
        assert_eq!(answer(&message, 7), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn y12_no_bytes_of_a_name_server_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            changes in prop::collection::vec((0..80usize, any::<u8>()), 0..8),
        ) {
            let _ = answer(&bytes, u16::from_be_bytes([0, 7]));
            let mut message = answered();
            for (at, byte) in changes {
                if let Some(changed) = message.get_mut(at) {
                    *changed = byte;
                }
            }
            let _ = answer(&message, 7);
        }
    }
}
