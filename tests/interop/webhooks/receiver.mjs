// An endpoint that verifies what it is told with the library of the Standard Webhooks specification. Prints its address, and runs until it is ended.
//
// Usage: node receiver.mjs FOLDER_OF_NODE_MODULES
//
// POST /hook takes a message. POST /verify {"at": …, "secret": …, "changed": …} waits for the message of that number, and answers with what the
// library makes of it; a changed one has another body than came.

import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const { Webhook } = createRequire(`${process.argv[2]}/package.json`)('standardwebhooks');
const came = [];
const news = new EventEmitter();

const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString();
  if (request.url === '/hook') {
    came.push({ headers: request.headers, body });
    news.emit('came');
    response.writeHead(204).end();
    return;
  }
  const { at, secret, changed } = JSON.parse(body);
  while (came.length <= at) {
    await once(news, 'came');
  }
  const message = came[at];
  let told;
  try {
    told = { verified: new Webhook(secret).verify(changed ? `${message.body} ` : message.body, message.headers) };
  } catch (error) {
    told = { refused: error.message };
  }
  response.end(JSON.stringify({ ...told, headers: message.headers }));
});
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
console.log(`listening on http://127.0.0.1:${server.address().port}`);
