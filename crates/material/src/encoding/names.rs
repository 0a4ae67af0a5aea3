//! Names: those of subjects and issuers, and the other kinds of names in extensions.

use super::reader::{DerError, Reader, integer, object_identifier, tag};

/// `Name ::= SEQUENCE OF SET OF SEQUENCE { OBJECT IDENTIFIER, value }`
pub(super) fn name(reader: &mut Reader<'_>) -> Result<(), DerError> {
    reader.enter(tag::SEQUENCE)?.for_each(|sets| attributes(sets.enter(tag::SET)?))
}

pub(super) fn attributes(set: Reader<'_>) -> Result<(), DerError> {
    set.for_each(|set| {
        let mut attribute = set.enter(tag::SEQUENCE)?;
        attribute.object_identifier()?;
        value(&mut attribute)?;
        attribute.end()
    })
}

/// OpenSSL converts every text value to UTF-8 to compare names, and does not load a certificate if that fails. In the older
/// string types it treats every byte as a character.
fn value(reader: &mut Reader<'_>) -> Result<(), DerError> {
    let mut rest = *reader;
    let (tag, content) = reader.element()?;
    let valid = match tag {
        tag::UTF8_STRING => std::str::from_utf8(content).is_ok(),
        tag::BMP_STRING => characters(content, |pair: [u8; 2]| u16::from_be_bytes(pair).into()),
        tag::UNIVERSAL_STRING => characters(content, u32::from_be_bytes),
        tag::NUMERIC_STRING
        | tag::PRINTABLE_STRING
        | tag::TELETEX_STRING
        | tag::IA5_STRING
        | tag::SEQUENCE => true,
        // x500UniqueIdentifier (X.520, section 6.2.7).
        tag::BIT_STRING => return rest.any(),
        _ => return Err(DerError::TextType),
    };
    if valid { Ok(()) } else { Err(DerError::Text) }
}

/// Whether the content is a sequence of characters of a fixed size. These types have no surrogate pairs.
fn characters<const SIZE: usize>(content: &[u8], code: impl Fn([u8; SIZE]) -> u32) -> bool {
    let (characters, rest) = content.as_chunks();
    rest.is_empty() && characters.iter().all(|bytes| char::from_u32(code(*bytes)).is_some())
}

/// `GeneralNames` (RFC 5280, section 4.2.1.6), without its own header.
pub(super) fn general_names(reader: Reader<'_>) -> Result<(), DerError> {
    reader.for_each(general_name)
}

pub(super) fn general_name(reader: &mut Reader<'_>) -> Result<(), DerError> {
    const OTHER: u8 = tag::constructed(0);
    const X400: u8 = tag::constructed(3);
    const DIRECTORY: u8 = tag::constructed(4);
    const RFC822: u8 = tag::primitive(1);
    const DNS: u8 = tag::primitive(2);
    const URI: u8 = tag::primitive(6);
    const ADDRESS: u8 = tag::primitive(7);
    const REGISTERED: u8 = tag::primitive(8);

    let (tag, content) = reader.element()?;
    let mut within = Reader::new(content);
    match tag {
        RFC822 | DNS | URI | ADDRESS | X400 => Ok(()),
        REGISTERED => object_identifier(content),
        DIRECTORY => {
            name(&mut within)?;
            within.end()
        }
        OTHER => {
            within.object_identifier()?;
            let mut value = within.enter(tag::constructed(0))?;
            value.any()?;
            value.end()?;
            within.end()
        }
        _ => Err(DerError::Unexpected),
    }
}

/// `GeneralSubtrees` (RFC 5280, section 4.2.1.10), without its own header.
pub(super) fn subtrees(reader: Reader<'_>) -> Result<(), DerError> {
    reader.for_each(|subtrees| {
        let mut subtree = subtrees.enter(tag::SEQUENCE)?;
        general_name(&mut subtree)?;
        for number in [0, 1] {
            subtree.optional(tag::primitive(number))?.map_or(Ok(()), integer)?;
        }
        subtree.end()
    })
}
