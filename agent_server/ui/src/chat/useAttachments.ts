import { useEffect, useRef, useState } from "react";
import { uploadFile } from "../api/conversations";
import type { UploadedFile } from "../api/types";
import { sentenceOf } from "./ChatSession";

export interface Attachment {
  key: string;
  name: string;
  bytes: number;
  /** Once it is uploaded. */
  file: UploadedFile | null;
  error: string;
}

export interface Attachments {
  all: readonly Attachment[];
  isUploading: boolean;
  uploaded: UploadedFile[];
  add: (files: Iterable<File>) => void;
  remove: (key: string) => void;
  clear: () => void;
}

/** Files are uploaded as soon as they are chosen, and go with the next question. */
export function useAttachments(maxFileBytes: number): Attachments {
  const [all, setAll] = useState<readonly Attachment[]>([]);
  const uploads = useRef(new Map<string, AbortController>());

  useEffect(() => {
    const { current } = uploads;
    return () => {
      for (const upload of current.values()) upload.abort();
    };
  }, []);

  const change = (key: string, changed: Partial<Attachment>) =>
    setAll((before) => before.map((each) => (each.key === key ? { ...each, ...changed } : each)));

  const upload = async (key: string, file: File) => {
    const controller = new AbortController();
    uploads.current.set(key, controller);
    try {
      change(key, { file: await uploadFile(file, controller.signal) });
    } catch (error) {
      if (!controller.signal.aborted) change(key, { error: sentenceOf(error) });
    } finally {
      uploads.current.delete(key);
    }
  };

  const add = (files: Iterable<File>) => {
    for (const file of files) {
      const key = crypto.randomUUID();
      const isTooLarge = file.size > maxFileBytes;
      const error = isTooLarge ? `The file is larger than ${fileSize(maxFileBytes)}.` : "";
      setAll((before) => [...before, { key, name: file.name, bytes: file.size, file: null, error }]);
      if (!isTooLarge) void upload(key, file);
    }
  };

  const remove = (key: string) => {
    uploads.current.get(key)?.abort();
    setAll((before) => before.filter((each) => each.key !== key));
  };

  return {
    all,
    isUploading: all.some(({ file, error }) => file === null && !error),
    uploaded: all.flatMap(({ file }) => file ?? []),
    add,
    remove,
    clear: () => setAll([]),
  };
}

export function fileSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} bytes`;
  if (bytes < 1024 ** 2) return `${Math.round(bytes / 1024)} KB`;
  return `${(bytes / 1024 ** 2).toFixed(1).replace(/\.0$/, "")} MB`;
}
