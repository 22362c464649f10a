/**
 * The form of results.json: everything that an experiment measured, with what is needed to run it again.
 * Names are snake_case with the unit last; docs/metrics.md defines each measure. What a trial did not live
 * to see is null. What is added to the form is nullable: an older file does not have it (read-results.ts).
 */

import { z } from 'zod';
import { ROUNDS_END_REASONS } from '../proto/convergence.ts';
import { backgroundSchema } from './background-record.ts';
import { decision } from './decision-record.ts';
import { estimatesSchema } from './estimates-record.ts';
import { freePagesSchema } from './free-pages-record.ts';
import { predictionSchema } from './prediction-record.ts';
import { throttleSchema } from './throttle-record.ts';

const ms = () => z.number().nullable();
const count = () => z.number().nonnegative().nullable();

const round = z.strictObject({
  round: z.int().positive().describe('1 for the first pass over memory.'),
  final: z.boolean().describe('Whether it was sent in the pause.'),
  start_ms: z.number().describe("Since the migration's acceptance."),
  duration_ms: z.number(),
  pages: z.number(),
  zero_pages: z.number(),
  sent_bytes: z.number(),
  resent_pages: z.number().describe('Of these pages, those that had been sent before.'),
  dirty_pages_after: z.number().describe('Pages that were dirty at its end.'),
  dirty_rate_pps: z.number().describe('Distinct pages that became dirty per second of it.'),
  bandwidth_bytes_per_s: z.number(),
  expected_downtime_ms: z.number(),
  skipped_pages: count().describe('Pages that were to be sent in it and were left for a later one.'),
  free_pages: count().describe('Pages that were to be sent in it and are free in the guest.'),
});

const downtimeParts = z.strictObject({
  quiesce_ms: ms().describe(
    'From the pause request to the last vCPU at rest; before the downtime, not in it.',
  ),
  final_pages_ms: ms(),
  device_state_ms: ms(),
  handover_ms: ms(),
  resume_ms: ms(),
});

const operations = z.strictObject({
  at_ms: z.number().describe("The interval's beginning, since the migration's acceptance."),
  operations_per_s: z.number().nonnegative(),
});

const pageFault = z.strictObject({
  page: z.number(),
  kind: z.string().describe('lost-write, torn, foreign, queue or digest.'),
  detail: z.string(),
});

const audit = z.strictObject({
  pages_checked: z.number(),
  faults: z.array(pageFault).describe('At most 100 of them.'),
  fault_count: z.number().describe('All of them.'),
  evidence: z.string().describe('How the expected versions were known: ledger or digest.'),
});

const link = z.strictObject({
  from: z.string(),
  to: z.string(),
  asked_rate_bytes_per_s: count().describe('null: unlimited.'),
  measured_rate_bytes_per_s: z.number().nonnegative(),
  asked_round_trip_ms: z.number().nonnegative(),
  measured_round_trip_ms: z.number().nonnegative(),
  differences: z.array(z.string()).describe('A sentence for each that is off by more than 3 %.'),
});

const networkChange = z.strictObject({
  host: z.string(),
  what: z.string(),
  at_ms: z.number().describe("When it was to be, since the migrations' order."),
  applied_at_ms: z.number().describe('When the host had done it.'),
});

const network = z.strictObject({
  links: z.array(link).describe('What was asked of each link that is used, and what a probe measured.'),
  changes: z.array(networkChange).describe('What was changed and broken while the guests moved.'),
});

const faultLatency = z.strictObject({
  p50_ms: z.number(),
  p90_ms: z.number(),
  p99_ms: z.number(),
  max_ms: z.number(),
  histogram: z
    .array(z.strictObject({ up_to_ms: z.number(), faults: z.number() }))
    .describe('Faults that took at most so long, and more than the entry before.'),
});

const postcopy = z.strictObject({
  resumed_at_ms: z
    .number()
    .describe("The first vCPU's start at the destination, since the migration's acceptance."),
  resume_time_ms: ms().describe('From the resume to the last missing page.'),
  missing_pages: z.number().describe('Pages that the destination lacked at the resume.'),
  placed_pages: z.number().describe('Of these, those that it put in place.'),
  pushed_pages: z.number().describe('Sent unasked.'),
  demanded_pages: z.number().describe('Sent because the destination asked: the network faults.'),
  requests: z.number().describe('Pages that the destination asked for.'),
  prefetch_hits: z.number().describe('Of these, those that were on their way already.'),
  faults: z.number().describe('How often a vCPU waited for a page.'),
  fault_latency: faultLatency.nullable().describe('null when there was no fault.'),
  blocktime_ms: z.number().describe('While all vCPUs waited at once.'),
  vcpu_blocktime_ms: z.array(z.number()).describe('What each vCPU waited.'),
  recoveries: z.number().describe('How often a lost link was made good.'),
  paused_ms: z.number().describe('The time without a link.'),
});

const latency = z.strictObject({
  p50: ms(),
  p90: ms(),
  p99: ms(),
  p999: ms(),
  max: ms(),
  count: z.int().nonnegative().describe('How many answers there were.'),
});

const client = z.strictObject({
  protocol: z.string().describe('udp or tcp.'),
  via: z.string().describe("forwarder, or address: the guest's own."),
  address: z.string().describe('Where the guest was asked.'),
  rate_requests_per_s: z.number().positive(),
  sent: z.int().nonnegative(),
  answered: z.int().nonnegative().describe('Within the timeout.'),
  lost: z.int().nonnegative().describe('Not answered within the timeout.'),
  late: z.int().nonnegative().describe('Of those lost: answered after all.'),
  wrong: z.int().nonnegative().describe('Answers that forgot a write which had been acknowledged.'),
  reconnects: z.int().nonnegative().describe('tcp: how often the connection had to be made again.'),
  latency_ms: z
    .strictObject({ before: latency, during: latency, after: latency })
    .describe(
      'From the moment when a request was due, by whether that was before, in or after the migration.',
    ),
  gap_ms: ms().describe(
    'The longest time without an answer around the migration: the client gap; ' +
      'null when no request that was due after it was answered.',
  ),
  gap_at_ms: ms().describe("When it began, since the migration's acceptance."),
  gap_minus_downtime_ms: ms(),
});

const codec = z.strictObject({
  codec: z.string().describe('none: batches that went as they were.'),
  batches: z.number(),
  bytes_in: z.number(),
  bytes_out: z.number(),
  cpu_s: z.number(),
});

const transform = z.strictObject({
  name: z.string().describe('zero, dedup, delta, compression or encryption.'),
  variant: z.string().nullable().describe('Which of its kind, such as gang, lz4 or aes-256-gcm.'),
  pages_in: z.number(),
  bytes_in: z.number().describe('What came to it.'),
  bytes_out: z.number().describe('What it left of that.'),
  ratio: z.number().nullable().describe('bytes_out / bytes_in; null when nothing came.'),
  hits: z.number().describe('Pages that it made less of.'),
  misses: z.number().describe('Pages that it did not find.'),
  overflows: z.number().describe('Pages that would have become more, and went as they were.'),
  cache_bytes: z.number(),
  cpu_s: z.number().describe('CPU seconds at the source.'),
  time_ms: z.number().describe('Time that its threads took for it at the source.'),
  destination_cpu_s: z
    .number()
    .nullable()
    .describe('What undoing it took; null when nothing was to be undone.'),
  destination_time_ms: z.number().nullable(),
  codecs: z.array(codec).describe('compression: what each codec did.'),
});

export const TRIAL_STATUS = ['completed', 'failed', 'cancelled', 'lost'] as const;

export const trialRecordSchema = z.strictObject({
  technique: z.string(),
  variant: z
    .string()
    .nullable()
    .describe("What tells it from the spec's other variants of this technique; null when there are none."),
  guest: z.string().nullable().describe('Which one it is about; a trial has a record for each guest.'),
  trial: z.int().positive().describe("From 1, in each variant's order."),
  status: z.enum(TRIAL_STATUS).describe('lost: no host runs the guest any more.'),
  reason: z.string().nullable().describe('Why it failed, was cancelled or did not converge.'),
  convergence: z
    .string()
    .nullable()
    .describe(
      `Why its rounds ended: ${ROUNDS_END_REASONS.join(', ')}; null for techniques that do not iterate.`,
    ),
  decisions: z
    .array(decision)
    .nullable()
    .describe('What the rules did that steer a migration, at most 1,000 steps.'),
  switched_by_hand_at_ms: ms().describe(
    "When somebody turned it into post-copy, since the migration's acceptance; null when nobody did.",
  ),
  total_time_ms: ms(),
  setup_time_ms: ms(),
  downtime_ms: ms(),
  downtime_parts: downtimeParts,
  transferred_bytes: count(),
  precopy_bytes: count(),
  downtime_bytes: count(),
  postcopy_bytes: count(),
  resent_bytes: count(),
  normal_pages: count(),
  zero_pages: count(),
  rounds: z.array(round).nullable(),
  transforms: z
    .array(transform)
    .nullable()
    .describe('What was done to pages between memory and wire, in its order.'),
  postcopy: postcopy.nullable().describe('null when the guest was not switched to post-copy.'),
  throttle: throttleSchema.nullable().describe('null when no rule was to slow the guest.'),
  free_pages: freePagesSchema
    .nullable()
    .describe('null when pages that are free in the guest went as any others, or it has none.'),
  dirty_rate_pps_requested: count().describe('null when the guest runs as fast as it can.'),
  dirty_rate_pps_achieved: count(),
  degradation_percent: z.number().nullable(),
  operations: z.array(operations).nullable().describe('Every 20 ms.'),
  clock_error_ms: ms().describe('How far every figure that compares the two hosts may be off.'),
  source: z.string().nullable(),
  destination: z.string().nullable(),
  audit: audit.nullable().describe('null when the guest was not audited.'),
  prediction: predictionSchema
    .nullable()
    .describe('What was expected of it beside what it took; null when it was not predicted.'),
  network: network.nullable().describe('null when the links were not shaped.'),
  estimates: estimatesSchema
    .nullable()
    .describe('What the source believed of the link; null when the links were not shaped.'),
  background: backgroundSchema
    .nullable()
    .describe('What became of other traffic on the link; null when there was none.'),
  clients: z
    .array(client)
    .nullable()
    .describe('What clients outside saw of the guest; null when it had none.'),
});

export const machineSchema = z.strictObject({
  cpus: z.int().positive(),
  cpu_model: z.string(),
  memory_bytes: z.number().positive(),
  kernel: z.string(),
  node: z.string(),
});

export const resultRecordSchema = z
  .strictObject({
    godwit_version: z.string(),
    recorded_at: z.iso.datetime().describe('When the experiment ended, UTC.'),
    machine: machineSchema,
    spec: z.looseObject({}).describe('The resolved spec, in the form of spec.schema.json.'),
    trials: z.array(trialRecordSchema),
  })
  .meta({ title: 'godwit results', description: 'What an experiment measured; see docs/metrics.md.' });

export type RoundRecord = z.infer<typeof round>;
export type TransformRecord = z.infer<typeof transform>;
export type PostcopyRecord = z.infer<typeof postcopy>;
export type OperationsRecord = z.infer<typeof operations>;
export type AuditRecord = z.infer<typeof audit>;
export type LinkRecord = z.infer<typeof link>;
export type ClientRecord = z.infer<typeof client>;
export type NetworkRecord = z.infer<typeof network>;
export type TrialRecord = z.infer<typeof trialRecordSchema>;
export type MachineRecord = z.infer<typeof machineSchema>;
export type ResultRecord = z.infer<typeof resultRecordSchema>;

/** The form of results.json as a JSON schema (draft 2020-12). */
export function resultsJsonSchema(): z.core.JSONSchema.JSONSchema {
  return z.toJSONSchema(resultRecordSchema, { io: 'input' });
}
