"use strict";

show(({ document: spec, token }) => {
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#view",
    validatorUrl: null,
    deepLinking: true,
    docExpansion: "none",
    defaultModelsExpandDepth: 0,
    onComplete: () => token && ui.preauthorizeApiKey("bearer", token),
  });
});
