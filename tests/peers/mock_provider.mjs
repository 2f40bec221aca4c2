// oauth2-mock-server, with an address of its own for the tests: what was asked, which keys, any token.
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { OAuth2Issuer, OAuth2Service } from "oauth2-mock-server";

const issuer = new OAuth2Issuer();
await issuer.keys.generate("RS256");
const service = new OAuth2Service(issuer);
const requests = {};
const retired = new Set();

const published = () => issuer.keys.toJSON().filter((key) => !retired.has(key.kid));

const control = {
  "/control/requests": () => requests,
  "/control/keys": async ({ alg }) => ({ kid: (await issuer.keys.generate(alg)).kid }),
  "/control/retire": ({ kid }) => ({ retired: [...retired.add(kid)] }),
  "/control/tokens": async ({ kid, header, claims, expiresIn }) => ({
    token: await issuer.buildToken({
      kid,
      expiresIn,
      scopesOrTransform: (ownHeader, ownClaims) => {
        Object.assign(ownHeader, header);
        Object.assign(ownClaims, claims);
        for (const [name, value] of Object.entries(ownClaims)) {
          if (value === null) delete ownClaims[name];
        }
      },
    }),
  }),
  "/control/answer": ({ status, changes }) => {
    service.once("beforeResponse", (response) => {
      response.statusCode = status;
      Object.assign(response.body, changes);
    });
    return {};
  },
  "/jwks": () => ({ keys: published() }),
};

const server = createServer(async (request, response) => {
  const path = new URL(request.url, issuer.url).pathname;
  if (!path.startsWith("/control/")) requests[path] = (requests[path] ?? 0) + 1;
  const answer = control[path];
  if (!answer) return service.requestHandler(request, response);
  const body = await answer(JSON.parse((await text(request)) || "{}"));
  response.setHeader("content-type", "application/json").end(JSON.stringify(body));
});

server.listen(0, "127.0.0.1", () => {
  issuer.url = `http://127.0.0.1:${server.address().port}`;
  console.log(JSON.stringify({ issuer: issuer.url }));
});
process.stdin.resume().on("end", () => process.exit());
