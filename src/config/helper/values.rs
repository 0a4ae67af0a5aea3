//! The values of a helper.conf, as spiffe-helper reads them (HCL 1: `hashicorp/hcl`, `decoder.go`).

use std::collections::HashSet;
use std::ops::Range;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::{Body, Structure};

use super::Refused;

/// The default of `health_checks.bind_port`.
const HEALTH_PORT: u16 = 8081;

/// A value, and the line of its key, from 1.
pub(super) struct Value {
    pub(super) line: usize,
    kind: Kind,
}

enum Kind {
    /// Text in quotes.
    Text(String),
    /// A number, as it is written: `0640` differs from `640`.
    Number(String),
    Truth(bool),
    /// An object or a block.
    Table(Vec<(String, Value)>),
    /// A list.
    List(Vec<Value>),
    /// Something that only a newer HCL knows, or `${…}`, which spiffe-helper does not resolve.
    Computed,
}

/// The keys with their values, in the order of the file. Fails with the line, from 1, and what is wrong there.
pub(super) fn read(text: &str) -> Result<Vec<(String, Value)>, (usize, String)> {
    let body: Body = text.parse().map_err(|error: hcl_edit::parser::Error| {
        (error.location().line(), format!("this is not HCL: {}", error.message()))
    })?;
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |at: Option<Range<usize>>| {
        at.map_or(1, |span| ends.partition_point(|end| *end < span.start) + 1)
    };
    table(&body, &line_of)
}

fn table(
    body: &Body,
    line_of: &impl Fn(Option<Range<usize>>) -> usize,
) -> Result<Vec<(String, Value)>, (usize, String)> {
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    for structure in body {
        let (key, value) = match structure {
            Structure::Attribute(attribute) => {
                let line = line_of(attribute.key.span());
                (attribute.key.as_str(), Value { line, kind: kind(&attribute.value, line) })
            }
            Structure::Block(block) => {
                let line = line_of(block.ident.span());
                (
                    block.ident.as_str(),
                    Value { line, kind: Kind::Table(table(&block.body, line_of)?) },
                )
            }
        };
        if !known.insert(key) {
            return Err((value.line, format!("{key} is there twice; leave one out")));
        }
        found.push((key.to_owned(), value));
    }
    Ok(found)
}

/// `line` is that of the key.
fn kind(value: &Expression, line: usize) -> Kind {
    match value {
        Expression::String(text) => Kind::Text(text.value().clone()),
        Expression::Number(number) => {
            let written = number.as_repr().map(|repr| &**repr);
            Kind::Number(written.map_or_else(|| number.value().to_string(), str::to_owned))
        }
        Expression::Bool(truth) => Kind::Truth(*truth.value()),
        Expression::Array(list) => {
            Kind::List(list.iter().map(|value| Value { line, kind: kind(value, line) }).collect())
        }
        Expression::Object(object) => Kind::Table(
            object
                .iter()
                .map(|(key, value)| {
                    let name = match key {
                        ObjectKey::Ident(name) => name.as_str().to_owned(),
                        ObjectKey::Expression(Expression::String(name)) => name.value().clone(),
                        // No text: `health_checks` refuses it by its name.
                        ObjectKey::Expression(other) => other.to_string(),
                    };
                    (name, Value { line, kind: kind(value.expr(), line) })
                })
                .collect(),
        ),
        _ => Kind::Computed,
    }
}

impl Value {
    /// Text; a number counts as its digits.
    pub(super) fn text(&self, key: &'static str) -> Result<String, Refused> {
        match &self.kind {
            Kind::Text(text) | Kind::Number(text) => Ok(text.clone()),
            Kind::Computed => Err(self.refused(
                key,
                "it is no plain text in quotes (an expression, ${…} or <<): write the value itself in quotes",
            )),
            Kind::Truth(_) | Kind::Table(_) | Kind::List(_) => Err(self.refused(key, "it is no text; write it in quotes")),
        }
    }

    /// True or false, which may be written in quotes.
    pub(super) fn truth(&self, key: &'static str) -> Result<bool, Refused> {
        match &self.kind {
            Kind::Truth(truth) => Ok(*truth),
            Kind::Text(text) | Kind::Number(text)
                if matches!(&**text, "1" | "t" | "T" | "true" | "TRUE" | "True") =>
            {
                Ok(true)
            }
            Kind::Text(text) | Kind::Number(text)
                if matches!(&**text, "0" | "f" | "F" | "false" | "FALSE" | "False") =>
            {
                Ok(false)
            }
            _ => Err(self.refused(key, "it is neither true nor false")),
        }
    }

    /// A mode. spiffe-helper reads digits without a leading zero as a decimal number.
    pub(super) fn mode(&self, key: &'static str) -> Result<u32, Refused> {
        let text = self.text(key)?;
        if let Some(octal) = text.strip_prefix('0') {
            let octal = octal.strip_prefix(['o', 'O']).unwrap_or(octal);
            let mode = if octal.is_empty() { Ok(0) } else { u32::from_str_radix(octal, 8) };
            return mode.map_err(|_| self.refused(key, "it is no mode; write it as 0640"));
        }
        let why = match text.parse::<u32>() {
            Ok(decimal) => format!(
                "{text} without a leading zero is a decimal number to spiffe-helper, which gives the files mode {decimal:04o}; write \
                 0{text} if you mean that"
            ),
            Err(_) => "it is no mode; write it as 0640".to_owned(),
        };
        Err(self.refused(key, why))
    }

    /// The port of `health_checks`, if they are enabled.
    pub(super) fn health_checks(&self, key: &'static str) -> Result<Option<u16>, Refused> {
        let Kind::Table(table) = &self.kind else {
            return Err(self.refused(key, "it is no block"));
        };
        let known = ["listener_enabled", "bind_port", "liveness_path", "readiness_path"];
        if let Some((name, _)) = table.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(self.refused(key, format!("spiffe-helper has no such key in it: {name}")));
        }
        let within = |name: &str| table.iter().find(|(known, _)| known == name);
        let enabled = within("listener_enabled").map(|(_, value)| value.truth(key)).transpose()?;
        if enabled != Some(true) {
            return Ok(None);
        }
        let Some((_, port)) = within("bind_port") else { return Ok(Some(HEALTH_PORT)) };
        let port =
            port.text(key)?.parse().map_err(|_| self.refused(key, "bind_port is no port"))?;
        Ok(Some(port))
    }

    fn table(&self) -> Option<&[(String, Value)]> {
        match &self.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The tables of a list; HCL also takes a table alone.
    pub(super) fn tables(&self, key: &'static str) -> Result<Vec<&[(String, Value)]>, Refused> {
        let tables: Option<Vec<_>> = match &self.kind {
            Kind::List(list) => list.iter().map(Self::table).collect(),
            _ => self.table().map(|one| vec![one]),
        };
        tables.ok_or_else(|| self.refused(key, "it is no list of objects; write [{jwt_audience = \"…\", jwt_svid_file_name = \"…\"}]"))
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &'static str) -> Result<Vec<String>, Refused> {
        match &self.kind {
            Kind::List(list) => list.iter().map(|value| value.text(key)).collect(),
            _ => Err(self.refused(key, "it is no list; write [\"…\"]")),
        }
    }

    pub(super) fn refused(&self, key: &'static str, why: impl Into<String>) -> Refused {
        Refused { line: self.line, key: key.to_owned(), why: why.into() }
    }
}
