"use strict";
// Plain script for one page: theme, sorting, samples. What models wrote only ever passes through textContent.
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = dark() ? "Light theme" : "Dark theme"; };
  try { const kept = localStorage.getItem("mellum-theme"); if (kept === "dark" || kept === "light") root.dataset.theme = kept; } catch { /* file:// may have no storage */ }
  theme.hidden = false;
  name();
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("mellum-theme", root.dataset.theme); } catch { /* the choice then lasts for this page */ }
    name();
  });

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const button of table.querySelectorAll("thead button")) {
      const head = button.closest("th");
      const column = Number(button.dataset.column);
      button.addEventListener("click", () => {
        const first = button.dataset.first || "descending";
        const now = head.getAttribute("aria-sort");
        const way = now === null ? first : now === "descending" ? "ascending" : "descending";
        for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", way);
        const sign = way === "ascending" ? 1 : -1;
        for (const body of table.tBodies) {
          const rows = [...body.rows].filter((row) => !row.classList.contains("bar"));
          const value = (row) => row.cells[column] ? row.cells[column].dataset.v : undefined;
          rows.sort((a, b) => {
            const [x, y] = [value(a), value(b)];
            if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
            const numbers = x !== "" && y !== "" && !Number.isNaN(Number(x)) && !Number.isNaN(Number(y));
            return sign * (numbers ? Number(x) - Number(y) : x.localeCompare(y));
          });
          body.append(...rows);
        }
      });
    }
  }

  addEventListener("beforeprint", () => { for (const d of document.querySelectorAll("details.how, details.meta")) d.open = true; });

  const data = document.getElementById("samples-data");
  if (!data) return;
  const samples = JSON.parse(data.textContent);
  const list = document.getElementById("samples-list");
  const count = document.getElementById("samples-count");
  const make = (tag, text, cls) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (cls) node.className = cls;
    return node;
  };
  const block = (into, title, text, folded) => {
    if (!text) return;
    const pre = make("pre", text);
    pre.tabIndex = 0;
    if (folded) {
      const details = make("details");
      details.append(make("summary", `${title} (${text.length.toLocaleString("en")} characters)`), pre);
      into.append(details);
    } else into.append(make("h3", title), pre);
  };
  const fill = (body, s) => {
    for (const turn of s.prompt) block(body, turn.role === "text" ? "Prompt" : `Prompt: ${turn.role}`, turn.text);
    block(body, "Tools offered", s.tools, true);
    for (const turn of s.turns) block(body, `Conversation: ${turn.role}`, turn.text);
    block(body, "Reasoning", s.reasoning, true);
    block(body, "Answer", s.text || (s.calls ? "" : "(empty)"));
    block(body, "Tool calls", s.calls);
    block(body, "What was judged", s.judged, true);
    const facts = [["Verdict", s.message || s.outcome], ["Score", s.score === null ? "none, could not be judged" : String(Math.round(s.score * 1e4) / 1e4)], ["Tests passed", s.tests],
      ["Parts", Object.entries(s.parts).map(([k, v]) => `${k} ${v}`).join(", ")], ["Finished by", s.finish],
      ["Tokens", Object.entries(s.tokens).map(([k, v]) => `${k} ${v}`).join(", ")], ["Sandbox", s.sandbox], ["Sample", String(s.sample)]];
    const dl = make("dl");
    for (const [k, v] of facts) if (v) dl.append(make("dt", k), make("dd", v));
    body.append(make("h3", "Verdict"), dl);
    block(body, "Evidence", s.evidence, true);
  };
  const fields = ["run", "suite", "outcome"].map((key) => [key, document.getElementById(`by-${key}`)]);
  for (const [key, select] of fields) {
    for (const value of new Set(samples.map((s) => s[key]))) {
      const option = make("option", value);
      option.value = value;
      select.append(option);
    }
    select.addEventListener("change", () => show());
  }
  const search = document.getElementById("by-text");
  search.addEventListener("input", () => show());
  const show = () => {
    const words = search.value.toLowerCase();
    const wanted = samples.filter((s) => fields.every(([key, select]) => !select.value || s[key] === select.value)
      && (!words || JSON.stringify(s).toLowerCase().includes(words)));
    count.textContent = `${wanted.length} of ${samples.length} samples`;
    list.replaceChildren(...wanted.map((s) => {
      const details = make("details", undefined, "sample");
      const summary = make("summary");
      const tag = make("span", s.outcome, /^[a-z_]+$/.test(s.outcome) ? `tag t-${s.outcome}` : "tag");
      summary.append(tag, make("b", s.problem), make("span", s.suite, "soft"), make("span", s.run, "soft"));
      details.append(summary);
      details.addEventListener("toggle", () => {
        if (details.open && details.childElementCount === 1) {
          const body = make("div");
          fill(body, s);
          details.append(body);
        }
      });
      return details;
    }));
  };
  show();
})();
