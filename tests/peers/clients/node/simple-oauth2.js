import { createHash, randomBytes } from "node:crypto";
import { AuthorizationCode, ClientCredentials, ResourceOwnerPassword } from "simple-oauth2";
import { BATCH, CALLBACK, ISSUER, WEB, assert, browse, call } from "./circle.js";

// It knows no discovery: the paths are those that are documented.
const auth = {
  tokenHost: ISSUER,
  tokenPath: "/oauth20/token",
  revokePath: "/oauth20/revoke",
};
const code = new AuthorizationCode({ client: WEB, auth: { ...auth, authorizePath: "/oauth20/authorize" } });
const verifier = randomBytes(32).toString("base64url");
const state = randomBytes(16).toString("hex");
const callback = await browse(
  code.authorizeURL({
    redirect_uri: CALLBACK,
    scope: "orders",
    state,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  }),
);
assert.equal(callback.searchParams.get("state"), state);
let token = await code.getToken({
  code: callback.searchParams.get("code"),
  redirect_uri: CALLBACK,
  code_verifier: verifier,
});
assert.equal(token.expired(), false);
await call(token.token.access_token, 200);

const first = token.token.refresh_token;
token = await token.refresh();
assert.notEqual(token.token.refresh_token, first);
await call(token.token.access_token, 200);
await token.revokeAll();
await call(token.token.access_token, 401);
await assert.rejects(token.refresh(), (error) => error.data.payload.error === "invalid_grant");

const own = await new ClientCredentials({ client: BATCH, auth }).getToken({ scope: "orders" });
await call(own.token.access_token, 200);

const password = new ResourceOwnerPassword({ client: WEB, auth, options: { authorizationMethod: "body" } });
const signedIn = await password.getToken({ username: "ana", password: "correct horse battery", scope: "orders" });
await call(signedIn.token.access_token, 200);
await assert.rejects(
  password.getToken({ username: "ana", password: "wrong", scope: "orders" }),
  (error) => error.data.payload.error === "invalid_grant",
);
