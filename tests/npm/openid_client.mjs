// The npm package openid-client, unmodified, as a registered third-party client.
//
// Reads one JSON object from standard input: {issuer, clientId, secret, scope, revoke}. Prints the authorization
// URL as a JSON line, waits for the browser at its own redirect URI, and prints what came of it.
//
// Its two documented settings are used: a fetch of one's own (names under .localhost lead to this machine,
// RFC 6761 section 6.3, which Node leaves to the system's resolver), and authority files by NODE_EXTRA_CA_CERTS.

import {createServer} from "node:http";
import {once} from "node:events";
import {text} from "node:stream/consumers";

import * as client from "openid-client";
import {Agent, fetch} from "undici";

const asked = JSON.parse(await text(process.stdin));
const loopback = new Agent({
  connect: {lookup: (name, options, found) => found(null, [{address: "127.0.0.1", family: 4}])},
});
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const proof = asked.secret ? client.ClientSecretBasic(asked.secret) : client.None();
const config = await client.discovery(new URL(asked.issuer), asked.clientId, undefined, proof, {
  [client.customFetch]: (url, options) => fetch(url, {...options, dispatcher: loopback}),
});

const listener = createServer();
listener.listen(0, "127.0.0.1");
await once(listener, "listening");
const redirectUri = `http://127.0.0.1:${listener.address().port}/callback`;

const verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const nonce = client.randomNonce();
const address = client.buildAuthorizationUrl(config, {
  redirect_uri: redirectUri,
  scope: asked.scope,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
  nonce,
});
say({authorize: address.href});

const [request, response] = await once(listener, "request");
response.end("<!doctype html><title>Connected</title>", () => listener.close());
const callback = new URL(request.url, redirectUri);

const tokens = await client.authorizationCodeGrant(config, callback, {
  pkceCodeVerifier: verifier,
  expectedState: state,
  expectedNonce: nonce,
  idTokenExpected: true,
});
const claims = tokens.claims();
const call = async (method, path, body, token = tokens.access_token) => {
  const answer = await client.fetchProtectedResource(
    config,
    token,
    new URL(path, `${asked.issuer}/api/v1/`),
    method,
    body && JSON.stringify(body),
    new Headers(body && {"content-type": "application/json"}),
  ).catch((error) => {
    if (error.status) return error.response ?? {status: error.status, text: async () => ""};
    throw error;
  });
  return {status: answer.status, challenge: answer.headers?.get("www-authenticate"), body: await answer.text()};
};

say({
  token: tokens.access_token,
  tokenType: tokens.token_type,
  expiresIn: tokens.expiresIn(),
  scope: tokens.scope,
  claims,
  person: await client.fetchUserInfo(config, tokens.access_token, claims.sub),
  tickets: await call("GET", "tickets"),
  announcements: await call("GET", "announcements"),
  beyond: await call("POST", "tickets", {title: "Too much", category: "water", urgency: "low"}),
});

// The second half: the tokens are renewed, and then given back by the client itself.
if (asked.revoke) {
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token);
  const other = renewed.refresh_token !== tokens.refresh_token && renewed.access_token !== tokens.access_token;
  say({rotated: other, renewed: await call("GET", "tickets", undefined, renewed.access_token)});
  await client.tokenRevocation(config, renewed.refresh_token);
  const again = await client.refreshTokenGrant(config, renewed.refresh_token).catch((error) => ({refused: error.error}));
  say({
    first: await call("GET", "tickets"),
    second: await call("GET", "tickets", undefined, renewed.access_token),
    refused: again.refused,
  });
}
await loopback.close();
