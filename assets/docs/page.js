// Reads the document and hands it to the page's viewer; asks for a token where the service does.
"use strict";

const TOKEN = "resolvespec-token";

async function readDocument() {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch("/openapi", { headers });
  if (response.status === 401) {
    sessionStorage.removeItem(TOKEN);
    await askForToken();
    return readDocument();
  }
  if (!response.ok) throw new Error(`/openapi answered ${response.status}`);
  return { document: await response.json(), token };
}

function askForToken() {
  return new Promise((resolve) => {
    const form = document.createElement("form");
    form.className = "token";
    const label = document.createElement("label");
    label.textContent = "This service asks for a token. It is kept until this tab is closed.";
    const input = document.createElement("textarea");
    input.required = true;
    input.setAttribute("aria-label", "Token");
    const button = document.createElement("button");
    button.textContent = "Show the API";
    form.append(label, input, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN, input.value.trim());
      form.remove();
      resolve();
    });
    document.body.prepend(form);
  });
}

function show(viewer) {
  readDocument().then(viewer).catch((error) => {
    const text = document.createElement("main");
    text.textContent = `The document can't be shown: ${error.message}`;
    document.body.prepend(text);
  });
}
