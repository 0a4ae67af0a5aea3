//! A part of Patroni's configuration, which names one generation by absolute path.
//!
//! At a reload Patroni reads the certificate and then the key of its REST API. If a swap comes between the two, the REST API ends
//! until Patroni is restarted, and the reload after that hangs Patroni (measured with 3.0.2 and 4.1.5: `docs/patroni.md`). With
//! paths of one generation the two always fit together. Patroni merges the files of a directory (`_load_config_path`).

use std::path::Path;

use super::service_file::Names;

/// The part for the generation at `generation`, an absolute path for Patroni.
#[must_use]
pub fn render(names: &Names, generation: &Path) -> Vec<u8> {
    let file = |name: &str| scalar(&generation.join(name).display().to_string());
    format!(
        "# Written by pgsvid for each generation. restapi.verify_client belongs in Patroni's own file.\n\
         restapi:\n  certfile: {}\n  keyfile: {}\n  cafile: {}\n",
        file(&names.certificate),
        file(&names.private_key),
        file(&names.bundle)
    )
    .into_bytes()
}

/// A text in YAML: a single quote is doubled, and no other character has a meaning.
#[must_use]
pub fn scalar(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_names_a_file_of_the_generation() {
        let names = Names {
            certificate: "svid.pem".to_owned(),
            private_key: "svid_key.pem".to_owned(),
            bundle: "svid_bundle.pem".to_owned(),
        };
        let text = String::from_utf8(render(&names, Path::new("/it's/..v1-a"))).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "restapi:",
                "  certfile: '/it''s/..v1-a/svid.pem'",
                "  keyfile: '/it''s/..v1-a/svid_key.pem'",
                "  cafile: '/it''s/..v1-a/svid_bundle.pem'",
            ]
        );
    }
}
