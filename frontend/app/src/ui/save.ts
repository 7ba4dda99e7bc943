/** Has the browser save it, where it saves what is downloaded. */
export function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has begun to read it by then, and keeps what it reads.
  setTimeout(() => {
    URL.revokeObjectURL(url);
  }, 60_000);
}
