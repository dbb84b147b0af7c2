// The npm package openid-client, unmodified, as third-party clients, without a browser: person.mjs plays the person's
// part in between (sign-in form, consent form, a device's code), the package checks everything else.
//
// Reads one JSON object from standard input, prints one line of JSON: what came of each flow.
//
//   {"issuer": "https://residents.localhost:8443", "ca": "ca.pem", "redirect": "http://127.0.0.1/callback",
//    "scope": "openid announcements:read", "api": "/api/v1/announcements?limit=1", "email": …, "password": …,
//    "clients": {name: {"id": …, "secret": …}}, "key": PKCS #8 in base64, "detail": {…}, "acr": …, "app": an
//    authenticator app's key in hex,
//    "afterwards": …, "listener": {"port": …, "certificate": file, "key": file}}
//
// Instead of email and password a session's "cookie" may be given.

import { webcrypto } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { text } from "node:stream/consumers";
import * as jose from "jose";
import * as client from "openid-client";
import { Person, Wire, refusal, report } from "./person.mjs";

const asked = JSON.parse(await text(process.stdin));
const issuer = new URL(asked.issuer);
const wire = new Wire(asked.ca);
const person = new Person(wire, issuer, asked);
const target = new URL(asked.api, issuer);

const curve = { name: "ECDSA", namedCurve: "P-256" };
const bytes = Buffer.from(asked.key, "base64");
const signer = { key: await webcrypto.subtle.importKey("pkcs8", bytes, curve, false, ["sign"]), kid: "k" };

const discover = (name, proof) =>
  client.discovery(issuer, asked.clients[name].id, undefined, proof, { [client.customFetch]: wire.fetch });

const ledger = await discover("ledger", client.None());
const server = await discover("basic", client.ClientSecretBasic(asked.clients.basic.secret));
const signing = await discover("key", client.PrivateKeyJwt(signer));

// The package then also checks signatures of what came over TLS already: ID tokens, introspection.
for (const config of [ledger, server, signing]) client.enableNonRepudiationChecks(config);

const inQuery = (config, wishes) => client.buildAuthorizationUrl(config, wishes);

// Code and PKCE by the address that `build` makes; the checks are the package's own.
async function connect(config, { build = inQuery, more = {}, options } = {}) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
  const start = await build(config, {
    redirect_uri: asked.redirect,
    scope: asked.scope,
    state: expectedState,
    nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
    ...more,
  });
  const callback = await person.agree(start.href, asked.redirect);
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: more.scope !== "" };
  const tokens = await client.authorizationCodeGrant(config, callback, checks, undefined, options);
  return { tokens, callback, checks, query: [...start.searchParams.keys()] };
}

const call = async (config, token, options) =>
  (await client.fetchProtectedResource(config, token, target, "GET", undefined, undefined, options)).status;

async function code() {
  const { tokens, callback, checks } = await connect(ledger);
  const claims = tokens.claims();
  const userinfo = await client.fetchUserInfo(ledger, tokens.access_token, claims.sub);
  const opened = await call(ledger, tokens.access_token);
  await client.tokenRevocation(ledger, tokens.access_token);
  const revoked = await refusal(client.fetchUserInfo(ledger, tokens.access_token, claims.sub));
  const replayed = await refusal(client.authorizationCodeGrant(ledger, callback, checks));
  const { scope, expires_in } = tokens;
  return { claims, userinfo, scope, expires_in, opened, revoked, replayed };
}

async function refreshed() {
  const { tokens: first } = await connect(ledger);
  const second = await client.refreshTokenGrant(ledger, first.refresh_token);
  const third = await client.refreshTokenGrant(ledger, second.refresh_token);
  const opened = await call(ledger, third.access_token);
  const replayed = await refusal(client.refreshTokenGrant(ledger, first.refresh_token));
  const after = await refusal(call(ledger, third.access_token));
  return { same: third.claims().sub === first.claims().sub, opened, replayed, after };
}

async function pushed() {
  const { tokens, query } = await connect(server, { build: client.buildAuthorizationUrlWithPAR });
  return { query, opened: await call(server, tokens.access_token) };
}

async function signed() {
  const build = (config, wishes) => client.buildAuthorizationUrlWithJAR(config, wishes, signer);
  const { tokens, query } = await connect(signing, { build });
  return { query, opened: await call(signing, tokens.access_token) };
}

async function bound() {
  const DPoP = client.getDPoPHandle(ledger, await client.randomDPoPKeyPair("ES256"));
  const { tokens } = await connect(ledger, { options: { DPoP } });
  const opened = await call(ledger, tokens.access_token, { DPoP });
  const bearer = await refusal(call(ledger, tokens.access_token));
  const renewed = await client.refreshTokenGrant(ledger, tokens.refresh_token, undefined, { DPoP });
  const keyless = await refusal(client.refreshTokenGrant(ledger, renewed.refresh_token));
  return { type: tokens.token_type, opened, bearer, renewed: await call(ledger, renewed.access_token, { DPoP }), keyless };
}

async function told() {
  const { tokens } = await connect(signing);
  const before = await client.tokenIntrospection(signing, tokens.access_token);
  await client.tokenRevocation(signing, tokens.refresh_token);
  const after = await client.tokenIntrospection(signing, tokens.access_token);
  const thief = await discover("basic", client.ClientSecretBasic("wrong"));
  return { before, after, stranger: await refusal(client.tokenIntrospection(thief, tokens.access_token)) };
}

async function device() {
  const television = await discover("television", client.None());
  const begun = await client.initiateDeviceAuthorization(television, { scope: asked.scope });
  await person.connectDevice(begun.user_code);
  // The package waits before it asks; nobody has to here, for the person was first.
  const tokens = await client.pollDeviceAuthorizationGrant(television, { ...begun, interval: 0 });
  const denied = await client.initiateDeviceAuthorization(television, { scope: asked.scope });
  await person.connectDevice(denied.user_code, "deny");
  const refused = await refusal(client.pollDeviceAuthorizationGrant(television, { ...denied, interval: 0 }));
  return { opened: await call(television, tokens.access_token), refused };
}

async function detailed() {
  const rich = await discover("rich", client.None());
  const more = { scope: "openid", authorization_details: JSON.stringify([asked.detail]) };
  const { tokens } = await connect(rich, { more });
  const greedy = { ...more, authorization_details: JSON.stringify([{ ...asked.detail, actions: ["delete"] }]) };
  const refused = await refusal(connect(rich, { more: greedy }));
  return { granted: tokens.authorization_details, opened: await call(rich, tokens.access_token), refused };
}

async function steppedUp() {
  const before = (await connect(ledger)).tokens.claims();
  const { tokens } = await connect(ledger, { more: { acr_values: asked.acr } });
  const unknown = await refusal(connect(ledger, { more: { acr_values: "urn:other" } }));
  return { before, after: tokens.claims(), unknown };
}

// Last, for it signs the person out; the client is told of it at its own address, server to server.
async function signedOut() {
  const partner = await discover("partner", client.ClientSecretBasic(asked.clients.partner.secret));
  const listener = createServer({ cert: readFileSync(asked.listener.certificate), key: readFileSync(asked.listener.key) });
  listener.listen(asked.listener.port, "127.0.0.1");
  await once(listener, "listening");
  const told = once(listener, "request");
  const { tokens } = await connect(partner);
  const before = await call(partner, tokens.access_token);
  const leave = { id_token_hint: tokens.id_token, state: "bye" };
  const astray = client.buildEndSessionUrl(partner, { ...leave, post_logout_redirect_uri: "https://elsewhere.example/" });
  const refused = (await person.browse("GET", astray)).status;
  const address = client.buildEndSessionUrl(partner, { ...leave, post_logout_redirect_uri: asked.afterwards });
  const left = await person.browse("GET", address);
  const [request, response] = await told;
  const form = new URLSearchParams(await text(request));
  response.end(() => listener.close());
  const keys = jose.createRemoteJWKSet(new URL(partner.serverMetadata().jwks_uri), { [jose.customFetch]: wire.fetch });
  const expected = { issuer: asked.issuer, audience: asked.clients.partner.id, typ: "logout+jwt", maxTokenAge: "2m" };
  const { payload } = await jose.jwtVerify(form.get("logout_token"), keys, expected);
  const { sub, sid } = tokens.claims();
  const same = payload.sub === sub && payload.sid === sid && !("nonce" in payload);
  const after = await refusal(call(partner, tokens.access_token));
  const renewed = await refusal(client.refreshTokenGrant(partner, tokens.refresh_token));
  return { before, refused, left: left.location, events: payload.events, same, after, renewed };
}

await report([code, refreshed, pushed, signed, bound, told, device, detailed, steppedUp, signedOut]);
await wire.close();
