/** What a viewer has chosen or dropped: files, and directories with all that is in them. */

/** Most entries of one drop: more is a mistake, or something for an archive. */
const MAX_ENTRIES = 2_000;

export type Picked = {
  /** Names of the directories that it is in, and its own. */
  readonly path: readonly string[];
  /** Null: a directory, which is made even if it is empty. */
  readonly file: File | null;
};

/** More was dropped than is taken at once. */
export class TooMany extends Error {
  readonly most = MAX_ENTRIES;
}

/** What was dropped holds files, and not text or a picture of a page. */
export function holdsFiles(data: DataTransfer | null): boolean {
  return data?.types.includes("Files") === true;
}

/** All that was dropped. To be called while the event is handled: its data is gone afterwards. */
export function dropped(data: DataTransfer): Promise<readonly Picked[]> {
  const entries = [...data.items].map((item) => (item.kind === "file" ? item.webkitGetAsEntry() : null));
  const known = entries.filter((entry) => entry !== null);
  return known.length > 0 ? withContent(known) : Promise.resolve(chosen(data.files));
}

/** What was chosen in the browser's dialog. */
export function chosen(files: FileList): readonly Picked[] {
  return [...files].map((file) => ({ path: [file.name], file }));
}

async function withContent(entries: readonly FileSystemEntry[]): Promise<readonly Picked[]> {
  const found: Picked[] = [];
  const left = entries.map((entry) => ({ entry, above: [] as readonly string[] }));
  for (let next = left.shift(); next !== undefined; next = left.shift()) {
    const path = [...next.above, next.entry.name];
    if (found.length >= MAX_ENTRIES) throw new TooMany();
    const { entry } = next;
    if (isFile(entry)) {
      const file = await new Promise<File>((resolve, reject) => {
        entry.file(resolve, reject);
      });
      found.push({ path, file });
    } else if (isDirectory(entry)) {
      found.push({ path, file: null });
      left.push(...(await childrenOf(entry)).map((child) => ({ entry: child, above: path })));
    }
  }
  return found;
}

function isFile(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile;
}

function isDirectory(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory;
}

/** A reader gives some at a time, and none at the end. */
async function childrenOf(directory: FileSystemDirectoryEntry): Promise<readonly FileSystemEntry[]> {
  const reader = directory.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => {
      reader.readEntries(resolve, reject);
    });
    if (some.length === 0 || all.length > MAX_ENTRIES) return all;
    all.push(...some);
  }
}
