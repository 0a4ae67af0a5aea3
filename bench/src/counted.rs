//! Work whose instructions are counted: `counted check N` and `counted encode N`. Preparing it costs the same whatever N
//! is, so the difference of two runs is the work's alone.

#![allow(clippy::expect_used, reason = "work that cannot be done ends the run")]

use std::hint::black_box;

use dev_agent::{Authority, Entry};
use pgsvid::material::{Expectations, Material, Offer, pem};
use pgsvid::timing;
use zeroize::Zeroizing;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, times] = arguments.as_slice() else { panic!("counted check|encode N") };
    let times: u32 = times.parse().expect("a number");
    let authority = Authority::new("example.org", true).expect("makes an authority");
    let entry = Entry::new("spiffe://example.org/db").dns("localhost");
    let svid = authority.issue(&entry).expect("issues an SVID");
    let check = || {
        let offer = Offer {
            spiffe_id: Some(svid.spiffe_id.clone()),
            hint: String::new(),
            chain: svid.chain.concat(),
            key: Zeroizing::new(svid.key.clone()),
            bundle: svid.bundle.concat(),
        };
        Material::check(offer, &Expectations::default(), timing::now()).expect("it is good")
    };
    let material = check();
    for _ in 0..times {
        match what.as_str() {
            "check" => drop(black_box(check())),
            "encode" => {
                black_box(pem::encode_certificates(material.chain()));
                black_box(pem::encode_key(material.key()));
                black_box(pem::encode_certificates(material.authorities()));
            }
            other => panic!("{other} is neither check nor encode"),
        }
    }
}
