// Apideck's own client for JavaScript, unmodified, against a running server: every call, and each documented error, as the client gives it.
//
// Usage: node unify.mjs FOLDER_OF_NODE_MODULES BASE_URL TOKEN

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, base, token] = process.argv.slice(2);
const installed = createRequire(`${folder}/package.json`);
const { Apideck } = await import(pathToFileURL(installed.resolve('@apideck/unify')));
const errors = await import(pathToFileURL(installed.resolve('@apideck/unify/models/errors')));

const client = (changes = {}) => new Apideck({ apiKey: token, appId: 'app', consumerId: 'acme', serverURL: base, retryConfig: { strategy: 'none' }, ...changes });

/** The error that the client throws; anything else fails. */
async function refused(type, call) {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof type, `${error.constructor.name} instead of ${type.name}: ${error.message}`);
    assert.ok(!(error instanceof errors.ResponseValidationError), 'the client could not read the error');
    return error;
  }
  assert.fail(`${type.name} was not thrown`);
}

/** Our own routes, which the client does not know. */
async function own(method, path, body, bearer = token) {
  const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' };
  const answer = await fetch(`${base}${path}`, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

async function life({ connections, validateConnection }) {
  const pipedrive = { serviceId: 'pipedrive', unifiedApi: 'crm' };
  const active = { serviceId: 'activecampaign', unifiedApi: 'crm' };
  const imported = await connections.imports({
    ...pipedrive,
    connectionImportData: { credentials: { accessToken: 'hush-A', refreshToken: 'hush-R', issuedAt: new Date(), expiresIn: 3600 }, settings: {}, metadata: {} },
  });
  assert.ok(imported.createConnectionResponse, 'an answer that the client takes for an error');
  assert.equal(imported.createConnectionResponse.data.state, 'callable');

  const got = (await connections.get(pipedrive)).getConnectionResponse.data;
  assert.deepEqual([got.id, got.state, got.authType, got.enabled], ['crm+pipedrive', 'callable', 'oauth2', true]);
  assert.ok(got.createdAt > 1e12 && got.updatedAt >= got.createdAt);
  assert.ok(!JSON.stringify(got).includes('hush-'));

  const update = async (connection) => (await connections.update({ ...active, connection })).updateConnectionResponse.data;
  assert.equal((await update({ enabled: true })).state, 'added');
  const changed = await update({ settings: { base_url: 'https://x.example.com', api_key: 'hush-key' } });
  assert.equal(changed.state, 'callable');
  assert.ok(!JSON.stringify(changed).includes('hush-'));
  // The whole of its settings goes back, as forms do.
  const again = await update({ settings: changed.settings, configuration: changed.configuration });
  assert.deepEqual(again.settings, changed.settings);
  assert.deepEqual([again.state, again.health], ['callable', 'ok']);

  const listed = (await connections.list({ api: 'crm', configured: true })).getConnectionsResponse.data;
  assert.deepEqual(listed.map((row) => row.serviceId).sort(), ['activecampaign', 'pipedrive']);
  assert.ok((await connections.list({})).getConnectionsResponse.data.length >= 40);
  const unconfigured = (await connections.list({ api: 'crm', configured: false })).getConnectionsResponse.data;
  assert.ok(unconfigured.length > 0 && unconfigured.every((row) => row.state === 'available'));

  const { data: state } = (await validateConnection.state({ ...active, requestBody: {} })).validateConnectionStateResponse;
  assert.deepEqual([state.id, state.state], ['crm+activecampaign', 'callable']);
  assert.equal((await update({ enabled: false })).enabled, false);
  await connections.delete(active);
  const gone = (await connections.get(active)).getConnectionResponse.data;
  assert.deepEqual([gone.state, gone.enabled], ['available', false]);
}

/** A token endpoint that takes one secret. */
async function exchange({ connections }) {
  const personio = { serviceId: 'personio', unifiedApi: 'hris' };
  const service = createServer((request, answer) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => {
      const right = body.includes('hush-right') || decodeURIComponent(request.headers.authorization ?? '').includes('hush-right');
      const json = right ? { access_token: 'hush-fetched', token_type: 'Bearer', expires_in: 60 } : { error: 'invalid_client', error_description: body };
      answer.writeHead(right ? 200 : 401, { 'content-type': 'application/json' }).end(JSON.stringify(json));
    });
  });
  await new Promise((listening) => service.listen(0, '127.0.0.1', listening));
  const { connector } = await own('GET', '/v1/connectors/hris/personio');
  Object.assign(connector.oauth, { token_url: `http://127.0.0.1:${service.address().port}/token`, client_auth: 'body', encoding: 'form' });
  await own('PUT', '/v1/connectors/hris/personio', connector);
  const enter = (secret) => connections.update({ ...personio, connection: { settings: { client_id: 'an-id', client_secret: secret } } });

  await enter('hush-wrong');
  const error = await refused(errors.UnauthorizedResponse, () => connections.token({ ...personio, requestBody: {} }));
  assert.equal(error.statusCode, 401);
  assert.ok(!JSON.stringify([error.message, error.body]).includes('hush-'));
  await enter('hush-right');
  const told = await connections.token(personio);
  const { data } = told.getConnectionResponse;
  assert.equal(data.state, 'callable');
  assert.ok(!JSON.stringify(data).includes('hush-'));
  service.close();
}

async function consumers({ connections, consumers }) {
  const create = (consumerId, metadata) => consumers.create({ createConsumerRequest: { consumerId, metadata } });
  assert.equal((await create('john-1', { userName: 'John', email: 'john@example.com' })).createConsumerResponse.data.consumerId, 'john-1');
  await create('john-2');
  const seen = [];
  for await (const page of await consumers.list({ filter: { consumerId: 'john' }, limit: 1 })) {
    seen.push(...page.getConsumersResponse.data.map((row) => row.consumerId));
  }
  assert.deepEqual(seen, ['john-1', 'john-2']);
  assert.equal((await consumers.get({ consumerId: 'acme' })).getConsumerResponse.data.consumerId, 'acme');
  await consumers.update({ consumerId: 'john-1', updateConsumerRequest: { metadata: { userName: 'Johnny' } } });
  assert.equal((await consumers.get({ consumerId: 'john-1' })).getConsumerResponse.data.metadata.userName, 'Johnny');
  assert.equal((await consumers.delete({ consumerId: 'acme' })).deleteConsumerResponse.data.consumerId, 'acme');
  await refused(errors.NotFoundResponse, () => consumers.get({ consumerId: 'acme' }));
  const gone = (await connections.get({ serviceId: 'pipedrive', unifiedApi: 'crm' })).getConnectionResponse.data;
  assert.equal(gone.state, 'available', 'its connections went with it');
}

async function documented({ connections, consumers }) {
  const one = { serviceId: 'pipedrive', unifiedApi: 'crm' };
  const error = await refused(errors.NotFoundResponse, () => connections.get({ ...one, serviceId: 'nothing' }));
  assert.deepEqual([error.typeName, error.statusCode, error.error], ['EntityNotFoundError', 404, 'Not Found']);
  assert.match(error.ref, /#entitynotfounderror$/);
  await refused(errors.NotFoundResponse, () => connections.delete(one));
  await refused(errors.NotFoundResponse, () => connections.token(one));
  await refused(errors.NotFoundResponse, () => connections.migrate({ ...one, connectionMigrateData: { targetServiceId: 'close' } }));
  await refused(errors.NotFoundResponse, () => connections.get({ ...one, serviceId: 'a/b' }));
  const wrong = { credentials: { accessToken: 'A', expiresIn: -1 } };
  const invalid = await refused(errors.BadRequestResponse, () => connections.imports({ ...one, connectionImportData: wrong }));
  assert.equal(invalid.typeName, 'RequestValidationError');
  await refused(errors.BadRequestResponse, async () => (await consumers.list({ limit: 200, cursor: 'not ours' })).next());

  // An authorization code is not exchanged by a call.
  await connections.imports({ ...one, connectionImportData: { credentials: { accessToken: 'A' } } });
  const state = await refused(errors.UnprocessableResponse, () => connections.token(one));
  assert.equal(state.typeName, 'InvalidStateError');
  await connections.delete(one);

  const stranger = client({ apiKey: 'klkey_wrong' }).vault;
  const unauthorized = await refused(errors.UnauthorizedResponse, () => stranger.connections.list({}));
  assert.equal(unauthorized.typeName, 'UnauthorizedError');
  const nobody = client({ consumerId: undefined }).vault;
  const header = await refused(errors.BadRequestResponse, () => nobody.connections.get(one));
  assert.equal(header.typeName, 'RequestHeadersValidationError');
  const catalog = (await nobody.connections.list({ api: 'crm' })).getConnectionsResponse.data;
  assert.ok(catalog.every((row) => row.state === 'available'));
  await refused(errors.BadRequestResponse, () => client({ appId: undefined }).vault.connections.list({}));

  // The vendor documents no 403: its client gives what it does not know as a plain error, with the whole body.
  const made = await own('POST', '/v1/api-keys', { name: 'a reader', permissions: ['connections:read'] });
  const reader = client({ apiKey: made.token }).vault;
  assert.ok((await reader.connections.list({ api: 'crm' })).getConnectionsResponse.data.length > 0);
  const forbidden = await refused(errors.APIError, () => reader.connections.imports({ ...one, connectionImportData: {} }));
  assert.equal(forbidden.httpMeta.response.status, 403);
  assert.match(`${forbidden.message}${forbidden.httpMeta.body ?? ''}`, /ForbiddenError/);
}

const { vault } = client();
await documented(vault);
await life(vault);
await exchange(vault);
await consumers(vault);
console.log('all calls and errors are as the client expects');
