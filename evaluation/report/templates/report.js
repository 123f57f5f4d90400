"use strict";
(() => {
  const NO_VALUE = 65535;
  const LEVELS = 65534;
  const CHANNEL_HEIGHT = 64;
  const SCORE_HEIGHT = 92;
  const GAP = 26;
  const ALARM_ROOM = 16; // below each score
  // Named here too: Plotly measures text before it inherits any font.
  const FONT = "system-ui, sans-serif";
  const data = (id) => JSON.parse(document.getElementById(id).textContent);
  const make = (tag, text, name) => {
    const found = document.createElement(tag);
    // textContent throughout: names come from users and are never markup.
    if (text !== undefined) found.textContent = text;
    if (name) found.className = name;
    return found;
  };
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // Colours follow the page, which follows the reader's choice of light or dark, and paper, which is light.
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paper = window.matchMedia("print");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const curves = () => (dark.matches && !paper.matches
    ? ["#6cb2f5", "#f0c05a", "#5fd3a8", "#e79ac8", "#ff9d6e", "#b9a6ff", "#8fd3ff", "#c9c9c9"]
    : ["#0b5cad", "#b07400", "#00785a", "#a8397f", "#c4481c", "#5b48b0", "#2a7f9e", "#555555"]);
  const LINES = {
    group: () => ({ color: colour("text"), width: 5 }),
    drop: () => ({ color: colour("quiet"), width: 1, dash: "dot" }),
    width: () => ({ color: colour("event"), width: 3 }),
  };

  function themed(layout) {
    const axis = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("quiet") };
    const found = {
      ...layout,
      autosize: true,
      showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("text"), family: FONT, size: 12 },
      hoverlabel: { font: { family: FONT } },
    };
    for (const name of Object.keys(found)) {
      if (/^[xy]axis\d*$/.test(name)) found[name] = { ...axis, ...found[name] };
    }
    found.shapes = (layout.shapes || []).map(({ role, ...shape }) => (role ? { ...shape, line: LINES[role]() } : shape));
    return found;
  }
  const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] };

  // Figures that the page came with; drawn when they are first seen.
  function drawFigures(root) {
    for (const place of root.querySelectorAll(".figure[data-figure]")) {
      if (place.closest("[hidden]") || place.closest("details:not([open])")) continue;
      const figure = data(place.dataset.figure);
      const main = curves()[0];
      const traces = figure.data.map((trace) => ({
        ...trace,
        marker: { color: main, ...trace.marker },
        ...(trace.error_x ? { error_x: { ...trace.error_x, color: main, thickness: 2, width: 5 } } : {}),
      }));
      const layout = { ...figure.layout };
      if (figure.zero) {
        const line = { type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, role: "drop" };
        layout.shapes = [...(layout.shapes || []), line];
      }
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", figure.label);
      Plotly.react(place, traces, themed(layout), CONFIG);
    }
  }

  // Tables that sort; the trivial predictors are a body of their own and stay on top.
  function sortBy(table, column, direction) {
    for (const body of table.tBodies) {
      const rows = [...body.rows];
      const key = (row) => row.cells[column].dataset.sort;
      rows.sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = column === 0 ? a.localeCompare(b) : Number(a) - Number(b);
        return direction === "ascending" ? order : -order;
      });
      body.append(...rows);
    }
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const first = column === 0 ? "ascending" : "descending";
        const other = first === "ascending" ? "descending" : "ascending";
        const direction = head.getAttribute("aria-sort") === first ? other : first;
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", direction);
        sortBy(table, column, direction);
      });
    });
  }

  // One metric of the comparison at a time.
  for (const select of document.querySelectorAll("select[data-panels]")) {
    const show = () => {
      for (const panel of document.querySelectorAll(`[data-panel="${select.dataset.panels}"]`)) {
        panel.hidden = panel.dataset.metric !== select.value;
      }
      drawFigures(document);
    };
    select.addEventListener("change", show);
    show();
  }
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => drawFigures(details));
  }

  // The drill-down.
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  function curve(packed) {
    const levels = new Uint16Array(bytes(packed.values).buffer);
    const step = (packed.high - packed.low) / LEVELS;
    return Array.from(levels, (level) => (level === NO_VALUE ? null : packed.low + level * step));
  }
  function timesOf(series) {
    const offsets = new Uint32Array(bytes(series.times).buffer);
    return Array.from(offsets, (offset) => series.start + offset * series.unit);
  }

  function drawSeries(series) {
    const x = timesOf(series);
    const panels = [
      ...series.channels.map((one) => ({ ...one, title: one.name, height: CHANNEL_HEIGHT, colour: colour("quiet") })),
      ...series.scores.map((one, place) => ({
        ...one,
        title: `score of ${one.detector}${one.seed === null ? "" : `, seed ${one.seed}`}; alarms below it`,
        height: SCORE_HEIGHT,
        colour: curves()[place % 8],
      })),
    ];
    const roomOf = (panel) => panel.height + GAP + (panel.alarms ? ALARM_ROOM : 0);
    const all = panels.reduce((sum, panel) => sum + roomOf(panel), ALARM_ROOM);
    const layout = {
      height: all + 50,
      margin: { l: 70, r: 15, t: 5, b: 40 },
      hovermode: "x",
      xaxis: { type: "date", anchor: "free", position: 0, range: [x[0], x[x.length - 1]] },
      annotations: [],
      shapes: series.events.map(([from, to]) => ({
        type: "rect", xref: "x", x0: from, x1: to, yref: "paper", y0: 0, y1: 1, layer: "below",
        fillcolor: colour("event"), opacity: 0.2, line: { width: 0 },
      })),
    };
    const traces = [];
    let top = all;
    panels.forEach((panel, place) => {
      const number = place === 0 ? "" : String(place + 1);
      const high = (top - GAP) / all;
      const low = (top - GAP - panel.height) / all;
      top -= roomOf(panel);
      traces.push({
        type: "scatter", mode: "lines", x, y: curve(panel), yaxis: `y${number}`, name: escaped(panel.title),
        line: { color: panel.colour, width: 1.2 }, hovertemplate: "%{y:.5g}<extra></extra>",
      });
      layout[`yaxis${number}`] = { domain: [low, high], nticks: 4, zeroline: false, fixedrange: false };
      layout.annotations.push({
        xref: "paper", x: 0, xanchor: "left", yref: "paper", y: high, yanchor: "bottom", showarrow: false,
        text: escaped(panel.title), font: { size: 12, color: panel.colour },
      });
      for (const [from, to] of panel.alarms || []) {
        layout.shapes.push({
          type: "rect", xref: "x", x0: from, x1: to, yref: `y${number} domain`, y0: -0.16, y1: -0.04,
          fillcolor: colour("alarm"), line: { width: 1, color: colour("alarm") },
        });
      }
      if (typeof panel.threshold === "number") {
        layout.shapes.push({
          type: "line", xref: "paper", x0: 0, x1: 1, yref: `y${number}`, y0: panel.threshold, y1: panel.threshold,
          line: { color: colour("alarm"), width: 1, dash: "dash" },
        });
      }
    });
    Plotly.react("curves", traces, themed(layout), CONFIG);
  }

  const shown = (value) => (value === null || value === undefined ? "-" : String(Number(value.toPrecision(4))));
  function tellMetrics(series, notes, warning, trivial) {
    const table = make("table");
    const head = table.createTHead().insertRow();
    for (const title of ["metric", ...series.detectors, "rewards", "is fooled by"]) {
      const cell = make("th", title, series.detectors.includes(title) ? "" : "left");
      cell.scope = "col";
      head.append(cell);
    }
    const body = table.createTBody();
    let group = "";
    for (const note of notes) {
      const values = series.metrics[note.name];
      if (!values) continue;
      if (note.group !== group) {
        group = note.group;
        const row = body.insertRow();
        row.className = "group";
        const title = group === "point-adjusted" ? `${group}: ${warning}` : group;
        const cell = make("th", title);
        cell.colSpan = 3 + series.detectors.length;
        row.append(cell);
      }
      const row = body.insertRow();
      const name = row.insertCell();
      name.className = "wrap";
      name.append(make("strong", note.name), make("br"), make("small", `${note.definition}; ${note.range}`));
      const rivals = values.filter((value, place) => trivial.includes(series.detectors[place]) && value !== null);
      const best = note.beatable && rivals.length ? Math.max(...rivals) : -Infinity;
      values.forEach((value, place) => {
        const own = !trivial.includes(series.detectors[place]);
        row.append(make("td", shown(value), own && value !== null && value <= best ? "marked" : ""));
      });
      row.append(make("td", note.rewards, "wrap"), make("td", note.fooled, "wrap"));
    }
    return table;
  }

  const select = document.getElementById("series");
  let redrawSeries = () => {};
  if (select) {
    const notes = data("metric-notes");
    const facts = data("page-facts");
    const options = [...select.options];
    redrawSeries = () => {
      if (!select.value) return;
      const series = data(`series-${select.value}`);
      drawSeries(series);
      const buckets = series.bucket > 1 ? `; of every ${series.bucket} rows the smallest and the largest value` : "";
      const left = series.channels_in_all - series.channels.length;
      const channels = left > 0 ? `; ${left} more channels are not shown` : "";
      const told = `rows: ${series.rows}; labelled stretches: ${series.events.length}${buckets}${channels}`;
      document.getElementById("series-facts").textContent = told;
      const errors = document.getElementById("series-errors");
      errors.replaceChildren(...Object.entries(series.errors).map(([name, error]) => make("li", `${name}: ${error}`)));
      const table = tellMetrics(series, notes, facts.pa_warning, facts.trivial);
      document.getElementById("series-metrics").replaceChildren(table);
    };
    select.addEventListener("change", redrawSeries);
    document.getElementById("filter").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/);
      const fitting = options.filter((one) => words.every((word) => one.textContent.toLowerCase().includes(word)));
      const before = select.value;
      select.replaceChildren(...fitting);
      if (fitting.some((one) => one.value === before)) select.value = before;
      if (select.value !== before) redrawSeries();
    });
    redrawSeries();
  }
  drawFigures(document);
  for (const medium of [dark, paper]) {
    medium.addEventListener("change", () => {
      drawFigures(document);
      redrawSeries();
    });
  }
})();
