/** Who wants to see an experiment as it goes: a terminal, a test. */
import type { MigrationProgress } from '../proto/generated/godwit/v1/migration.ts';
import type { TrialRecord } from '../records/result-record.ts';
import type { MigrationVariant } from '../spec/variants.ts';

/** Which trial of an experiment. */
export interface TrialLabel {
  readonly variant: MigrationVariant;
  /** From 1, for each variant. */
  readonly trial: number;
  readonly trialCount: number;
  /** Which guest, when there are several. */
  readonly guest?: string;
}

export interface ExperimentObserver {
  /** What is being done now, as a participle: "creating the guest". */
  step(label: TrialLabel, doing: string): void;
  progress(label: TrialLabel, progress: MigrationProgress): void;
  ended(label: TrialLabel, record: TrialRecord): void;
}
