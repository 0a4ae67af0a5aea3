//! The objects, and the little of server-side apply that pgsvid's client needs.

use serde_json::{Value, json};

use super::{Fault, Shared, State};

/// An HTTP status with the reason of a `metav1.Status`.
pub(super) type Refused = (u16, &'static str, String);

impl State {
    /// Stores an object under a new version, and tells the watches.
    pub(super) fn store(&mut self, shared: &Shared, path: &str, mut object: Value, event: &str) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let told = json!({ "type": event, "object": { "metadata": object["metadata"] } });
        self.objects.insert(path.to_owned(), object);
        let _ = shared.events.send((path.to_owned(), told));
    }

    /// Applies fields by force.
    pub(super) fn apply(
        &mut self,
        shared: &Shared,
        path: &str,
        manager: &str,
        given: &Value,
    ) -> Result<Value, Refused> {
        if self.fault == Fault::TooLong {
            return Err((422, "Invalid", "data: Too long".to_owned()));
        }
        let before = self.objects.get(path).cloned();
        let wants = &given["metadata"];
        let conflict = |what: &str| Err((409, "Conflict", what.to_owned()));
        let mut object = match &before {
            None if wants.get("uid").is_some() => return conflict("uid mismatch"),
            None => json!({
                "apiVersion": "v1", "kind": "Secret", "type": given["type"],
                "metadata": { "name": wants["name"], "namespace": wants["namespace"], "uid": format!("uid-{}", self.version) },
            }),
            Some(found) => found.clone(),
        };
        if before.is_some()
            && (wants["uid"] != object["metadata"]["uid"]
                || wants["resourceVersion"] != object["metadata"]["resourceVersion"])
        {
            return conflict("the object has been modified");
        }
        let mut fields = json!({ "f:metadata": {}, "f:data": {} });
        if given.get("type").is_some() {
            fields["f:type"] = json!({});
        }
        for (key, value) in given["data"].as_object().into_iter().flatten() {
            object["data"][key] = value.clone();
            fields["f:data"][format!("f:{key}")] = json!({});
        }
        for name in ["labels", "annotations"] {
            for (key, value) in wants[name].as_object().into_iter().flatten() {
                object["metadata"][name][key] = value.clone();
                fields["f:metadata"][format!("f:{name}")][format!("f:{key}")] = json!({});
            }
        }
        if let Some(owners) = wants.get("ownerReferences") {
            object["metadata"]["ownerReferences"] = owners.clone();
            for owner in owners.as_array().into_iter().flatten() {
                let key = format!("k:{}", json!({ "uid": owner["uid"] }));
                fields["f:metadata"]["f:ownerReferences"][key] = json!({});
            }
        }
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let mut entries: Vec<Value> =
            entries.into_iter().filter(|it| it["manager"] != manager).collect();
        entries.push(json!({ "manager": manager, "operation": "Apply", "fieldsV1": fields }));
        object["metadata"]["managedFields"] = json!(entries);
        if self.fault == Fault::Altering {
            object["data"]["tls.crt"] = json!("YWx0ZXJlZA==");
        }
        if before.as_ref() == Some(&object) {
            return Ok(object);
        }
        let event = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.store(shared, path, object, event);
        let object = self.objects[path].clone();
        self.written.push((path.to_owned(), object.clone()));
        Ok(object)
    }

    /// Writes a Lease: a new one, or an existing one in the version that is given.
    pub(super) fn lease(
        &mut self,
        shared: &Shared,
        path: &str,
        given: Value,
    ) -> Result<Value, Refused> {
        let known = self.objects.get(path).map(|it| it["metadata"]["resourceVersion"].clone());
        let wanted = given["metadata"].get("resourceVersion").cloned();
        if known != wanted {
            return Err((409, "Conflict", "the Lease was changed".to_owned()));
        }
        self.store(shared, path, given, "MODIFIED");
        Ok(self.objects[path].clone())
    }
}
