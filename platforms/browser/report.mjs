// Judges the results of `run.mjs`: prints a table, and says in one line how it went.

export class Report {
  begun = null;
  cases = [];
  behaviours = [];

  take(line) {
    const result = JSON.parse(line);
    if (result.engine) this.begun = result;
    else if (result.case !== undefined) this.cases.push(result);
    else this.behaviours.push(result);
    const how = result.engine
      ? `${result.engine}: ${result.device}, features ${result.features ?? "none"}`
      : result.case !== undefined
        ? `${row(result)}`
        : `${result.behaviour}: ${result.wrong ?? "right"}`;
    console.log(how);
  }

  // [whether all is well, the counts in words]; `failure` is what ended the run, if anything did.
  verdict(failure) {
    if (!this.begun) return [false, `did not run: ${String(failure).replaceAll("\n", " ")}`];
    const { engine, device, cases, behaviours, portable } = this.begun;
    const count = (verdict) => this.cases.filter((one) => one.verdict === verdict).length;
    const reached = new Set(this.cases.flatMap((one) => one.reached.map(([stem]) => stem)));
    const settings = new Set(this.cases.flatMap((one) => one.reached.map((both) => both.join(": "))));
    const strategies = new Set(this.cases.filter((one) => one.verdict === "right").map((one) => one.strategy.split(":")[0]));
    const unreached = portable.filter((stem) => !reached.has(stem));
    const bad = this.behaviours.filter((one) => one.wrong);
    const faults = failure ? [failure.replaceAll("\n", " ")] : [];
    if (this.cases.length < cases) faults.push(`${cases - this.cases.length} cases did not come back`);
    for (const one of this.cases.filter((one) => ["wrong", "failed"].includes(one.verdict)))
      faults.push(`${one.case} is ${one.verdict}: ${one.why}`);
    if (this.behaviours.length < behaviours)
      faults.push(`${behaviours - this.behaviours.length} behaviours were not tried`);
    for (const one of bad) faults.push(`${one.behaviour}: ${one.wrong}`);
    if (unreached.length) faults.push(`kernels that no case reached: ${unreached.join(" ")}`);
    const seconds = this.cases.reduce((sum, one) => sum + one.milliseconds, 0) / 1000;
    let text = `${count("right")} of ${cases} right, ${count("unsupported")} not supported`;
    text += `, ${count("refused")} out of range, ${this.behaviours.length - bad.length} of ${behaviours} behaviours`;
    text += `, ${seconds.toFixed(0)} s on ${device}`;
    if (engine !== "cpu") {
      text += `, ${reached.size} kernels in ${settings.size} settings (all ${portable.length} portable: `;
      text += `${unreached.length ? "no" : "yes"}), strategies ${[...strategies].join(" ")}`;
    }
    if (faults.length) text += `; ${faults.join("; ")}`;
    return [faults.length === 0, text];
  }
}

function row(one) {
  const share = one.share === null ? "" : one.share.toFixed(3);
  const cells = [one.case, one.batch, one.patterns, one.dim, one.kernels, `${one.verdict} ${share} ${one.why}`.trim()];
  const widths = [34, 4, 6, 5, 60, 0];
  return `${cells.map((cell, i) => String(cell).padEnd(widths[i])).join(" ")} (${one.milliseconds} ms)`;
}
