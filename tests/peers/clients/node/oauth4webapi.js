import * as oauth from "oauth4webapi";
import { BATCH, CALLBACK, ISSUER, WEB, assert, browse, call } from "./circle.js";

const plain = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(ISSUER);
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...plain }),
);
const client = { client_id: WEB.id };
const authentication = oauth.ClientSecretBasic(WEB.secret);

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const url = new URL(server.authorization_endpoint);
for (const [name, value] of Object.entries({
  client_id: WEB.id,
  redirect_uri: CALLBACK,
  response_type: "code",
  scope: "orders",
  state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
})) {
  url.searchParams.set(name, value);
}
// Checks `state`, and `iss` (RFC 9207), which the metadata promises.
assert.equal(server.authorization_response_iss_parameter_supported, true);
const callback = oauth.validateAuthResponse(server, client, await browse(url.href), state);
const redeemed = await oauth.processAuthorizationCodeResponse(
  server,
  client,
  await oauth.authorizationCodeGrantRequest(server, client, authentication, callback, CALLBACK, verifier, plain),
);
assert.equal((await call(redeemed.access_token, 200)).headers["x-forwarded-user"], "u-1001");

const refreshed = await oauth.processRefreshTokenResponse(
  server,
  client,
  await oauth.refreshTokenGrantRequest(server, client, authentication, redeemed.refresh_token, plain),
);
assert.notEqual(refreshed.refresh_token, redeemed.refresh_token);
await call(refreshed.access_token, 200);

const introspect = async (token) =>
  oauth.processIntrospectionResponse(
    server,
    client,
    await oauth.introspectionRequest(server, client, authentication, token, plain),
  );
const active = await introspect(refreshed.access_token);
assert.equal(active.active, true);
assert.equal(active.sub, "u-1001");

await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, authentication, refreshed.refresh_token, plain),
);
await call(refreshed.access_token, 401);
assert.deepEqual(await introspect(refreshed.access_token), { active: false });
await assert.rejects(
  async () =>
    oauth.processRefreshTokenResponse(
      server,
      client,
      await oauth.refreshTokenGrantRequest(server, client, authentication, refreshed.refresh_token, plain),
    ),
  { error: "invalid_grant" },
);

const batch = { client_id: BATCH.id };
const own = await oauth.processClientCredentialsResponse(
  server,
  batch,
  await oauth.clientCredentialsGrantRequest(
    server,
    batch,
    oauth.ClientSecretPost(BATCH.secret),
    new URLSearchParams({ scope: "orders" }),
    plain,
  ),
);
assert.equal(own.refresh_token, undefined);
await call(own.access_token, 200);
