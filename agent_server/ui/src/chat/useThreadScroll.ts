import { type RefObject, useCallback, useEffect, useRef, useState } from "react";

const NEAR_PIXELS = 64;
const QUESTION_MARGIN_PIXELS = 8;

/**
 * What the thread keeps in view as it grows. `question`: the newest question, with the beginning of its answer below it.
 * `end`: the newest text. `anything`: the place that the person scrolled to.
 */
type InView = "question" | "end" | "anything";

/** `scroller` scrolls; the children of `content` are the turns. */
export function useThreadScroll(scroller: RefObject<HTMLElement | null>, content: RefObject<HTMLElement | null>) {
  const [isAtEnd, setAtEnd] = useState(true);
  const inView = useRef<InView>("end");
  /** Where the thread was scrolled to by this hook: any other place is the person's choice. */
  const ownTop = useRef(0);

  const scroll = useCallback(() => {
    const element = scroller.current;
    if (!element) return;
    const end = element.scrollHeight - element.clientHeight;
    if (inView.current !== "anything") {
      const question = content.current?.lastElementChild;
      const toQuestion = (question?.getBoundingClientRect().top ?? 0) - element.getBoundingClientRect().top;
      const top = element.scrollTop + toQuestion - QUESTION_MARGIN_PIXELS;
      ownTop.current = Math.max(0, inView.current === "end" ? end : Math.min(end, top));
      element.scrollTo({ top: ownTop.current });
    }
    setAtEnd(end - element.scrollTop < NEAR_PIXELS);
  }, [scroller, content]);

  useEffect(() => {
    const element = scroller.current;
    if (!element || !content.current) return undefined;
    const onScroll = () => {
      const isNearEnd = element.scrollHeight - element.clientHeight - element.scrollTop < NEAR_PIXELS;
      const isOwn = Math.abs(element.scrollTop - ownTop.current) < 2;
      if (!isOwn) inView.current = isNearEnd ? "end" : "anything";
      setAtEnd(isNearEnd);
    };
    const observer = new ResizeObserver(scroll);
    observer.observe(content.current);
    observer.observe(element);
    element.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, [scroller, content, scroll]);

  const keepInView = useCallback(
    (what: InView) => {
      inView.current = what;
      scroll();
    },
    [scroll],
  );
  return { isAtEnd, keepInView };
}
