/** How much a report shows: beyond it figures are no longer read, and the page says what it left out. */

/** Timelines, curves of latencies: so many colours, shapes and dashes can be told apart. */
export const SERIES_MAX = 8;

/** Lines with bands around them: more hide each other. */
export const BANDS_MAX = 4;

/** Of up to so many variants each pair is compared; of more, each with the first. */
export const PAIRED_MAX = 8;

/** A timeline's throughput is averaged down to so many points. */
export const TIMELINE_POINTS_MAX = 400;

/** Rows of the table of all trials, and of trials that do not count; the rest is in results.json. */
export const TRIAL_ROWS_MAX = 2000;
export const EXCLUDED_ROWS_MAX = 100;

/** Cells along an axis of a heat map. */
export const HEAT_CELLS_MAX = 20;
