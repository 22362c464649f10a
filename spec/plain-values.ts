/** What a resolved spec consists of when it is written down. */

/** JSON and YAML both: texts, numbers, truth values, and lists and mappings of them. */
export type Plain = string | number | boolean | Plain[] | PlainMapping;
export interface PlainMapping {
  [key: string]: Plain;
}
