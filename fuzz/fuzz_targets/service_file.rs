#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pgsvid_fuzz::service_file::run(input));
