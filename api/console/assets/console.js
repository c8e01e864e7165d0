// What pages can't do by themselves: keys, the token of a sign-in link, the slider's words, charts. All pages work
// without it, but for the charts, behind which there is a table.
(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);

  // "/" goes to the box; Escape leaves it.
  document.addEventListener("keydown", (e) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName);
    if (e.key === "/" && !typing && !e.ctrlKey && !e.metaKey && !e.altKey) {
      const box = $("#find") || $("#quick");
      if (box) { e.preventDefault(); box.focus(); box.select(); }
    } else if (e.key === "Escape" && typing) {
      e.target.blur();
    }
  });

  // A sign-in link holds its token behind the #, which browsers keep to themselves.
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  const field = $("#token");
  if (token && field) {
    field.value = token;
    history.replaceState(null, "", location.pathname);
    $("#from-link").hidden = false;
    $("button.primary").focus();
  }

  // The slider says where it is while it is moved.
  document.addEventListener("input", (e) => {
    if (!e.target.matches("input[type=range][data-says]")) return;
    const says = document.getElementById(e.target.dataset.says);
    const text = new Date(e.target.value * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
    if (says) says.textContent = text;
    e.target.setAttribute("aria-valuetext", text);
  });

  // Charts are drawn from the JSON in their figure, in the colours of the theme, and again when width or theme change.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const drawn = new Map();
  function draw(plot) {
    const data = JSON.parse(plot.dataset.chart);
    const width = Math.max(240, plot.clientWidth);
    if (drawn.has(plot)) drawn.get(plot).destroy();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    const unit = data.percent ? (v) => (v == null ? "–" : v.toFixed(1) + " %") : (v) => (v == null ? "–" : v.toLocaleString("en"));
    const chart = new uPlot({
      width, height: plot.classList.contains("small") ? 160 : 300, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), data.tz),
      scales: { y: { range: (u, min, max) => [Math.min(0, min || 0), (max || 1) * 1.08] } },
      cursor: { points: { size: 7 } },
      legend: { live: true },
      series: [{ label: "", value: (u, v) => (v == null ? "" : label(v, data)) }].concat(data.series.map((s, i) => ({
        label: s.name, stroke: colour("--c" + (i % 8)), width: s.dash ? 1.5 : 2, dash: s.dash ? [5, 5] : undefined,
        fill: data.series.length === 1 && !s.dash ? colour("--c0") + "22" : undefined, points: { show: data.times.length < 40, size: 5 }, value: (u, v) => unit(v),
      }))),
      axes: [{ ...axis, space: 90, values: (u, splits) => splits.map((ts) => short(ts, data)) }, { ...axis, size: 64, values: (u, values) => values.map(unit) }],
    }, [data.times].concat(data.series.map((s) => s.values)), plot);
    drawn.set(plot, chart);
  }
  function short(ts, data) {
    const o = { timeZone: data.tz, day: "numeric", month: "short" };
    if (data.interval === "hour") { o.hour = "2-digit"; o.minute = "2-digit"; o.hour12 = false; }
    return new Intl.DateTimeFormat("en-GB", o).format(new Date(ts * 1000));
  }
  function label(ts, data) {
    const o = { timeZone: data.tz, day: "numeric", month: "short", year: "numeric" };
    if (data.interval === "hour") { o.hour = "2-digit"; o.minute = "2-digit"; o.hour12 = false; }
    return new Intl.DateTimeFormat("en-GB", o).format(new Date(ts * 1000));
  }
  function drawAll(root = document) {
    if (typeof uPlot === "undefined") return;
    for (const plot of root.querySelectorAll("[data-chart]")) draw(plot);
  }
  function redraw() {
    for (const [plot, chart] of drawn) if (!plot.isConnected) { chart.destroy(); drawn.delete(plot); }
    drawAll();
  }
  let waiting = 0;
  addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(redraw); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("htmx:afterSettle", redraw);
  drawAll();

  // What went wrong behind a part of a page is shown as the page that the server made of it.
  document.addEventListener("htmx:beforeSwap", (e) => {
    if (e.detail.xhr.status >= 400) location.assign(e.detail.pathInfo.finalRequestPath);
  });
})();
