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
  function takeToken() {
    const token = new URLSearchParams(location.hash.slice(1)).get("token"), field = $("#token");
    if (!token || !field) return;
    field.value = token;
    history.replaceState(null, "", location.pathname);
    $("#from-link").hidden = false;
    $("button.primary").focus();
  }
  takeToken();
  addEventListener("hashchange", takeToken); // the link is opened where this page is open

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
    const whole = data.percent ? {} : { incrs: [1, 2, 5].flatMap((n) => Array.from({ length: 9 }, (_, i) => n * 10 ** i)).sort((a, b) => a - b) }; // there are no half events
    plot.replaceChildren();
    const chart = new uPlot({
      width, height: plot.classList.contains("small") ? 160 : 300, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1e3), data.tz),
      scales: { y: { range: (u, min, max) => [Math.min(0, min || 0), (max || 1) * 1.08] } },
      cursor: { points: { size: 7 } },
      legend: { live: true },
      series: [{ label: "From", value: (u, v) => (v == null ? "" : label(v, data)) }].concat(data.series.map((s, i) => ({
        label: s.name, stroke: colour("--c" + (s.colour || 0) % 8), width: s.dash ? 1.5 : 2, dash: s.dash ? [5, 5] : undefined,
        fill: i === 0 && data.series.filter((one) => !one.dash).length === 1 ? colour("--c0") + "22" : undefined, points: { show: data.times.length < 40, size: 5 }, value: (u, v) => unit(v),
      }))),
      axes: [{ ...axis, space: 90, values: (u, splits) => splits.map((ts) => short(ts, data)) }, { ...axis, ...whole, size: 64, values: (u, values) => values.map(unit) }],
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

  // The live stream. Rows are made of text only. A pause closes the stream; it goes on behind the last item that came.
  const live = $("#live");
  if (live) {
    const kept = 200, seconds = 60;
    const words = JSON.parse(live.dataset.words), codes = JSON.parse(live.dataset.codes);
    const rows = $("#live-rows"), state = $("#live-state"), pause = $("#live-pause"), notices = $("#live-notices");
    const counts = new Array(seconds).fill(0);
    let source = null, last = "", total = 0, second = Math.floor(Date.now() / 1000);
    const make = (tag, text, className) => {
      const e = document.createElement(tag);
      if (text) e.textContent = text;
      if (className) e.className = className;
      return e;
    };
    const link = (text, to) => { const a = make("a", text); a.href = to; return a; };
    const say = (text, now) => { state.textContent = text; state.dataset.state = now; };
    const when = (text) => new Date(text).toLocaleString("en-GB", { timeZone: "UTC", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const clip = (id) => (id.length <= 18 ? id : id.slice(0, 10) + "…" + id.slice(-4));
    function cell(row, name, ...parts) {
      const td = make("td"), box = make("div");
      td.dataset.h = name;
      box.append(...parts.filter(Boolean));
      td.append(box);
      row.append(td);
    }
    function show(e) {
      const row = make("tr"), [called, tone] = words[e.type] || [e.type, "plain"];
      const time = make("time", when(e.recorded_at));
      time.dateTime = e.recorded_at;
      cell(row, "Recorded", time);
      const why = live.dataset.decisions && e.decision_id ? link("Why", "/customers/" + encodeURIComponent(e.customer) + "/decisions/" + encodeURIComponent(e.decision_id)) : null;
      if (why) why.className = "sub";
      cell(row, "What happened", make("em", called, "tag " + tone), e.code && make("span", codes[e.code] || e.code, "sub"), why);
      cell(row, "Title", make("span", e.title_name || e.title_id || "–"), e.studio && make("span", e.studio, "sub"));
      const who = e.customer ? link(clip(e.customer), live.dataset.whose + encodeURIComponent(e.customer)) : make("span", "–");
      who.title = e.customer || "";
      cell(row, "Customer", who, make("span", [e.plan, e.country].filter(Boolean).join(" · "), "sub"));
      const device = make("span", e.device_id ? clip(e.device_id) : "–");
      device.title = e.device_id || "";
      cell(row, "Device", device, e.device_type && make("span", e.device_type, "sub"));
      cell(row, "By", make("span", e.role || "–"), live.dataset.decisions && e.actor && e.actor !== e.customer && make("span", e.actor, "sub"));
      rows.prepend(row);
      while (rows.childElementCount > kept) rows.lastElementChild.remove();
      $("#live-empty").hidden = true;
    }
    function tick() {
      const now = Math.floor(Date.now() / 1000);
      for (; second < now; second++) { counts.shift(); counts.push(0); }
      const sum = counts.reduce((a, b) => a + b, 0), most = Math.max(1, ...counts), spark = $("#live-spark");
      $("#live-rate").textContent = (sum / seconds).toLocaleString("en", { maximumFractionDigits: 1 });
      $("#live-total").textContent = total.toLocaleString("en");
      spark.replaceChildren(...counts.flatMap((n, i) => {
        if (!n) return [];
        const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect"), height = 16 * n / most;
        for (const [name, value] of Object.entries({ x: i, y: 16 - height, width: 0.8, height })) bar.setAttribute(name, value);
        return [bar];
      }));
    }
    const told = { TOO_SLOW: "This browser took the events too slowly and was let go. It goes on where it stopped.", CLOSING: "The server is stopping. It goes on elsewhere, where it stopped.",
      LEFT_OUT: "Some events were left out: the stream was too far behind. Search finds them.", FILTER_FAILED: "The filter costs too much to be run on every event. Make it simpler.", UNAVAILABLE: "The stream can’t be told at the moment. It is tried again." };
    function notice(n) {
      const box = make("div", "", "note warn"), p = make("p", told[n.code] || n.detail || n.code);
      p.dataset.code = n.code;
      box.append(p, make("p", when(new Date()) + " UTC", "sub"));
      notices.prepend(box);
      while (notices.childElementCount > 3) notices.lastElementChild.remove();
    }
    function listen() {
      source = new EventSource(live.dataset.events + (last ? "&after=" + encodeURIComponent(last) : ""));
      source.onopen = () => say("Listening", "on");
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) {
          say("Ended", "off");
          notice({ code: "", detail: "The stream has ended. Load the page again; you may have to sign in." });
        } else {
          say("Connecting again", "wait");
        }
      };
      source.addEventListener("event", (e) => {
        last = e.lastEventId || last;
        total++;
        tick();
        counts[seconds - 1]++;
        show(JSON.parse(e.data));
      });
      source.addEventListener("beat", (e) => { last = e.lastEventId || last; });
      source.addEventListener("notice", (e) => {
        last = e.lastEventId || last;
        const n = JSON.parse(e.data);
        notice(n);
        if (n.code === "FILTER_FAILED") { source.close(); say("Ended", "off"); }
      });
    }
    function toggle() {
      const paused = pause.getAttribute("aria-pressed") === "true";
      pause.setAttribute("aria-pressed", String(!paused));
      pause.textContent = paused ? "Pause" : "Go on";
      if (paused) { say("Connecting", "wait"); listen(); } else { source.close(); say("Paused", "wait"); }
    }
    pause.addEventListener("click", toggle);
    $("#live-clear").addEventListener("click", () => { rows.replaceChildren(); notices.replaceChildren(); $("#live-empty").hidden = false; });
    document.addEventListener("keydown", (e) => {
      if (e.key === "p" && !e.ctrlKey && !e.metaKey && !e.altKey && !/^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) toggle();
    });
    setInterval(tick, 1000);
    addEventListener("pagehide", () => source.close());
    listen();
  }

  // What went wrong behind a part of a page is shown as the page that the server made of it.
  document.addEventListener("htmx:beforeSwap", (e) => {
    if (e.detail.xhr.status >= 400) location.assign(e.detail.pathInfo.finalRequestPath);
  });
})();
