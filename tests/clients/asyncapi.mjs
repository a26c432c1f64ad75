// Holds a document against AsyncAPI's official parser, and messages against the document.
//   node asyncapi.mjs NODE_MODULES < {"document": …, "said": [{"message": NAME, "payload": …}]}
// Prints a line for each fault, and fails if there is one.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(`${process.argv[2]}/`);
const { Parser } = require("@asyncapi/parser");
const Ajv = require("ajv");
const addFormats = require("ajv-formats");

const { document, said } = JSON.parse(await text(process.stdin));
const faults = [];

const { document: read, diagnostics } = await new Parser().parse(JSON.stringify(document));
for (const { code, message, path, severity } of diagnostics) {
  // 0 is an error and 1 a warning; below are the hints of its style guide.
  if (severity <= 1) faults.push(`${code} at ${path.join(".")}: ${message}`);
}
if (!read) faults.push("the parser gives no document");

const ajv = addFormats(new Ajv({ strict: false, validateFormats: true, allErrors: false, logger: false }), ["date-time", "date", "uuid"]);
for (const { message, payload } of said) {
  const described = document.components.messages[message];
  if (!described) {
    faults.push(`the document has no message ${message}`);
    continue;
  }
  const holds = ajv.compile({ ...described.payload, components: document.components });
  if (!holds(payload)) {
    faults.push(`${message}: ${ajv.errorsText(holds.errors)}: ${JSON.stringify(payload)}`);
  }
}

for (const fault of faults) console.log(fault);
if (faults.length === 0) {
  console.log(`${read.allChannels().all().length} channels, ${read.allOperations().all().length} operations, ` +
    `${read.allMessages().all().length} messages, ${said.length} said`);
}
process.exitCode = faults.length === 0 ? 0 : 1;
