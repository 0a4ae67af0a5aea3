//! Certificates with a change in their structure, and corrected lengths around it.

use test_support::Dice;

/// An element of DER.
#[derive(Clone)]
struct Node {
    tag: u8,
    /// Empty where there are elements within it.
    content: Vec<u8>,
    within: Vec<Node>,
    /// Not behind the last element, but as if it were one.
    behind: Vec<u8>,
    length: LengthForm,
}

#[derive(Clone, Copy)]
enum LengthForm {
    Definite,
    Padded,
    Indefinite,
    Wrong,
}

/// The certificate with one to three changes.
pub(crate) fn mutated(der: &[u8], dice: &mut Dice) -> Vec<u8> {
    if dice.once_in(4) {
        return flipped(der, dice);
    }
    let mut roots = elements(der).unwrap();
    for _ in 0..(if dice.once_in(4) { 3 } else { 1 }) {
        let count: usize = roots.iter().map(Node::count).sum();
        let chosen = usize::try_from(dice.between(1..=u32::try_from(count - 1).unwrap())).unwrap();
        change(&mut roots, &mut { chosen }, dice);
    }
    roots.iter().flat_map(Node::encode).collect()
}

/// The certificate with another value in the place of the first `UTF8String`.
pub(crate) fn with_value(der: &[u8], tag: u8, content: &[u8]) -> Vec<u8> {
    fn replace(nodes: &mut [Node], tag: u8, content: &[u8]) -> bool {
        nodes.iter_mut().any(|node| {
            if node.tag == 12 {
                (node.tag, node.content) = (tag, content.to_vec());
                return true;
            }
            replace(&mut node.within, tag, content)
        })
    }
    let mut roots = elements(der).unwrap();
    assert!(replace(&mut roots, tag, content));
    roots.iter().flat_map(Node::encode).collect()
}

/// One byte, anywhere.
fn flipped(der: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = der.to_vec();
    let at = usize::try_from(dice.between(0..=u32::try_from(der.len() - 1).unwrap())).unwrap();
    bytes[at] ^= *dice.one_of(&[1, 2, 4, 8, 16, 32, 64, 128, 255]);
    bytes
}

/// The elements of which the bytes consist, if they do.
fn elements(mut der: &[u8]) -> Option<Vec<Node>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (&tag, rest) = der.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            ..=0x7f => (first.into(), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked((first & 0x7f).into())?;
                (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        // Octet strings: the contents of extensions.
        let within = if tag & 0x20 != 0 || tag == 4 { elements(content) } else { None };
        let within = within.unwrap_or_default();
        let content = if within.is_empty() { content.to_vec() } else { Vec::new() };
        let node = Node { tag, content, within, behind: Vec::new(), length: LengthForm::Definite };
        found.push(node);
        der = rest;
    }
    Some(found)
}

/// Changes the `chosen`th of them, counted through all depths.
fn change(nodes: &mut Vec<Node>, chosen: &mut usize, dice: &mut Dice) {
    for at in 0..nodes.len() {
        let count = nodes[at].count();
        if *chosen >= count {
            *chosen -= count;
        } else if *chosen > 0 {
            *chosen -= 1;
            change(&mut nodes[at].within, chosen, dice);
            return;
        } else {
            change_at(nodes, at, dice);
            return;
        }
    }
}

fn change_at(nodes: &mut Vec<Node>, at: usize, dice: &mut Dice) {
    let any_tag = |dice: &mut Dice| match dice.between(0..=3) {
        0 => u8::try_from(dice.between(0..=255)).unwrap(),
        1 => *dice.one_of(&[
            0x80, 0x81, 0x82, 0x83, 0x84, 0x87, 0x88, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5,
        ]),
        _ => *dice.one_of(&[1, 2, 3, 4, 5, 6, 12, 18, 19, 20, 22, 23, 24, 26, 28, 30, 0x30, 0x31]),
    };
    let some = |dice: &mut Dice| {
        let count = *dice.one_of(&[0, 1, 1, 1, 2, 2, 3, 4, 4, 5]);
        dice.bytes(count)
    };
    let node = &mut nodes[at];
    match dice.between(0..=13) {
        0 => drop(nodes.remove(at)),
        1 => nodes.insert(at, nodes[at].clone()),
        2 => node.tag = any_tag(dice),
        3 if node.within.is_empty() => drop(node.content.pop()),
        3 => drop(node.within.pop()),
        4 => node.behind = some(dice),
        5 => (node.content, node.within) = (Vec::new(), Vec::new()),
        6 => (node.content, node.within) = (some(dice), Vec::new()),
        7 => (node.tag, node.content, node.within) = (any_tag(dice), some(dice), Vec::new()),
        8 => node.length = LengthForm::Padded,
        9 => node.length = LengthForm::Indefinite,
        10 => node.length = LengthForm::Wrong,
        11 => {
            let (tag, content) = (any_tag(dice), some(dice));
            let length = LengthForm::Definite;
            nodes.insert(at, Node { tag, content, within: Vec::new(), behind: Vec::new(), length });
        }
        _ if !node.content.is_empty() => {
            let last = u32::try_from(node.content.len() - 1).unwrap();
            let any = dice.between(0..=last);
            let byte = *dice.one_of(&[0, 0, last, any]);
            node.content[usize::try_from(byte).unwrap()] = match dice.between(0..=2) {
                0 => 0x80,
                1 => 0,
                _ => dice.bytes(1)[0],
            };
        }
        _ => node.tag ^= 0x20,
    }
}

impl Node {
    fn count(&self) -> usize {
        1 + self.within.iter().map(Self::count).sum::<usize>()
    }

    fn encode(&self) -> Vec<u8> {
        let mut content = self.content.clone();
        content.extend(self.within.iter().flat_map(Self::encode));
        content.extend(&self.behind);
        let [.., a, b, c] = content.len().to_be_bytes();
        let mut header = match self.length {
            LengthForm::Indefinite => vec![0x80],
            LengthForm::Padded if content.len() < 0x80 => vec![0x81, c],
            LengthForm::Padded => vec![0x83, a, b, c],
            LengthForm::Definite | LengthForm::Wrong => length(&content),
        };
        if let (LengthForm::Wrong, Some(last)) = (self.length, header.last_mut()) {
            *last ^= 1;
        }
        if let LengthForm::Indefinite = self.length {
            content.extend([0, 0]);
        }
        [&[self.tag], header.as_slice(), &content].concat()
    }
}

/// An element with this content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag], length(content).as_slice(), content].concat()
}

fn length(content: &[u8]) -> Vec<u8> {
    let [.., a, b, c] = content.len().to_be_bytes();
    match content.len() {
        0..0x80 => vec![c],
        0x80..0x100 => vec![0x81, c],
        0x100..0x1_0000 => vec![0x82, b, c],
        _ => vec![0x83, a, b, c],
    }
}
