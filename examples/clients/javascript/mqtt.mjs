// Follows a table over MQTT, writes to it, and gets from the broker what it missed during a cut.
//
//   resolvespec dev examples/flights
//   npm install && node mqtt.mjs mqtt://127.0.0.1:1883 http://127.0.0.1:8080

import mqtt from "mqtt";

const broker = process.argv[2] ?? "mqtt://127.0.0.1:1883";
const service = process.argv[3] ?? "http://127.0.0.1:8080";
// The broker keeps a session by this name, which is also where the client's topics are.
const clientId = "example-javascript";
const topics = `spec/${clientId}`;

/** One connection: requests are answered by their id, notifications come one after the other. */
class Session {
  #client;
  #answers = new Map();
  #told = [];
  #listeners = [];
  #next = 1;

  /** Connects. The broker keeps what comes until the client is there again, for an hour at most. */
  static async open() {
    const self = new Session();
    const kept = { clean: false, properties: { sessionExpiryInterval: 3600 } };
    self.#client = mqtt.connect(broker, { clientId, protocolVersion: 5, ...kept, reconnectPeriod: 0 });
    self.#client.on("message", (topic, payload) => self.#hear(topic, JSON.parse(payload)));
    self.present = await new Promise((resolve, reject) => {
      self.#client.once("connect", ({ sessionPresent }) => resolve(sessionPresent));
      self.#client.once("error", reject);
    });
    await self.#client.subscribeAsync([`${topics}/response`, `${topics}/notify/+`], { qos: 1 });
    return self;
  }

  /** Says something and answers the `data` of its answer. */
  async ask(message) {
    // Ids are the client's and must not come again: a request with one that was used gets the answer of that time.
    const id = `${Date.now()}-${this.#next++}`;
    const answered = new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject }));
    await this.#client.publishAsync(`${topics}/request`, JSON.stringify({ id, ...message }), { qos: 1 });
    return answered;
  }

  /** The next notification. */
  next() {
    if (this.#told.length > 0) return Promise.resolve(this.#told.shift());
    return new Promise((resolve) => this.#listeners.push(resolve));
  }

  /** Goes away without a word, as a client does whose network is gone. */
  cut() {
    return this.#client.endAsync(true);
  }

  /** Goes away for good. */
  close() {
    return this.#client.endAsync(false, { properties: { sessionExpiryInterval: 0 } });
  }

  #hear(topic, message) {
    if (topic === `${topics}/response`) {
      const { resolve, reject } = this.#answers.get(message.id) ?? {};
      this.#answers.delete(message.id);
      if (message.success) resolve?.(message.data);
      else reject?.(new Error(`${message.error.code}: ${message.error.message}`));
      return;
    }
    const listener = this.#listeners.shift();
    if (listener) listener(message);
    else this.#told.push(message);
  }
}

const entity = { schema: "main", entity: "airlines" };

/** Prints the next notification of an operation. What was told shortly before a cut may come again, so that one looks at what
 * it says and not at how often. */
async function show(session, word, operation) {
  let told;
  do told = await session.next();
  while (told.operation !== operation);
  console.log(`${word}: ${operation} ${told.key.carrier} ${told.data.name ?? ""}`.trim());
}

let session = await Session.open();
const begun = await session.ask({ type: "subscription", operation: "subscribe", ...entity });
console.log(`subscribed, told at ${begun.notify_topic.replace(begun.subscription_id, "…")}`);

await session.ask({ type: "request", operation: "create", ...entity, data: { carrier: "MJ", name: "Script Air" } });
await show(session, "told", "create");

await session.cut();
console.log("cut");
// Somebody writes while nobody listens.
const answer = await fetch(`${service}/rest/main/airlines/MJ`, {
  method: "PATCH",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ name: "Script Airways" }),
});
if (!answer.ok) throw new Error(`the write failed: ${await answer.text()}`);

session = await Session.open();
console.log(session.present ? "the broker has kept the session" : "the broker has forgotten the session");
await show(session, "missed", "update");

await session.ask({ type: "request", operation: "delete", ...entity, record_id: "MJ" });
await show(session, "told", "delete");
// A subscription over MQTT lasts until someone ends it.
await session.ask({ type: "subscription", operation: "unsubscribe", subscription_id: begun.subscription_id });
await session.close();
