import { memo, useCallback, useState } from "react";
import { saveResult } from "../api/conversations";
import type { Connection } from "../api/ResponseClient";
import { WarningIcon } from "../controls/icons";
import { Answer } from "../rendering/Answer";
import { type Action, CALL_TOOL } from "../rendering/blocks";
import { AnswerActions } from "./AnswerActions";
import { Approvals } from "./Approvals";
import { type ChatSession, type ChatTurn, sentenceOf } from "./ChatSession";
import { Progress } from "./Progress";
import { QuestionView } from "./QuestionView";
import { question, type Question } from "./requests";

export interface TurnViewProps {
  session: ChatSession;
  turn: ChatTurn;
  isLast: boolean;
  /** Of the answer, where this turn is being answered. */
  connection: Connection | null;
  /** Whether any turn is being answered. */
  isBusy: boolean;
  imageHosts: string[];
  takesFeedback: boolean;
  /** Called where the session is asked something: after this question, or in its place. */
  onAsking: (place: "after" | "here") => void;
}

/** Drawn again only where something of it changes: the others stay as they are while one answer grows. */
export const TurnView = memo(function TurnView(props: TurnViewProps) {
  const { session, turn, isLast, connection, isBusy, imageHosts, takesFeedback, onAsking } = props;
  const { key, response } = turn;
  const [saveError, setSaveError] = useState("");
  const requests = (response?.output ?? []).filter(({ type }) => type === "mcp_approval_request");
  const isRunning = connection !== null;
  const isContinuation = !turn.question.text && turn.question.files.length === 0;
  const canRetry = isLast && !isBusy && !isContinuation && requests.length === 0;

  const ask = useCallback(
    (asked: Question) => {
      onAsking("after");
      void session.ask(asked);
    },
    [session, onAsking],
  );
  const askText = useCallback((text: string) => ask(question(text)), [ask]);
  const press = useCallback(
    async ({ verb, title, data }: Action) => {
      setSaveError("");
      if (verb === CALL_TOOL) return ask({ text: title, files: [], call: data });
      try {
        await saveResult(session.state.conversationId ?? "", data["result"] ?? "");
      } catch (error) {
        setSaveError(sentenceOf(error));
      }
    },
    [session, ask],
  );
  const replace = (asked: Question) => {
    onAsking("after");
    void session.replace(key, asked);
  };
  const edit = (text: string) => replace(question(text, turn.question.files));
  const decide = (requestId: string, approve: boolean) => {
    onAsking("here");
    void session.decide(key, requestId, approve);
  };

  return (
    <div className="turn">
      {!isContinuation && <QuestionView question={turn.question} onEdit={isBusy ? null : edit} />}
      <div className="turn-answer" aria-busy={isRunning}>
        {response !== null && (
          <Answer
            response={response}
            streaming={isRunning}
            imageHosts={imageHosts}
            onAsk={askText}
            onAction={press}
            isBusy={isBusy}
          />
        )}
        {saveError && (
          <p className="notice danger" role="alert">
            <span>{saveError}</span>
          </p>
        )}
        {connection !== null && <Progress response={response} connection={connection} />}
        {requests.length > 0 && !isRunning && (
          <Approvals requests={requests} areDecided={!isLast} isBusy={isBusy} onDecide={decide} />
        )}
        {turn.error && (
          <p className="notice danger">
            <WarningIcon />
            <span>{turn.error}</span>
          </p>
        )}
        {!isRunning && (
          <AnswerActions
            turn={turn}
            takesFeedback={takesFeedback}
            onFeedback={(feedback) => session.giveFeedback(key, feedback)}
            onRetry={canRetry ? () => replace(turn.question) : null}
          />
        )}
      </div>
    </div>
  );
});
