"use strict";

show(({ document: spec }) => {
  const fontFamily = "system-ui, sans-serif";
  const theme = { typography: { fontFamily, headings: { fontFamily }, code: { fontFamily: "ui-monospace, monospace" } } };
  Redoc.init(spec, { theme, disableSearch: true, hideDownloadButton: true }, document.getElementById("view"));
});
