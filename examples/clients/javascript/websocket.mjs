// Follows a table over WebSocket, writes to it, and goes on after a cut without missing a change.
// It needs Node.js 22 or newer and nothing else; the Session below runs in a browser as it is.
//
//   resolvespec dev examples/flights
//   node websocket.mjs http://127.0.0.1:8080

const service = process.argv[2] ?? "http://127.0.0.1:8080";

/** One connection: requests are answered by their id, notifications come one after the other. */
class Session {
  #socket;
  #answers = new Map();
  #told = [];
  #listeners = [];
  #next = 1;

  /** Connects; with a session's id, its subscriptions go on. */
  static async open(session) {
    const url = new URL("/ws", service.replace(/^http/, "ws"));
    if (session) url.searchParams.set("session", session);
    const self = new Session();
    self.#socket = new WebSocket(url);
    self.#socket.addEventListener("message", ({ data }) => self.#hear(JSON.parse(data)));
    self.#socket.addEventListener("close", () => self.#lose());
    await new Promise((resolve, reject) => {
      self.#socket.addEventListener("open", resolve, { once: true });
      self.#socket.addEventListener("error", () => reject(new Error(`${url} can't be reached`)), { once: true });
    });
    return self;
  }

  /** Says something and answers the `data` of its answer. */
  ask(message) {
    const id = String(this.#next++);
    this.#socket.send(JSON.stringify({ id, ...message }));
    return new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject }));
  }

  /** The next message that answers nothing: a notification, or what became of a session. */
  next() {
    if (this.#told.length > 0) return Promise.resolve(this.#told.shift());
    return new Promise((resolve) => this.#listeners.push(resolve));
  }

  close() {
    this.#socket.close();
  }

  #hear(message) {
    if (message.type === "response") {
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

  #lose() {
    for (const { reject } of this.#answers.values()) reject(new Error("the connection was lost"));
    this.#answers.clear();
  }
}

const entity = { schema: "main", entity: "airlines" };

async function show(session) {
  const { operation, key, data } = await session.next();
  console.log(`told: ${operation} ${key.carrier} ${data.name ?? ""}`.trim());
}

let session = await Session.open();
const begun = await session.ask({ type: "subscription", operation: "subscribe", ...entity });
console.log("subscribed");

await session.ask({ type: "request", operation: "create", ...entity, data: { carrier: "JS", name: "Script Air" } });
await show(session);

session.close();
console.log("cut");
// Somebody writes while nobody listens: here the other style of the same API, with fetch.
const answer = await fetch(`${service}/rest/main/airlines/JS`, {
  method: "PATCH",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ name: "Script Airways" }),
});
if (!answer.ok) throw new Error(`the write failed: ${await answer.text()}`);

session = await Session.open(begun.session);
const restored = await session.next();
if (restored.error) throw new Error(`the session is gone: ${restored.error.message}`);
console.log(`restored ${restored.restored.length}`);
// What was told shortly before the cut may come again, so look at what it says and not at how often.
for (;;) {
  const { operation, data } = await session.next();
  if (operation === "update") {
    console.log(`missed: ${operation} ${data.carrier} ${data.name}`);
    break;
  }
}

await session.ask({ type: "request", operation: "delete", ...entity, record_id: "JS" });
await show(session);
session.close();
