// The npm package openid-client, unmodified, as a third-party client, without a browser: this script plays the
// person's part in between (sign-in form, consent form), the package checks everything else.
//
//   node openid_client_alone.mjs '{"issuer": "https://residents.localhost:8443", "ca": "ca.pem",
//     "client": "ledger", "redirect": "http://127.0.0.1/callback", "scope": "openid announcements:read",
//     "email": "…", "password": "…", "api": "/api/v1/announcements?limit=1"}'
//
// Instead of email and password a session's "cookie" may be given. "address" is where the issuer listens
// (127.0.0.1 when left out), "api" is asked with the access token. The answer is one line of JSON.

import { readFileSync } from "node:fs";
import * as client from "openid-client";
import { Agent, fetch, request } from "undici";

const COOKIE = "__Host-troth";

const options = JSON.parse(process.argv[2]);
const issuer = new URL(options.issuer);
const agent = new Agent({
  connect: {
    ca: readFileSync(options.ca),
    // Names below .localhost lead to this machine; not every resolver knows that.
    lookup: (_host, wanted, done) => {
      const found = { address: options.address ?? "127.0.0.1", family: 4 };
      wanted.all ? done(null, [found]) : done(null, found.address, found.family);
    },
  },
});

const throughAgent = (url, init) => fetch(url, { ...init, dispatcher: agent });

let cookie = options.cookie ?? "";

async function browse(method, target, form) {
  const own = { origin: issuer.origin, "sec-fetch-site": "same-origin" };
  const typed = { "sec-fetch-site": "none" };
  const response = await request(new URL(target, issuer), {
    method,
    dispatcher: agent,
    headers: {
      accept: "text/html",
      "sec-fetch-mode": "navigate",
      ...(form ? { ...own, "content-type": "application/x-www-form-urlencoded" } : typed),
      ...(cookie ? { cookie: `${COOKIE}=${cookie}` } : {}),
    },
    body: form ? new URLSearchParams(form).toString() : undefined,
  });
  for (const line of [response.headers["set-cookie"] ?? []].flat()) {
    if (line.startsWith(`${COOKIE}=`)) cookie = line.slice(COOKIE.length + 1).split(";")[0].replaceAll('"', "");
  }
  return { status: response.statusCode, location: response.headers.location, page: await response.body.text() };
}

function hidden(page, name) {
  const found = page.match(new RegExp(`name="${name}" value="([^"]*)"`));
  if (!found) throw new Error(`the page has no field ${name}: ${page.slice(0, 2000)}`);
  return found[1].replaceAll("&amp;", "&").replaceAll("&#34;", '"').replaceAll("&#39;", "'");
}

// Follows the authorization request through sign-in and consent to the client's redirect URI.
async function authorize(start) {
  let step = await browse("GET", start);
  for (let count = 0; count < 10; count += 1) {
    if (step.location?.startsWith(options.redirect)) return new URL(step.location);
    if (step.location) step = await browse("GET", step.location);
    else if (step.page.includes('name="password"')) step = await signIn(step.page);
    else if (step.page.includes('name="pending"')) step = await consent(step.page);
    else break;
  }
  throw new Error(`the browser ended on a page with status ${step.status}: ${step.page.slice(0, 2000)}`);
}

function signIn(page) {
  if (!options.email) throw new Error("the session is over, and there is nobody to sign in");
  const form = { email: options.email, password: options.password, return_to: hidden(page, "return_to") };
  return browse("POST", "/login", form);
}

function consent(page) {
  return browse("POST", "/oauth/consent", { pending: hidden(page, "pending"), decision: "allow" });
}

async function refusal(attempt) {
  try {
    await attempt;
  } catch (error) {
    return error.error ?? error.code ?? error.name;
  }
  return "accepted";
}

const configuration = await client.discovery(issuer, options.client, undefined, client.None(), {
  [client.customFetch]: throughAgent,
});

const verifier = client.randomPKCECodeVerifier();
const expectedState = client.randomState();
const expectedNonce = client.randomNonce();
const start = client.buildAuthorizationUrl(configuration, {
  redirect_uri: options.redirect,
  scope: options.scope,
  state: expectedState,
  nonce: expectedNonce,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
});

const callback = await authorize(start.href);
const checks = { pkceCodeVerifier: verifier, expectedState, expectedNonce, idTokenExpected: true };
const tokens = await client.authorizationCodeGrant(configuration, callback, checks);
const claims = tokens.claims();
const userinfo = await client.fetchUserInfo(configuration, tokens.access_token, claims.sub);

let api = null;
if (options.api) {
  const target = new URL(options.api, issuer);
  api = (await client.fetchProtectedResource(configuration, tokens.access_token, target, "GET")).status;
}

await client.tokenRevocation(configuration, tokens.access_token);
const revoked = await refusal(client.fetchUserInfo(configuration, tokens.access_token, claims.sub));
const replayed = await refusal(client.authorizationCodeGrant(configuration, callback, checks));

const { scope, expires_in } = tokens;
console.log(JSON.stringify({ claims, userinfo, scope, expires_in, api, revoked, replayed, cookie }));
await agent.close();
