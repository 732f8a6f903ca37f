import { useSyncExternalStore } from "react";

export type Route = { tab: "chat"; conversationId: string | null } | { tab: "jobs" };

export function routeOf(hash: string): Route {
  if (hash === "#/jobs") return { tab: "jobs" };
  const conversation = /^#\/c\/([^/]+)$/.exec(hash);
  return { tab: "chat", conversationId: conversation?.[1] ? decoded(conversation[1]) : null };
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

export function hashOf(route: Route): string {
  if (route.tab === "jobs") return "#/jobs";
  return route.conversationId === null ? "#/" : `#/c/${encodeURIComponent(route.conversationId)}`;
}

/** `replace`: without an entry of its own in the browser's history. */
export function goTo(route: Route, { replace = false } = {}): void {
  const url = hashOf(route);
  if (url === window.location.hash) return;
  if (replace) {
    window.history.replaceState(null, "", url);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    window.location.hash = url;
  }
}

function subscribe(changed: () => void): () => void {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}

export function useRoute(): Route {
  return routeOf(useSyncExternalStore(subscribe, () => window.location.hash));
}
