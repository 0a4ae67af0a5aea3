//! Random hierarchies with a fault somewhere.

use test_support::Dice;

use crate::material::hierarchy::{
    CERT_SIGN, HOUR, Hierarchy, Recipe, SIGNATURE, constraints, flags, identifier_of,
    issuer_and_serial, key_identifier, name, name_constraints, purposes,
};
use crate::material::mutation::element;

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
