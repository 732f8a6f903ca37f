import { describe, expect, it } from "vitest";
import { hashOf, routeOf } from "./useRoute";

describe("routes", () => {
  it.each([
    ["", { tab: "chat", conversationId: null }],
    ["#/", { tab: "chat", conversationId: null }],
    ["#/jobs", { tab: "jobs" }],
    ["#/c/conv_1", { tab: "chat", conversationId: "conv_1" }],
    ["#/c/a%2Fb", { tab: "chat", conversationId: "a/b" }],
    ["#/c/%E0%A4%A", { tab: "chat", conversationId: null }],
    ["#/anything/else", { tab: "chat", conversationId: null }],
  ])("reads %j", (hash, route) => {
    expect(routeOf(hash)).toEqual(route);
  });

  it("reads what it wrote, whatever is in the id", () => {
    const route = { tab: "chat" as const, conversationId: "ä/#?%" };
    expect(routeOf(hashOf(route))).toEqual(route);
  });
});
