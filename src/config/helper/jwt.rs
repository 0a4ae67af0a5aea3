//! The keys about JWT-SVIDs: their files lie in `cert_dir`, and have spiffe-helper's formats.

use std::fmt::Write as _;

use super::values::Value;
use super::{Refused, Translation, quoted, rules};

const SVIDS: &str = "jwt_svids";
const SVID_MODE: &str = "jwt_svid_file_mode";
const BUNDLE: &str = "jwt_bundle_file_name";
const BUNDLE_MODE: &str = "jwt_bundle_file_mode";

/// A table of `jwt_svids`.
struct Token {
    audience: String,
    extra: Vec<String>,
    name: String,
}

impl Translation {
    pub(super) fn jwt(&mut self, toml: &mut String) {
        let directory = self.value("cert_dir").and_then(|it| it.text("cert_dir").ok());
        let path = |name: &str| {
            quoted(&format!(
                "{}/{name}",
                directory.as_deref().unwrap_or_default().trim_end_matches('/')
            ))
        };
        let tokens = self.get(SVIDS, tokens).unwrap_or_default();
        let mode = self.jwt_mode(SVID_MODE, |mode| rules::token_mode(mode, false));
        for Token { audience, extra, name } in tokens {
            let _ = writeln!(toml, "\n[[jwt]]\naudience = {}", quoted(&audience));
            if !extra.is_empty() {
                let extra: Vec<_> = extra.iter().map(|text| quoted(text)).collect();
                let _ = writeln!(toml, "extra_audiences = [{}]", extra.join(", "));
            }
            let _ = writeln!(toml, "file = {}", path(&name));
            if let Some(mode) = &mode {
                let _ = writeln!(toml, "mode = {}", quoted(mode));
            }
        }
        // spiffe-helper's default is narrower than ours.
        let mode = self.jwt_mode(BUNDLE_MODE, rules::certificate_mode);
        if let Some(name) = self.text(BUNDLE) {
            match rules::file_name(&name) {
                Ok(_) => {
                    let mode = mode.unwrap_or_else(|| "0600".to_owned());
                    let _ = writeln!(
                        toml,
                        "\n[jwt_bundle]\nfile = {}\nformat = \"spiffe-helper\"\nmode = {}",
                        path(&name),
                        quoted(&mode)
                    );
                }
                Err(why) => self.refuse(BUNDLE, why),
            }
        }
    }

    /// The mode in octal, if one is given; 0 is spiffe-helper's word for its default.
    fn jwt_mode(
        &mut self,
        key: &'static str,
        judge: impl FnOnce(Option<&str>) -> Result<u32, String>,
    ) -> Option<String> {
        let mode = self.get(key, Value::mode).filter(|mode| *mode != 0)?;
        let mode = format!("{mode:04o}");
        match judge(Some(&mode)) {
            Ok(_) => Some(mode),
            Err(why) => {
                self.refuse(key, why);
                None
            }
        }
    }
}

fn tokens(value: &Value, key: &'static str) -> Result<Vec<Token>, Refused> {
    let mut tokens: Vec<Token> = Vec::new();
    for table in value.tables(key)? {
        let known = ["jwt_audience", "jwt_extra_audiences", "jwt_svid_file_name"];
        if let Some((name, _)) = table.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(value.refused(key, format!("spiffe-helper has no such key in it: {name}")));
        }
        let within = |name: &str| table.iter().find(|(known, _)| known == name).map(|(_, it)| it);
        let text = |name: &str| match within(name).map(|it| it.text(key)).transpose()? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(value.refused(key, format!("an object of it lacks {name}"))),
        };
        let name = text("jwt_svid_file_name")?;
        rules::file_name(&name).map_err(|why| value.refused(key, why))?;
        if tokens.iter().any(|token| token.name == name) {
            return Err(
                value.refused(key, format!("two tokens have the file {name}: give each its own"))
            );
        }
        let extra = within("jwt_extra_audiences").map(|it| it.texts(key)).transpose()?;
        tokens.push(Token {
            audience: text("jwt_audience")?,
            extra: extra.unwrap_or_default(),
            name,
        });
    }
    Ok(tokens)
}
