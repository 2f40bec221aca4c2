// oidc-provider with its own log-in and consent forms. The argument is the list of clients, as JSON.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: JSON.parse(process.argv[2]),
    claims: { openid: ["sub"], email: ["email"], profile: ["name", "realm_access"] },
    conformIdTokenClaims: false,
    findAccount: (_context, accountId) => ({
      accountId,
      claims: () => ({
        sub: accountId,
        email: `${accountId}@example.com`,
        name: `Name of ${accountId}`,
        realm_access: { roles: accountId.startsWith("root") ? ["credits-admin"] : ["other"] },
      }),
    }),
  });
  server.on("request", provider.callback());
  console.log(JSON.stringify({ issuer }));
});
process.stdin.resume().on("end", () => process.exit());
