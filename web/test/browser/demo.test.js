import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildDemo } from "../../scripts/build-demo.js";
import { launch, openPage } from "../support/chromium.js";
import { BUNDLE, DECIDE_BUNDLE, household, PROFILE_BUNDLE, RECOMMEND_BUNDLE } from "../support/fixtures.js";
import { contentOf } from "../support/sections.js";
import { serve } from "../support/serve.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const SIZES = { 1280: { width: 1280, height: 900 }, 375: { width: 375, height: 812 } };

let folder;
let browser;
let server;
let profiled;
let recommending;
let deciding;

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
  await buildDemo({ out: join(folder, "profiled"), bundle: PROFILE_BUNDLE, members: await knownByCategory(named) });
  profiled = await serve(join(folder, "profiled"));
  const recommends = { out: join(folder, "recommending"), bundle: RECOMMEND_BUNDLE, members: await knownByItem(named) };
  await buildDemo(recommends);
  recommending = await serve(recommends.out);
  await buildDemo({ out: join(folder, "deciding"), bundle: DECIDE_BUNDLE, members });
  deciding = await serve(join(folder, "deciding"));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.close();
  await profiled?.close();
  await recommending?.close();
  await deciding?.close();
  await rm(folder, { recursive: true, force: true });
});

/** The same households, who buy from the categories that the bundle with profiles knows. */
async function knownByCategory(named) {
  const { categories } = contentOf(await readFile(PROFILE_BUNDLE), "manifest").profile;
  return changed(named, "category.json", (event) => ({ category: categories[event.category.length % categories.length] }));
}

/** The same, who buy items that the bundle with recommendations knows. */
async function knownByItem(named) {
  const vectors = contentOf(await readFile(RECOMMEND_BUNDLE), "vectors");
  const items = [...new Set(vectors.flatMap(({ recommendations }) => recommendations.map(({ item }) => item)))];
  return changed(named, "item.json", (event) => ({ item: items[event.item % items.length] }));
}

async function changed(named, name, change) {
  const events = (seed, count) => household(seed, count).map((event) => ({ ...event, ...change(event) }));
  const file = join(folder, name);
  await writeFile(file, JSON.stringify({ members: named.map(([member, seed, count]) => ({ member, events: events(seed, count) })) }));
  return file;
}

async function openDemo({ site = server, ...options } = {}) {
  const opened = await openPage(browser, { viewport: SIZES[1280], ...options });
  await opened.page.goto(site.url);
  await opened.page.waitForSelector("#app:not([hidden])");
  return opened;
}

const text = (page, id) => page.textContent(`#${id}`);

const looks = Object.entries(SIZES).flatMap(([name, viewport]) =>
  ["light", "dark"].flatMap((colorScheme) => ["profiles", "recommendations", "decisions"].map((has) => ({ name, viewport, colorScheme, has }))),
);
for (const { name, viewport, colorScheme, has } of looks) {
  test(`at ${name} px, ${colorScheme}, with ${has}: fits, and axe finds nothing`, async () => {
    const site = { profiles: profiled, recommendations: recommending, decisions: deciding }[has];
    const { page, context, errors } = await openDemo({ site, viewport, colorScheme, deviceScaleFactor: 2 });
    await page.click("#sequence-title");
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
        path: join(process.env.SCREENSHOTS, `demo-${has}-${name}-${colorScheme}.png`),
        fullPage: true,
      });
    }
    assert.deepEqual(errors, []);
    await context.close();
  });
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

test("how the household shops follows the replay", async () => {
  const { page, context, errors } = await openDemo({ site: profiled });
  await page.selectOption("#member", { label: "Household 1203 · 600 events" });
  const { segments } = contentOf(await readFile(PROFILE_BUNDLE), "manifest").profile;
  const shown = async () => [await text(page, "segment"), await text(page, "churn"), await text(page, "next-purchase")];
  const [segment, churn, days] = await shown();
  assert.ok(segments.some(({ name }) => name.toLowerCase() === segment.toLowerCase()), segment);
  assert.match(churn, /^(<1|\d+)\u202f%$/);
  assert.match(days, /^\d+ days?$/);
  const shares = await page.$$eval("#interests li:not([hidden]) .value", (all) => all.map((value) => parseInt(value.textContent)));
  assert.ok(shares.length >= 3 && shares.every((share, i) => share > 0 && share <= (shares[i - 1] ?? 100)), String(shares));
  assert.match(await text(page, "segment-share"), new RegExp(`of members, one of ${segments.length} segments$`));

  await page.selectOption("#member", { label: "A new member" });
  assert.deepEqual(await shown(), ["Not known yet", "–", "–"]);
  assert.equal(await page.isVisible("#no-interests"), true);
  await page.fill("#amount", "20.00");
  await page.click("#add button[type=submit]");
  assert.notEqual((await shown())[0], "Not known yet");
  assert.deepEqual(errors, []);
  await context.close();
});

test("what the household will buy next follows what is asked for", async () => {
  const { page, context, errors } = await openDemo({ site: recommending });
  await page.selectOption("#member", { label: "Household 1203 · 600 events" });
  const shown = () => page.$$eval("#offers li", (rows) => rows.map((row) => row.title));
  const chances = () => page.$$eval("#offers .value", (all) => all.map((value) => parseInt(value.textContent)));
  const whys = () => page.$$eval("#offers .why", (all) => all.map((why) => why.textContent));
  const all = await shown();
  assert.equal(all.length, 6);
  assert.ok((await chances()).every((chance, i, list) => chance <= (list[i - 1] ?? 100)));
  assert.ok((await whys()).some((why) => /^Bought (twice|once|\d+ times)/.test(why)), String(await whys()));
  await page.check("#offers-new");
  const fresh = await shown();
  assert.ok(fresh.every((title) => !all.includes(title)) || (await whys()).every((why) => !/^Bought (twice|once|\d)/.test(why)));
  await page.uncheck("#offers-new");
  assert.deepEqual(await shown(), all);
  await page.check("#offers-varied");
  assert.equal((await shown()).length, 6);
  await page.selectOption("#member", { label: "A new member" });
  assert.ok((await whys()).every((why) => / members buy it$/.test(why)), String(await whys()));
  assert.deepEqual(errors, []);
  await context.close();
});

test("the household's offer, tier of service and points follow the replay", async () => {
  const { page, context, errors } = await openDemo({ site: deciding });
  const { reward, tiers, points } = contentOf(await readFile(DECIDE_BUNDLE), "manifest");
  await page.selectOption("#member", { label: "Household 88 · 200 events" });
  const shown = () => Promise.all(["reward-action", "reward-chance", "reward-title", "assign-action"].map((id) => text(page, id)));
  const first = await shown();
  const [offer, chance, title, tier] = first;
  assert.ok(["No offer", ...reward.actions.map(({ name }) => name)].includes(offer), offer);
  assert.match(chance, /^(drawn with a chance of >?\d+\u202f%|the only one possible)$/);
  assert.match(title, /^Offer until (31|30|28) \w+$/);
  assert.ok(tiers.some(({ name }) => name === tier), tier);
  assert.equal(await text(page, "assign-rules"), `spend so far: ${await text(page, "standing-tier")}`);
  assert.equal(await page.locator("#reward-reasons li").count(), 3);
  const balance = async () => Number((await text(page, "points-balance")).replace(/\D/g, ""));
  const facts = () => page.$$eval("#points-facts dd", (all) => all.map((value) => value.textContent));
  const before = await balance();
  assert.match((await facts())[0], /^\d+ on \d+ \w+$/);
  assert.equal((await facts())[1], before < points.minRedeem ? `From ${points.minRedeem} points on` : "Now");
  await page.fill("#amount", "100.00");
  await page.click("#add button[type=submit]");
  // Silver by the quarter before: a point a dollar, and a quarter more.
  assert.equal(await balance(), before + 125);
  assert.deepEqual(await shown(), first, "what is bought meanwhile does not change the offer");
  await page.click("#undo");
  assert.equal(await balance(), before);
  await page.focus("#scrub");
  await page.keyboard.press("Home");
  await page.keyboard.press("End");
  assert.notEqual((await shown())[2], title);
  await page.selectOption("#member", { label: "A new member" });
  assert.deepEqual([await balance(), (await facts())[0]], [0, "None"]);
  assert.deepEqual(errors, []);
  await context.close();
});

test("a household of more events than are kept still has its offer and all its points", async () => {
  const { page, context, errors } = await openDemo({ site: deciding });
  await page.selectOption("#member", { label: "Household 1203 · 600 events" });
  assert.match(await text(page, "reward-title"), /^Offer until /);
  assert.match(await text(page, "reward-chance"), /^(drawn|the only)/);
  assert.match(await text(page, "points-balance"), /^[1-9][\d,]* points$/);
  const [earned] = (await page.$$eval("#points-facts dd", (all) => all.map((value) => value.textContent))).slice(2);
  assert.ok(Number(earned.replace(/\D/g, "")) > 1000, earned);
  assert.deepEqual(errors, []);
  await context.close();
});

test("a bundle without profiles, recommendations and policies shows no such panels", async () => {
  const { page, context, errors } = await openDemo();
  assert.equal(await page.isVisible("#profile"), false);
  assert.equal(await page.isVisible("#recommend"), false);
  assert.equal(await page.isVisible("#decide"), false);
  assert.deepEqual(errors, []);
  await context.close();
});

test("the steps of the sequence are a table of their own, folded away", async () => {
  const { page, context } = await openDemo();
  await page.selectOption("#member", { label: "Household 88 · 200 events" });
  assert.equal(await page.isVisible("#sequence-table"), false);
  await page.click("#all-features");
  assert.doesNotMatch(await text(page, "feature-list"), /Day 1/);
  await page.click("#sequence-title");
  assert.equal(await text(page, "sequence-title"), "The last 4 days, the latest first");
  const cells = () => page.$$eval("#sequence-rows tr", (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
  const before = await cells();
  assert.equal(before.length, 4);
  assert.ok(before.every(([, ago], i) => i === 0 || Number(ago) > Number(before[i - 1][1])), JSON.stringify(before));
  await page.fill("#amount", "77.77");
  await page.click("#add button[type=submit]");
  const [latest, ...others] = await cells();
  assert.deepEqual([latest[0], latest[1], latest[2]], ["1", "0", "$77.77"]);
  assert.deepEqual(others[0].slice(2), before[0].slice(2));
  await page.selectOption("#member", { label: "A new member" });
  assert.equal(await page.isVisible("#sequence-none"), true);
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
