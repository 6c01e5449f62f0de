// node node.mjs FOLDER cpu|webgpu [DAWN]: the cases under Node, where WebGPU is that of the npm package `webgpu` (Dawn)
// in the folder DAWN. FOLDER holds what `bindgen` wrote. The last line says how it went.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Report } from "./report.mjs";

const [folder, engine, dawn] = process.argv.slice(2);
const report = new Report();

function end(failure) {
  const [well, text] = report.verdict(failure && String(failure.stack ?? failure));
  console.log(`\n${engine}: ${text}`);
  process.exit(well ? 0 : 1);
}
// After a panic the promise never settles.
process.on("uncaughtException", end);
// Node exits when nothing is left to run, even if a promise is pending.
process.on("beforeExit", () => end("the results stopped coming"));

try {
  if (dawn) {
    const { create, globals } = await import(pathToFileURL(`${dawn}/index.js`));
    // What a browser's page has: wgpu asks whether this is one.
    Object.assign(globalThis, globals, { Window: globalThis.constructor });
    Object.defineProperty(globalThis, "navigator", { value: { gpu: create([]) }, configurable: true });
  }
  const { run } = await import(pathToFileURL(`${folder}/run.mjs`));
  await run(engine, readFileSync(`${folder}/attractor_browser_bg.wasm`), (line) => report.take(line));
  end();
} catch (error) {
  end(error);
}
