// oidc-provider as the identity provider: node provider.js PORT KEY_ID [JWKS_FILE [OWN_PORT [SECONDS]]]
//
// Its signing key is made at each start, so a restart with another KEY_ID is a rotation in which the old key is gone.
// Resources below urn:jwt: get JWT access tokens, those below urn:opaque: opaque ones.
//
// With the key set of a client in JWKS_FILE it is the authority that sidegate asks as well: three clients that prove
// themselves in three ways, a password grant, and refresh tokens that are good once, without a grace. Each grant that it
// gives or refuses is a line of its output. It listens on OWN_PORT where something stands between it and its clients; the
// access tokens of users live for SECONDS.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import Provider, { errors } from 'oidc-provider';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';

const [port, kid, jwksFile, ownPort = port, seconds = 3600] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const machine = {
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: 'client_secret_basic',
};

const broker = {
  client_secret: 'broker secret+&:%'.repeat(2),
  grant_types: ['client_credentials', 'password', 'refresh_token'],
  redirect_uris: [],
  response_types: [],
};
const findAccount = (ctx, accountId) => ({
  accountId,
  claims: () => ({ sub: accountId, preferred_username: 'ana', groups: ['staff'] }),
});
const brokers = jwksFile && [
  { client_id: 'by basic', ...broker, token_endpoint_auth_method: 'client_secret_basic' },
  { client_id: 'by form', ...broker, token_endpoint_auth_method: 'client_secret_post' },
  {
    client_id: 'by key',
    ...broker,
    client_secret: undefined,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: JSON.parse(readFileSync(jwksFile)),
  },
];

// What it keeps by default it forgets after a thousand entries, which hundreds of sessions have.
const kept = new Map();

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' }] },
  clients: [
    { client_id: 'machine', client_secret: 'machine-secret', scope: 'read write', ...machine },
    { client_id: 'sidegate', client_secret: 'sidegate-secret', ...machine },
    ...(brokers || []),
  ],
  scopes: ['openid', 'offline_access', 'read', 'write'],
  claims: { openid: ['sub', 'preferred_username', 'groups'] },
  conformIdTokenClaims: false,
  rotateRefreshToken: true,
  adapter: (model) => new MemoryAdapter(model, kept),
  ttl: { AccessToken: Number(seconds) },
  findAccount,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'sidegate' },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'read write',
        audience: resource.split(':').pop(),
        accessTokenTTL: 600,
        accessTokenFormat: resource.startsWith('urn:jwt:') ? 'jwt' : 'opaque',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

const say = (result) => ({ oidc }) => console.log(`${result} ${oidc?.params?.grant_type} for ${oidc?.client?.clientId}`);
provider.on('grant.success', say('gave'));
provider.on('grant.error', say('refused'));

// The password grant of the documentation's recipes, for one user.
provider.registerGrantType(
  'password',
  async (ctx) => {
    const { client, params } = ctx.oidc;
    if (params.username !== 'ana' || params.password !== 'correct horse') {
      throw new errors.InvalidGrant('invalid credentials provided');
    }
    const accountId = 'user-17';
    ctx.oidc.entity('Account', findAccount(ctx, accountId));
    const grant = new provider.Grant({ accountId, clientId: client.clientId });
    grant.addOIDCScope('openid offline_access');
    const about = { accountId, client, grantId: await grant.save(), gty: 'password', scope: 'openid offline_access' };
    const token = new provider.AccessToken({ ...about, claims: {} });
    ctx.oidc.entity('AccessToken', token);
    const authTime = Math.floor(Date.now() / 1000);
    const refresh = new provider.RefreshToken({ ...about, claims: {}, authTime, rotations: 0 });
    ctx.oidc.entity('RefreshToken', refresh);
    const accessToken = await token.save();
    const id = new provider.IdToken(await ctx.oidc.account.claims('id_token', 'openid'), { ctx });
    id.scope = 'openid';
    id.set('at_hash', accessToken);
    ctx.body = {
      access_token: accessToken,
      expires_in: token.expiration,
      id_token: await id.issue({ use: 'idtoken' }),
      refresh_token: await refresh.save(),
      scope: token.scope,
      token_type: token.tokenType,
    };
  },
  ['username', 'password'],
);
provider.listen(Number(ownPort), '127.0.0.1');
