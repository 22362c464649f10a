/**
 * The report in a real browser: it opens without a complaint and without asking for anything, its figures are
 * there, its letters can be read in both colour schemes and do not cover each other, and it fits a phone. Needs
 * Chromium; without it the tests are skipped and say why.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ResultRecord } from '../../records/result-record.ts';
import { svgFile } from '../../report/chart.ts';
import { makeReport } from '../../report/make-report.ts';
import { madeResults, sweptResults } from '../support/study-results.ts';
import { Chromium, chromiumProgram, type Page } from './support/chromium.ts';

const program = chromiumProgram();
const about = program === undefined ? ' (skipped, there is no Chromium: apt-get install chromium)' : '';
const folder = mkdtempSync(join(tmpdir(), 'godwit-browser-'));
let browser: Chromium | undefined;

beforeAll(() => {
  if (program !== undefined) browser = new Chromium(program);
});

afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Makes a report and opens it; the page, its address, and how many figures it is to have. */
async function opened(record: ResultRecord): Promise<{ page: Page; url: string; figureCount: number }> {
  const opening = { record, unknown: [], missing: [] };
  const report = await makeReport(opening, { command: 'godwit run spec.yaml', version: '0.1.0' });
  const file = join(folder, `${record.trials.length}.html`);
  writeFileSync(file, report.page);
  const page = await browser!.newPage();
  const url = pathToFileURL(file).href;
  await page.open(url);
  return { page, url, figureCount: report.figures.length };
}

/** Pairs of letters in one figure that cover each other, and letters that stick out of it. */
const BAD_LETTERS = `[...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].filter((text) => text.textContent !== '');
  const boxes = texts.map((text) => ({ text: text.textContent, box: text.getBoundingClientRect() }));
  const name = svg.closest('figure').id;
  const out = boxes.filter(({ box }) => box.left < frame.left - 1 || box.right > frame.right + 1 ||
    box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
  const covering = boxes.flatMap((a, index) => boxes.slice(index + 1).filter((b) =>
    Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 1 &&
    Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 3).map((b) => a.text + ' / ' + b.text));
  return [...out.map(({ text }) => name + ': ' + text + ' sticks out'), ...covering.map((pair) => name + ': ' + pair)];
})`;

/**
 * The least contrast (WCAG 2.2, 1.4.3) of a figure's or a table's letters with the page behind them; not in
 * coloured cells.
 */
const LEAST_CONTRAST = `(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((part) => Number(part) / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const styles = (selector) => [...document.querySelectorAll(selector)].map((text) => getComputedStyle(text));
  const inSvg = styles('figure:not([id^=frontier]) svg text').map(({ fill }) => fill);
  const inPage = styles('p, li, td, th, figcaption, a, small').map(({ color }) => color);
  return Math.min(...[...inSvg, ...inPage].map((color) => {
    const [high, low] = [light(color), paper].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  }));
})()`;

describe.skipIf(program === undefined)(`a report in Chromium${about}`, () => {
  test.each([
    { what: 'four techniques', record: madeResults() },
    { what: 'swept keys', record: sweptResults() },
  ])('of $what opens without a complaint, asks for nothing, and shows its figures', async ({ record }) => {
    const { page, url, figureCount } = await opened(record);
    expect(page.events('Log.entryAdded')).toEqual([]);
    expect(page.events('Runtime.exceptionThrown')).toEqual([]);
    const requests = page
      .events('Network.requestWillBeSent')
      .map(({ request }) => (request as { url: string }).url);
    expect(requests.filter((to) => to !== url && !to.startsWith('data:'))).toEqual([]);
    const areas = await page.evaluate(
      `[...document.querySelectorAll('figure svg')].map((svg) => svg.getBBox().width * svg.getBBox().height)`,
    );
    expect((areas as number[]).filter((area) => area > 10_000)).toHaveLength(figureCount);
    expect(await page.evaluate(BAD_LETTERS)).toEqual([]);
  });

  test.each(['light', 'dark'] as const)('can be read in the %s', async (scheme) => {
    const { page } = await opened(madeResults());
    await page.colorScheme(scheme);
    const paper = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(paper).toBe(scheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(15, 20, 25)');
    expect(await page.evaluate(LEAST_CONTRAST)).toBeGreaterThanOrEqual(4.5);
  });

  test('fits a phone: only what is wide scrolls, by itself', async () => {
    const { page } = await opened(madeResults());
    await page.width(360);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    const tables = await page.evaluate(
      `[...document.querySelectorAll('table')].every((table) => table.parentElement.tabIndex === 0)`,
    );
    expect(tables).toBe(true);
  });

  test('hands out the data of each figure from the page itself', async () => {
    const { page, figureCount } = await opened(madeResults());
    const texts = (await page.evaluate(
      `[...document.querySelectorAll('figure a[download$=".csv"]')].map(({ href }) => atob(href.split(',')[1]))`,
    )) as string[];
    expect(texts).toHaveLength(figureCount);
    expect(texts[0]).toMatch(/^technique,variant,guest,trial,downtime_ms\r\nstop-and-copy,,guest,1,/);
  });

  test('has figures that are whole as files of their own, in the dark too', async () => {
    const { figures } = await makeReport(
      { record: madeResults(), unknown: [], missing: [] },
      { command: 'godwit run spec.yaml', version: '0.1.0' },
    );
    const file = join(folder, 'figure.svg');
    writeFileSync(file, svgFile(figures[0]!));
    const page = await browser!.newPage();
    await page.colorScheme('dark');
    await page.open(pathToFileURL(file).href);
    const colors = `['rect', 'text'].map((name) => getComputedStyle(document.querySelector(name)).fill)`;
    expect(await page.evaluate(colors)).toEqual(['rgb(15, 20, 25)', 'rgb(163, 173, 184)']);
    await page.colorScheme('light');
    expect(await page.evaluate(colors)).toEqual(['rgb(255, 255, 255)', 'rgb(87, 96, 106)']);
  });
});
