const TOKEN_KEY = 'evenkeel-token';
const RECONNECT_MS = 2000;

/** Whether calls carry a token: plain links, which cannot, then lead nowhere. */
export const hasToken = () => sessionStorage.getItem(TOKEN_KEY) !== null;

let asking = null;
let isDeclined = false;

/** Asks for the token, once however many calls need it; resolves with whether one was given. */
function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById('token-dialog');
    const input = document.getElementById('token');
    input.value = '';
    dialog.returnValue = '';
    dialog.addEventListener(
      'close',
      () => {
        asking = null;
        const isGiven = dialog.returnValue === 'ok' && input.value !== '';
        if (isGiven) sessionStorage.setItem(TOKEN_KEY, input.value.trim());
        isDeclined = !isGiven;
        resolve(isGiven);
      },
      { once: true },
    );
    dialog.showModal();
  });
  return asking;
}

async function request(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = { ...options.headers, ...(token === null ? {} : { authorization: `Bearer ${token}` }) };
  const response = await fetch(path, { ...options, headers, cache: 'no-store' });
  if (response.status !== 401) return response;
  if (isDeclined || !(await askForToken())) throw new Error('token needed: load the page again to give it');
  return request(path, options);
}

/** Asks the API; rejects with an Error that carries what the API said, `problems` too. */
export async function ask(path, method = 'GET', body = undefined) {
  const isJson = body !== undefined;
  const response = await request(path, {
    method,
    headers: isJson ? { 'content-type': 'application/json' } : {},
    body: isJson ? JSON.stringify(body) : undefined,
  });
  const answer = await response.json();
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.error.message), { problems: answer.error.problems ?? [] });
}

/** Calls `take` with every event, the last 100 first, for ever. Over fetch, because EventSource cannot send a token. */
export async function followEvents(take) {
  let lastId = null;
  for (;;) {
    try {
      const headers = lastId === null ? {} : { 'last-event-id': String(lastId) };
      const response = await request('/api/v1/events?last=100', { headers });
      if (response.ok) {
        await readEvents(response.body, (event) => {
          lastId = event.id;
          take(event);
        });
      }
    } catch {
      // The proxy is away: the page says so already, because its questions fail too.
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  }
}

async function readEvents(body, take) {
  let text = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const blocks = text.split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split('\n').find((line) => line.startsWith('data: '));
      if (data !== undefined) take(JSON.parse(data.slice(6)));
    }
  }
}
