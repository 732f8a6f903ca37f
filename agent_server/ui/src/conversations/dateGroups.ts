import { dateOf } from "../api/conversations";
import type { Conversation } from "../api/types";

export interface DateGroup {
  title: string;
  conversations: Conversation[];
}

const DAY_MS = 86_400_000;

/** In the order given, by the person's own calendar. */
export function dateGroups(conversations: readonly Conversation[], now: Date): DateGroup[] {
  const groups: DateGroup[] = [];
  for (const conversation of conversations) {
    const title = groupTitle(dateOf(conversation.updated_at), now);
    const last = groups.at(-1);
    if (last?.title === title) last.conversations.push(conversation);
    else groups.push({ title, conversations: [conversation] });
  }
  return groups;
}

function groupTitle(date: Date, now: Date): string {
  const days = Math.round((dayStart(now) - dayStart(date)) / DAY_MS);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "Last 7 days";
  if (days <= 30) return "Last 30 days";
  const isThisYear = date.getFullYear() === now.getFullYear();
  return date.toLocaleDateString("en", isThisYear ? { month: "long" } : { month: "long", year: "numeric" });
}

function dayStart(date: Date): number {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
