"use strict";
(() => {
  const UNKNOWN = "\u2013", PAGE = 50;
  const WORDS = new Intl.Collator("en", { numeric: true });  // q2 before q10
  const byId = (id) => document.getElementById(id);

  function element(name, options = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key === "text") made.textContent = value;  // text is never read as HTML
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  function compare(a, b) {
    if (a === b) return 0;
    if (a === null) return 1;  // what is unknown comes last, whatever the direction
    if (b === null) return -1;
    return typeof a === "number" && typeof b === "number" ? a - b : WORDS.compare(a, b);
  }

  function sorted(items, key, down) {
    return items
      .map((item, place) => [key(item), place, item])
      .sort((a, b) => {
        const order = compare(a[0], b[0]);
        return (down && a[0] !== null && b[0] !== null ? -order : order) || a[1] - b[1];
      })
      .map((entry) => entry[2]);
  }

  /* The tables that are there from the start. */

  function valueOf(cell) {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    const text = cell.textContent.trim();
    if (text === "" || text === UNKNOWN) return null;
    return cell.classList.contains("number") && !Number.isNaN(Number.parseFloat(text)) ? Number.parseFloat(text) : text;
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const isNumber = [...table.tBodies[0].rows].some((row) => row.cells[column].classList.contains("number"));
      head.classList.toggle("number", isNumber);
      const button = element("button", { type: "button", text: head.textContent });
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const down = before === null ? isNumber : before === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        table.tBodies[0].append(...sorted([...table.tBodies[0].rows], (row) => valueOf(row.cells[column]), down));
      });
      head.replaceChildren(button);
    });
  }

  /* The view of every query. */

  const data = JSON.parse(byId("data").textContent);
  const form = byId("choice"), queries = byId("queries");
  const all = data.qids.map((_, query) => query);
  const lower = data.qids.map((qid, query) => `${qid}\n${data.texts ? data.texts[query] : ""}`.toLowerCase());
  const pair = data.runs.length > 1;
  let order = { column: "difference", down: true }, page = 0, listed = [];

  function options(name, names, chosen) {
    form.elements[name].replaceChildren(...names.map((each, i) => element("option", { value: i, text: each })));
    form.elements[name].value = chosen;
  }

  const chosen = (name) => Number(form.elements[name].value);
  const valuesOf = (name) => data.values[chosen(name)][chosen("measure")];
  const hit = (run, query, part) => (data.hits && data.hits[run][query] ? data.hits[run][query][part] : null);
  const printed = (value, measure) => value.toFixed(data.counts[measure] ? 0 : 4);

  function columns() {
    const measure = chosen("measure"), run = chosen("run"), against = chosen("against");
    const ours = valuesOf("run"), theirs = valuesOf("against");
    const value = (name, title, values) => ({ name, title, number: true, key: (q) => values[q], text: (q) => printed(values[q], measure) });
    const rank = (name, which) => ({
      name, title: `first relevant, ${data.runs[which]}`, number: true,
      key: (q) => hit(which, q, 1), text: (q) => String(hit(which, q, 1) ?? UNKNOWN),
    });
    const made = [{ name: "query", title: "query", key: (q) => data.qids[q], text: (q) => data.qids[q] }];
    if (data.texts) made.push({ name: "text", title: "text", class: "text", key: (q) => data.texts[q], text: (q) => data.texts[q] });
    made.push(value("ours", data.runs[run], ours));
    if (pair) {
      made.push(value("theirs", data.runs[against], theirs));
      const difference = (q) => ours[q] - theirs[q];
      made.push({
        name: "difference", title: "difference", number: true, key: difference,
        text: (q) => (difference(q) > 0 ? "+" : "") + printed(difference(q), measure),
        kind: (q) => (difference(q) > 0 ? "won" : difference(q) < 0 ? "lost" : ""),
      });
    }
    if (data.hits) made.push(rank("rank", run), ...(pair ? [rank("otherRank", against)] : []));
    return made;
  }

  function choose() {
    const ours = valuesOf("run"), theirs = valuesOf("against");
    const kind = (q) => (ours[q] > theirs[q] ? "won" : ours[q] < theirs[q] ? "lost" : "tied");
    const counts = { won: 0, tied: 0, lost: 0 };
    for (const q of all) counts[kind(q)] += 1;
    const words = form.elements.words.value.toLowerCase(), show = form.elements.show.value;
    const kept = all.filter((q) => (show === "all" || !pair || kind(q) === show) && lower[q].includes(words));
    const column = columns().find((each) => each.name === order.column) ?? columns()[0];
    listed = sorted(kept, column.key, order.down);
    const shown = kept.length === all.length ? "" : `; ${kept.length} of ${all.length} listed`;
    byId("counts").textContent = (pair ? `${counts.won} won, ${counts.tied} tied, ${counts.lost} lost` : `${all.length} queries`) + shown;
    page = 0;
    draw();
  }

  function details(query, span) {
    const heads = ["run", ...data.measures, ...(data.hits ? ["first relevant", "first hit"] : [])];
    const rows = data.runs.map((run, r) => {
      const cells = data.measures.map((_, m) => element("td", { class: "number", text: printed(data.values[r][m][query], m) }));
      if (data.hits) {
        cells.push(element("td", { class: "number", text: hit(r, query, 1) ?? UNKNOWN }), element("td", { text: hit(r, query, 0) ?? UNKNOWN }));
      }
      return element("tr", {}, element("th", { scope: "row", text: run }), ...cells);
    });
    const head = element("thead", {}, element("tr", {}, ...heads.map((text, i) =>
      element("th", { scope: "col", class: i > 0 && text !== "first hit" ? "number" : "", text }))));
    return element("tr", {}, element("td", { colspan: span }, element("table", {}, head, element("tbody", {}, ...rows))));
  }

  function line(query, made) {
    const row = element("tr");
    made.forEach((column) => {
      if (column.name !== "query") {
        const classes = [column.class ?? "", column.number ? "number" : "", column.kind ? column.kind(query) : ""].join(" ").trim();
        row.append(element("td", { class: classes, text: column.text(query) }));
        return;
      }
      const button = element("button", { type: "button", "aria-expanded": "false", text: column.text(query) });
      button.addEventListener("click", () => {
        const open = button.getAttribute("aria-expanded") === "true";
        button.setAttribute("aria-expanded", String(!open));
        if (open) row.nextElementSibling.remove();
        else row.after(details(query, made.length));
      });
      row.append(element("th", { scope: "row" }, button));
    });
    return row;
  }

  function draw() {
    const made = columns(), from = page * PAGE;
    const heads = made.map((column) => {
      const button = element("button", { type: "button", text: column.title });
      button.addEventListener("click", () => {
        order = { column: column.name, down: order.column === column.name ? !order.down : Boolean(column.number) };
        choose();
        queries.tHead.querySelector("[aria-sort] button")?.focus();
      });
      const head = element("th", { scope: "col", class: column.number ? "number" : "" }, button);
      if (column.name === order.column) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      return head;
    });
    queries.tHead.replaceChildren(element("tr", {}, ...heads));
    queries.tBodies[0].replaceChildren(...listed.slice(from, from + PAGE).map((query) => line(query, made)));
    byId("pages").hidden = listed.length <= PAGE;
    byId("pages").querySelector("span").textContent =
      listed.length ? `${from + 1} to ${Math.min(from + PAGE, listed.length)} of ${listed.length}` : "none";
    byId("before").disabled = page === 0;
    byId("after").disabled = from + PAGE >= listed.length;
  }

  const against = data.against ?? 0;
  const last = Math.max(data.runs.findLastIndex((_, run) => run !== against), 0);
  options("run", data.runs, data.run ?? last);
  options("against", data.runs, against);
  options("measure", data.measures, 0);
  for (const name of pair ? [] : ["run", "against", "show"]) form.elements[name].parentElement.hidden = true;
  if (!pair) order = { column: "ours", down: false };
  form.addEventListener("input", (event) => {
    if (event.target.name === "show") order = { column: "difference", down: event.target.value !== "lost" };
    choose();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("before").addEventListener("click", () => { page -= 1; draw(); });
  byId("after").addEventListener("click", () => { page += 1; draw(); });
  byId("view").hidden = false;
  choose();
})();
