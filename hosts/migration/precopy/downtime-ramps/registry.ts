/** Every ramp by its name. A new one is a file beside this one, a name in proto/convergence.ts, and a line here. */

import type { DowntimeRampName } from '../../../../proto/convergence.ts';
import type { DowntimeRamp, DowntimeRampContext } from './downtime-ramp.ts';
import { KubevirtRamp } from './kubevirt.ts';
import { NovaRamp } from './nova.ts';

type Make = (context: DowntimeRampContext) => DowntimeRamp;

export const DOWNTIME_RAMP_MAKERS: Readonly<Record<DowntimeRampName, Make>> = {
  none: ({ options }) => ({ limitMs: () => options.downtimeLimitMs }),
  nova: (context) => new NovaRamp(context),
  kubevirt: (context) => new KubevirtRamp(context),
};
