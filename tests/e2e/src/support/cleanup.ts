/** What a test file started, ended in reverse order – also when a test failed half way. */

import { after } from "node:test";

type Undo = () => Promise<void> | void;

const undos: Undo[] = [];

/** Registers how something is ended again. It must not mind that it has ended already. */
export function cleanUp(undo: Undo): void {
  undos.push(undo);
}

after(async () => {
  for (const undo of undos.reverse()) {
    try {
      await undo();
    } catch (error) {
      // The rest still has to be ended.
      console.error("clean-up:", error);
    }
  }
});
