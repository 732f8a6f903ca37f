import type { KeyboardEvent } from "react";

/** Safari reports this for every key of an input method. */
const INPUT_METHOD_KEY_CODE = 229;

/** Enter alone; not the one that accepts what an input method proposes. */
export function isSubmitKey(event: KeyboardEvent): boolean {
  const isComposing = event.nativeEvent.isComposing || event.keyCode === INPUT_METHOD_KEY_CODE;
  return event.key === "Enter" && !event.shiftKey && !isComposing;
}
