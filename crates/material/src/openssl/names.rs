//! The names of a certificate, and the subtrees that its name constraints list, read once.

use crate::encoding::{DerError, Reader, tag};
use crate::name::{self, Part};

pub(super) const DIRECTORY: u8 = tag::constructed(4);

/// A name, or the base of a subtree.
pub(super) struct Name<'a> {
    pub(super) kind: u8,
    pub(super) content: &'a [u8],
    /// The form of a directory name that is compared; empty for other kinds.
    pub(super) comparable: Vec<u8>,
}

/// All names of one certificate.
pub(super) struct Names<'a> {
    /// The subject, and its attributes in order.
    pub(super) subject: Name<'a>,
    pub(super) attributes: Vec<Part<'a>>,
    pub(super) alternative: Vec<Name<'a>>,
}

#[derive(Default)]
pub(super) struct Subtrees<'a> {
    pub(super) permitted: Vec<Subtree<'a>>,
    pub(super) excluded: Vec<Subtree<'a>>,
}

pub(super) struct Subtree<'a> {
    pub(super) base: Name<'a>,
    /// A minimum above zero, or a maximum: RFC 5280, section 4.2.1.10, allows neither.
    pub(super) has_distances: bool,
}

/// What reading a byte costs, and what storing an element costs, in nanoseconds. The second is more than its time, because an
/// element also takes a hundred bytes of memory.
const BYTE: usize = 20;
const ELEMENT: usize = 4000;

impl<'a> Name<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DerError> {
        let (kind, content) = reader.element()?;
        Ok(Self::of(kind, content))
    }

    fn of(kind: u8, content: &'a [u8]) -> Self {
        let comparable = if kind == DIRECTORY { name::comparable(content) } else { Vec::new() };
        Self { kind, content, comparable }
    }
}

impl<'a> Names<'a> {
    /// What [`Self::read`] costs.
    pub(super) fn cost(subject: &[u8], alternative: Option<&[u8]>) -> usize {
        let alternative = alternative.unwrap_or_default();
        let count = elements(alternative) + elements_within(subject);
        (subject.len() + alternative.len()) * BYTE + count * ELEMENT
    }

    /// Reads a subject, and the content of subjectAltName.
    pub(super) fn read(subject: &'a [u8], alternative: Option<&'a [u8]>) -> Result<Self, DerError> {
        let mut names = Vec::new();
        if let Some(content) = alternative {
            Reader::new(content).enter(tag::SEQUENCE)?.for_each(|reader| {
                names.push(Name::read(reader)?);
                Ok(())
            })?;
        }
        let attributes = name::attributes(subject);
        Ok(Self { subject: Name::of(DIRECTORY, subject), attributes, alternative: names })
    }
}

impl<'a> Subtrees<'a> {
    /// What [`Self::read`] costs.
    pub(super) fn cost(content: &[u8]) -> usize {
        content.len() * BYTE + elements_within(content) * ELEMENT
    }

    /// Reads the content of nameConstraints.
    pub(super) fn read(content: &'a [u8]) -> Result<Self, DerError> {
        let mut constraints = Reader::new(content).enter(tag::SEQUENCE)?;
        let mut subtrees = Self::default();
        for (number, list) in [(0, &mut subtrees.permitted), (1, &mut subtrees.excluded)] {
            let Some(found) = constraints.optional_enter(tag::constructed(number))? else {
                continue;
            };
            found.for_each(|reader| {
                let mut subtree = reader.enter(tag::SEQUENCE)?;
                let base = Name::read(&mut subtree)?;
                let minimum = subtree.optional(tag::primitive(0))?;
                let maximum = subtree.optional(tag::primitive(1))?;
                let has_distances = maximum.is_some()
                    || minimum.is_some_and(|least| least.iter().any(|byte| *byte != 0));
                list.push(Subtree { base, has_distances });
                Ok(())
            })?;
        }
        Ok(subtrees)
    }
}

/// The number of elements in a SEQUENCE, without storing them.
fn elements(content: &[u8]) -> usize {
    Reader::new(content).enter(tag::SEQUENCE).map_or(0, count)
}

/// The number of elements two levels down: attributes of RDNs, subtrees of both lists.
fn elements_within(content: &[u8]) -> usize {
    let Ok(mut outer) = Reader::new(content).enter(tag::SEQUENCE) else { return 0 };
    let mut all = 0;
    while let Ok((_, list)) = outer.element() {
        all += count(Reader::new(list));
    }
    all
}

fn count(mut list: Reader<'_>) -> usize {
    let mut count = 0;
    while list.element().is_ok() {
        count += 1;
    }
    count
}
