// Keeps a page as its server would render it now: an event says that something changed, the page
// is fetched again and only what differs is replaced. Without this file every page still works.

const REFRESH_MS = 1000;
const topics = document.body.dataset.topics;
const live = document.getElementById("live");
let stream, timer, last = 0, lastEventId = "";

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

async function refresh() {
  last = Date.now();
  timer = undefined;
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

/** At most one refresh a second, however many events arrive. */
function changed(event) {
  lastEventId = event.lastEventId || lastEventId;
  timer ??= setTimeout(refresh, Math.max(0, last + REFRESH_MS - Date.now()));
}

function connect() {
  const query = new URLSearchParams({ topics });
  if (lastEventId) query.set("last_event_id", lastEventId);
  stream = new EventSource(`/api/v1/events?${query}`);
  stream.addEventListener("open", () => { live.textContent = "Live."; });
  stream.addEventListener("error", () => { live.textContent = "Connection lost; trying again."; });
  for (const topic of [...topics.split(","), "gone"]) stream.addEventListener(topic, changed);
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
  refresh();
});

// Under the pointer, the heat map says whose cell it is and what is in it.
const tip = document.createElement("output");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
let series, path, asked = 0;

function cell(chart, event) {
  const plot = chart.querySelector(".plot").getBoundingClientRect();
  const { heatTop, heatHeight, rows } = chart.dataset;
  const y = (event.clientY - plot.top - heatTop) / heatHeight, x = (event.clientX - plot.left) / plot.width;
  if (!series || path !== chart.dataset.history || y < 0 || y >= 1 || x < 0 || x >= 1) return null;
  const endpoint = series.endpoints[Math.floor(y * rows)], at = Math.floor(x * series.at.length);
  if (!endpoint) return null;
  const requests = endpoint.requests[at], p99 = endpoint.p99Ms[at], share = endpoint.share[at];
  const facts = [`${endpoint.address} at ${series.at[at].slice(11, 19)}`];
  if (share !== null) facts.push(`share ${(share * 100).toFixed(1)} %`);
  facts.push(requests === null ? "no counts" : `${endpoint.errors[at]} of ${requests} requests failed`);
  if (p99 !== null) facts.push(`p99 ${p99.toFixed(0)} ms`);
  return facts.join("\n");
}

document.addEventListener("pointermove", async (event) => {
  const chart = event.target.closest?.(".chart");
  const text = chart && cell(chart, event);
  tip.hidden = !text;
  if (text) {
    tip.textContent = text;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - 230)}px`;
    tip.style.top = `${event.clientY + 14}px`;
  }
  if (chart && (path !== chart.dataset.history || Date.now() - asked > 2000)) {
    asked = Date.now();
    path = chart.dataset.history;
    series = await fetch(path).then((answer) => answer.json()).catch(() => series);
  }
});

if (topics) {
  document.addEventListener("visibilitychange", follow);
  follow();
}
