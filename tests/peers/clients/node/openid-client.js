import * as client from "openid-client";
import { BATCH, CALLBACK, ISSUER, WEB, assert, browse, call } from "./circle.js";

// OpenID Connect discovery; the ID token is verified with the published key set.
const execute = [client.allowInsecureRequests];
const config = await client.discovery(new URL(ISSUER), WEB.id, WEB.secret, undefined, { execute });

const verifier = client.randomPKCECodeVerifier();
const [state, nonce] = [client.randomState(), client.randomNonce()];
const url = client.buildAuthorizationUrl(config, {
  redirect_uri: CALLBACK,
  scope: "openid orders",
  state,
  nonce,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
});
const redeemed = await client.authorizationCodeGrant(config, await browse(url.href), {
  pkceCodeVerifier: verifier,
  expectedState: state,
  expectedNonce: nonce,
  idTokenExpected: true,
});
assert.equal(redeemed.claims().sub, "u-1001");
await call(redeemed.access_token, 200);

const refreshed = await client.refreshTokenGrant(config, redeemed.refresh_token);
assert.notEqual(refreshed.refresh_token, redeemed.refresh_token);
await call(refreshed.access_token, 200);
assert.equal((await client.tokenIntrospection(config, refreshed.access_token)).active, true);

await client.tokenRevocation(config, refreshed.refresh_token);
await call(refreshed.access_token, 401);
assert.equal((await client.tokenIntrospection(config, refreshed.access_token)).active, false);
await assert.rejects(client.refreshTokenGrant(config, refreshed.refresh_token), { error: "invalid_grant" });

const batch = await client.discovery(new URL(ISSUER), BATCH.id, BATCH.secret, undefined, { execute });
await call((await client.clientCredentialsGrant(batch, { scope: "orders" })).access_token, 200);
