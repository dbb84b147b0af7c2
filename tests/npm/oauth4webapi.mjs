// The npm package oauth4webapi, unmodified, as third-party clients: each flow is a function that does what such a
// client does, then what it must not get away with. Reads one JSON object from standard input:
//
//   {"issuer": …, "ca": file, "cookie": a session's, "redirect": …, "scope": …, "api": path, "invitation": …, "audience": …,
//    "clients": {name: {"id": …, "secret": …}}, "key": PKCS #8 in base64}
//
// and prints one: what came of each flow.

import { webcrypto } from "node:crypto";
import { text } from "node:stream/consumers";
import * as oauth from "oauth4webapi";
import { Person, Wire, refusal, report } from "./person.mjs";

const asked = JSON.parse(await text(process.stdin));
const issuer = new URL(asked.issuer);
const wire = new Wire(asked.ca);
const person = new Person(wire, issuer, asked);
const through = { [oauth.customFetch]: wire.fetch };
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, through));
const api = new URL(asked.api, issuer);

const curve = { name: "ECDSA", namedCurve: "P-256" };
const bytes = Buffer.from(asked.key, "base64");
const key = await webcrypto.subtle.importKey("pkcs8", bytes, curve, false, ["sign"]);
const signer = { key, kid: "k" };

const named = (name) => ({ client_id: asked.clients[name].id });
const ledger = named("ledger");
const nobody = oauth.None();

// A code for this client, with everything that has to be remembered until it is redeemed.
async function ask(client, { push, sign, more = {} } = {}) {
  const [verifier, state, nonce] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState(), oauth.generateRandomNonce()];
  const wishes = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: asked.redirect,
    response_type: "code",
    scope: asked.scope,
    state,
    nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    ...more,
  });
  let query = wishes;
  if (push) query = new URLSearchParams({ client_id: client.client_id, request_uri: await push(wishes) });
  if (sign) query = new URLSearchParams({ client_id: client.client_id, request: await sign(wishes) });
  const start = new URL(server.authorization_endpoint);
  start.search = query;
  const callback = await person.agree(start, asked.redirect);
  return { parameters: oauth.validateAuthResponse(server, client, callback, state), verifier, nonce, start };
}

async function redeem(client, proof, { parameters, verifier, nonce }, options = {}) {
  const all = { ...through, ...options };
  const response = await oauth.authorizationCodeGrantRequest(server, client, proof, parameters, asked.redirect, verifier, all);
  const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, { expectedNonce: nonce, requireIdToken: true });
  await oauth.validateApplicationLevelSignature(server, response, through); // the ID token, by our published keys
  return tokens;
}

async function renew(client, proof, token, options = {}) {
  const response = await oauth.refreshTokenGrantRequest(server, client, proof, token, { ...through, ...options });
  return oauth.processRefreshTokenResponse(server, client, response);
}

async function call(token, options = {}) {
  const response = await oauth.protectedResourceRequest(token, "GET", api, undefined, null, { ...through, ...options });
  return response.status;
}

// What an API of somebody else's would make of the token (RFC 9068).
async function judge(token, scheme = "Bearer", headers = {}) {
  const request = new Request(api, { headers: { authorization: `${scheme} ${token}`, ...headers } });
  return oauth.validateJwtAccessToken(server, request, asked.audience, through);
}

async function introspect(client, proof, token, options = {}) {
  const response = await oauth.introspectionRequest(server, client, proof, token, { ...through, ...options });
  return [await oauth.processIntrospectionResponse(server, client, response), response];
}

async function revoke(client, proof, token) {
  return oauth.processRevocationResponse(await oauth.revocationRequest(server, client, proof, token, through));
}

const errorOf = async (response) => (await response.json()).error;

async function code() {
  const first = await ask(ledger);
  const stolen = await refusal(redeem(ledger, nobody, { ...first, verifier: oauth.generateRandomCodeVerifier() }));
  const second = await ask(ledger);
  const tokens = await redeem(ledger, nobody, second);
  const claims = oauth.getValidatedIdTokenClaims(tokens);
  const profile = await oauth.userInfoRequest(server, ledger, tokens.access_token, through);
  const userinfo = await oauth.processUserInfoResponse(server, ledger, claims.sub, profile);
  const opened = await call(tokens.access_token);
  const judged = await judge(tokens.access_token);
  const replayed = await refusal(redeem(ledger, nobody, second));
  const after = await refusal(call(tokens.access_token));
  const { scope, token_type } = tokens;
  return { stolen, claims, userinfo, opened, judged, replayed, after, scope, token_type };
}

async function pushed() {
  const client = named("basic");
  const proof = oauth.ClientSecretBasic(asked.clients.basic.secret);
  const push = async (wishes, how = proof) => {
    const response = await oauth.pushedAuthorizationRequest(server, client, how, wishes, through);
    return (await oauth.processPushedAuthorizationResponse(server, client, response)).request_uri;
  };
  const begun = await ask(client, { push });
  const tokens = await redeem(client, proof, begun);
  const again = (await person.browse("GET", begun.start)).status;
  const wishes = { redirect_uri: "https://elsewhere.example/", response_type: "code", scope: asked.scope };
  const elsewhere = await refusal(push(new URLSearchParams(wishes)));
  const stranger = await refusal(push(new URLSearchParams(wishes), oauth.ClientSecretBasic("wrong")));
  return { opened: await call(tokens.access_token), again, elsewhere, stranger, query: [...begun.start.searchParams.keys()] };
}

async function signed() {
  const client = named("key");
  const proof = oauth.PrivateKeyJwt(signer);
  const sign = (wishes) => oauth.issueRequestObject(server, client, wishes, signer);
  const tokens = await redeem(client, proof, await ask(client, { sign }));
  const other = { key: (await oauth.generateKeyPair("ES256")).privateKey, kid: "k" };
  const forge = (wishes) => oauth.issueRequestObject(server, client, wishes, other);
  const forged = await refusal(ask(client, { sign: forge }));
  const push = async (wishes) => {
    const request = new URLSearchParams({ client_id: client.client_id, request: await sign(wishes) });
    const response = await oauth.pushedAuthorizationRequest(server, client, proof, request, through);
    return (await oauth.processPushedAuthorizationResponse(server, client, response)).request_uri;
  };
  const both = await redeem(client, proof, await ask(client, { push }));
  return { opened: await call(tokens.access_token), forged, pushed: await call(both.access_token) };
}

async function secrets() {
  const seen = {};
  for (const [name, kind] of [["basic", oauth.ClientSecretBasic], ["post", oauth.ClientSecretPost]]) {
    const { secret } = asked.clients[name];
    const other = kind === oauth.ClientSecretBasic ? oauth.ClientSecretPost : oauth.ClientSecretBasic;
    const begun = await ask(named(name));
    const wrong = await refusal(redeem(named(name), kind(`${secret}x`), begun));
    const bare = await refusal(redeem(named(name), nobody, begun));
    const otherwise = await refusal(redeem(named(name), other(secret), begun));
    const tokens = await redeem(named(name), kind(secret), begun);
    seen[name] = { wrong, bare, otherwise, opened: await call(tokens.access_token) };
  }
  return seen;
}

async function assertions() {
  const client = named("key");
  const begun = await ask(client);
  const to = (aud) => oauth.PrivateKeyJwt(signer, { [oauth.modifyAssertion]: (_header, claims) => { claims.aud = aud; } });
  const misdirected = await refusal(redeem(client, to("https://elsewhere.example"), begun));
  const stale = { [oauth.modifyAssertion]: (_header, claims) => { claims.exp -= 3600; } };
  const expired = await refusal(redeem(client, oauth.PrivateKeyJwt(signer, stale), begun));
  const other = { key: (await oauth.generateKeyPair("ES256")).privateKey, kid: "k" };
  const forged = await refusal(redeem(client, oauth.PrivateKeyJwt(other), begun));
  const tokens = await redeem(client, oauth.PrivateKeyJwt(signer), begun);
  const [told] = await introspect(client, oauth.PrivateKeyJwt(signer), tokens.access_token);
  const replayed = await errorOf(await wire.repeat());
  return { misdirected, expired, forged, active: told.active, replayed, opened: await call(tokens.access_token) };
}

async function bound() {
  const pair = await oauth.generateKeyPair("ES256");
  const handle = () => ({ DPoP: oauth.DPoP(ledger, pair) });
  const held = handle();
  const begun = await ask(ledger);
  const challenged = await redeem(ledger, nobody, begun, held).catch(oauth.isDPoPNonceError);
  const tokens = await redeem(ledger, nobody, begun, held);
  // The same key, but a handle that no nonce was told yet: now the API has to say it.
  const fresh = handle();
  const apiChallenged = await call(tokens.access_token, fresh).catch(oauth.isDPoPNonceError);
  const opened = await call(tokens.access_token, fresh);
  const said = wire.last[1].headers;
  const judged = await judge(tokens.access_token, "DPoP", { dpop: said.dpop ?? said.DPoP });
  const unproved = await refusal(judge(tokens.access_token));
  const replayed = (await wire.repeat()).status;
  const bearer = await refusal(call(tokens.access_token));
  const thief = { DPoP: oauth.DPoP(ledger, await oauth.generateKeyPair("ES256")) };
  await call(tokens.access_token, thief).catch(() => null);
  const stolen = await refusal(call(tokens.access_token, thief));
  const renewed = await renew(ledger, nobody, tokens.refresh_token, held);
  const keyless = await refusal(renew(ledger, nobody, renewed.refresh_token));
  const otherKey = await refusal(renew(ledger, nobody, renewed.refresh_token, thief));
  const { token_type } = tokens;
  return { judged, unproved, challenged, token_type, apiChallenged, opened, replayed, bearer, stolen, keyless, otherKey, renewed: await call(renewed.access_token, held) };
}

async function refreshed() {
  const first = await redeem(ledger, nobody, await ask(ledger));
  const second = await renew(ledger, nobody, first.refresh_token);
  const third = await renew(ledger, nobody, second.refresh_token);
  const different = new Set([first, second, third].map((tokens) => tokens.refresh_token)).size;
  const opened = await call(third.access_token);
  const other = await refusal(renew(named("post"), oauth.ClientSecretPost(asked.clients.post.secret), third.refresh_token));
  const replayed = await refusal(renew(ledger, nobody, first.refresh_token));
  const newest = await refusal(renew(ledger, nobody, third.refresh_token));
  const after = await refusal(call(third.access_token));
  return { different, opened, other, replayed, newest, after };
}

async function introspected() {
  const [client, proof] = [named("basic"), oauth.ClientSecretBasic(asked.clients.basic.secret)];
  const tokens = await redeem(client, proof, await ask(client));
  const foreign = await redeem(ledger, nobody, await ask(ledger));
  const [told] = await introspect(client, proof, tokens.access_token);
  const [refresh] = await introspect(client, proof, tokens.refresh_token);
  const [others] = await introspect(client, proof, foreign.access_token);
  const expecting = { ...client, introspection_signed_response_alg: "ES256" };
  const [sealed, response] = await introspect(expecting, proof, tokens.access_token);
  await oauth.validateApplicationLevelSignature(server, response, through);
  const stranger = await refusal(introspect(client, oauth.ClientSecretBasic("wrong"), tokens.access_token));
  const anybody = await refusal(introspect(ledger, nobody, foreign.access_token));
  return { told, refresh: refresh.active, others, sealed: sealed.active, stranger, anybody };
}

async function revoked() {
  const [client, proof] = [named("basic"), oauth.ClientSecretBasic(asked.clients.basic.secret)];
  const tokens = await redeem(client, proof, await ask(client));
  const stranger = await refusal(revoke(client, oauth.ClientSecretBasic("wrong"), tokens.refresh_token));
  await revoke(ledger, nobody, tokens.refresh_token); // another client's: answered alike, nothing happens
  const before = await call(tokens.access_token);
  await revoke(client, proof, tokens.refresh_token);
  const renewal = await refusal(renew(client, proof, tokens.refresh_token));
  const after = await refusal(call(tokens.access_token));
  await revoke(client, proof, "never was a token");
  return { stranger, before, renewal, after };
}

async function device() {
  const client = named("television");
  const begin = async () => {
    const wishes = { scope: asked.scope };
    const response = await oauth.deviceAuthorizationRequest(server, client, nobody, wishes, through);
    return oauth.processDeviceAuthorizationResponse(server, client, response);
  };
  const poll = async ({ device_code }) => {
    const response = await oauth.deviceCodeGrantRequest(server, client, nobody, device_code, through);
    return oauth.processDeviceCodeResponse(server, client, response);
  };
  const [waiting, denied, allowed] = [await begin(), await begin(), await begin()];
  const pending = await refusal(poll(waiting));
  const hasty = await refusal(poll(waiting));
  await person.connectDevice(denied.user_code, "deny");
  const refused = await refusal(poll(denied));
  await person.connectDevice(allowed.user_code);
  const tokens = await poll(allowed);
  const opened = await call(tokens.access_token);
  const again = await refusal(poll(allowed));
  const after = await refusal(call(tokens.access_token));
  return { pending, hasty, refused, opened, again, after, scope: tokens.scope };
}

async function registered() {
  const register = async (initialAccessToken, changes = {}) => {
    const metadata = { client_name: "Own Ledger", redirect_uris: [asked.redirect], scope: asked.scope, ...changes };
    const response = await oauth.dynamicClientRegistrationRequest(server, metadata, { ...through, initialAccessToken });
    return oauth.processDynamicClientRegistrationResponse(response);
  };
  const uninvited = await refusal(register(undefined));
  const unfit = await refusal(register(asked.invitation, { redirect_uris: ["http://elsewhere.example/"] }));
  const client = await register(asked.invitation);
  const again = await refusal(register(asked.invitation));
  const tokens = await redeem(client, oauth.ClientSecretBasic(client.client_secret), await ask(client));
  return { uninvited, unfit, again, opened: await call(tokens.access_token), method: client.token_endpoint_auth_method };
}

await report([code, pushed, signed, secrets, assertions, bound, refreshed, introspected, revoked, device, registered]);
await wire.close();
