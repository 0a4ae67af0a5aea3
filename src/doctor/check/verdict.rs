//! One probe of a server, and its verdict: whether the server serves what it should.

use super::postgresql::Sql;
use crate::material::Material;
use crate::verify::{self, Client, Expected, Facts, Verdict};
use crate::{survey, timing};

pub(super) async fn probe(hosts: &[String], port: u16, on_disk: Option<&Material>) -> Facts {
    let client = on_disk.and_then(|material| Client::of(material, timing::now()));
    verify::probe(hosts, port, client.as_ref()).await
}

pub(super) fn judge(facts: &Facts, material: &Material, sql: &Sql) -> Verdict {
    let clients = sql.answers().map(|answers| survey::clients(&answers.settings));
    let expected =
        Expected::of(material, &[], Vec::new()).with_clients(clients.unwrap_or_default());
    verify::judge(facts, &expected, timing::now())
}
