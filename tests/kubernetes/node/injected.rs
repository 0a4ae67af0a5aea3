//! O12: the database of the example, without the component and with the annotation.

use serde_json::{Value, json};

use crate::api::injection::policies;
use crate::eventually;
use crate::manifests::{only, parsed, root};
use crate::namespace::Namespace;

#[test]
fn o12_a_database_with_the_annotation_serves_and_rotates() {
    policies();
    let namespace = Namespace::with_database("injected", |objects| {
        let set = only(objects, "StatefulSet");
        let original = root().join("k8s/examples/dbserver/database/dbserver.yaml");
        let mut plain = parsed(&std::fs::read_to_string(original).unwrap());
        let mut spec = only(&mut plain, "StatefulSet")["spec"].take();
        let template = &mut spec["template"];
        // kustomize has given names to the image and to the files.
        let with = set["spec"]["template"].clone();
        template["spec"]["containers"][0]["image"] = with["spec"]["containers"][0]["image"].clone();
        let map = |name: &Value| {
            let volumes = with["spec"]["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == *name).unwrap();
            volume["configMap"]["name"].clone()
        };
        for volume in template["spec"]["volumes"].as_array_mut().unwrap() {
            if volume["configMap"].is_object() {
                volume["configMap"]["name"] = map(&volume["name"]);
            }
        }
        assert!(!template.to_string().contains("/svids"), "it has the component");
        template["metadata"]["annotations"] = json!({
            "pgsvid.dev/inject": "server",
            "pgsvid.dev/config": map(&json!("pgsvid")),
        });
        set["spec"] = spec;
    });
    eventually("two rotations", || namespace.events("rotated").len() >= 2);
    let verdicts = namespace.events("rotated");
    assert!(verdicts.iter().all(|one| one["verdict"] == "current"), "{verdicts:?}");
}
