/** With these a text reads otherwise than it is: https://nvd.nist.gov/vuln/detail/CVE-2021-42574 */
const REORDERING = /[\u202a-\u202e\u2066-\u2069]/g;

export function inItsOrder(text: string): string {
  return text.replace(REORDERING, "\ufffd");
}
