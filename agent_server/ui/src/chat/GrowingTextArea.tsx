import { type ComponentProps, useLayoutEffect, useRef } from "react";

/** As high as its text, up to the `max-height` of its style. */
export function GrowingTextArea(props: ComponentProps<"textarea">) {
  const own = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const area = own.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [props.value]);
  return <textarea ref={own} rows={1} dir="auto" {...props} />;
}
