import type { ReactNode } from "react";

function icon(children: ReactNode) {
  return function Icon() {
    return (
      <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
        {children}
      </svg>
    );
  };
}

export const AttachIcon = icon(<path d="m20 11-8.5 8.5a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7L9.3 17a1.7 1.7 0 0 1-2.4-2.4L14.5 7" />);
export const SendIcon = icon(<path d="M12 19V5m-6 6 6-6 6 6" />);
export const StopIcon = icon(<rect x="7" y="7" width="10" height="10" rx="1.5" fill="currentColor" stroke="none" />);
export const EditIcon = icon(<path d="m4 20 1-4L16.5 4.500a2 2 0 0 1 3 3L8 19l-4 1Zm11-14 3 3" />);
export const RetryIcon = icon(<path d="M20 5v5h-5M4 19v-5h5M19.5 10A8 8 0 0 0 5.5 7.500M4.5 14a8 8 0 0 0 14 2.5" />);
export const CopyIcon = icon(<path d="M9 9h10v11H9zM15 9V4H5v11h4" />);
export const CheckIcon = icon(<path d="m5 12.5 4.5 4.500L19 7.5" />);
export const ThumbUpIcon = icon(<path d="M7 11v9H4v-9h3Zm0 0 4-8a2.3 2.3 0 0 1 2.5 2.800L13 9h5.500a2 2 0 0 1 2 2.400l-1.3 7a2 2 0 0 1-2 1.600H7" />);
export const ThumbDownIcon = icon(<path d="M17 13V4h3v9h-3Zm0 0-4 8a2.3 2.3 0 0 1-2.5-2.800L11 15H5.500a2 2 0 0 1-2-2.400l1.3-7a2 2 0 0 1 2-1.600H17" />);
export const MoreIcon = icon(<path d="M5 12h.01M12 12h.01M19 12h.01" strokeWidth="2.6" />);
export const NewIcon = icon(<path d="M12 5v14M5 12h14" />);
export const SearchIcon = icon(<path d="M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Zm5-1.500L20 20" />);
export const PanelIcon = icon(<path d="M4 5h16v14H4zM9.5 5v14" />);
export const CloseIcon = icon(<path d="M6 6l12 12M18 6 6 18" />);
export const DownIcon = icon(<path d="M12 5v14m-6-6 6 6 6-6" />);
export const FileIcon = icon(<path d="M6 3h8l4 4v14H6zM14 3v4h4" />);
export const ShieldIcon = icon(<path d="M12 3 5 6v5c0 5 3 8 7 10 4-2 7-5 7-10V6l-7-3Zm-3 9 2 2 4-4" />);
export const WarningIcon = icon(<path d="M12 4 3 20h18L12 4Zm0 6v4m0 3h.01" />);
