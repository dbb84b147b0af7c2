// A person's browser, as far as a client application gets to see it, and HTTP to an issuer on this machine.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { Agent, fetch, request } from "undici";

const COOKIE = "__Host-troth";

// HTTP over TLS to an issuer whose authority's certificate is the file `ca`, at `address`.
export class Wire {
  constructor(ca, address = "127.0.0.1") {
    this.agent = new Agent({
      connect: {
        ca: readFileSync(ca),
        // Names below .localhost lead to this machine; not every resolver knows that.
        lookup: (_host, wanted, done) => {
          const found = { address, family: 4 };
          wanted.all ? done(null, [found]) : done(null, found.address, found.family);
        },
      },
    });
    this.last = null;
    // What the packages take for `fetch`.
    this.fetch = (url, init) => {
      this.last = [url, init];
      return fetch(url, { ...init, dispatcher: this.agent });
    };
  }

  // Sends the last request again, to the letter: what a thief does who saw it pass.
  repeat() {
    const [url, init] = this.last;
    return fetch(url, { ...init, dispatcher: this.agent });
  }

  close() {
    return this.agent.close();
  }
}

// Somebody with a session's `cookie`, or with `email` and `password` to begin one; `app` is the key (in hex) of an
// authenticator app.
export class Person {
  constructor(wire, issuer, { cookie = "", email, password, app = "" }) {
    Object.assign(this, { wire, issuer, cookie, email, password, app });
  }

  async browse(method, target, form) {
    const own = { origin: this.issuer.origin, "sec-fetch-site": "same-origin" };
    const typed = { "sec-fetch-site": "none" };
    const response = await request(new URL(target, this.issuer), {
      method,
      dispatcher: this.wire.agent,
      headers: {
        accept: "text/html",
        "sec-fetch-mode": "navigate",
        ...(form ? { ...own, "content-type": "application/x-www-form-urlencoded" } : typed),
        ...(this.cookie ? { cookie: `${COOKIE}=${this.cookie}` } : {}),
      },
      body: form ? new URLSearchParams(form).toString() : undefined,
    });
    for (const line of [response.headers["set-cookie"] ?? []].flat()) {
      if (line.startsWith(`${COOKIE}=`)) this.cookie = line.slice(COOKIE.length + 1).split(";")[0].replaceAll('"', "");
    }
    return { status: response.statusCode, location: response.headers.location, page: await response.body.text() };
  }

  // Follows an authorization request through sign-in and consent to the client's redirect URI.
  async agree(start, redirect, decision = "allow") {
    let step = await this.browse("GET", start);
    for (let count = 0; count < 10; count += 1) {
      if (step.location?.startsWith(redirect)) return new URL(step.location);
      if (step.location) step = await this.browse("GET", step.location);
      else if (step.page.includes('name="password"')) step = await this.signIn(step.page);
      else if (step.page.includes('name="pending"')) step = await this.consent(step.page, decision);
      else if (step.page.includes('action="/login/step-up"')) step = await this.stepUp(step.page);
      else break;
    }
    const fault = new Error(`the browser ended on a page with status ${step.status}: ${step.page.slice(0, 2000)}`);
    throw Object.assign(fault, { code: `page ${step.status}` });
  }

  signIn(page) {
    if (!this.email) throw new Error("the session is over, and there is nobody to sign in");
    const form = { email: this.email, password: this.password, return_to: hidden(page, "return_to") };
    return this.browse("POST", "/login", form);
  }

  consent(page, decision) {
    return this.browse("POST", "/oauth/consent", { pending: hidden(page, "pending"), decision });
  }

  // Shows what the person's authenticator app would: the code of the next half minute, for the one of this was used.
  stepUp(page) {
    const code = totp(Buffer.from(this.app, "hex"), Math.floor(Date.now() / 30_000) + 1);
    return this.browse("POST", "/login/step-up", { way: "app", code, return_to: hidden(page, "return_to") });
  }

  // Types the code that a device shows, compares it, and decides.
  async connectDevice(code, decision = "allow") {
    const question = await this.browse("POST", "/device", { user_code: code });
    const shown = hidden(question.page, "user_code");
    const done = await this.browse("POST", "/device/decision", { user_code: shown, decision });
    if (shown !== code || done.status !== 200) throw new Error(`${shown} for ${code}, then ${done.status}`);
  }
}

export function hidden(page, name) {
  const found = page.match(new RegExp(`name="${name}" value="([^"]*)"`));
  if (!found) throw new Error(`the page has no field ${name}: ${page.slice(0, 2000)}`);
  return found[1].replaceAll("&amp;", "&").replaceAll("&#34;", '"').replaceAll("&#39;", "'");
}

// RFC 6238 with what every app assumes: SHA-1, six digits.
function totp(key, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", key).update(counter).digest();
  const number = mac.readUInt32BE(mac[mac.length - 1] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

// The error of an attempt as OAuth names it, whichever way the package reports it; "accepted" when there is none.
export async function refusal(attempt) {
  try {
    await attempt;
  } catch (error) {
    if (error.error) return error.error;
    const challenges = Array.isArray(error.cause) ? error.cause : [];
    const named = challenges.map((challenge) => challenge.parameters?.error).find(Boolean);
    const body = await error.response?.json().catch(() => null);
    return named ?? body?.error ?? error.code ?? error.name;
  }
  return "accepted";
}

// Runs every flow after the other and prints, as one line, what came of each; one that breaks says how.
export async function report(flows) {
  const seen = {};
  for (const flow of flows) {
    seen[flow.name] = await flow().catch((error) => ({ broke: `${error.stack} ${JSON.stringify(error.cause ?? null)}` }));
  }
  console.log(JSON.stringify(seen));
}
