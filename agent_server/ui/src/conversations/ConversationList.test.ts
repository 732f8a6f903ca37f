import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Conversation } from "../api/types";
import { fakeServer, refusal } from "../testing/fakeServer";
import { ConversationList } from "./ConversationList";
import { dateGroups } from "./dateGroups";

function conversation(id: number, updated_at: number | string = 10_000 - id, running: string | null = null): Conversation {
  return { id: `c${id}`, title: `Title ${id}`, created_at: 0, updated_at, running_response_id: running };
}

const ids = (list: ConversationList) => list.state.conversations.map(({ id }) => id);

describe("the conversations", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("keep the older ones that are shown when the newest are read again", async () => {
    const list = new ConversationList();
    fakeServer({ "GET conversations": { conversations: [conversation(1), conversation(2)], next: "2" } });
    await list.refresh();
    fakeServer({ "GET conversations": { conversations: [conversation(3)], next: null } });
    await list.more();
    expect(ids(list)).toEqual(["c1", "c2", "c3"]);
    fakeServer({ "GET conversations": { conversations: [conversation(2, 20_000), conversation(1)], next: "2" } });
    await list.refresh();
    expect(ids(list)).toEqual(["c2", "c1", "c3"]);
    expect(list.state.next).toBeNull();
  });

  it("are searched once the person stops typing, and show nothing that was not found", async () => {
    const list = new ConversationList();
    fakeServer({ "GET conversations": { conversations: [conversation(1), conversation(2)], next: "2" } });
    await list.refresh();
    const asked = fakeServer({ "GET conversations": { conversations: [conversation(2)], next: null } });
    list.search("t");
    list.search("two");
    await vi.advanceTimersByTimeAsync(300);
    expect(asked).toHaveLength(1);
    expect(ids(list)).toEqual(["c2"]);
  });

  it("are read again while an answer is being written in one of them", async () => {
    const list = new ConversationList();
    let running: string | null = "resp_1";
    const asked = fakeServer({ "GET conversations": () => ({ conversations: [conversation(1, 1, running)], next: null }) });
    await list.refresh();
    await vi.advanceTimersByTimeAsync(4_000);
    running = null;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(asked).toHaveLength(3);
  });

  it("stay as they are where one cannot be deleted or read", async () => {
    const list = new ConversationList();
    fakeServer({ "GET conversations": { conversations: [conversation(1)], next: null } });
    await list.refresh();
    fakeServer({ "DELETE conversations/c1": () => refusal(503, "Not now."), "GET conversations": () => refusal(503, "Busy.") });
    await expect(list.remove("c1")).rejects.toThrow("Not now.");
    await list.refresh();
    expect(ids(list)).toEqual(["c1"]);
    expect(list.state).toMatchObject({ error: "Busy.", loading: false });
  });
});

describe("dates", () => {
  it.each([
    ["2026-11-27T00:05:00", "Today"],
    ["2026-11-28T09:00:00", "Today"],
    ["2026-11-26T23:59:00", "Yesterday"],
    ["2026-11-20T12:00:00", "Last 7 days"],
    ["2026-11-19T12:00:00", "Last 30 days"],
    ["2026-10-01T12:00:00", "October"],
    ["2025-12-31T12:00:00", "December 2025"],
  ])("of %s are %s on 27 November", (at, title) => {
    expect(dateGroups([conversation(1, at)], new Date("2026-11-27T15:00:00"))[0]?.title).toBe(title);
  });

  it("group what belongs together, in the order given", () => {
    const now = new Date("2026-11-27T15:00:00");
    const groups = dateGroups([conversation(1, now.getTime() / 1000), conversation(2, "2026-11-27"), conversation(3, "2026-11-26")], now);
    expect(groups.map((group) => group.conversations.length)).toEqual([2, 1]);
  });
});
