//! A subject as PostgreSQL compares it for `pg_hba.conf` and `pg_ident.conf`.

mod attributes;

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use x509_parser::der_parser::asn1_rs::{Any, Class, Tag, ToDer as _};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Name};
use x509_parser::x509::RelativeDistinguishedName;

use attributes::SHORT_NAMES;

use super::encoding;

/// The name that `clientname=DN` compares: RFC 2253, the last attribute first (PostgreSQL: `be-secure-openssl.c`,
/// `X509_NAME_print_ex` with `XN_FLAG_RFC2253`). Empty if `subject` is not a DER `Name`.
pub(super) fn distinguished_name(subject: &[u8]) -> String {
    let Ok((_, name)) = X509Name::from_der(subject) else {
        return String::new();
    };
    // OpenSSL also reverses the order within an RDN of several attributes.
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let mut attributes: Vec<String> = rdn.iter().map(attribute).collect();
            attributes.reverse();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// The name that `cert` compares by default: the first CN.
pub(super) fn common_name(subject: &[u8]) -> Option<String> {
    let (_, name) = X509Name::from_der(subject).ok()?;
    text(name.iter_common_name().next()?.attr_value())
}

/// The x500UniqueIdentifier, if the subject has one that is text.
pub(super) fn unique_identifier(subject: &[u8]) -> Option<String> {
    let (_, name) = X509Name::from_der(subject).ok()?;
    let mut attributes = name.iter_attributes();
    let found = attributes.find(|found| found.attr_type().to_id_string() == "2.5.4.45")?;
    text(found.attr_value())
}

/// A DER `Name` for people: in its own order, `C=US, O=SPIRE, CN=…`, and in ASCII. Empty for another structure.
#[must_use]
pub fn for_people(subject: &[u8]) -> String {
    let Ok((_, name)) = X509Name::from_der(subject) else {
        return String::new();
    };
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join(" + "))
        .collect();
    parts.join(", ")
}

/// A name as a digest, so that comparing takes one step, however long the name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Comparable([u8; 32]);

impl Comparable {
    /// The digest of what OpenSSL compares of a DER `Name`.
    pub(super) fn of(name: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &comparable(name)).as_ref());
        Self(bytes)
    }
}

/// A DER `Name` in the form that OpenSSL compares (`x_name.c`, `x509_name_canon`). Ignored are: string types, the case of
/// ASCII letters, the number of blanks, the order within an RDN, and RDNs without an attribute. A name begins with another
/// one if this form does.
pub(super) fn comparable(name: &[u8]) -> Vec<u8> {
    let Some(rdns) = rdns(name) else { return name.to_vec() };
    let mut comparable = Vec::new();
    let mut add = |part: &[u8]| {
        comparable.extend(part.len().to_be_bytes());
        comparable.extend(part);
    };
    for rdn in &rdns {
        let mut attributes: Vec<(Vec<u8>, Vec<u8>)> = rdn
            .iter()
            .map(|found| (found.attr_type().as_bytes().to_vec(), canonical(found.attr_value())))
            .collect();
        attributes.sort_unstable();
        add(&attributes.len().to_be_bytes());
        for (kind, value) in &attributes {
            add(kind);
            add(value);
        }
    }
    comparable
}

/// `asn1_string_canon`: for most text types (`ASN1_MASK_CANON`) only the text counts. For all others, and for
/// `NumericString`, the type and the unchanged content count.
fn canonical(value: &Any<'_>) -> Vec<u8> {
    let is_folded = matches!(
        value.tag(),
        Tag::Utf8String
            | Tag::PrintableString
            | Tag::T61String
            | Tag::Ia5String
            | Tag::VisibleString
            | Tag::BmpString
            | Tag::UniversalString
    );
    let text = if is_folded { text(value) } else { None };
    let (kind, content) = match text {
        Some(text) => (Tag::Utf8String, folded(&text)),
        None => (value.tag(), content(value)),
    };
    let mut canonical = kind.0.to_be_bytes().to_vec();
    canonical.extend(content);
    canonical
}

/// The bytes of a value as OpenSSL stores them: the unused bits of a bit string become 0 (`a_bitstr.c`).
fn content(value: &Any<'_>) -> Vec<u8> {
    let mut content = value.data.to_vec();
    if value.tag() == Tag::BitString {
        match content.as_mut_slice() {
            [unused] => *unused = 0,
            [unused @ 0..8, .., last] => *last &= 0xff << *unused,
            _ => {}
        }
    }
    content
}

/// The RDNs of a name; x509-parser would stop at one without an attribute.
fn rdns(name: &[u8]) -> Option<Vec<RelativeDistinguishedName<'_>>> {
    let parse = |rdn| RelativeDistinguishedName::from_der(rdn).ok().map(|(_, parsed)| parsed);
    encoding::rdns(name)?.into_iter().map(parse).collect()
}

/// One attribute of a name.
pub(super) struct Part<'a> {
    kind: Vec<u8>,
    is_ascii_type: bool,
    data: &'a [u8],
    text: Option<String>,
}

impl<'a> Part<'a> {
    /// emailAddress of PKCS#9.
    pub(super) fn is_email(&self) -> bool {
        self.kind == [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]
    }

    pub(super) fn is_common_name(&self) -> bool {
        self.kind == [0x55, 4, 3]
    }

    /// Its bytes, if it is an `IA5String`.
    pub(super) fn ascii(&self) -> Option<&'a [u8]> {
        self.is_ascii_type.then_some(self.data)
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

/// The attributes of a name, in order.
pub(super) fn attributes(name: &[u8]) -> Vec<Part<'_>> {
    let part = |found: &AttributeTypeAndValue<'_>, data| Part {
        kind: found.attr_type().as_bytes().to_vec(),
        is_ascii_type: found.attr_value().tag() == Tag::Ia5String,
        data,
        text: text(found.attr_value()),
    };
    let rdns = rdns(name).unwrap_or_default();
    let mut parts = Vec::new();
    for rdn in &rdns {
        for found in rdn.iter() {
            parts.push(part(found, found.attr_value().data));
        }
    }
    parts
}

fn folded(text: &str) -> Vec<u8> {
    let words = text.split(|c| c == '\x0b' || char::is_ascii_whitespace(&c));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase().into_bytes()
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    if let (Some((_, name)), Some(value)) = (known, text(attribute.attr_value())) {
        return format!("{name}={}", escaped(&value));
    }
    // OpenSSL dumps the DER of a value without a name or a text.
    let mut text = format!("{}=#", known.map_or(oid.as_str(), |(_, name)| name));
    let value = attribute.attr_value();
    let value = Any::new(value.header.clone(), &content(value)).to_der_vec();
    for byte in value.unwrap_or_default() {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

/// The text of a value. The type decides how many bytes OpenSSL reads as one character (OpenSSL: `a_strex.c`, `tag2nbyte`);
/// types that should be ASCII are read as Latin 1.
fn text(value: &Any<'_>) -> Option<String> {
    if value.class() != Class::Universal {
        return None;
    }
    match value.tag() {
        Tag::Utf8String => String::from_utf8(value.data.to_vec()).ok(),
        Tag::NumericString
        | Tag::PrintableString
        | Tag::T61String
        | Tag::Ia5String
        | Tag::UtcTime
        | Tag::GeneralizedTime
        | Tag::VisibleString => Some(value.data.iter().copied().map(char::from).collect()),
        Tag::BmpString => characters::<2>(value.data),
        Tag::UniversalString => characters::<4>(value.data),
        _ => None,
    }
}

/// Characters of `WIDTH` bytes, big-endian.
fn characters<const WIDTH: usize>(bytes: &[u8]) -> Option<String> {
    let (chunks, rest) = bytes.as_chunks::<WIDTH>();
    let number = |chunk: &[u8; WIDTH]| {
        chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
    };
    rest.is_empty().then(|| chunks.iter().map(|chunk| char::from_u32(number(chunk))).collect())?
}

/// RFC 2253 section 2.4, and OpenSSL's habit of writing bytes outside of ASCII as `\XX`.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if at == 0 || at == last => text.push_str("\\ "),
            // OpenSSL treats a single character as the last one, not the first.
            b'#' if at == 0 && last > 0 => text.push_str("\\#"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
