// node chromium.mjs FOLDER CHROMIUM PROFILE SECONDS cpu,webgpu: the cases in headless Chromium, whose WebGPU is Dawn
// over SwiftShader. FOLDER holds what `bindgen` wrote beside the page, which is served from here and posts its results
// back.
// The last lines say how it went, an engine a line.
import { spawn } from "node:child_process";
import { createWriteStream, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { Report } from "./report.mjs";

const [folder, chromium, profile, seconds, engines] = process.argv.slice(2);
const kinds = { html: "text/html", js: "text/javascript", mjs: "text/javascript", wasm: "application/wasm" };
const reports = [];

function answer(request, response) {
  const path = new URL(request.url, "http://localhost").pathname.slice(1);
  if (request.method === "POST") {
    let body = "";
    request.setEncoding("utf8").on("data", (part) => (body += part));
    request.on("end", () => {
      response.end();
      if (path === "done") return end(body && `the page failed: ${body}`);
      if (JSON.parse(body).engine) reports.push(new Report());
      reports.at(-1).take(body);
    });
    return;
  }
  const kind = kinds[path.split(".").at(-1)];
  try {
    if (!kind || path.includes("/")) throw new Error("not served");
    response.setHeader("Content-Type", kind).end(readFileSync(`${folder}/${path}`));
  } catch {
    response.writeHead(404).end();
  }
}

const server = createServer(answer).listen(0, "127.0.0.1", () => {
  const { port } = server.address();
  // A profile of its own, no background traffic, and WebGPU on SwiftShader, which Chromium offers only when asked to.
  const flags = [
    "--headless=new",
    `--user-data-dir=${profile}`,
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-quic",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
  ];
  // Its sandbox does not run as root, as which CI does.
  if (process.getuid?.() === 0) flags.push("--no-sandbox");
  flags.push(...(process.env.ATTRACTOR_CHROMIUM_FLAGS?.split(" ").filter(Boolean) ?? []));
  rmSync(profile, { recursive: true, force: true });
  browser = spawn(chromium, [...flags, `http://127.0.0.1:${port}/index.html?engines=${engines}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  browser.stderr.pipe(createWriteStream(`${folder}/chromium.log`));
  browser.on("error", (error) => end(`${chromium}: ${error.message}`));
  browser.on("exit", (code) => end(`${chromium} ended with ${code}: see ${folder}/chromium.log`));
});

let browser, ended;
const watchdog = setTimeout(() => end(`no end within ${seconds} s`), 1000 * seconds);

function end(failure) {
  if (ended) return;
  ended = true;
  clearTimeout(watchdog);
  browser?.kill();
  server.close();
  let well = true;
  for (const [i, engine] of engines.split(",").entries()) {
    // What came to its end before has not failed.
    const [right, text] = (reports[i] ?? new Report()).verdict(reports[i + 1] ? undefined : failure);
    well &&= right;
    console.log(`${engine}: ${text}`);
  }
  setTimeout(() => process.exit(well ? 0 : 1), 500);
}
