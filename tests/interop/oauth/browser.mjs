// Headless Chromium, moved by Playwright, on a free port of 127.0.0.1. Prints its address, and runs until it is ended.
//
// Usage: node browser.mjs FOLDER_OF_NODE_MODULES
//
// POST /browsers/NAME {"call": …, "args": […]} calls a method of Playwright's `Page`, and answers with what it gave, the URL and the text of the
// page, and the URLs that led there. Each name is a browser of its own: it shares no cookie with another. POST /close ends Chromium. GET /done is
// the page of an application that sends its users to the vault.

import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const { chromium } = createRequire(`${process.argv[2]}/package.json`)('playwright-core');
const named = 'command -v chromium || command -v chromium-browser || command -v google-chrome';
const browser = await chromium.launch({
  executablePath: execFileSync('sh', ['-c', named], { encoding: 'utf8' }).trim(),
  // As root there is no sandbox. It reaches this machine only.
  args: ['--no-sandbox', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1'],
});

const application = `<!doctype html><meta charset=utf-8><title>An application</title><h1>Back at the application</h1><pre id=told></pre><script>
const given = new URLSearchParams(location.hash.slice(1));
document.getElementById('told').textContent = [...given.keys(), ...new URLSearchParams(location.search)].join('\\n') || 'nothing was given';

/** Confirms, if the page's own nonce came back. */
async function confirmConnection(vault, session, nonce) {
  if (given.get('nonce') !== nonce) throw new Error('this is not what the page began');
  const headers = {
    authorization: 'Bearer ' + session, 'content-type': 'application/json',
    'x-apideck-auth-type': 'JWT', 'x-apideck-app-id': 'app', 'x-apideck-consumer-id': 'acme',
  };
  const body = JSON.stringify({ confirm_token: given.get('confirm_token') });
  const answer = await fetch(vault + '/vault/connections/crm/' + given.get('service_id') + '/confirm', { method: 'POST', headers, body });
  document.getElementById('told').textContent += '\\nconfirmed: ' + answer.status;
  return { status: answer.status, position: answer.headers.get('keyledger-position'), body: await answer.json() };
}
</script>`;

const pages = new Map();

async function pageOf(name) {
  if (!pages.has(name)) {
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(60_000);
    pages.set(name, page);
  }
  return pages.get(name);
}

async function moved(name, { call, args }) {
  const page = await pageOf(name);
  const gave = await page[call](...args);
  const way = [];
  for (let request = call === 'goto' ? gave.request().redirectedFrom() : null; request; request = request.redirectedFrom()) {
    way.unshift(request.url());
  }
  return { gave: call === 'evaluate' ? gave : null, url: page.url(), way, text: await page.locator('body').innerText() };
}

const server = createServer(async (request, response) => {
  const [, room, name] = request.url.split(/[/?]/);
  if (room === 'done') {
    response.setHeader('content-type', 'text/html').end(application);
  } else if (room === 'close') {
    await browser.close();
    response.end('{}');
  } else if (room === 'browsers') {
    try {
      response.end(JSON.stringify(await moved(name, JSON.parse(Buffer.concat(await request.toArray())))));
    } catch (error) {
      response.writeHead(500).end(JSON.stringify({ error: error.message, url: pages.get(name)?.url() }));
    }
  } else {
    response.writeHead(404).end('{}');
  }
});
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
console.log(`listening on http://127.0.0.1:${server.address().port}`);
