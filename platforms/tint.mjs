// Compiles WGSL with Tint, the compiler of Chromium and of Dawn, and makes a pipeline of it on a device of Dawn:
// `node tint.mjs FOLDER`, with the npm package `webgpu`. One line a file, `ok` or `refused` with the compiler's first
// error; exits with 1 where one is refused, and with 2 where there is no adapter.

import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The package lies in a folder of build outputs, which NODE_PATH names.
const resolved = createRequire(path.join(process.env.NODE_PATH, 'any.js')).resolve('webgpu');
const { create, globals } = await import(pathToFileURL(resolved));
Object.assign(globalThis, globals);

const [folder] = process.argv.slice(2);
// Must stay referenced: Dawn's objects are freed with it.
const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (!adapter) {
  console.error('Dawn finds no adapter');
  process.exit(2);
}
const wanted = ['shader-f16', 'subgroups'].filter(feature => adapter.features.has(feature));
const device = await adapter.requestDevice({ requiredFeatures: wanted });
console.log(`${adapter.info.vendor} ${adapter.info.architecture} ${adapter.info.description}, ${wanted.join(', ')}`);

let refused = 0;
for (const name of fs.readdirSync(folder).filter(name => name.endsWith('.wgsl')).sort()) {
  let code = fs.readFileSync(path.join(folder, name), 'utf8');
  // naga asks for no directive where subgroups are used; WebGPU does.
  if (/\bsubgroup/.test(code)) code = 'enable subgroups;\n' + code;
  const begun = performance.now();
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  let error = messages.find(message => message.type === 'error')?.message;
  if (!error) {
    device.createComputePipeline({ layout: 'auto', compute: { module } });
  }
  const scope = await device.popErrorScope();
  error ||= scope?.message;
  const taken = Math.round(performance.now() - begun);
  console.log(`${error ? 'refused' : 'ok'} ${taken} ${name} ${(error ?? '').split('\n')[0]}`);
  refused += error ? 1 : 0;
}
process.exit(refused > 0 ? 1 : 0);
