// oidc-provider with sign-in and consent pages of its own: node sign_in.js PORT REDIRECT_URI
//
// People are at localhost here, which is another site than 127.0.0.1. Refresh tokens are good once; whoever signs in under
// whatever name is that user.

import Provider from 'oidc-provider';

const [port, redirectUri] = process.argv.slice(2);
const provider = new Provider(`http://localhost:${port}`, {
  clients: [
    {
      client_id: 'sidegate',
      client_secret: 'sidegate-secret-there',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [redirectUri],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: { AccessToken: 600, Grant: 3600, IdToken: 600, Interaction: 600, Session: 3600, RefreshToken: 3600 },
});
provider.listen(Number(port), '127.0.0.1');
