// A real OAuth server, oidc-provider, on a free port of 127.0.0.1. Prints its address, and runs until it is ended.
//
// Usage: node server.mjs FOLDER_OF_NODE_MODULES [CALLBACK_URL]
//
// With a callback URL there is a client too that sends its users here, to the provider's own pages, where any password is right. GET /seen tells
// how many TCP connections came, the asker's own included. POST /forget ends the access token in its body, and nothing else of its grant.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, callback] = process.argv.slice(2);
const installed = createRequire(`${folder}/package.json`);
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
if (callback) {
  clients.push({
    ...client('web-client', 'a canary: with/%+&="web"', 'client_secret_basic', 'authorization_code'),
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: [callback],
    scope: 'openid offline_access read write',
  });
}
const accounts = new Map([['user@example.com', 'a canary & password']]);

const server = createServer();
let seen = 0;
server.on('connection', () => { seen += 1; });
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const address = `http://127.0.0.1:${server.address().port}`;

// Users know it by a name, and so by another site than the vault's.
const provider = new Provider(address.replace('127.0.0.1', 'localhost'), {
  clients,
  scopes: ['openid', 'offline_access', 'read', 'write'],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: Boolean(callback) },
  },
  pkce: { required: () => true },
  // A refresh token that comes twice ends its whole grant.
  rotateRefreshToken: true,
  findAccount: (_, id) => (accounts.has(id) ? { accountId: id, claims: () => ({ sub: id }) } : undefined),
  ttl: {
    ClientCredentials: 600,
    AccessToken: (_, token) => (token.clientId === 'web-client' ? 300 : 900),
    RefreshToken: 3600,
    Grant: 3600,
    IdToken: 300,
    Interaction: 600,
    Session: 3600,
  },
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
server.on('request', async (request, response) => {
  if (request.url === '/seen') {
    response.end(JSON.stringify({ connections: seen }));
  } else if (request.url === '/forget') {
    const token = await provider.AccessToken.find(Buffer.concat(await request.toArray()).toString());
    await token.destroy();
    response.end('{}');
  } else {
    answer(request, response);
  }
});
console.log(`listening on ${address}`);
