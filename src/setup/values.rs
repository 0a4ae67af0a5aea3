//! The setting that turns TLS on, and the statement that gives a setting its value.

use crate::sql::statements;

/// The setting that makes the others take effect.
pub(super) const SSL: &str = "ssl";
/// Its value.
pub(super) const ON: &str = "on";
pub(super) const OFF: &str = "off";

/// The statement that sets a setting, or returns it to its value in postgresql.conf.
pub(super) fn setting(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => statements::alter_system(name, value),
        None => statements::alter_system_reset(name),
    }
}
