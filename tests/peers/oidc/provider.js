// oidc-provider as the identity provider: node provider.js PORT KEY_ID
//
// Its signing key is made at each start, so a restart with another KEY_ID is a rotation in which the old key is gone.
// Resources below urn:jwt: get JWT access tokens, those below urn:opaque: opaque ones.

import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const [port, kid] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const machine = {
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: 'client_secret_basic',
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' }] },
  clients: [
    { client_id: 'machine', client_secret: 'machine-secret', scope: 'read write', ...machine },
    { client_id: 'sidegate', client_secret: 'sidegate-secret', ...machine },
  ],
  scopes: ['read', 'write'],
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
provider.listen(Number(port), '127.0.0.1');
