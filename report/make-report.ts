/** From results to a report: the figures, drawn, and the page that holds them. */
import type { OpenedResults } from '../records/read-results.ts';
import { type DrawnFigure, draw, type Figure } from './chart.ts';
import { clientLatencyFigures } from './figures/client-latency.ts';
import { distributionFigures } from './figures/distributions.ts';
import { faultLatencyFigures } from './figures/fault-latency.ts';
import { frontierFigures } from './figures/frontier.ts';
import { stackFigures } from './figures/stacks.ts';
import { sweepFigures } from './figures/sweeps.ts';
import { timelineFigures } from './figures/timelines.ts';
import { transformFigures } from './figures/transforms.ts';
import { pageText } from './page.ts';
import { type Study, studyOf } from './study.ts';

/**
 * In the order of the page. Another figure is one more of these: it answers nothing where there is nothing to
 * show.
 */
const FIGURES: readonly ((study: Study) => Figure[])[] = [
  sweepFigures,
  frontierFigures,
  distributionFigures,
  stackFigures,
  faultLatencyFigures,
  clientLatencyFigures,
  transformFigures,
  timelineFigures,
];

export interface Report {
  /** The page, whole. */
  readonly page: string;
  readonly figures: readonly DrawnFigure[];
}

/** @param about the command that runs the study again, and the version that reports. */
export async function makeReport(
  opened: OpenedResults,
  about: { readonly command: string; readonly version: string },
): Promise<Report> {
  const study = studyOf(opened.record);
  const figures = await draw(FIGURES.flatMap((make) => make(study)));
  return { page: pageText({ study, figures, opened, ...about }), figures };
}
