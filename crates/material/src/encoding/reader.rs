//! Reads elements of DER one after the other.

/// What is wrong with an element. The text follows "its FIELD: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// The bytes end before the element does.
    #[error("its bytes end too early")]
    CutOff,
    /// The length is indefinite, or takes more bytes than it needs.
    #[error("a length is not encoded as DER requires")]
    Length,
    /// The element is missing, or another one is in its place.
    #[error("an element is missing or has the wrong type")]
    Unexpected,
    /// Bytes are left over after the last element.
    #[error("it has extra bytes after its last element")]
    LeftOver,
    /// An object identifier without content, or with a number that is cut off or padded.
    #[error("an object identifier is malformed")]
    ObjectIdentifier,
    /// An integer without content, or with more bytes than it needs.
    #[error("an integer is empty or padded")]
    Integer,
    /// An integer that must not be negative is.
    #[error("a number is negative")]
    Negative,
    /// A BOOLEAN that does not have one byte.
    #[error("a BOOLEAN does not have exactly one byte")]
    Boolean,
    /// A bit string without content, or with more than seven unused bits.
    #[error("a bit string is malformed")]
    BitString,
    /// A NULL that has content.
    #[error("a NULL is not empty")]
    Null,
    /// A string whose bytes are not text in the encoding of its type.
    #[error("a string is not valid in the encoding of its type")]
    Text,
    /// A string type that names may not have.
    #[error("a string has a type that names do not have")]
    TextType,
    /// A time in another form than RFC 5280, section 4.1.2.5, requires.
    #[error("a time is not YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ")]
    Time,
    /// An extension that may occur only once.
    #[error("the extension occurs twice")]
    Twice,
    /// Key usage without any bit.
    #[error("it allows nothing")]
    NoUsage,
    /// Proxy certificates (RFC 3820) are neither SVIDs nor authorities.
    #[error("it makes this a proxy certificate")]
    Proxy,
    /// A key that OpenSSL does not serve.
    #[error(
        "the key is broken, weak, or of a type that is not supported in an intermediate (supported are EC P-256, P-384 and \
         P-521, RSA from 2048 bits, Ed25519)"
    )]
    Key,
    /// A signature that OpenSSL does not serve.
    #[error("the signature is weak, or of a type that is not supported")]
    Signature,
}

/// Tags of one byte: class, form and number (X.690, section 8.1.2).
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 1;
    pub(crate) const INTEGER: u8 = 2;
    pub(crate) const BIT_STRING: u8 = 3;
    pub(crate) const OCTET_STRING: u8 = 4;
    pub(crate) const NULL: u8 = 5;
    pub(crate) const OBJECT_IDENTIFIER: u8 = 6;
    pub(crate) const UTF8_STRING: u8 = 12;
    pub(crate) const NUMERIC_STRING: u8 = 18;
    pub(crate) const PRINTABLE_STRING: u8 = 19;
    pub(crate) const TELETEX_STRING: u8 = 20;
    pub(crate) const IA5_STRING: u8 = 22;
    pub(crate) const UTC_TIME: u8 = 23;
    pub(crate) const GENERALIZED_TIME: u8 = 24;
    pub(crate) const UNIVERSAL_STRING: u8 = 28;
    pub(crate) const BMP_STRING: u8 = 30;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// Context tag `[number]`, primitive.
    pub(crate) const fn primitive(number: u8) -> u8 {
        0x80 | number
    }

    /// Context tag `[number]`, constructed.
    pub(crate) const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// The elements that have not been read yet.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Fails if anything is left over.
    pub(crate) fn end(self) -> Result<(), DerError> {
        if self.is_empty() { Ok(()) } else { Err(DerError::LeftOver) }
    }

    /// The next element: its tag and its content.
    pub(crate) fn element(&mut self) -> Result<(u8, &'a [u8]), DerError> {
        let (&tag, rest) = self.0.split_first().ok_or(DerError::Unexpected)?;
        // Numbers from 31 on take more bytes. No element of a certificate has one.
        if tag & 0x1f == 0x1f {
            return Err(DerError::Unexpected);
        }
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length).ok_or(DerError::CutOff)?;
        self.0 = rest;
        Ok((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<&'a [u8], DerError> {
        self.optional(tag)?.ok_or(DerError::Unexpected)
    }

    /// The next element with its tag and its length.
    pub(crate) fn raw_element(&mut self, tag: u8) -> Result<&'a [u8], DerError> {
        let before = self.0;
        self.take(tag)?;
        Ok(&before[..before.len() - self.0.len()])
    }

    /// The content of the next element, if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, DerError> {
        if self.0.first() == Some(&tag) { Ok(Some(self.element()?.1)) } else { Ok(None) }
    }

    /// A reader for the elements within the next one, which must have this tag.
    pub(crate) fn enter(&mut self, tag: u8) -> Result<Self, DerError> {
        Ok(Self::new(self.take(tag)?))
    }

    /// As [`Self::enter`], or `None` if the next element has another tag.
    pub(crate) fn optional_enter(&mut self, tag: u8) -> Result<Option<Self>, DerError> {
        Ok(self.optional(tag)?.map(Self::new))
    }

    /// Reads every remaining element with `read`.
    pub(crate) fn for_each(
        mut self,
        mut read: impl FnMut(&mut Self) -> Result<(), DerError>,
    ) -> Result<(), DerError> {
        while !self.is_empty() {
            read(&mut self)?;
        }
        Ok(())
    }

    pub(crate) fn object_identifier(&mut self) -> Result<&'a [u8], DerError> {
        let content = self.take(tag::OBJECT_IDENTIFIER)?;
        object_identifier(content)?;
        Ok(content)
    }

    pub(crate) fn integer(&mut self) -> Result<&'a [u8], DerError> {
        let content = self.take(tag::INTEGER)?;
        integer(content)?;
        Ok(content)
    }

    /// The bits, and how many of the last byte are unused.
    pub(crate) fn bit_string(&mut self) -> Result<(u8, &'a [u8]), DerError> {
        bit_string(self.take(tag::BIT_STRING)?)
    }

    /// A BOOLEAN that is false by default.
    pub(crate) fn optional_boolean(&mut self) -> Result<bool, DerError> {
        let Some(content) = self.optional(tag::BOOLEAN)? else { return Ok(false) };
        boolean(content)?;
        Ok(content != [0])
    }

    /// An element of any type. OpenSSL checks the content of simple types.
    pub(crate) fn any(&mut self) -> Result<(), DerError> {
        let (tag, content) = self.element()?;
        match tag {
            tag::BOOLEAN => boolean(content),
            tag::INTEGER => integer(content),
            tag::BIT_STRING => bit_string(content).map(|_| ()),
            tag::NULL if !content.is_empty() => Err(DerError::Null),
            tag::OBJECT_IDENTIFIER => object_identifier(content),
            tag::BMP_STRING if content.len() % 2 != 0 => Err(DerError::Text),
            tag::UNIVERSAL_STRING if content.len() % 4 != 0 => Err(DerError::Text),
            // Versions after 3.0 check these.
            tag::UTC_TIME if content.len() < 13 => Err(DerError::Time),
            tag::GENERALIZED_TIME if content.len() < 15 => Err(DerError::Time),
            tag::SEQUENCE | tag::SET => Ok(()),
            // Simple types contain no elements; sequences and sets do. 0 marks an end of indefinite length, which DER does
            // not have.
            0 | 0x10 | 0x11 | 0x20..=0x3f => Err(DerError::Unexpected),
            _ => Ok(()),
        }
    }
}

/// A definite length in the fewest possible bytes (X.690, section 10.1).
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), DerError> {
    let (&first, rest) = bytes.split_first().ok_or(DerError::CutOff)?;
    if first < 0x80 {
        return Ok((first.into(), rest));
    }
    let (digits, rest) = rest.split_at_checked((first & 0x7f).into()).ok_or(DerError::CutOff)?;
    // Nothing that is checked has 2^24 bytes or more.
    if digits.len() > 3 {
        return Err(DerError::Length);
    }
    let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
    if length < 0x80 || digits.first() == Some(&0) {
        return Err(DerError::Length);
    }
    Ok((length, rest))
}

/// Numbers of seven bits a byte, all but the last with the eighth bit, none with leading zeros (X.690, section 8.19.2).
pub(crate) fn object_identifier(content: &[u8]) -> Result<(), DerError> {
    let mut begins = true;
    for byte in content {
        if begins && *byte == 0x80 {
            return Err(DerError::ObjectIdentifier);
        }
        begins = byte & 0x80 == 0;
    }
    if content.is_empty() || !begins { Err(DerError::ObjectIdentifier) } else { Ok(()) }
}

/// X.690, section 8.3.2: the first nine bits are neither all zeros nor all ones.
pub(crate) fn integer(content: &[u8]) -> Result<(), DerError> {
    match content {
        [] => Err(DerError::Integer),
        [0, second, ..] if *second < 0x80 => Err(DerError::Integer),
        [0xff, second, ..] if *second >= 0x80 => Err(DerError::Integer),
        _ => Ok(()),
    }
}

fn boolean(content: &[u8]) -> Result<(), DerError> {
    if content.len() == 1 { Ok(()) } else { Err(DerError::Boolean) }
}

pub(crate) fn bit_string(content: &[u8]) -> Result<(u8, &[u8]), DerError> {
    match content.split_first() {
        Some((unused @ 0..8, bits)) => Ok((*unused, bits)),
        _ => Err(DerError::BitString),
    }
}
