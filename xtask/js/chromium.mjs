// Opens the demo page in real Chromium and looks for errors, then scores the members in a page:
//   node chromium.mjs SITE MEMBERS NOW OUT
// CHROME names the browser, SCREENSHOT the picture to leave.
import { readFileSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [site, members, now, out] = process.argv.slice(2);
const { CHROME: executablePath, SCREENSHOT: screenshot } = process.env;
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args: [...flags, ...quiet] });
try {
  await openDemo();
  writeFileSync(out, JSON.stringify(await scoreInPage(JSON.parse(readFileSync(members, "utf8")))));
} finally {
  await browser.close();
}

async function openDemo() {
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

async function scoreInPage({ members: list }) {
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
