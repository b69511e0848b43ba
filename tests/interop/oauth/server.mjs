// A real OAuth server, oidc-provider, on a free port of 127.0.0.1. Prints its address, and runs until it is ended.
//
// Usage: node server.mjs FOLDER_OF_NODE_MODULES
//
// GET /seen tells how many TCP connections came, the asker's own included.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const installed = createRequire(`${process.argv[2]}/package.json`);
const { default: Provider, errors } = await import(pathToFileURL(installed.resolve('oidc-provider')));

const client = (id, secret, auth, grant) => ({
  client_id: id,
  client_secret: secret,
  token_endpoint_auth_method: auth,
  grant_types: [grant],
  response_types: [],
  redirect_uris: [],
  scope: 'read write',
});

const clients = [
  // Each secret holds what a form, a header and a JSON text write differently.
  client('basic-client', 'a canary: with/%+&="Basic"', 'client_secret_basic', 'client_credentials'),
  client('post-client', 'a canary: with/%+&="post"', 'client_secret_post', 'client_credentials'),
  client('password-client', 'a canary of the password client', 'client_secret_post', 'password'),
];
const accounts = new Map([['user@example.com', 'a canary & password']]);

const server = createServer();
let seen = 0;
server.on('connection', () => { seen += 1; });
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const address = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(address, {
  clients,
  scopes: ['read', 'write'],
  features: { clientCredentials: { enabled: true }, introspection: { enabled: true }, devInteractions: { enabled: false } },
  findAccount: (_, id) => (accounts.has(id) ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
  ttl: { ClientCredentials: 600, AccessToken: 900, RefreshToken: 3600, Grant: 3600 },
});

// RFC 6749, section 4.3.
provider.registerGrantType('password', async (ctx) => {
  const { params, client: asking } = ctx.oidc;
  if (!params.username || accounts.get(params.username) !== params.password) {
    throw new errors.InvalidGrant('wrong user name or password');
  }
  const grant = new provider.Grant({ accountId: params.username, clientId: asking.clientId });
  grant.addOIDCScope(params.scope);
  const common = { accountId: params.username, client: asking, grantId: await grant.save(), gty: 'password', scope: params.scope };
  const access = new provider.AccessToken(common);
  const refresh = new provider.RefreshToken({ ...common, rotations: 0 });
  ctx.body = {
    access_token: await access.save(),
    refresh_token: await refresh.save(),
    expires_in: access.expiration,
    scope: params.scope,
    token_type: 'Bearer',
  };
}, ['username', 'password', 'scope']);

const answer = provider.callback();
server.on('request', (request, response) => {
  if (request.url === '/seen') {
    response.end(JSON.stringify({ connections: seen }));
  } else {
    answer(request, response);
  }
});
console.log(`listening on ${address}`);
