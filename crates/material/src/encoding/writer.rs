//! Writes elements of DER.

use zeroize::Zeroizing;

/// An element with these parts as its content. It is zeroed when dropped, because it may hold a key.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let digits = length.to_be_bytes();
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(zeros..).unwrap_or_default();
    // Of exact size: a growing buffer would leave copies of a key behind.
    let mut element = Zeroizing::new(Vec::with_capacity(2 + digits.len() + length));
    element.push(tag);
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        element.push(short);
    } else {
        // No length has more than eight digits.
        element.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        element.extend_from_slice(digits);
    }
    for part in parts {
        element.extend_from_slice(part);
    }
    element
}

/// A number that is not negative.
pub(crate) fn integer(number: u32) -> Zeroizing<Vec<u8>> {
    let digits = number.to_be_bytes();
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(zeros.min(3)..).unwrap_or_default();
    // With the highest bit set it would be negative.
    let sign: &[u8] = if digits.first().is_some_and(|it| *it >= 0x80) { &[0] } else { &[] };
    element(super::tag::INTEGER, &[sign, digits])
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, tag};
    use super::*;

    #[test]
    fn texts_of_every_length_are_read_back() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff] {
            let content = vec![7; length];
            let written =
                element(tag::OCTET_STRING, &[&content[..length / 2], &content[length / 2..]]);
            assert_eq!(Reader::new(&written).take(tag::OCTET_STRING), Ok(content.as_slice()));
            // A buffer that grows leaves copies of a key behind. The short form reserves one byte more.
            assert!(written.capacity() <= written.len() + 1, "it grew");
        }
        for number in [0, 1, 0x7f, 0x80, 0xff, 0x100, 2048, 0x8000, u32::MAX] {
            let written = integer(number);
            let content = Reader::new(&written).integer().unwrap();
            let value = content.iter().fold(0_u64, |value, digit| value << 8 | u64::from(*digit));
            assert_eq!((value, content[0] < 0x80), (number.into(), true));
        }
    }
}
