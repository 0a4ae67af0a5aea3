use serde_json::from_value;

use super::super::settings::Field;
use super::*;
use crate::kubernetes::OwnerReference;
use crate::publish::Content;

const MANAGER: &str = "pgsvid";

fn target(create: bool) -> Target {
    let field = || Field { content: Content::Chain, base64: false };
    let fields = [("tls.crt", field()), ("tls.key", field())];
    Target {
        namespace: "db".to_owned(),
        name: "server".to_owned(),
        kind: "Opaque".to_owned(),
        create,
        labels: [("app".to_owned(), "db".to_owned())].into(),
        annotations: BTreeMap::new(),
        owner: None,
        fields: fields.map(|(key, field)| (key.to_owned(), field)).into(),
    }
}

fn wanted() -> Wanted {
    let value = |text: &str| Zeroizing::new(text.to_owned());
    [("tls.crt".to_owned(), value("YQ==")), ("tls.key".to_owned(), value("Yg=="))].into()
}

/// A Secret as pgsvid leaves it, with these changes.
fn live(change: impl FnOnce(&mut Value)) -> Secret {
    let mut object = json!({
        "metadata": {
            "uid": "u", "resourceVersion": "7", "labels": { "app": "db" },
            "managedFields": [{
                "manager": MANAGER, "operation": "Apply",
                "fieldsV1": { "f:data": { "f:tls.crt": {}, "f:tls.key": {} }, "f:metadata": { "f:labels": { "f:app": {} } } },
            }],
        },
        "data": { "tls.crt": "YQ==", "tls.key": "Yg==", "other": "Yw==" },
        "type": "Opaque",
    });
    change(&mut object);
    from_value(object).unwrap()
}

fn manager(name: &str, operation: &str, field: &str) -> Value {
    json!({ "manager": name, "operation": operation, "fieldsV1": { "f:data": { format!("f:{field}"): {} } } })
}

fn step(secret: Option<&Secret>) -> Step {
    judge(&target(false), &wanted(), secret, MANAGER)
}

#[test]
fn v01_v02_a_missing_secret_is_waited_for_or_created() {
    assert_eq!(step(None), Step::Missing);
    assert_eq!(judge(&target(true), &wanted(), None, MANAGER), Step::Create);
    let object = object(&target(true), &wanted(), None, MANAGER);
    assert_eq!(object["type"], "Opaque");
    assert!(object["metadata"].get("uid").is_none());
}

#[test]
fn v04_v14_only_what_differs_is_written_and_fields_of_others_do_not_count() {
    assert_eq!(step(Some(&live(|_| {}))), Step::Nothing);
    let edited = live(|it| {
        it["data"]["tls.crt"] = json!("eA==");
        // An update takes the field from those who have applied it.
        let ours = &mut it["metadata"]["managedFields"][0]["fieldsV1"];
        ours["f:data"].as_object_mut().unwrap().remove("f:tls.crt");
        it["metadata"]["managedFields"].as_array_mut().unwrap().push(manager(
            "kubectl-edit",
            "Update",
            "tls.crt",
        ));
    });
    let fields = vec!["data.tls.crt".to_owned()];
    assert_eq!(
        step(Some(&edited)),
        Step::Apply { fields, by: vec!["kubectl-edit".to_owned()], is_own: false }
    );
    let unlabelled = live(|it| {
        it["metadata"]["labels"] = json!({});
        it["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"] = json!({});
    });
    let fields = vec!["metadata.labels.app".to_owned()];
    assert_eq!(step(Some(&unlabelled)), Step::Apply { fields, by: Vec::new(), is_own: false });
    let object = object(&target(false), &wanted(), Some(&edited), MANAGER);
    assert_eq!(
        (&object["metadata"]["uid"], &object["metadata"]["resourceVersion"]),
        (&json!("u"), &json!("7"))
    );
    assert!(object.get("type").is_none() && object["data"].get("other").is_none(), "{object}");
}

#[test]
fn v05_a_field_that_another_manager_applies_is_not_taken() {
    let conflict = |value: &str| {
        live(|it| {
            it["data"]["tls.crt"] = json!(value);
            it["metadata"]["managedFields"]
                .as_array_mut()
                .unwrap()
                .push(manager("argocd", "Apply", "tls.crt"));
        })
    };
    let (fields, by) = (vec!["data.tls.crt".to_owned()], vec!["argocd".to_owned()]);
    assert_eq!(step(Some(&conflict("eA=="))), Step::Owned { fields, by });
    // Both apply the same value: neither undoes anything.
    assert_eq!(step(Some(&conflict("YQ=="))), Step::Nothing);
}

#[test]
fn v06_an_immutable_secret_is_reported_unless_it_is_right() {
    assert_eq!(step(Some(&live(|it| it["immutable"] = json!(true)))), Step::Nothing);
    let other = live(|it| {
        it["immutable"] = json!(true);
        it["data"]["tls.key"] = json!("eA==");
    });
    assert_eq!(step(Some(&other)), Step::Immutable);
}

#[test]
fn v18_a_field_that_is_no_longer_configured_is_given_up() {
    let before =
        live(|it| it["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]["f:old"] = json!({}));
    let none = || Step::Apply { fields: Vec::new(), by: Vec::new(), is_own: false };
    assert_eq!(step(Some(&before)), none());
    let never = live(|it| it["metadata"]["managedFields"] = json!([]));
    assert_eq!(step(Some(&never)), none());
    let mut owned = target(false);
    owned.owner = Some(OwnerReference {
        name: "x".to_owned(),
        uid: "y".to_owned(),
        ..OwnerReference::default()
    });
    // Somebody else has created it.
    assert_eq!(judge(&owned, &wanted(), Some(&live(|_| {})), MANAGER), Step::Nothing);
    let of_another =
        json!({ "f:metadata": { "f:ownerReferences": { ".": {}, r#"k:{"uid":"z"}"#: {} } } });
    let created = |value: &Value| {
        live(|it| {
            it["metadata"]["managedFields"][0]["fieldsV1"]["f:type"] = json!({});
            let other =
                json!({ "manager": "eso", "operation": "Apply", "fieldsV1": value.clone() });
            it["metadata"]["managedFields"].as_array_mut().unwrap().push(other);
        })
    };
    let fields = vec![r#"metadata.ownerReferences.k:{"uid":"y"}"#.to_owned()];
    assert_eq!(
        judge(&owned, &wanted(), Some(&created(&of_another)), MANAGER),
        Step::Apply { fields, by: Vec::new(), is_own: false }
    );
    let same = json!({ "f:metadata": { "f:ownerReferences": { r#"k:{"uid":"y"}"#: {} } } });
    assert!(matches!(judge(&owned, &wanted(), Some(&created(&same)), MANAGER), Step::Owned { .. }));
}

#[test]
fn v04_a_field_that_another_pgsvid_has_applied_is_distinguished() {
    // It is still recorded for the manager's name, although the value is another one.
    let applied = live(|it| it["data"]["tls.crt"] = json!("eA=="));
    let fields = vec!["data.tls.crt".to_owned()];
    assert_eq!(step(Some(&applied)), Step::Apply { fields, by: Vec::new(), is_own: true });
}

#[test]
fn v05_v06_what_will_keep_the_next_set_out_is_seen_before() {
    let mut typed = target(true);
    typed.kind = "kubernetes.io/tls".to_owned();
    let odd = live(|it| {
        it["immutable"] = json!(true);
        it["metadata"]["managedFields"]
            .as_array_mut()
            .unwrap()
            .push(manager("argocd", "Apply", "tls.crt"));
    });
    assert_eq!(
        latent_problems(&typed, &odd, MANAGER),
        [
            LatentProblem::Kind("Opaque".to_owned()),
            LatentProblem::Immutable,
            LatentProblem::Owned(vec!["argocd".to_owned()])
        ]
    );
    assert!(latent_problems(&target(false), &live(|_| {}), MANAGER).is_empty());
}
