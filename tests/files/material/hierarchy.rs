//! Certificates by recipe, and hierarchies of them with something wrong somewhere, drawn by lot.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use pgsvid::material::Offer;
use pgsvid::timing;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData as _, SigningKey as _,
};
use test_support::Dice;
use zeroize::Zeroizing;

use crate::material::mutation::element;
use crate::material::offers::ID;

/// The leaf's key, and those that others may have: each authority has the key of its own number.
const LEAF_KEY: usize = 0;
static KEYS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
    let kinds = [&PKCS_ECDSA_P256_SHA256; 5].into_iter().chain([&PKCS_ECDSA_P384_SHA384]);
    kinds.map(|kind| KeyPair::generate_for(kind).unwrap()).collect()
});

/// The leaf's key, in PKCS#8.
fn leaf_key() -> Vec<u8> {
    KEYS[LEAF_KEY].serialize_der()
}

const HOUR: i64 = 3600;
/// keyUsage, as its bit string has it.
pub(crate) const SIGNATURE: u8 = 0x80;
const CERT_SIGN: u8 = 0x04;

/// What is to be in a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    key: usize,
    signer: usize,
    serial: u8,
    /// Seconds from now.
    validity: (i64, i64),
    version_1: bool,
    other_inner_algorithm: bool,
    /// Object identifier, whether it is critical, content.
    extensions: Vec<(Vec<u8>, bool, Vec<u8>)>,
}

/// What somebody sends, and what is trusted.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) leaf: Vec<u8>,
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) trusted: Vec<Vec<u8>>,
}

pub(crate) fn name(text: &str, tag: u8) -> Vec<u8> {
    let value = [element(6, &[0x55, 4, 3]), element(tag, text.as_bytes())].concat();
    element(0x30, &element(0x31, &element(0x30, &value)))
}

fn identifier_of(key: usize) -> Vec<u8> {
    vec![0xa0 + u8::try_from(key).unwrap(); 20]
}

pub(crate) fn flags(bits: u8) -> Vec<u8> {
    element(3, &[0, bits])
}

pub(crate) fn constraints(authority: bool, most: Option<u8>) -> Vec<u8> {
    let authority = if authority { element(1, &[0xff]) } else { Vec::new() };
    let most = most.map(|most| element(2, &[most])).unwrap_or_default();
    element(0x30, &[authority, most].concat())
}

/// `keyid`, or issuer and serial number.
pub(crate) fn key_identifier(key: usize) -> Vec<u8> {
    element(0x30, &element(0x80, &identifier_of(key)))
}

pub(crate) fn issuer_and_serial(issuer: &[u8], serial: Option<u8>) -> Vec<u8> {
    let names = element(0xa1, &element(0xa4, issuer));
    let serial = serial.map(|serial| element(0x82, &[serial])).unwrap_or_default();
    element(0x30, &[names, serial].concat())
}

fn purposes(numbers: &[u8]) -> Vec<u8> {
    let purpose = |number: &u8| element(6, &[0x2b, 6, 1, 5, 5, 7, 3, *number]);
    element(0x30, &numbers.iter().flat_map(purpose).collect::<Vec<u8>>())
}

/// Permitted and excluded subtrees: tags and contents of their bases.
pub(crate) fn name_constraints(permitted: &[(u8, &[u8])], excluded: &[(u8, &[u8])]) -> Vec<u8> {
    let list = |tag: u8, bases: &[(u8, &[u8])]| {
        let subtree = |(tag, base): &(u8, &[u8])| element(0x30, &element(*tag, base));
        if bases.is_empty() {
            Vec::new()
        } else {
            element(tag, &bases.iter().flat_map(subtree).collect::<Vec<u8>>())
        }
    };
    element(0x30, &[list(0xa0, permitted), list(0xa1, excluded)].concat())
}

impl Recipe {
    pub(crate) fn authority(subject: &str, key: usize, issuer: &str, signer: usize) -> Self {
        let mut recipe = Self {
            subject: name(subject, 12),
            issuer: name(issuer, 12),
            key,
            signer,
            serial: u8::try_from(key).unwrap() + 1,
            validity: (-HOUR, 24 * HOUR),
            version_1: false,
            other_inner_algorithm: false,
            extensions: Vec::new(),
        };
        recipe.set(19, true, constraints(true, None));
        recipe.set(15, true, flags(CERT_SIGN));
        recipe.set(14, false, element(4, &identifier_of(key)));
        recipe.set(35, false, key_identifier(signer));
        recipe
    }

    pub(crate) fn leaf(issuer: &str, signer: usize) -> Self {
        let mut recipe = Self::authority("db.example.org", LEAF_KEY, issuer, signer);
        recipe.set(19, true, constraints(false, None));
        recipe.set(15, true, flags(SIGNATURE));
        recipe.set(37, false, purposes(&[1, 2]));
        let names = [element(0x86, ID.as_bytes()), element(0x82, b"db.example.org")].concat();
        recipe.set(17, false, element(0x30, &names));
        recipe.validity.1 = HOUR;
        recipe
    }

    /// The same with another extension of `id-ce`.
    pub(crate) fn with(mut self, number: u8, content: Vec<u8>) -> Self {
        self.set(number, number != 35, content);
        self
    }

    pub(crate) fn without(mut self, number: u8) -> Self {
        self.unset(number);
        self
    }

    /// The same with a critical extension that nobody knows.
    pub(crate) fn with_unknown_critical(mut self) -> Self {
        self.extensions.push((vec![0x2a, 3, 4], true, element(5, &[])));
        self
    }

    /// The same, and no longer valid.
    pub(crate) fn expired(mut self) -> Self {
        self.validity = (-48 * HOUR, -HOUR);
        self
    }

    pub(crate) fn with_key(mut self, key: usize) -> Self {
        self.key = key;
        self
    }

    pub(crate) fn of_version_1(mut self) -> Self {
        self.version_1 = true;
        self
    }

    /// An extension of `id-ce`, instead of what there was.
    fn set(&mut self, number: u8, critical: bool, content: Vec<u8>) {
        self.unset(number);
        self.extensions.push((vec![0x55, 0x1d, number], critical, content));
    }

    fn unset(&mut self, number: u8) {
        self.extensions.retain(|(found, ..)| *found != [0x55, 0x1d, number]);
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let (key, signer) = (&KEYS[self.key], &KEYS[self.signer]);
        let number = if self.signer == KEYS.len() - 1 { 3 } else { 2 };
        let algorithm =
            |number| element(0x30, &element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, number]));
        let inner = if self.other_inner_algorithm { 4 } else { number };
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|(identifier, critical, content)| {
                let critical = if *critical { element(1, &[0xff]) } else { Vec::new() };
                element(0x30, &[element(6, identifier), critical, element(4, content)].concat())
            })
            .collect();
        let (version, extensions) = if self.version_1 {
            (Vec::new(), Vec::new())
        } else {
            (element(0xa0, &element(2, &[2])), element(0xa3, &element(0x30, &extensions)))
        };
        let fields = [
            version,
            element(2, &[self.serial]),
            algorithm(inner),
            self.issuer.clone(),
            element(0x30, &[time(self.validity.0), time(self.validity.1)].concat()),
            self.subject.clone(),
            key.subject_public_key_info(),
            extensions,
        ];
        let content = element(0x30, &fields.concat());
        let signature = [&[0][..], &signer.sign(&content).unwrap()].concat();
        element(0x30, &[content, algorithm(number), element(3, &signature)].concat())
    }
}

fn time(seconds: i64) -> Vec<u8> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time: SystemTime =
        if seconds < 0 { timing::now() - distance } else { timing::now() + distance };
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    element(23, format!("{}Z", &digits[2..]).as_bytes())
}

impl Hierarchy {
    pub(crate) fn of(leaf: &Recipe, sent: &[Recipe], trusted: &[Recipe]) -> Self {
        let ders = |recipes: &[Recipe]| recipes.iter().map(Recipe::der).collect();
        Self { leaf: leaf.der(), sent: ders(sent), trusted: ders(trusted) }
    }

    /// As an agent has it.
    pub(crate) fn offer(&self) -> Offer {
        Offer {
            spiffe_id: None,
            hint: String::new(),
            chain: [self.leaf.clone(), self.sent.concat()].concat(),
            key: Zeroizing::new(leaf_key()),
            bundle: self.trusted.concat(),
        }
    }
}

/// A good one with up to two intermediates, in which up to three things are changed.
pub(crate) fn draw(dice: &mut Dice) -> Hierarchy {
    let names = ["root", "one", "two"];
    let depth = usize::try_from(dice.between(0..=2)).unwrap();
    let mut leaf = Recipe::leaf(names[depth], depth + 1);
    let mut trusted = vec![Recipe::authority("root", 1, "root", 1)];
    let mut sent = Vec::new();
    for at in (1..=depth).rev() {
        let found = Recipe::authority(names[at], at + 1, names[at - 1], at);
        if !dice.once_in(6) {
            sent.push(found.clone());
        }
        if dice.once_in(5) {
            trusted.push(found);
        }
    }
    if dice.once_in(6) {
        sent.push(trusted[0].clone());
    }
    for _ in 0..dice.between(0..=3) {
        if dice.once_in(4) {
            leaf = changed(&leaf, dice);
            continue;
        }
        let all = [&sent[..], &trusted].concat();
        let found = changed(dice.one_of(&all), dice);
        let list = if dice.once_in(2) { &mut sent } else { &mut trusted };
        let end = u32::try_from(list.len()).unwrap();
        let at = usize::try_from(dice.between(0..=end)).unwrap();
        if dice.once_in(2) || at == list.len() {
            list.insert(at, found);
        } else {
            list[at] = found;
        }
    }
    Hierarchy::of(&leaf, &sent, &trusted)
}

/// The same with one change.
fn changed(recipe: &Recipe, dice: &mut Dice) -> Recipe {
    let mut new = recipe.clone();
    let key = |dice: &mut Dice| usize::try_from(dice.between(1..=5)).unwrap();
    match dice.between(0..=20) {
        0 => new.key = key(dice),
        1 => new.signer = key(dice),
        2 => {
            new.signer = key(dice);
            let issuer: &&str = dice.one_of(&["root", "one", "two", "nobody"]);
            new.issuer = name(issuer, 12);
        }
        3 => {
            let issuer: &&str = dice.one_of(&["ROOT", " one ", "Two", "root"]);
            new.issuer = name(issuer, *dice.one_of(&[12, 19, 22]));
        }
        4 => {
            let subject: &&str = dice.one_of(&["root", "One", "two", "leaf.example.org", "leaf"]);
            new.subject = name(subject, 19);
        }
        5 | 6 => match dice.between(0..=5) {
            0 => new.unset(14),
            1 => new.set(14, false, element(4, &identifier_of(key(dice)))),
            2 => new.unset(35),
            3 => new.set(35, false, issuer_and_serial(&name("root", 12), None)),
            4 => {
                let serial = u8::try_from(key(dice)).unwrap();
                new.set(35, false, issuer_and_serial(&name("ROOT", 19), Some(serial)));
            }
            _ => new.set(35, dice.once_in(4), key_identifier(key(dice))),
        },
        7..=9 => {
            new.validity = *dice.one_of(&[
                (-48 * HOUR, -HOUR),
                (-48 * HOUR, -2 * HOUR),
                (2 * HOUR, 9 * HOUR),
                (-HOUR, 99 * HOUR),
            ]);
        }
        10 => new.unset(19),
        11 | 12 => {
            let most = *dice.one_of(&[None, Some(0), Some(0), Some(1)]);
            new.set(19, dice.once_in(2), constraints(!dice.once_in(3), most));
        }
        13 => new.set(
            15,
            true,
            flags(*dice.one_of(&[CERT_SIGN, SIGNATURE, SIGNATURE | CERT_SIGN, 0x02, 0x08, 0x20])),
        ),
        14 => new.unset(15),
        15 => {
            let numbers = [vec![1], vec![2], vec![1, 2], vec![3]];
            let numbers: &Vec<u8> = dice.one_of(&numbers);
            let numbers = purposes(numbers);
            new.set(37, dice.once_in(2), numbers);
        }
        16 => new.extensions.push((vec![0x2a, 3, 4], !dice.once_in(3), element(5, &[]))),
        17 | 18 => {
            let content = drawn_constraints(dice);
            new.set(30, true, content);
        }
        19 => match dice.between(0..=3) {
            0 => new.version_1 = true,
            1 => new.other_inner_algorithm = true,
            2 => new.serial = new.serial.wrapping_add(40),
            _ => new.extensions.push((
                vec![0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1],
                false,
                flags(*dice.one_of(&[0x40, 0x80, 4, 2])),
            )),
        },
        _ => {
            let names = (*dice.one_of(&[
                &b"spiffe://example.org/x"[..],
                b"spiffe://other.org/x",
                b"urn:x",
            ]))
            .to_vec();
            let mail = element(0x81, b"a@mail.example.org");
            new.set(17, false, element(0x30, &[element(0x86, &names), mail].concat()));
        }
    }
    new
}

fn drawn_constraints(dice: &mut Dice) -> Vec<u8> {
    const URI: u8 = 0x86;
    const DNS: u8 = 0x82;
    const MAIL: u8 = 0x81;
    let directory = name("DB.example.org", 19);
    let bases: Vec<(u8, &[u8])> = vec![
        (URI, b"example.org"),
        (URI, b".org"),
        (URI, b"other.org"),
        (URI, b""),
        (DNS, b"example.org"),
        (DNS, b".example.org"),
        (DNS, b"b.example.org"),
        (DNS, b"other.org"),
        (DNS, b""),
        (0xa4, &directory),
        (0xa4, &[0x30, 0]),
        (MAIL, b"mail.example.org"),
        (MAIL, b".example.org"),
        (MAIL, b"a@mail.example.org"),
        (0x87, &[10, 0, 0, 0, 255, 0, 0, 0]),
        (0x88, &[0x2a, 3]),
    ];
    let mut some = |most| -> Vec<(u8, &[u8])> {
        (0..dice.between(0..=most)).map(|_| *dice.one_of(&bases)).collect()
    };
    let (permitted, excluded) = (some(3), some(1));
    name_constraints(&permitted, &excluded)
}
