// The npm package openid-client, unmodified, as a client that proves who it is with a TLS certificate (RFC 8705).
// Reads one JSON object from standard input: {issuer, ca, cookie, redirect, scope, api, client, certificate, key,
// strangerCertificate, strangerKey} (the last four are files) and prints what came of it.

import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import * as client from "openid-client";
import { Agent, fetch } from "undici";
import { Person, Wire, refusal } from "./person.mjs";

const asked = JSON.parse(await text(process.stdin));
const issuer = new URL(asked.issuer);
const wire = new Wire(asked.ca);
const person = new Person(wire, issuer, asked);

function bearing(certificate, key) {
  const agent = new Agent({
    connect: {
      ca: readFileSync(asked.ca),
      cert: readFileSync(certificate),
      key: readFileSync(key),
      lookup: (_host, wanted, done) => {
        const found = { address: "127.0.0.1", family: 4 };
        wanted.all ? done(null, [found]) : done(null, found.address, found.family);
      },
    },
  });
  return { agent, fetch: (url, init) => fetch(url, { ...init, dispatcher: agent }) };
}

const own = bearing(asked.certificate, asked.key);
const stranger = bearing(asked.strangerCertificate, asked.strangerKey);

async function configure(through) {
  const metadata = { use_mtls_endpoint_aliases: true };
  const options = { [client.customFetch]: through.fetch };
  return client.discovery(issuer, asked.client, metadata, client.TlsClientAuth(), options);
}

async function begin(configuration) {
  const verifier = client.randomPKCECodeVerifier();
  const expectedState = client.randomState();
  const start = await client.buildAuthorizationUrlWithPAR(configuration, {
    redirect_uri: asked.redirect,
    scope: asked.scope,
    state: expectedState,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  });
  const callback = await person.agree(start.href, asked.redirect);
  return [callback, { pkceCodeVerifier: verifier, expectedState }];
}

const configuration = await configure(own);
const foreign = await configure(stranger);
const pushed = await refusal(begin(foreign));
const first = await begin(configuration);
const stolen = await refusal(client.authorizationCodeGrant(foreign, ...first));
const tokens = await client.authorizationCodeGrant(configuration, ...first);

const api = new URL(asked.api);
const call = async (through) => {
  const answer = await through.fetch(api, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  return answer.status;
};
const claims = JSON.parse(Buffer.from(tokens.access_token.split(".")[1], "base64url"));
const outcome = { pushed, stolen, cnf: claims.cnf, opened: await call(own), foreign: await call(stranger), bare: await call(wire) };
console.log(JSON.stringify({ ...outcome, endpoint: configuration.serverMetadata().mtls_endpoint_aliases.token_endpoint }));
await Promise.all([own.agent.close(), stranger.agent.close(), wire.close()]);
