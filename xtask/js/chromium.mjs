// Opens the demo page in real Chromium and looks for errors, then scores the members in a page:
//   node chromium.mjs SITE MEMBERS NOW OUT
// CHROME names the browser, SCREENSHOT the picture to leave.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

// A browser writes its profile through to the disk, which a build can keep busy for minutes: it goes into memory.
if (existsSync("/dev/shm")) process.env.TMPDIR = "/dev/shm";

const [site, members, now, out] = process.argv.slice(2);
const { CHROME: executablePath, SCREENSHOT: screenshot } = process.env;
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** How long opening and scoring may take; both together take about 3 s. */
const PATIENCE_MS = 90_000;

writeFileSync(out, JSON.stringify(await scores()));

async function scores() {
  const browser = await chromium.launch({ executablePath, args: [...flags, ...quiet] });
  let timer;
  const patience = new Promise((_, reject) => {
    const message = `Chromium did not finish within ${PATIENCE_MS / 1000} s`;
    timer = setTimeout(() => reject(new Error(message)), PATIENCE_MS);
  });
  const work = openAndScore(browser);
  // Closing a stalled browser fails its work, which nobody waits for any more.
  work.catch(() => {});
  try {
    return await Promise.race([work, patience]);
  } finally {
    clearTimeout(timer);
    await browser.close();
  }
}

async function openAndScore(browser) {
  await openDemo(browser);
  return scoreInPage(browser, JSON.parse(readFileSync(members, "utf8")));
}

async function openDemo(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(site);
  await page.locator("#app").waitFor({ state: "visible", timeout: 60_000 });
  await page.screenshot({ path: screenshot, fullPage: true });
  if (errors.length > 0) throw new Error(`the demo page reported:\n${errors.join("\n")}`);
  await page.close();
}

async function scoreInPage(browser, { members: list }) {
  const page = await browser.newPage();
  // A page of the same server without the demo's content policy.
  await page.goto(`${site}driver/blank.html`);
  return page.evaluate(
    async ({ now, list }) => {
      const { Scorer } = await import("/package/dist/entry/browser.js");
      const { assessAll } = await import("/driver/assess.mjs");
      return assessAll(await Scorer.load("/bundle.tcb"), list, now);
    },
    { now: Date.parse(now), list },
  );
}
