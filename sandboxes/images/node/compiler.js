// The TypeScript compiler as a start-up snapshot of Node's: loaded, with the standard library's declarations parsed, so
// that a compilation begins where others have got to after a second. A snapshot is made of one file only: this follows
// typescript.js, which defines `ts`, in it. Built by `node --build-snapshot`, run as `tsc FILE`.
const v8 = require('v8');

const options = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.CommonJS,
  moduleResolution: ts.ModuleResolutionKind.Node10,
  esModuleInterop: true,
  skipLibCheck: true,
  types: ['node'],
  typeRoots: ['/opt/mellum/node/types'],
  noEmitOnError: true,
};
const parsed = new Map();

function host() {
  const made = ts.createCompilerHost(options);
  const read = made.getSourceFile;
  made.getDefaultLibLocation = () => '/opt/mellum/node/typescript';
  made.getDefaultLibFileName = (wanted) => '/opt/mellum/node/typescript/' + ts.getDefaultLibFileName(wanted);
  made.getSourceFile = (name, ...rest) => {
    if (!name.startsWith('/opt/mellum/')) return read(name, ...rest);
    if (!parsed.has(name)) parsed.set(name, read(name, ...rest));
    return parsed.get(name);
  };
  return made;
}

function compile(file) {
  const made = host();
  const program = ts.createProgram([file], options, made);
  const emitted = program.emit();
  const found = ts.getPreEmitDiagnostics(program).concat(emitted.diagnostics);
  const errors = ts.sortAndDeduplicateDiagnostics(found.filter((d) => d.category === ts.DiagnosticCategory.Error));
  if (errors.length) ts.sys.write(ts.formatDiagnostics(errors, made));
  return errors.length ? 1 : 0;
}

require('fs').writeFileSync('/tmp/warm.ts', 'import * as fs from "fs";\nconst a: number[] = [1];\nconsole.log(a.map((x) => x + 1));\n');
compile('/tmp/warm.ts');
v8.startupSnapshot.setDeserializeMainFunction(() => process.exit(compile(process.argv[process.argv.length - 1])));
