//! The contents of the extensions that OpenSSL reads before it serves or trusts a certificate (`x509v3_cache_extensions`).
//!
//! OpenSSL does not load a leaf if one of them is malformed. If an authority has a malformed one, no client whose certificate
//! it signed can log in.

use super::Unloadable;
use super::names::{attributes, general_names, subtrees};
use super::reader::{DerError, Reader, bit_string, integer, tag};

type CheckContent = fn(&mut Reader<'_>) -> Result<(), DerError>;

/// The encoded object identifier, the name in RFC 5280 or in its own RFC, and the reader of the content.
const WELL_KNOWN: &[(&[u8], &str, CheckContent)] = &[
    (&[0x55, 0x1d, 14], "subjectKeyIdentifier", |content| {
        content.take(tag::OCTET_STRING).map(|_| ())
    }),
    (&[0x55, 0x1d, 15], "keyUsage", key_usage),
    (&[0x55, 0x1d, 17], "subjectAltName", |content| general_names(content.enter(tag::SEQUENCE)?)),
    (&[0x55, 0x1d, 19], "basicConstraints", basic_constraints),
    (&[0x55, 0x1d, 30], "nameConstraints", name_constraints),
    (&[0x55, 0x1d, 31], "cRLDistributionPoints", distribution_points),
    (&[0x55, 0x1d, 35], "authorityKeyIdentifier", authority_key_identifier),
    (&[0x55, 0x1d, 37], "extKeyUsage", extended_key_usage),
    (&[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1], "netscape-cert-type", |content| {
        content.bit_string().map(|_| ())
    }),
    // RFC 3779.
    (&[0x2b, 6, 1, 5, 5, 7, 1, 7], "ipAddrBlocks", address_blocks),
    (&[0x2b, 6, 1, 5, 5, 7, 1, 8], "autonomousSysIds", system_identifiers),
    (&[0x2b, 6, 1, 5, 5, 7, 1, 14], "proxyCertInfo", |_| Err(DerError::Proxy)),
];

/// One extension.
pub(crate) struct Extension<'a> {
    /// The encoded object identifier.
    pub(crate) identifier: &'a [u8],
    /// Whether a reader that does not know it must refuse the certificate.
    pub(crate) critical: bool,
    /// The content of its octet string.
    pub(crate) content: &'a [u8],
}

/// The elements of the list of extensions, if the certificate has one.
pub(super) fn extension_list<'a>(fields: &mut Reader<'a>) -> Result<Option<Reader<'a>>, DerError> {
    let Some(mut outer) = fields.optional_enter(tag::constructed(3))? else {
        return Ok(None);
    };
    let list = outer.enter(tag::SEQUENCE)?;
    outer.end()?;
    Ok(Some(list))
}

/// `Extensions ::= SEQUENCE OF SEQUENCE { OBJECT IDENTIFIER, BOOLEAN DEFAULT FALSE, OCTET STRING }`
pub(super) fn extensions(mut list: Reader<'_>) -> Result<(), Unloadable> {
    let mut seen = Vec::new();
    while !list.is_empty() {
        let Extension { identifier, content, .. } =
            extension(&mut list).map_err(Unloadable::within("extensions"))?;
        let known = WELL_KNOWN.iter().find(|(known, ..)| *known == identifier);
        if let Some((_, name, read)) = known {
            let at = Unloadable::within(name);
            if seen.contains(name) {
                return Err(at(DerError::Twice));
            }
            seen.push(*name);
            let mut content = Reader::new(content);
            read(&mut content).and_then(|()| content.end()).map_err(at)?;
        }
    }
    Ok(())
}

pub(super) fn extension<'a>(list: &mut Reader<'a>) -> Result<Extension<'a>, DerError> {
    let mut extension = list.enter(tag::SEQUENCE)?;
    let identifier = extension.object_identifier()?;
    let critical = extension.optional_boolean()?;
    let content = extension.take(tag::OCTET_STRING)?;
    extension.end()?;
    Ok(Extension { identifier, critical, content })
}

fn basic_constraints(content: &mut Reader<'_>) -> Result<(), DerError> {
    let mut constraints = content.enter(tag::SEQUENCE)?;
    constraints.optional_boolean()?;
    if !constraints.is_empty() && constraints.integer()?.first().is_some_and(|byte| *byte >= 0x80) {
        return Err(DerError::Negative);
    }
    constraints.end()
}

fn key_usage(content: &mut Reader<'_>) -> Result<(), DerError> {
    let allows = match content.bit_string()? {
        (_, []) => false,
        (unused, [only]) => only >> unused != 0,
        (unused, [first, last]) => *first != 0 || last >> unused != 0,
        (_, [first, second, ..]) => *first != 0 || *second != 0,
    };
    if allows { Ok(()) } else { Err(DerError::NoUsage) }
}

fn extended_key_usage(content: &mut Reader<'_>) -> Result<(), DerError> {
    content.enter(tag::SEQUENCE)?.for_each(|usages| usages.object_identifier().map(|_| ()))
}

fn authority_key_identifier(content: &mut Reader<'_>) -> Result<(), DerError> {
    let mut identifier = content.enter(tag::SEQUENCE)?;
    identifier.optional(tag::primitive(0))?;
    identifier.optional_enter(tag::constructed(1))?.map_or(Ok(()), general_names)?;
    identifier.optional(tag::primitive(2))?.map_or(Ok(()), integer)?;
    identifier.end()
}

fn name_constraints(content: &mut Reader<'_>) -> Result<(), DerError> {
    let mut constraints = content.enter(tag::SEQUENCE)?;
    for number in [0, 1] {
        constraints.optional_enter(tag::constructed(number))?.map_or(Ok(()), subtrees)?;
    }
    constraints.end()
}

fn distribution_points(content: &mut Reader<'_>) -> Result<(), DerError> {
    content.enter(tag::SEQUENCE)?.for_each(|points| {
        let mut point = points.enter(tag::SEQUENCE)?;
        let name = point.optional_enter(tag::constructed(0))?;
        if let Some(mut name) = name {
            match name.optional_enter(tag::constructed(0))? {
                Some(full) => general_names(full)?,
                None => attributes(name.enter(tag::constructed(1))?)?,
            }
            name.end()?;
        }
        point.optional(tag::primitive(1))?.map_or(Ok(()), |bits| bit_string(bits).map(|_| ()))?;
        let issuer = point.optional_enter(tag::constructed(2))?;
        issuer.map_or(Ok(()), general_names)?;
        // OpenSSL's own rule: a distribution point of a CRL has a name or an issuer.
        if name.is_none() && issuer.is_none_or(Reader::is_empty) {
            return Err(DerError::Unexpected);
        }
        point.end()
    })
}

fn address_blocks(content: &mut Reader<'_>) -> Result<(), DerError> {
    content.enter(tag::SEQUENCE)?.for_each(|families| {
        let mut family = families.enter(tag::SEQUENCE)?;
        family.take(tag::OCTET_STRING)?;
        check_inherit_or_list(&mut family, |item| match item.optional_enter(tag::SEQUENCE)? {
            Some(mut range) => {
                range.bit_string()?;
                range.bit_string()?;
                range.end()
            }
            None => item.bit_string().map(|_| ()),
        })?;
        family.end()
    })
}

fn system_identifiers(content: &mut Reader<'_>) -> Result<(), DerError> {
    let mut kinds = content.enter(tag::SEQUENCE)?;
    for number in [0, 1] {
        if let Some(mut identifiers) = kinds.optional_enter(tag::constructed(number))? {
            check_inherit_or_list(&mut identifiers, |item| {
                match item.optional_enter(tag::SEQUENCE)? {
                    Some(mut range) => {
                        range.integer()?;
                        range.integer()?;
                        range.end()
                    }
                    None => item.integer().map(|_| ()),
                }
            })?;
            identifiers.end()?;
        }
    }
    kinds.end()
}

/// `CHOICE { inherit NULL, SEQUENCE OF item }`
fn check_inherit_or_list(reader: &mut Reader<'_>, item: CheckContent) -> Result<(), DerError> {
    match reader.optional_enter(tag::NULL)? {
        Some(inherit) => inherit.end().map_err(|_| DerError::Null),
        None => reader.enter(tag::SEQUENCE)?.for_each(item),
    }
}
