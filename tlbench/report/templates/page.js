"use strict";
{
  // The state of the leaderboard lives in the query, so that a link shows what its sender saw.
  const state = new URLSearchParams(location.search);
  const remember = (name, value) => {
    if (value) state.set(name, value); else state.delete(name);
    const query = state.toString();
    try {
      history.replaceState(null, "", (query ? "?" + query : location.pathname) + location.hash);
    } catch { /* a page that may not have an address */ }
  };

  const sorted = (table, name, down) => {
    const heads = [...table.tHead.rows[0].cells];
    const column = heads.findIndex((head) => head.dataset.sort === name);
    if (column < 0) return;
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyOf = (row) => {
      const cell = row.cells[column];
      if (cell.dataset.key === undefined) return cell.textContent.trim().toLowerCase();
      return cell.dataset.key === "" ? null : Number(cell.dataset.key);
    };
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("rule")).map((row) => ({ row, key: keyOf(row) }));
      rows.sort((a, b) => {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
        return (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) * (down ? -1 : 1);
      });
      body.append(...rows.map((each) => each.row));
    }
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button")?.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const name = head.dataset.sort;
        const upFirst = !head.classList.contains("n") || name === "rank" || ["seconds", "trainable", "stored", "memory"].includes(name);
        const down = before ? before === "ascending" : !upFirst;
        if (table.dataset.state !== "sort") return sorted(table, name, down);
        document.querySelectorAll("table[data-state=sort]").forEach((each) => sorted(each, name, down));
        remember("sort", (down ? "-" : "") + name);
      });
    }
  }
  const order = state.get("sort");
  if (order) {
    const name = order.replace(/^-/, "");
    document.querySelectorAll("table[data-state=sort]").forEach((each) => sorted(each, name, order.startsWith("-")));
  }

  const form = document.querySelector("form.tools");
  if (form) {
    const fields = ["q", "backbone", "board"].map((name) => form.elements[name]).filter(Boolean);
    const columns = [...form.querySelectorAll("input[name=columns]")];
    const shown = form.querySelector("output");
    const apply = () => {
      const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
      const backbone = form.elements.backbone.value;
      const board = form.elements.board?.value || "";
      const ranked = form.elements.ranked.checked;
      let seen = 0, all = 0;
      for (const block of document.querySelectorAll(".board-block")) {
        const there = !board || block.dataset.board === board;
        let here = 0;
        for (const row of block.querySelectorAll("tbody tr:not(.rule, .published)")) {
          const label = row.querySelector("th").textContent.toLowerCase();
          const kept = there && words.every((word) => label.includes(word)) && (!backbone || row.dataset.backbone === backbone) && !(ranked && row.classList.contains("below"));
          row.hidden = !kept;
          here += kept;
          all += 1;
        }
        for (const row of block.querySelectorAll("tr.published")) {
          const label = row.querySelector("th").textContent.toLowerCase();
          row.hidden = !there || ranked || !words.every((word) => label.includes(word)) || (backbone && row.dataset.backbone !== backbone);
        }
        for (const body of block.querySelectorAll("tbody")) body.hidden = ![...body.rows].some((row) => !row.hidden && !row.classList.contains("rule"));
        block.hidden = here === 0;
        seen += here;
      }
      const picked = new Set(columns.filter((field) => field.checked).map((field) => field.value));
      document.querySelectorAll("#leaderboard [data-column]").forEach((cell) => { cell.hidden = !picked.has(cell.dataset.column); });
      shown.textContent = seen === all ? `${all} rows` : `${seen} of ${all} rows`;
    };
    const changed = () => {
      fields.forEach((field) => remember(field.name, field.value));
      remember("ranked", form.elements.ranked.checked ? "1" : "");
      remember("columns", columns.filter((field) => field.checked).map((field) => field.value).join(","));
      apply();
    };
    fields.forEach((field) => { field.value = state.get(field.name) || ""; });
    form.elements.ranked.checked = state.get("ranked") === "1";
    const asked = (state.get("columns") || "").split(",");
    columns.forEach((field) => { field.checked = asked.includes(field.value); });
    form.addEventListener("input", changed);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(changed));
    apply();
  }

  const open = () => {  // what a link points to must be seen
    let target = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
    for (; target; target = target.parentElement) if (target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", open);
  open();

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.getAttribute("href").slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  document.querySelectorAll("main > section").forEach((section) => watcher.observe(section));

  const data = document.getElementById("figures");
  if (data) {
    const figures = JSON.parse(data.textContent);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const boxes = [...document.querySelectorAll(".chart")];

    // What a reader may choose of a figure: its horizontal axis, and which of its panels are shown.
    const chooser = (box, what) => document.querySelector(`select[data-${what}-of="${box.dataset.figure}"]`);

    // Panels stand side by side as far as there is room; names give way to the drawing on a narrow page.
    const fitted = (box) => {
      const { config, spec } = structuredClone({ config: dark.matches ? figures.night : figures.day, spec: figures.specs[box.dataset.figure] });
      const room = box.parentElement.clientWidth - 24;
      const names = Math.min(460, Math.max(130, room * 0.4));
      const views = spec.vconcat || [spec.spec];
      const inner = views[0];
      const axis = chooser(box, "axis"), panels = chooser(box, "panels");
      if (axis) for (const { encoding } of inner.layer) if (encoding.x) Object.assign(encoding.x, { field: axis.value, title: axis.selectedOptions[0].text });
      if (panels?.value) spec.transform = [{ filter: { field: panels.name, equal: panels.value } }];
      const byName = Boolean(spec.vconcat);
      const own = byName || spec.resolve?.scale?.y === "independent";
      const edge = byName ? names + 30 : 90;
      config.axis.labelLimit = names;
      config.header.labelLimit = Math.min(inner.width + (own && !(spec.columns > 3) ? 60 : 20), room - 20);
      config.title.limit = room;
      const two = (inner.layer || []).some(({ encoding }) => encoding.shape?.field && encoding.shape.field !== encoding.color?.field);
      config.legend.columns = Math.max(1, Math.min(4, Math.floor(room / 210)) - (two ? 2 : 0));
      config.legend.labelLimit = Math.min(260, room - 40);
      const lined = byName && Object.values(spec.datasets).flat().some((row) => String(row.row).includes(" · "));
      if (lined && room < 900) for (const view of views) for (const { encoding } of view.layer) {  // method over backbone
        if (encoding.y) encoding.y.axis = { ...encoding.y.axis, labelExpr: "split(datum.label, ' · ')", labelLineHeight: 10, labelFontSize: 9, labelOffset: -5 };
      }
      if (inner.width?.step) for (const view of views) {  // tiles as wide as there is room for; without numbers where these do not fit
        const tiles = new Set(Object.values(spec.datasets).flat().filter((row) => row.panel === view.title).map((row) => row.column)).size;
        const step = Math.max(8, Math.min(inner.width.step, Math.floor((room - edge) / Math.max(1, tiles))));
        view.width = { step };
        if (step < 34) for (const { encoding } of view.layer) if (encoding.x?.axis) encoding.x.axis = { ...encoding.x.axis, labelAngle: encoding.x.axis.labelAngle && -90, labelFontSize: 10 };
        if (step < 30) view.layer = view.layer.filter(({ mark }) => (mark.type || mark) !== "text");
      }
      if (typeof inner.width === "number") {
        const most = own ? room / (inner.width + edge) : (room - edge) / (inner.width + 24);
        const side = Math.max(1, Math.min(spec.columns || 1, Math.floor(most)));
        if (!byName) spec.columns = side;
        if (side === 1 && inner.width + edge > room) for (const view of views) view.width = Math.max(150, room - edge);
      }
      return { config, spec };
    };
    const draw = async (box) => {
      const { config, spec } = fitted(box);
      box.dataset.tone = dark.matches ? "night" : "day";
      box.dataset.room = box.parentElement.clientWidth;
      await vegaEmbed(box, spec, { actions: false, renderer: "svg", ast: true, config, tooltip: { theme: dark.matches ? "dark" : "light" } });
      box.dataset.drawn = "true";
    };
    const drawAll = async () => {
      for (const box of boxes) {
        await draw(box);
        await new Promise((resolve) => setTimeout(resolve));
      }
      document.documentElement.dataset.figures = "drawn";
    };
    for (const box of boxes) for (const field of [chooser(box, "axis"), chooser(box, "panels")].filter(Boolean)) {
      if (field.dataset.panelsOf) {
        const rows = Object.values(figures.specs[box.dataset.figure].datasets).flat();
        const names = [...new Set(rows.map((row) => row[field.name]))];
        field.append(...names.map((name) => new Option(name)));
        field.parentElement.hidden = names.length < 2;
      }
      if ([...field.options].some((option) => option.value === state.get(field.name))) field.value = state.get(field.name);
      field.addEventListener("change", () => {
        remember(field.name, field.selectedIndex ? field.value : "");
        draw(box);
      });
    }
    drawAll();
    dark.addEventListener("change", drawAll);
    let waiting;
    addEventListener("resize", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => boxes.filter((box) => box.dataset.drawn && Number(box.dataset.room) !== box.parentElement.clientWidth).forEach(draw), 200);
    });
  }
}
