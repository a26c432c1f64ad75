"use strict";

// RapiDoc writes out every schema with all that it refers to. Rows that refer to each other would have no end.
function cutRelations(spec) {
  const rows = /^#\/components\/schemas\/((Row|Nested)\..*)$/;
  const cut = (schema) => {
    const found = rows.exec(schema.$ref ?? "");
    return found ? { type: "object", title: found[1], description: `See the schema ${found[1]}.` } : schema;
  };
  for (const [name, schema] of Object.entries(spec.components.schemas)) {
    if (!/^(Row|Create|Update|Nested)\./.test(name)) continue;
    for (const property of Object.values(schema.properties)) {
      if (property.items) property.items = cut(property.items);
      if (property.anyOf) property.anyOf = property.anyOf.map(cut);
    }
  }
  return spec;
}

show(({ document: spec, token }) => {
  const view = document.getElementById("view");
  view.addEventListener("spec-loaded", () => token && view.setApiKey("bearer", token));
  customElements.whenDefined("rapi-doc").then(() => view.loadSpec(cutRelations(spec)));
});
