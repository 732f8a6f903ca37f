import { type ReactNode, useState } from "react";
import type { TableBlock } from "./blocks";
import { ExternalLink } from "./ExternalLink";
import { cellText, numberText } from "./numbers";

const ROWS_AT_FIRST = 15;

export function DataTable({ table, next }: { table: TableBlock; next?: ReactNode }) {
  const [showsAll, setShowsAll] = useState(false);
  const { columns, rows } = table;
  const shown = showsAll ? rows : rows.slice(0, ROWS_AT_FIRST);
  const note = rowsNote(table);
  return (
    <div className="data-table">
      {table.title && <p className="block-title">{table.title}</p>}
      <div className="scrollable" role="group" aria-label={table.title || "Table"} tabIndex={0}>
        <table>
          <thead>
            <tr>
              {columns.map((column, index) => (
                <th key={index} scope="col" className={column.type === "number" ? "number" : undefined}>
                  {column.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row, rowIndex) => (
              <tr key={rowIndex}>
                {columns.map((column, index) => (
                  <td key={index} className={column.type === "number" ? "number" : undefined}>
                    <bdi>{cellText(row[index] ?? null, column)}</bdi>
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {note && <p className="quiet-text">{note}</p>}
      <div className="buttons">
        {shown.length < rows.length && (
          <button type="button" className="button small" onClick={() => setShowsAll(true)}>
            Show all {numberText(rows.length)} rows
          </button>
        )}
        {next}
        {table.source && <ExternalLink address={table.source.url}>{table.source.title}</ExternalLink>}
      </div>
    </div>
  );
}

/** What the reader of a part of a result has to know. */
export function rowsNote({ rows, total_rows: told, page }: TableBlock): string {
  const before = page?.first_row ?? 0;
  const endsHere = page?.is_last ?? true;
  const total = told ?? (endsHere ? before + rows.length : null);
  if (total === 0) return "No rows.";
  if (before > 0 && rows.length > 0) {
    const range = `Rows ${numberText(before + 1)} to ${numberText(before + rows.length)}`;
    return total === null ? `${range}.` : `${range} of ${numberText(total)}.`;
  }
  if (total === null) return `The first ${numberText(rows.length)} rows.`;
  return rows.length < total ? `The first ${numberText(rows.length)} of ${numberText(total)} rows.` : "";
}
