"""Reads manifests in YAML, validates them strictly, and prints them as one JSON array.

    documents.py SCHEMAS [VERSION]... <manifests.yaml

SCHEMAS is a directory with a JSON schema for each custom resource, named KIND.json in lower case. Each VERSION is a
release of Kubernetes, such as 1.29. What is wrong goes to standard error, and the exit status is then 1.
"""

import functools
import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml


# It reads megabytes of JSON for each document.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


class Loader(yaml.SafeLoader):
    """Refuses a key that occurs twice: the second one would win in silence."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def problems(document, schemas, version):
    custom = schemas / (document["kind"].lower() + ".json")
    try:
        if custom.exists():
            jsonschema.validate(document, json.loads(custom.read_text()))
        else:
            # An older release than it has would be taken for the oldest one, in silence.
            known = [kubernetes_validate.utils.major_minor(v) for v in kubernetes_validate.utils.all_versions()]
            if version not in known:
                return f"no schemas of Kubernetes {version}, only of {', '.join(known)}"
            kubernetes_validate.validate(document, version, strict=True)
    except jsonschema.ValidationError as error:
        path = ".".join(str(part) for part in error.path)
        return f"{path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    return None


def main():
    schemas, versions = pathlib.Path(sys.argv[1]), sys.argv[2:]
    documents = [document for document in yaml.load_all(sys.stdin, Loader) if document is not None]
    failed = False
    for document in documents:
        for version in versions:
            problem = problems(document, schemas, version)
            if problem:
                failed = True
                name = document["metadata"]["name"]
                print(f"{document['kind']} {name}, Kubernetes {version}: {problem}", file=sys.stderr)
    json.dump(documents, sys.stdout)
    sys.exit(1 if failed else 0)


main()
