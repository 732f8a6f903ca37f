import { isValidElement, type ReactNode } from "react";
import { hostOf, linkUrl } from "./urls";

/** A link with the host that it leads to; the text alone where the address may not be a link. */
export function ExternalLink({ address, children }: { address: string | null | undefined; children: ReactNode }) {
  const url = linkUrl(address);
  if (!url) return <span>{children}</span>;
  const host = hostOf(url);
  const saysItself = namesAddress(textOf(children), url);
  return (
    <span className="external-link">
      <a href={url.href} target="_blank" rel="noopener noreferrer nofollow">
        <bdi>{children}</bdi>
      </a>
      {!saysItself && <bdi className="link-host"> ({host})</bdi>}
    </span>
  );
}

/** Whether the text is the address, or its host: then the host beside it says nothing new. */
function namesAddress(text: string, url: URL): boolean {
  const said = text.trim();
  return said === url.href || `${said}/` === url.href || said === hostOf(url);
}

function textOf(node: ReactNode): string {
  if (typeof node === "string" || typeof node === "number") return String(node);
  if (Array.isArray(node)) return node.map(textOf).join("");
  if (isValidElement<{ children?: ReactNode }>(node)) return textOf(node.props.children);
  return "";
}
