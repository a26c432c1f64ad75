"""Holds an OpenAPI document against the specification, and answers against the document.

Reads {"document", "answers": [{"method", "path", "status", "type", "body", "said"}]} and prints what is wrong, a line each. An answer
must be one that the document has at its path and method; refusals (status 400 and above) of what it does not have are none of its
business. Requests are not held against it: more spellings are taken than it has.
"""

import json
import sys
from urllib.parse import unquote

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = "urn:document"


def segments(path):
    return [unquote(part) for part in path.split("?")[0].strip("/").split("/")]


class Described:
    def __init__(self, document):
        self.document = document
        self.registry = Registry().with_resource(DOCUMENT, Resource(document, DRAFT202012))
        self.templates = {template: segments(template) for template in document["paths"]}
        self.validators = {}

    def template(self, path):
        """The template that a path meets; one without a parameter before one with it."""
        asked = segments(path)
        fits = [
            template
            for template, parts in self.templates.items()
            if len(parts) == len(asked) and all(part in ("{id}", one) for part, one in zip(parts, asked))
        ]
        return min(fits, key=lambda template: "{id}" in template, default=None)

    def place(self, template, method, status):
        """Where the response is, as a JSON pointer; references to responses are followed."""
        operation = self.document["paths"][template].get(method)
        response = operation and operation["responses"].get(str(status))
        if response is None:
            return None
        if "$ref" in response:
            return response["$ref"].removeprefix("#")
        escaped = template.replace("~", "~0").replace("/", "~1")
        return f"/paths/{escaped}/{method}/responses/{status}"

    def validator(self, place):
        if place not in self.validators:
            schema = {"$ref": f"{DOCUMENT}#{place}/content/application~1json/schema"}
            self.validators[place] = Draft202012Validator(schema, registry=self.registry)
        return self.validators[place]

    def faults(self, answer):
        method, status = answer["method"].lower(), answer["status"]
        template = self.template(answer["path"])
        if template is None or method not in self.document["paths"][template]:
            return [] if status >= 400 else ["the document has no such path and method"]
        place = self.place(template, method, status)
        if place is None:
            return [f"the document has no status {status} there"]
        if status == 304:
            return []
        if answer["type"] != "application/json":
            return [f"the document has no answer of the type {answer['type']!r} there"]
        return [f"{error.json_path}: {error.message[:300]}" for error in self.validator(place).iter_errors(answer["body"])]


def main():
    asked = json.load(sys.stdin)
    wrong = [f"document: {error.json_path}: {error.message[:300]}" for error in OpenAPIV31SpecValidator(asked["document"]).iter_errors()]
    described = Described(asked["document"])
    for answer in asked["answers"]:
        where = f"{answer['method']} {answer['path']} {answer['said']} ({answer['status']})"
        wrong += [f"{where}: {fault}" for fault in described.faults(answer)]
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


main()
