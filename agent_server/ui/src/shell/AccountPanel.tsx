import { useId, useState } from "react";
import type { Me } from "../api/types";
import { Popover } from "../controls/Popover";
import { type ColourScheme, setColourScheme, storedColourScheme } from "../theme";

const STORAGE = { sqlite: "SQLite, on this machine", postgresql: "PostgreSQL", azure: "Azure storage" };
const SCHEMES: readonly [ColourScheme, string][] = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];

export function AccountPanel({ me }: { me: Me }) {
  const name = me.name || me.email || "Local";
  const face = (
    <>
      <span className="avatar" aria-hidden="true">
        {name.slice(0, 1).toUpperCase()}
      </span>
      <span className="account-name">
        <span className="visually-hidden">Signed in as </span>
        {name}
      </span>
    </>
  );
  return (
    <Popover label={`Signed in as ${name}`} face={face} isText className="account-button" role="dialog">
      {() => (
        <div className="account">
          <p className="account-title">{name}</p>
          {me.email && me.email !== name && <p className="quiet-text">{me.email}</p>}
          <p>{me.says}</p>
          <p className="quiet-text">Conversations are kept in {STORAGE[me.storage] ?? me.storage}.</p>
          <SchemeChoice />
        </div>
      )}
    </Popover>
  );
}

function SchemeChoice() {
  const [scheme, setScheme] = useState(storedColourScheme);
  const name = useId();
  return (
    <fieldset className="schemes">
      <legend>Colours</legend>
      {SCHEMES.map(([value, label]) => (
        <label key={value}>
          <input
            type="radio"
            name={name}
            checked={scheme === value}
            onChange={() => {
              setScheme(value);
              setColourScheme(value);
            }}
          />
          {label}
        </label>
      ))}
    </fieldset>
  );
}
