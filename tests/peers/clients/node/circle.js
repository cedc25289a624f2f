// What every circle here has in common: where sidegate is, a browser, and the protected API.

import assert from "node:assert/strict";

export const { ISSUER, BROWSER, CALLBACK } = process.env;
export const WEB = { id: "web", secret: "web-secret-2Vq8Zr5Tn1Xw7Ky4" };
export const BATCH = { id: "batch", secret: "batch-secret-9Lm3Pb6Hd0Jc8Fg2" };

// Signs in and agrees; the address that the application is called at.
export async function browse(url) {
  const answer = await fetch(`${BROWSER}?url=${encodeURIComponent(url)}`);
  assert.equal(answer.status, 200, "the browser came to no redirect");
  return new URL(await answer.text());
}

export async function call(token, status) {
  const answer = await fetch(`${ISSUER}/orders/7`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(answer.status, status);
  return answer.json();
}

export { assert };
