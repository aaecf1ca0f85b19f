"use strict";
// Draws the charts from the data in the page, and moves them with the epoch. Numbers stay the files' own
// (customdata); only what is drawn is logarithms, percent or roots of them.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const night = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const narrow = () => innerWidth < 640;
  const shown = {
    same: v => v,
    powers: v => v * Math.LOG10E,
    log10: v => (v > 0 ? Math.log10(v) : null),
    percent: v => 100 * v,
    root: Math.sqrt,
  };
  // plotly reads a few tags in texts: names from files must not hold any
  const plain = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const drawn = (chart, values) => values.map(v => (v === null ? null : shown[chart.shown](v)));
  const hidden = new Map(data.charts.map(chart => [chart.key, new Set()]));
  const place = key => document.getElementById(key);

  const epochs = [...new Set(data.charts.flatMap(chart =>
    [...chart.curves, chart.heat].flatMap(part => (part && part.epochs) || [])))].sort((a, b) => a - b);
  let epoch = epochs[epochs.length - 1];

  // a run that ended, or was not looked at then, shows its last look before
  const frame = (part, name) => {
    if (!part.epochs) return part[name];
    const before = part.epochs.filter(at => at <= epoch).length;
    return part[name][Math.max(before - 1, 0)];
  };

  const ink = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function band(chart, curve) {
    const low = drawn(chart, frame(curve, "low")), high = drawn(chart, frame(curve, "high"));
    const x = [], y = [];
    for (let start = 0; start < low.length; start++) {
      if (low[start] === null || high[start] === null) continue;
      let end = start;
      while (end + 1 < low.length && low[end + 1] !== null && high[end + 1] !== null) end++;
      for (let k = start; k <= end; k++) { x.push(curve.x[k]); y.push(high[k]); }
      for (let k = end; k >= start; k--) { x.push(curve.x[k]); y.push(low[k]); }
      x.push(null); y.push(null);
      start = end;
    }
    return {x, y, mode: "lines", fill: "toself", line: {width: 0}, hoverinfo: "skip", meta: "band",
      fillcolor: curve.colour[night.matches ? 1 : 0] + "38", name: plain(curve.label)};
  }

  const looks = {
    measured: {width: 2.2},
    points: {width: 2.2},
    thin: {width: 1.1},
    theory: {width: 1.6, dash: "7px,4px"},
    rough: {width: 1.8, dash: "1.5px,3px"},
    whole: {width: 2.6, color: "--ink", dash: "solid"},
    neuron: {width: 2.2, color: "--ink", dash: "2px,3px"},
    recurrent: {width: 2.2, color: "--quiet", dash: "8px,4px"},
    read: {width: 2.4, color: "#ff7f0e", dash: "solid", shape: "hvh"},
  };

  function style(curve) {
    const look = {...looks[curve.look]};
    if (look.color && look.color.startsWith("--")) look.color = ink(look.color);
    const alone = ["theory", "rough"].includes(curve.look) ? look.dash : curve.dash;
    return {color: curve.colour[night.matches ? 1 : 0], dash: alone, ...look};
  }

  function line(chart, curve, dashes) {
    const values = frame(curve, "values");
    const at = style(curve);
    if (!dashes && !looks[curve.look].dash) at.dash = "solid";
    const onMap = Boolean(chart.heat);
    return {x: curve.x, y: onMap ? values : drawn(chart, values), customdata: values, meta: "curve",
      mode: curve.look === "points" ? "lines+markers" : "lines", marker: {size: 6}, line: at, name: plain(curve.label),
      hovertemplate: onMap ? `epoch %{x}: span %{y}<extra></extra>` : `${chart.hover}<extra>%{fullData.name}</extra>`,
      connectgaps: false};
  }

  function map(chart) {
    const values = frame(chart.heat, "values");
    const all = (chart.heat.epochs ? chart.heat.values.flat(2) : values.flat()).filter(v => v !== null)
      .map(shown[chart.shown]).filter(v => v !== null);
    let low = Infinity, high = -Infinity;
    for (const v of all) { low = Math.min(low, v); high = Math.max(high, v); }
    return {type: "heatmap", x: chart.heat.x, y: chart.heat.y, z: values.map(row => drawn(chart, row)), meta: "map",
      customdata: values, zmin: all.length ? low : 0, zmax: high > low ? high : low + 1, colorscale: data.viridis,
      hoverongaps: false, hovertemplate: chart.hover,
      colorbar: {title: {text: chart.heat.bar, side: narrow() ? "top" : "right"}, thickness: 12, outlinewidth: 0, len: 1,
        orientation: narrow() ? "h" : "v", ...(narrow() ? {y: 1.02, yanchor: "bottom", x: 0.5} : {})}};
  }

  function traces(chart) {
    const seen = chart.curves.filter(curve => !hidden.get(chart.key).has(curve.label));
    // where dashes are theory, colours alone tell the curves apart
    const dashes = !chart.curves.some(curve => curve.look === "theory" || curve.look === "rough");
    return [...(chart.heat ? [map(chart)] : []),
      ...seen.filter(curve => curve.low).map(curve => band(chart, curve)),
      ...seen.map(curve => line(chart, curve, dashes))];
  }

  // the same axis at every epoch, so that the curve is what moves
  function range(chart) {
    if (chart.heat && chart.curves.length) return {range: [chart.heat.y[0] - 0.5, chart.heat.y[chart.heat.y.length - 1] + 0.5]};
    if (chart.heat || !chart.curves.some(curve => curve.epochs)) return {};
    let low = Infinity, high = -Infinity;
    for (const curve of chart.curves) {
      for (const rows of [curve.values, curve.low || [], curve.high || []]) {
        for (const v of drawn(chart, rows.flat())) {
          if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
        }
      }
    }
    const room = 0.04 * (high - low || 1);
    return high >= low ? {range: [low - room, high + room]} : {};
  }

  function lowest(chart) {
    let low = Infinity;
    for (const curve of chart.curves) {
      for (const v of drawn(chart, curve.values.flat())) if (v !== null) low = Math.min(low, v);
    }
    return low;
  }

  function layout(chart) {
    const axis = {gridcolor: ink("--grid"), linecolor: ink("--rule"), zeroline: false, automargin: true, ticks: "outside",
      tickcolor: ink("--rule")};
    const shapes = [], annotations = [];
    if (chart.floor !== null && lowest(chart) < chart.floor) {
      shapes.push({type: "line", xref: "paper", x0: 0, x1: 1, y0: chart.floor, y1: chart.floor,
        line: {color: ink("--quiet"), width: 1, dash: "3px,3px"}});
      annotations.push({xref: "paper", x: 1, xanchor: "right", y: chart.floor, yanchor: "bottom", showarrow: false,
        text: "float32 holds nothing below", font: {size: 12, color: ink("--quiet")}});
    }
    if (chart.marker && epochs.length) {
      shapes.push({type: "line", yref: "paper", y0: 0, y1: 1, x0: epoch, x1: epoch,
        line: {color: ink("--accent"), width: 1.5}});
    }
    return {margin: {l: 56, r: 8, t: 28, b: 44}, paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: chart.heat ? ink("--empty") : "rgba(0,0,0,0)",
      font: {family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 13, color: ink("--ink")},
      xaxis: {...axis, title: {text: chart.x}}, showlegend: false, hovermode: "closest", hoverdistance: 40,
      yaxis: {...axis, title: {text: chart.y}, ...range(chart), ...(chart.y === "layer" ? {dtick: 1} : {})},
      hoverlabel: {bgcolor: ink("--paper"), bordercolor: ink("--rule"), font: {color: ink("--ink"), size: 13}},
      modebar: {bgcolor: "rgba(0,0,0,0)", color: ink("--quiet"), activecolor: ink("--ink")},
      dragmode: coarse ? false : "zoom", uirevision: "kept", shapes, annotations};
  }

  const config = {displaylogo: false, responsive: true, displayModeBar: coarse ? false : "hover",
    // named one by one: plotly's own choice would send charts to its cloud
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    toImageButtonOptions: {scale: 2}};

  const draw = chart => Plotly.react(chart.key, traces(chart), layout(chart), config);

  function sample(curve, dashes) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const stroke = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const at = style(curve);
    const dash = !dashes && !looks[curve.look].dash ? "solid" : at.dash;
    for (const [name, value] of Object.entries({width: 26, height: 10, "aria-hidden": "true"})) svg.setAttribute(name, value);
    for (const [name, value] of Object.entries({x1: 0, x2: 26, y1: 5, y2: 5, stroke: at.color, "stroke-width": at.width,
      "stroke-dasharray": dash === "solid" ? "none" : dash})) stroke.setAttribute(name, value);
    svg.append(stroke);
    return svg;
  }

  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.append(text);
    made.addEventListener("click", act);
    return made;
  }

  function legend(chart) {
    const dashes = !chart.curves.some(curve => curve.look === "theory" || curve.look === "rough");
    const entries = chart.curves.length < 2 ? [] : chart.curves.map(curve => {
      const gone = hidden.get(chart.key);
      const made = button(curve.label, () => {
        gone.has(curve.label) ? gone.delete(curve.label) : gone.add(curve.label);
        made.setAttribute("aria-pressed", String(!gone.has(curve.label)));
        draw(chart);
      });
      made.setAttribute("aria-pressed", String(!gone.has(curve.label)));
      made.prepend(sample(curve, dashes));
      return made;
    });
    const csv = button("Numbers (CSV)", () => save(chart));
    place(`${chart.key}-legend`).replaceChildren(...entries);
    place(`${chart.key}-tools`).replaceChildren(csv);
  }

  // all numbers of a chart, at all epochs, as they are in the files
  function table(chart) {
    const rows = [["curve", "epoch", "x", "y", "value", "low", "high"]];
    const quoted = text => `"${text.replace(/"/g, '""')}"`;
    for (const curve of chart.curves) {
      (curve.epochs || [""]).forEach((at, k) => curve.x.forEach((x, i) => {
        const of = name => { const part = curve[name]; return part ? (curve.epochs ? part[k] : part)[i] ?? "" : ""; };
        rows.push([quoted(curve.label), at, x, "", of("values"), of("low"), of("high")]);
      }));
    }
    const heat = chart.heat;
    if (heat) {
      (heat.epochs || [""]).forEach((at, k) => heat.y.forEach((y, j) => heat.x.forEach((x, i) =>
        rows.push(["map", at, x, y, (heat.epochs ? heat.values[k] : heat.values)[j][i] ?? "", "", ""]))));
    }
    return rows.map(row => row.join(",")).join("\n") + "\n";
  }

  function save(chart) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table(chart)], {type: "text/csv"}));
    link.download = `${chart.key}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // from point to point with the arrow keys; what a hover would show is said below the chart
  function keys(chart) {
    const at = {curve: 0, point: -1};
    place(chart.key).addEventListener("keydown", event => {
      const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0]}[event.key];
      const lines = place(chart.key).data.map((trace, k) => [trace, k]).filter(([trace]) => trace.meta === "curve");
      if (!step || !lines.length) return;
      event.preventDefault();
      at.curve = (at.curve + step[0] + lines.length) % lines.length;
      const [trace, number] = lines[at.curve];
      at.point = Math.min(Math.max(at.point + step[1] * (event.shiftKey ? 10 : 1), 0), trace.x.length - 1);
      if (trace.y[at.point] !== null) Plotly.Fx.hover(chart.key, [{curveNumber: number, pointNumber: at.point}]);
      const value = trace.customdata[at.point];
      place(`${chart.key}-said`).textContent =
        `${chart.curves.find(curve => plain(curve.label) === trace.name).label}, ${chart.x.split("  ")[0]} ` +
        `${trace.x[at.point]}: ${value === null ? "exactly 0, or nothing" : value}`;
    });
  }

  function choose(index) {
    epoch = epochs[index];
    place("epoch-said").textContent = `${epoch} of ${epochs[epochs.length - 1]}`;
    place("epoch").setAttribute("aria-valuetext", `epoch ${epoch}`);
    for (const chart of data.charts) {
      const moves = chart.curves.some(curve => curve.epochs) || (chart.heat && chart.heat.epochs);
      if (moves || chart.marker) draw(chart);
    }
  }

  function slide() {
    const slider = place("epoch");
    if (!slider) return;
    slider.max = String(epochs.length - 1);
    slider.value = slider.max;
    let asked = false;
    slider.addEventListener("input", () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => { asked = false; choose(Number(slider.value)); });
    });
    let timer = null;
    const stop = () => { clearInterval(timer); timer = null; place("play").textContent = "Play"; };
    place("play").addEventListener("click", () => {
      if (timer) { stop(); return; }
      if (slider.value === slider.max) slider.value = "0";
      place("play").textContent = "Pause";
      choose(Number(slider.value));
      timer = setInterval(() => {
        slider.value = String(Number(slider.value) + 1);
        choose(Number(slider.value));
        if (slider.value === slider.max) stop();
      }, 700);
    });
    choose(epochs.length - 1);
  }

  for (const chart of data.charts) {
    if (chart.y === "layer") place(chart.key).classList.add("map");
    legend(chart);
    draw(chart);
    keys(chart);
  }
  slide();
  night.addEventListener("change", () => data.charts.forEach(chart => { legend(chart); draw(chart); }));
  document.documentElement.dataset.drawn = "yes";
})();
