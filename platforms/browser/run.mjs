// Runs the cases on one engine, `cpu` or `webgpu`, in a browser or under Node.
import init, { verify } from "./attractor_browser.js";

// `module` is the WebAssembly where it cannot be fetched; `tell` gets each result as a line of JSON.
export async function run(engine, module, tell) {
  await init({ module_or_path: module ?? new URL("attractor_browser_bg.wasm", import.meta.url) });
  let last = performance.now();
  await verify(engine, (line) => {
    const result = JSON.parse(line);
    result.milliseconds = Math.round(performance.now() - last);
    last = performance.now();
    return tell(JSON.stringify(result));
  });
}
