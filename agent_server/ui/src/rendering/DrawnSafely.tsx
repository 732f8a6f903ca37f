import { Component, type ReactNode } from "react";

interface DrawnSafelyProps {
  instead: ReactNode;
  children: ReactNode;
}

/** What cannot be drawn, or not be loaded, does not take the rest of the page with it. */
export class DrawnSafely extends Component<DrawnSafelyProps, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError(): { hasFailed: boolean } {
    return { hasFailed: true };
  }

  override render(): ReactNode {
    return this.state.hasFailed ? this.props.instead : this.props.children;
  }
}
