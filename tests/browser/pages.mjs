// Opens the dashboard in Chromium and holds it to what people need of it. Ends with an error that
// says what is wrong, and leaves pictures of every page.
//
// node pages.mjs PLAYWRIGHT CHROMIUM PICTURES SITE LARGE_SITE

import { strict as assert } from "node:assert";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const [playwright, executablePath, pictures, site, large] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const { chromium } = require(playwright);
const TIMEOUT_MS = 20_000;

/** axe-core's source, where it is installed beside playwright-core. */
async function rules() {
  const file = join(dirname(playwright), "axe-core", "axe.min.js");
  return readFile(file, "utf8").catch(() => null);
}

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
await mkdir(pictures, { recursive: true });

/** A page that fails the run if it logs an error or asks anyone but its own server. */
async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  page.wrong = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") page.wrong.push(message.text());
  });
  page.on("pageerror", (error) => page.wrong.push(error.message));
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (![new URL(site).origin, new URL(large).origin].includes(origin)) page.wrong.push(request.url());
  });
  return page;
}

async function close(page, what) {
  await page.context().close();
  assert.deepEqual(page.wrong, [], `${what}: errors, requests to elsewhere or barriers`);
  console.log(`ok: ${what}`);
}

/** Tab until the focus is on what `found` accepts. */
async function tabTo(page, found, what) {
  for (let presses = 0; presses < 80; presses += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(found)) return;
  }
  assert.fail(`the Tab key does not reach ${what}`);
}

async function keyboard() {
  const page = await open();
  await page.goto(`${site}/`);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await tabTo(page, () => document.activeElement.getAttribute("href") === "/services/demo/shop", "a service");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/services/demo/shop");
  await tabTo(page, () => document.activeElement.closest("svg a.marker") !== null, "a decision in the chart");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/decisions/*");
  await page.getByRole("heading", { name: "Before and after" }).waitFor();
  await close(page, "a keyboard gets from the fleet to a decision's reasons");
}

async function live() {
  const page = await open();
  await page.goto(`${site}/services/demo/shop`);
  await page.evaluate(() => { window.stayed = true; });
  await page.getByText("Live.").waitFor();
  const before = await page.locator(".status time").textContent();
  console.log("waits for a step");
  await page.waitForFunction((before) => document.querySelector(".status time").textContent !== before, before);
  await page.locator(".feed li").first().getByText("10.0.0.4:8080 back on probation").waitFor();
  assert.ok(await page.evaluate(() => window.stayed), "the page was loaded anew");
  await close(page, "an update arrives by itself, without a reload");
}

async function choices() {
  const page = await open();
  await page.goto(`${site}/services/demo/shop`);
  await page.evaluate(() => { window.stayed = true; });
  await page.getByRole("link", { name: "p99", exact: true }).click();
  await page.locator(".choice a[aria-current]", { hasText: "p99" }).waitFor();
  assert.match(page.url(), /metric=p99/);
  assert.ok(await page.evaluate(() => window.stayed), "the page was loaded anew");
  const plot = await page.locator(".plot").boundingBox();
  await page.locator(".plot").hover({ position: { x: plot.width * 0.6, y: 186 + 18 * 6 + 9 }, force: true });
  await page.locator(".tip", { hasText: "10.0.0.7:8080" }).waitFor();
  await close(page, "the chart changes in place and says what is under the pointer");
}

async function withoutScript() {
  const page = await open({ javaScriptEnabled: false });
  await page.goto(`${site}/services/demo/shop`);
  await page.getByRole("link", { name: "15 min" }).click();
  await page.waitForURL("**range=15m**");
  await page.getByRole("row", { name: "10.0.0.4:8080" }).first().waitFor();
  await close(page, "everything works without a script");
}

/** Contrast, names, landmarks, headings: everything that axe-core can see. */
async function accessible(page, what) {
  if (!axe) return;
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
  page.wrong.push(...found.map((rule) => `${what}: ${rule}`));
}

/** The picture of the README. */
async function picture(colorScheme) {
  const page = await open({ colorScheme, viewport: { width: 1180, height: 1010 } });
  await page.goto(`${site}/services/demo/shop`);
  await page.screenshot({ path: `${pictures}/readme-${colorScheme}.png` });
  await close(page, `a picture for the README, ${colorScheme}`);
}

async function looks() {
  const views = [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
  ];
  for (const [name, options] of views) {
    const page = await open(options);
    for (const [file, path] of [["fleet", "/"], ["service", "/services/demo/shop"],
      ["decision", "/decisions/1234-1"], ["policies", "/policies"], ["proxies", "/proxies"]]) {
      await page.goto(site + path);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${file} is ${over} px wider than a ${name} window`);
      await page.screenshot({ path: `${pictures}/${file}-${name}.png`, fullPage: true });
      await accessible(page, `${file} (${name})`);
    }
    await close(page, `pages fit a ${name} window`);
  }
}

/** Not a limit but a figure. */
async function large2000() {
  const page = await open();
  const times = [];
  for (let run = 0; run < 5; run += 1) {
    await page.goto("about:blank");
    const begun = performance.now();
    await page.goto(`${large}/services/demo/shop`);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    times.push(performance.now() - begun);
  }
  times.sort((a, b) => a - b);
  console.log(`bench browser 2000 endpoints, navigation to second frame: ${times[2].toFixed(0)} ms`);
  await close(page, "a service of 2,000 endpoints opens");
}

const axe = await rules();
console.log(axe ? "accessibility is checked by axe-core" : "skipped: no axe-core (npm install --prefix .build axe-core)");
try {
  await looks();
  await picture("light");
  await picture("dark");
  await keyboard();
  await choices();
  await withoutScript();
  await large2000();
  await live();
} finally {
  await browser.close();
}
