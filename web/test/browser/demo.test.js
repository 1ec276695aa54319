import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildDemo } from "../../scripts/build-demo.js";
import { launch, openPage } from "../support/chromium.js";
import { BUNDLE, household } from "../support/fixtures.js";
import { serve } from "../support/serve.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const SIZES = { 1280: { width: 1280, height: 900 }, 375: { width: 375, height: 812 } };

let folder;
let browser;
let server;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tiercast-demo-"));
  const members = join(folder, "made-up.json");
  const named = [
    ["Household 1203", 1, 600],
    ["Household 88", 2, 200],
  ];
  await writeFile(
    members,
    JSON.stringify({ members: named.map(([member, seed, count]) => ({ member, events: household(seed, count) })) }),
  );
  await buildDemo({ out: join(folder, "page"), bundle: BUNDLE, members });
  server = await serve(join(folder, "page"));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

async function openDemo(options = {}) {
  const opened = await openPage(browser, { viewport: SIZES[1280], ...options });
  await opened.page.goto(server.url);
  await opened.page.waitForSelector("#app:not([hidden])");
  return opened;
}

const text = (page, id) => page.textContent(`#${id}`);

for (const [name, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ["light", "dark"]) {
    test(`at ${name} px, ${colorScheme}: fits, and axe finds nothing`, async () => {
      const { page, context, errors } = await openDemo({ viewport, colorScheme, deviceScaleFactor: 2 });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= viewport.width, `the page is ${width} px wide`);
      // Not as a script tag: the page allows none that is not its own.
      await page.evaluate(await readFile(AXE, "utf8"));
      const { violations } = await page.evaluate(() => axe.run());
      assert.deepEqual(
        violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`),
        [],
      );
      if (process.env.SCREENSHOTS) {
        await mkdir(process.env.SCREENSHOTS, { recursive: true });
        await page.screenshot({
          path: join(process.env.SCREENSHOTS, `demo-${name}-${colorScheme}.png`),
          fullPage: true,
        });
      }
      assert.deepEqual(errors, []);
      await context.close();
    });
  }
}

test("with the keyboard alone: household, play, scrub, add, undo", async () => {
  const { page, context, errors } = await openDemo();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the member");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "member");
  const before = await text(page, "standing-spend");
  await page.keyboard.press("ArrowDown");
  assert.notEqual(await text(page, "standing-spend"), before);

  await page.keyboard.press("Tab");
  const date = await text(page, "date");
  await page.keyboard.press("Space");
  await page.waitForFunction((date) => document.querySelector("#date").textContent !== date, date);
  assert.equal(await text(page, "play-label"), "Pause");
  await page.keyboard.press("Space");
  assert.equal(await text(page, "play-label"), "Play");

  await page.focus("#scrub");
  await page.keyboard.press("Home");
  assert.equal(await text(page, "date"), "1 January 2017");
  await page.keyboard.press("ArrowRight");
  assert.equal(await text(page, "date"), "2 January 2017");
  assert.match(await page.getAttribute("#scrub", "aria-valuetext"), /^2 January 2017: forecast /);
  await page.waitForFunction(() => document.querySelector("#live").textContent.includes("forecast "));

  await page.focus("#amount");
  await page.keyboard.type("250.00");
  const spend = Number((await text(page, "standing-spend")).match(/[\d.,]+/)[0].replace(",", ""));
  await page.keyboard.press("Enter");
  const raised = Number((await text(page, "standing-spend")).match(/[\d.,]+/)[0].replace(",", ""));
  assert.ok(Math.abs(raised - spend - 250) < 0.001, `${spend} became ${raised}`);
  assert.match(await text(page, "feed"), /Purchase \(yours\)/);
  await page.focus("#undo");
  await page.keyboard.press("Enter");
  assert.doesNotMatch(await text(page, "feed"), /yours/);
  assert.match(await text(page, "standing-spend"), new RegExp(String(spend)));
  assert.deepEqual(errors, []);
  await context.close();
});

test("the distance to the next tier is exact", async () => {
  const { page, context } = await openDemo();
  await page.selectOption("#member", { label: "A new member" });
  assert.equal(await text(page, "standing-next"), "$100.00 more by 30 September for Bronze");
  await page.fill("#amount", "58.01");
  await page.click("#add button[type=submit]");
  assert.equal(await text(page, "standing-next"), "$41.99 more by 30 September for Bronze");
  await page.selectOption("#kind", "return");
  await page.fill("#amount", "0.01");
  await page.click("#add button[type=submit]");
  assert.equal(await text(page, "standing-next"), "$42.00 more by 30 September for Bronze");
  await context.close();
});

test("a mistake is explained, named by its code, and changes nothing", async () => {
  const { page, context, errors } = await openDemo();
  const before = await text(page, "standing-spend");
  for (const [amount, item, code] of [
    ["-5", "", "invalid_amount"],
    ["ten", "", "invalid_amount"],
    ["1", "x".repeat(300), "invalid_text"],
  ]) {
    await page.fill("#amount", amount);
    await page.fill("#item", item);
    await page.click("#add button[type=submit]");
    assert.match(await text(page, "add-error"), new RegExp(`${code}$`));
  }
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-invalid")), "true");
  assert.equal(await text(page, "standing-spend"), before);
  await page.fill("#item", "");
  assert.equal(await text(page, "add-error"), "");
  assert.deepEqual(errors, []);
  await context.close();
});

test("with the mouse, offline: drag, save the state, restore it, and no request at all", async () => {
  const { page, context, errors } = await openDemo({ acceptDownloads: true });
  await page.selectOption("#member", "Household 1203");
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  await context.setOffline(true);

  const chart = await page.locator("#scrub").boundingBox();
  await page.mouse.move(chart.x + chart.width * 0.3, chart.y + 20);
  await page.mouse.down();
  await page.mouse.move(chart.x + chart.width * 0.5, chart.y + 20, { steps: 5 });
  await page.mouse.up();
  assert.match(await text(page, "date"), /(June|July) 2017/);

  const standing = await text(page, "standing-spend");
  const forecast = await text(page, "bars");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  assert.equal(download.suggestedFilename(), "household-1203.state");
  const saved = await readFile(await download.path());

  await page.selectOption("#member", { label: "A new member" });
  assert.notEqual(await text(page, "bars"), forecast);
  await page.setInputFiles("#restore", {
    name: "household-1203.state",
    mimeType: "application/octet-stream",
    buffer: saved,
  });
  await page.waitForFunction(
    (standing) => document.querySelector("#standing-spend").textContent === standing,
    standing,
  );
  assert.equal(await text(page, "bars"), forecast);
  const chosen = () => page.evaluate(() => document.querySelector("#member").selectedOptions[0].textContent);
  assert.equal(await chosen(), "household-1203, from a file");
  await page.selectOption("#member", { label: "A new member" });
  await page.selectOption("#member", { label: "household-1203, from a file" });
  assert.equal(await text(page, "bars"), forecast);

  saved[saved.length >> 1] ^= 1;
  await page.setInputFiles("#restore", { name: "damaged.state", mimeType: "application/octet-stream", buffer: saved });
  await page.waitForFunction(() => document.querySelector("#state-error").textContent.endsWith("invalid_state"));
  assert.equal(await text(page, "bars"), forecast);

  await page.click("#play");
  await page.waitForTimeout(300);
  await page.click("#play");
  assert.deepEqual(
    requests.filter((url) => !url.startsWith("blob:")),
    [],
  );
  assert.deepEqual(errors, []);
  await context.close();
});

test("the replay stops at the year's end and starts again", async () => {
  const { page, context } = await openDemo({ reducedMotion: "reduce" });
  await page.selectOption("#speed", "30");
  await page.focus("#scrub");
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  await page.click("#play");
  await page.waitForFunction(() => document.querySelector("#play-label").textContent === "Play");
  await page.click("#play");
  await page.waitForFunction(() => /January|February/.test(document.querySelector("#date").textContent));
  await context.close();
});

test("a page that cannot load says why", async () => {
  const { page, context } = await openPage(browser);
  await page.route("**/bundle.tcb", (route) => route.fulfill({ body: "<!doctype html>" }));
  await page.goto(server.url);
  await page.waitForFunction(() => document.querySelector("#status").textContent.includes("could not start"));
  assert.match(await text(page, "status"), /not_a_bundle/);
  assert.equal(await page.isVisible("#app"), false);
  await context.close();
});
