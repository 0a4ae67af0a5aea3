//! A subject as PostgreSQL's pg_hba.conf and pg_ident.conf see it.

use std::fmt::Write as _;

use x509_parser::der_parser::asn1_rs::ToDer as _;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Name};

/// Short names of attributes, as OpenSSL prints them.
const SHORT_NAMES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The name that `clientname=DN` compares: RFC 2253, the last attribute first (PostgreSQL: `be-secure-openssl.c`,
/// `X509_NAME_print_ex` with `XN_FLAG_RFC2253`). Empty if `subject` is no DER `Name`.
pub(super) fn distinguished_name(subject: &[u8]) -> String {
    let Ok((_, name)) = X509Name::from_der(subject) else {
        return String::new();
    };
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    parts.reverse();
    parts.join(",")
}

/// The name that `cert` compares by default: the first CN.
pub(super) fn common_name(subject: &[u8]) -> Option<String> {
    let (_, name) = X509Name::from_der(subject).ok()?;
    name.iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    match (known, attribute.as_str()) {
        (Some((_, name)), Ok(value)) => format!("{name}={}", escaped(value)),
        // OpenSSL dumps the DER of what it has no name or no text for.
        _ => {
            let mut text = format!("{}=#", known.map_or(oid.as_str(), |(_, name)| name));
            for byte in attribute.attr_value().to_der_vec().unwrap_or_default() {
                // Writing to a String does not fail.
                let _ = write!(text, "{byte:02X}");
            }
            text
        }
    }
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
            b'#' if at == 0 => text.push_str("\\#"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use dev_agent::{Authority, Entry};

    use super::*;
    use crate::material::Certificate;

    fn leaf(entry: &Entry) -> Certificate {
        let svid = Authority::new("example.org", false).unwrap().issue(entry).unwrap();
        Certificate::parse(svid.leaf()).unwrap()
    }

    #[test]
    fn names_are_those_of_pg_ident() {
        let foo = || Entry::new("spiffe://example.org/foo");
        assert_eq!(leaf(&foo()).distinguished_name(), "O=SPIRE,C=US");
        assert_eq!(leaf(&foo()).common_name(), None);
        let named = leaf(&foo().dns("dbclient"));
        assert_eq!(named.distinguished_name(), "CN=dbclient,O=SPIRE,C=US");
        assert_eq!(named.common_name().as_deref(), Some("dbclient"));
        // The identifier is the one that SPIRE's composer gives this ID.
        assert_eq!(
            leaf(&foo().dns("dbclient").unique_id(true)).distinguished_name(),
            "x500UniqueIdentifier=c3406f9b12ceb4f9c948318c579b905b,CN=dbclient,O=SPIRE,C=US"
        );
    }

    #[test]
    fn special_characters_are_escaped() {
        for (value, text) in
            [("a,b", "a\\,b"), (" a ", "\\ a\\ "), ("#a#", "\\#a#"), ("é", "\\C3\\A9"), ("", "")]
        {
            assert_eq!(escaped(value), text);
        }
    }
}
