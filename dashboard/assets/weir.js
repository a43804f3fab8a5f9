// Keeps a page as its server would render it now: an event says that something changed, the page
// is fetched again and only what differs is replaced. Without this file every page still works.

const REFRESH_MS = 1000, RETRY_MS = 5000;
const topics = document.body.dataset.topics;
const live = document.getElementById("live");
let stream, timer, next = 0, busy = false, again = false, lastEventId = "";

/** Makes `old` look like `fresh` with as few changes as possible: focus and scrolling stay. */
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if ("keep" in old.dataset || old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((node, index) => {
    if (index < before.length) morph(before[index], node);
    else old.append(document.importNode(node, true));
  });
  before.slice(after.length).forEach((node) => node.remove());
}

/** Loads a page's pictures before they are shown, so that none flickers. */
function preload(page) {
  const pictures = [...page.querySelectorAll("image[href]")].map((image) => {
    const picture = new Image();
    picture.src = image.getAttribute("href");
    return picture.decode().catch(() => {});
  });
  return Promise.all(pictures);
}

/** Brings the page up to date; what changes meanwhile is brought in afterwards. */
async function refresh() {
  clearTimeout(timer);
  timer = undefined;
  busy = true;
  const begun = Date.now();
  try {
    await renew();
  } finally {
    busy = false;
    // A page that takes long to make is asked for less often: a tenth of the time at most.
    next = Date.now() + Math.max(REFRESH_MS, 9 * (Date.now() - begun));
    if (again) schedule();
    again = false;
  }
}

async function renew() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  await preload(page);
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (fresh) morph(part, fresh);
  }
  document.title = page.title;
}

/** At most one refresh a second and never two at once, however many events arrive. */
function schedule() {
  timer ??= setTimeout(refresh, Math.max(0, next - Date.now()));
}

function changed(event) {
  lastEventId = event.lastEventId || lastEventId;
  if (busy) again = true;
  else schedule();
}

function connect() {
  const query = new URLSearchParams({ topics });
  if (lastEventId) query.set("last_event_id", lastEventId);
  stream = new EventSource(`/api/v1/events?${query}`);
  stream.addEventListener("open", () => { live.textContent = "Live."; });
  stream.addEventListener("error", () => {
    live.textContent = "Connection lost; trying again.";
    // A browser gives up after a refusal, as of one stream too many.
    if (stream?.readyState === EventSource.CLOSED) {
      stream = undefined;
      setTimeout(follow, RETRY_MS);
    }
  });
  // "open" as well: something may have happened since the page was made.
  for (const topic of [...topics.split(","), "open", "gone"]) stream.addEventListener(topic, changed);
}

// A hidden page needs no stream, and browsers allow few connections to one host.
function follow() {
  if (document.hidden) {
    stream?.close();
    stream = undefined;
  } else if (!stream) {
    connect();
  }
}

// Other ways to look at the same page need no new page.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-swap]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  history.replaceState(null, "", link.href);
  next = 0;
  if (busy) again = true;
  else refresh();
});

// Under the pointer, the heat map says whose cell it is and what is in it.
const ROWS_AT_ONCE = 200, KEEP_MS = 2000;
const tip = document.createElement("output");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
let lately = null, asked = 0;

/** Row and column under the pointer, as parts of the picture. */
function place(chart, event) {
  const plot = chart.querySelector(".plot").getBoundingClientRect();
  const y = (event.clientY - plot.top - chart.dataset.heatTop) / chart.dataset.heatHeight;
  const x = (event.clientX - plot.left) / plot.width;
  return x >= 0 && x < 1 && y >= 0 && y < 1 ? { x, row: Math.floor(y * chart.dataset.rows) } : null;
}

function facts(series, at, time) {
  const requests = series.requests[at], p99 = series.p99Ms[at], share = series.share[at];
  const lines = [`${series.address} at ${time.slice(11, 19)}`];
  if (share !== null) lines.push(`share ${(share * 100).toFixed(1)} %`);
  lines.push(requests === null ? "no counts" : `${series.errors[at]} of ${requests} requests failed`);
  if (p99 !== null) lines.push(`p99 ${p99.toFixed(0)} ms`);
  return lines.join("\n");
}

/** All rows of a small service at once, those of a large one as the pointer meets them. */
async function load(chart, row) {
  const whole = chart.dataset.rows <= ROWS_AT_ONCE;
  const path = chart.dataset.history + (whole ? "" : `&offset=${row}&limit=1`);
  if (Date.now() - asked < (lately?.path === path ? KEEP_MS : 100)) return;
  asked = Date.now();
  const answer = await fetch(path).then((answer) => answer.json()).catch(() => null);
  if (answer?.endpoints) lately = { path, offset: whole ? 0 : row, ...answer };
}

document.addEventListener("pointermove", async (event) => {
  const chart = event.target.closest?.(".chart");
  const at = chart && place(chart, event);
  tip.hidden = true;
  if (!at) return;
  await load(chart, at.row);
  const ours = lately?.path.startsWith(chart.dataset.history);
  const series = ours && lately.endpoints[at.row - lately.offset];
  if (!series) return;
  const column = Math.floor(at.x * lately.at.length);
  tip.textContent = facts(series, column, lately.at[column]);
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - 230)}px`;
  tip.style.top = `${event.clientY + 14}px`;
  tip.hidden = false;
});

if (topics) {
  document.addEventListener("visibilitychange", follow);
  follow();
}
