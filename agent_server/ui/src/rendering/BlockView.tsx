import type { ReactNode } from "react";
import type { Action, ActionsBlock, Block, FactsBlock, Form, FormsBlock, ImageBlock, TableBlock } from "./blocks";
import { Chart } from "./Chart";
import { CodeView } from "./CodeView";
import { DataTable } from "./DataTable";
import { DrawnSafely } from "./DrawnSafely";
import { inItsOrder } from "./inItsOrder";
import { Markdown } from "./Markdown";
import "./rendering.css";
import { imageUrl } from "./urls";

/** The verb of a button that asks the agent a question, in its field `question`. */
const ASK = "ask";

export interface BlockActions {
  /** Asks the agent. */
  onAsk?: (question: string) => void;
  /** Any other button or form, if its verb is one of `verbs`. `decisionId` names what is decided. */
  onAction?: (action: Action, decisionId: string, entered: Record<string, string>) => void;
  /** All verbs where it is left out. */
  verbs?: readonly string[];
  isBusy?: boolean;
}

interface BlocksProps extends BlockActions {
  blocks: readonly Block[];
  imageHosts: readonly string[];
}

/** Citations are left out: they stand with the answer's sources. */
export function Blocks({ blocks, ...others }: BlocksProps) {
  return blocks.map((block, index) => (
    <DrawnSafely key={index} instead={<p className="quiet-text">This part of the answer cannot be shown.</p>}>
      <BlockView block={block} {...others} />
    </DrawnSafely>
  ));
}

function BlockView({ block, imageHosts, ...actions }: Omit<BlocksProps, "blocks"> & { block: Block }): ReactNode {
  switch (block.kind) {
    case "text":
      return <Markdown text={block.text} imageHosts={imageHosts} />;
    case "table":
      return <DataTable table={block} next={nextRows(block, actions)} />;
    case "chart":
      return <Chart chart={block} />;
    case "code":
      return <CodeView code={block.code} language={block.language} title={block.title} />;
    case "facts":
      return <Facts block={block} />;
    case "image":
      return <Picture block={block} imageHosts={imageHosts} />;
    case "folded":
      return (
        <details className="folded">
          <summary>{block.title}</summary>
          <Blocks blocks={block.blocks} imageHosts={imageHosts} />
        </details>
      );
    case "actions":
      return <Buttons block={block} {...actions} />;
    case "forms":
      return <Forms block={block} {...actions} />;
    case "citation":
      return null;
  }
}

/** The button for the rows after those that the table has. */
function nextRows({ page }: TableBlock, { onAction, verbs, isBusy = false }: BlockActions): ReactNode {
  if (!page || page.is_last || !onAction || !isOffered(page.next_rows, verbs)) return null;
  return (
    <button type="button" className="button small" disabled={isBusy} onClick={() => onAction(page.next_rows, "", {})}>
      {page.next_rows.title}
    </button>
  );
}

function isOffered(action: Action, verbs: readonly string[] | undefined): boolean {
  return verbs === undefined || verbs.includes(action.verb);
}

function Facts({ block }: { block: FactsBlock }) {
  return (
    <div className="facts">
      {block.title && <p className="block-title">{block.title}</p>}
      <dl>
        {block.facts.map((fact, index) => (
          <div key={index}>
            <dt>{inItsOrder(fact.label)}</dt>
            <dd>
              <bdi>{inItsOrder(fact.value)}</bdi>
            </dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function Picture({ block, imageHosts }: { block: ImageBlock; imageHosts: readonly string[] }) {
  const isPng = /^[A-Za-z0-9+/]+={0,2}$/.test(block.data);
  const address = isPng ? `data:image/png;base64,${block.data}` : imageUrl(block.url, imageHosts)?.href;
  if (!address) return block.alternative_text && <p className="quiet-text">Image: {block.alternative_text}</p>;
  return <img className="picture" src={address} alt={block.alternative_text} referrerPolicy="no-referrer" />;
}

function Buttons({ block, onAsk, onAction, verbs, isBusy = false }: BlockActions & { block: ActionsBlock }) {
  const press = (action: Action) => {
    if (action.verb === ASK) onAsk?.(action.data["question"] ?? action.title);
    else onAction?.(action, block.id, {});
  };
  const shown = block.actions.filter((action) => (action.verb === ASK ? onAsk : onAction && isOffered(action, verbs)));
  return (
    shown.length > 0 && (
      <div className="buttons">
        {shown.map((action, index) => (
          <button key={index} type="button" className={buttonClass(action)} disabled={isBusy} onClick={() => press(action)}>
            {action.title}
          </button>
        ))}
      </div>
    )
  );
}

function buttonClass(action: Action): string {
  return `button small ${{ default: "", positive: "primary", destructive: "danger" }[action.style]}`;
}

function Forms({ block, onAction, verbs, isBusy = false }: BlockActions & { block: FormsBlock }) {
  const forms = block.forms.filter((form) => isOffered(form.action, verbs));
  if (!onAction || forms.length === 0) return null;
  return (
    <div className="forms">
      {forms.map((form, index) => (
        <details key={index} className="folded">
          <summary>{form.title}</summary>
          <FormFields form={form} isBusy={isBusy} onSend={(entered) => onAction(form.action, form.id, entered)} />
        </details>
      ))}
    </div>
  );
}

interface FormFieldsProps {
  form: Form;
  isBusy: boolean;
  onSend: (entered: Record<string, string>) => void;
}

function FormFields({ form, isBusy, onSend }: FormFieldsProps) {
  const send = (data: FormData) => {
    onSend(Object.fromEntries([...data].map(([name, value]) => [name, String(value)])));
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        send(new FormData(event.currentTarget));
      }}
    >
      {form.inputs.map((input) => (
        <label key={input.name} className="field">
          {input.label}
          {input.choices.length > 0 ? (
            <select name={input.name} defaultValue={input.value}>
              {input.choices.map((choice) => (
                <option key={choice.value} value={choice.value}>
                  {choice.title}
                </option>
              ))}
            </select>
          ) : (
            <input type="text" name={input.name} defaultValue={input.value} />
          )}
        </label>
      ))}
      <button type="submit" className={buttonClass(form.action)} disabled={isBusy}>
        {form.action.title}
      </button>
    </form>
  );
}
