import { type ReactNode, useId, useLayoutEffect, useRef, useState } from "react";

const GAP_PIXELS = 4;

export interface PopoverProps {
  label: string;
  /** Shown on the button. */
  face: ReactNode;
  /** Whether `face` is text that names the button; else the label does. */
  isText?: boolean;
  className: string;
  role: "menu" | "dialog";
  children: (close: () => void) => ReactNode;
  onOpened?: (panel: HTMLElement) => void;
}

/** A button that opens a panel in the browser's top layer. A click beside it, Escape or `close` closes it. */
export function Popover({ label, face, isText = false, className, role, children, onOpened }: PopoverProps) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);

  useLayoutEffect(() => {
    if (!isOpen || !panel.current || !button.current) return;
    place(panel.current, button.current.getBoundingClientRect());
    onOpened?.(panel.current);
  }, [isOpen]);
  return (
    <>
      <button
        ref={button}
        type="button"
        className={className}
        aria-label={isText ? undefined : label}
        title={label}
        aria-haspopup={role}
        aria-expanded={isOpen}
        popoverTarget={id}
      >
        {face}
      </button>
      <div
        ref={panel}
        id={id}
        popover="auto"
        className="popover"
        role={role}
        aria-label={label}
        onToggle={(event) => setOpen(event.newState === "open")}
      >
        {isOpen && children(() => panel.current?.hidePopover())}
      </div>
    </>
  );
}

function place(panel: HTMLElement, button: DOMRect): void {
  const { offsetWidth: width, offsetHeight: height } = panel;
  const isBelow = button.bottom + GAP_PIXELS + height < window.innerHeight;
  const left = Math.min(Math.max(button.right - width, GAP_PIXELS), window.innerWidth - width - GAP_PIXELS);
  panel.style.left = `${left}px`;
  panel.style.top = `${isBelow ? button.bottom + GAP_PIXELS : Math.max(button.top - GAP_PIXELS - height, GAP_PIXELS)}px`;
}
