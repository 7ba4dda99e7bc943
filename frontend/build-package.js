/**
 * Builds the package in the current directory for publishing: `src` becomes `dist`, with a `.js` and a `.d.ts` per module, and
 * the licences come beside it.
 *
 * The sources name each other without endings, as bundlers allow. Node and browsers do not, nor does TypeScript with
 * `nodenext`: what is emitted names files.
 */

import { copyFileSync, existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import ts from "typescript";

const root = join(import.meta.dirname, "..");
const src = resolve("src");
const dist = resolve("dist");

/** The file that a relative specifier in a source means, as what is emitted has to name it. */
function emitted(from, specifier) {
  const path = resolve(dirname(from), specifier);
  const found = [`${path}.ts`, `${path}.tsx`, join(path, "index.ts")].find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${from}: nothing is at "${specifier}"`);
  const name = relative(dirname(from), found).replace(/\.tsx?$/, ".js");
  return name.startsWith(".") ? name : `./${name}`;
}

/** Completes the specifiers of imports and exports, in code and in declarations, types by `import("…")` included. */
function complete(context) {
  const { factory } = context;
  return (file) => {
    if (!ts.isSourceFile(file)) return file;
    const completed = (node) =>
      node !== undefined && ts.isStringLiteral(node) && node.text.startsWith(".")
        ? factory.createStringLiteral(emitted(file.fileName, node.text))
        : node;
    const visit = (node) => {
      if (ts.isImportDeclaration(node)) {
        const { modifiers, importClause, moduleSpecifier, attributes } = node;
        return factory.updateImportDeclaration(node, modifiers, importClause, completed(moduleSpecifier), attributes);
      }
      if (ts.isExportDeclaration(node)) {
        const { modifiers, isTypeOnly, exportClause, moduleSpecifier, attributes } = node;
        return factory.updateExportDeclaration(node, modifiers, isTypeOnly, exportClause, completed(moduleSpecifier), attributes);
      }
      if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
        const argument = factory.updateLiteralTypeNode(node.argument, completed(node.argument.literal));
        const { attributes, qualifier, typeArguments, isTypeOf } = node;
        return factory.updateImportTypeNode(node, argument, attributes, qualifier, typeArguments, isTypeOf);
      }
      if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
        return factory.updateCallExpression(node, node.expression, undefined, node.arguments.map(completed));
      }
      return ts.visitEachChild(node, visit, context);
    };
    return ts.visitNode(file, visit);
  };
}

function compile() {
  const { config, error } = ts.readConfigFile("tsconfig.json", ts.sys.readFile);
  if (error !== undefined) return [error];
  const overrides = {
    // Packages of this workspace as others see them: by their `exports`.
    paths: {},
    noEmit: false,
    noEmitOnError: true,
    declaration: true,
    rootDir: src,
    outDir: dist,
    types: [],
  };
  const { options, errors } = ts.parseJsonConfigFileContent(
    { ...config, include: [], files: entries(src) },
    ts.sys,
    process.cwd(),
    overrides,
  );
  if (errors.length > 0) return errors;
  const program = ts.createProgram(entries(src), options);
  const { diagnostics } = program.emit(undefined, undefined, undefined, false, {
    after: [complete],
    afterDeclarations: [complete],
  });
  return [...ts.getPreEmitDiagnostics(program), ...diagnostics];
}

/** Every module, also those that nothing imports but types. */
function entries(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(folder, name));
}

rmSync(dist, { recursive: true, force: true });
const problems = compile();
if (problems.length > 0) {
  const host = { getCurrentDirectory: ts.sys.getCurrentDirectory, getCanonicalFileName: (name) => name, getNewLine: () => "\n" };
  process.stderr.write(ts.formatDiagnosticsWithColorAndContext(problems, host));
  process.exit(1);
}
for (const name of readdirSync(src).filter((name) => name.endsWith(".css"))) {
  copyFileSync(join(src, name), join(dist, name));
  // So that TypeScript finds what `import "….css"` names.
  writeFileSync(join(dist, `${name}.d.ts`), "export {};\n");
}
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(join(root, name), name);
