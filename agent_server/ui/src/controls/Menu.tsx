import type { KeyboardEvent, ReactNode } from "react";
import { Popover } from "./Popover";

export interface MenuItem {
  label: string;
  onSelect?: () => void;
  /** A file to download instead. */
  href?: string;
  isDangerous?: boolean;
}

export interface MenuProps {
  label: string;
  face: ReactNode;
  className: string;
  items: readonly MenuItem[];
}

function itemsOf(menu: HTMLElement): HTMLElement[] {
  return [...menu.querySelectorAll<HTMLElement>("[role=menuitem]")];
}

export function Menu({ label, face, className, items }: MenuProps) {
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const all = itemsOf(event.currentTarget);
    const index = all.indexOf(document.activeElement as HTMLElement);
    const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    all.at(next % all.length)?.focus();
  };
  return (
    <Popover label={label} face={face} className={className} role="menu" onOpened={(panel) => itemsOf(panel)[0]?.focus()}>
      {(close) => (
        <div role="none" onKeyDown={onKeyDown}>
          {items.map(({ label: text, onSelect, href, isDangerous }) => {
            const itemClass = isDangerous ? "menu-item dangerous" : "menu-item";
            return href === undefined ? (
              <button
                key={text}
                type="button"
                role="menuitem"
                className={itemClass}
                onClick={() => {
                  close();
                  onSelect?.();
                }}
              >
                {text}
              </button>
            ) : (
              <a key={text} role="menuitem" className={itemClass} href={href} download="" onClick={close}>
                {text}
              </a>
            );
          })}
        </div>
      )}
    </Popover>
  );
}
