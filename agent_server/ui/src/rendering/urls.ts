/** Addresses in text that a model, a tool or a person wrote. */

const LINKED: ReadonlySet<string> = new Set(["https:", "http:", "mailto:"]);

/** The address if it may be a link, else null: complete, and neither a script nor data. */
export function linkUrl(address: string | null | undefined): URL | null {
  const url = parsed(address);
  return url && LINKED.has(url.protocol) ? url : null;
}

/** The address if its image may be loaded: over HTTPS, from one of the hosts. `*.example.com` is any below it. */
export function imageUrl(address: string | null | undefined, hosts: readonly string[]): URL | null {
  const url = parsed(address);
  if (url?.protocol !== "https:" || url.username || url.password) return null;
  const allowed = hosts.some((each) => {
    const host = each.toLowerCase();
    return host.startsWith("*.") ? url.host.endsWith(host.slice(1)) : url.host === host;
  });
  return allowed ? url : null;
}

/** What a link shows beside its text, so that nobody is led elsewhere than they think. */
export function hostOf(url: URL): string {
  return url.protocol === "mailto:" ? decoded(url.pathname) : url.host;
}

function parsed(address: string | null | undefined): URL | null {
  return address && URL.canParse(address) ? new URL(address) : null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
