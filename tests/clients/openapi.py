"""Holds a document against the OpenAPI specification's own schemas, and what was said over HTTP against the document.
   openapi.py < {"document": …, "said": [{"name", "method", "path", "request", "status", "type", "answer"}]}
Prints a line for each fault, and fails if there is one. A request is held against the document where it was answered well."""
import json
import re
import sys
from urllib.parse import unquote

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = "urn:document"


def pointer(*parts):
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)


class Described:
    def __init__(self, document):
        self.document = document
        self.registry = Registry().with_resource(ROOT, Resource(contents=document, specification=DRAFT202012))
        self.paths = [(re.compile("^" + re.sub(r"\{[^/]+\}", "[^/]+", path) + "$"), path) for path in document["paths"]]
        self.validators = {}

    def path(self, asked):
        # What names more itself comes first, as where it is answered.
        found = [path for pattern, path in self.paths if pattern.match(unquote(asked))]
        return min(found, key=lambda path: path.count("{"), default=None)

    def fault(self, place, value):
        """Why a value is not what the schema at a place says."""
        if place not in self.validators:
            self.validators[place] = Draft202012Validator({"$ref": f"{ROOT}#/{place}"}, registry=self.registry)
        error = next(self.validators[place].iter_errors(value), None)
        if error is None:
            return None
        while error.context:
            error = max(error.context, key=lambda one: len(one.absolute_path))
        return f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"

    def faults(self, said):
        path = self.path(said["path"].split("?")[0])
        if path is None:
            # Names that nobody has.
            return [] if said["status"] in (400, 404, 405) else [f"no path of the document is {said['path']}"]
        method = said["method"].lower()
        operation = self.document["paths"][path].get(method)
        if operation is None:
            return [] if method in ("options", "head") else [f"{path} has no {method}"]
        status = str(said["status"])
        if status not in operation["responses"]:
            return [f"{method} {path} has no answer {status}"]
        answer = operation["responses"][status]
        place = ["paths", path, method, "responses", status]
        if "$ref" in answer:
            place = answer["$ref"].removeprefix("#/").split("/")
            answer = self.document["components"]["responses"][place[-1]]
        found = []
        if said["answer"] is not None and "content" in answer:
            if said["type"] not in answer["content"]:
                return [f"{method} {path} does not answer {status} as {said['type']}"]
            fault = self.fault(pointer(*place, "content", said["type"], "schema"), said["answer"])
            found += [f"the answer {status} of {method} {path}: {fault}"] if fault else []
        if said["status"] < 300 and said["request"] is not None:
            if "requestBody" not in operation:
                return [*found, f"{method} {path} has no request body"]
            fault = self.fault(pointer("paths", path, method, "requestBody", "content", "application/json", "schema"), said["request"])
            found += [f"the request of {method} {path}: {fault}"] if fault else []
        return found


def main():
    asked = json.load(sys.stdin)
    faults = [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
              for error in OpenAPIV31SpecValidator(asked["document"]).iter_errors()]
    described = Described(asked["document"])
    for said in asked["said"]:
        faults += [f"{said['name']}: {fault}" for fault in described.faults(said)]
    print("\n".join(faults))
    sys.exit(bool(faults))


main()
