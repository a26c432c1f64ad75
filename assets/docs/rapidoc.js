"use strict";

show(({ document: spec, token }) => {
  const view = document.getElementById("view");
  view.addEventListener("spec-loaded", () => token && view.setApiKey("bearer", token));
  view.loadSpec(spec);
});
