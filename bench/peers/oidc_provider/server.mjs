// node oidc-provider in one process, everything in memory: `node server.mjs SETTINGS.json`.
//
// Its fastest honest setting: opaque access tokens (nothing is signed for a refresh), no ID token, its own
// memory adapter, no logging, the same TLS as ours. Prints one line of JSON once it listens: tokens that were
// made through its own models, as an authorization by code would have made them.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

import Provider from 'oidc-provider';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `https://127.0.0.1:${settings.port}`;
const CLIENT = 'bench';
const ACCOUNT = 'anna';
const jwk = { ...createPrivateKey(settings.signing_key).export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: '1' };
const SCOPE = 'tickets:read announcements:read';
const HOUR = 3600;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: CLIENT,
      client_secret: settings.secret,
      redirect_uris: ['https://client.example/callback'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_basic',
      id_token_signed_response_alg: 'ES256',
    },
  ],
  scopes: ['openid', 'offline_access', ...SCOPE.split(' ')],
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  rotateRefreshToken: true,
  features: { introspection: { enabled: true }, devInteractions: { enabled: false } },
  ttl: { AccessToken: 300, RefreshToken: HOUR, Grant: HOUR, Session: HOUR, Interaction: HOUR },
  jwks: { keys: [jwk] },
  cookies: { keys: [settings.secret] },
});

async function grant() {
  const made = new provider.Grant({ accountId: ACCOUNT, clientId: CLIENT });
  made.addOIDCScope(`openid ${SCOPE}`);
  return made.save();
}

async function refreshToken(client) {
  return new provider.RefreshToken({
    accountId: ACCOUNT,
    client,
    grantId: await grant(),
    gty: 'authorization_code',
    scope: SCOPE,
    expiresWithSession: false,
  }).save();
}

async function accessToken(client, scope) {
  return new provider.AccessToken({
    accountId: ACCOUNT,
    client,
    grantId: await grant(),
    gty: 'authorization_code',
    scope,
    expiresWithSession: false,
  }).save();
}

const server = createServer(
  {
    key: readFileSync(settings.key),
    cert: readFileSync(settings.certificate),
    ca: readFileSync(settings.client_ca),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
  },
  provider.callback(),
);
server.listen(settings.port, '127.0.0.1', async () => {
  const client = await provider.Client.find(CLIENT);
  const refresh = await Promise.all(Array.from({ length: settings.chains }, () => refreshToken(client)));
  const access = await accessToken(client, SCOPE);
  const userinfo = await accessToken(client, 'openid');
  process.stdout.write(`${JSON.stringify({ refresh, access, userinfo })}\n`);
});
process.on('SIGTERM', () => process.exit(0));
