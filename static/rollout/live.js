"use strict";

/* Live parts ask again at the pace they are told; those at work faster for a moment after somebody did
   something or the state changed, and while a run is queued; never while nobody looks. What has not changed is answered by 304. A lost connection is said. */
(() => {
  const TICK = 250;
  const SOON = 1000;
  const AT_WORK = 5000;
  const ATTENTIVE = 15000;
  const SLOWEST = 15000;

  let touched = Date.now();
  let failures = 0;
  const due = new WeakMap();
  const tags = new WeakMap();

  const state = () => document.getElementById("rollout-now")?.dataset.state;
  const isAttentive = () => Date.now() - touched < ATTENTIVE || state()?.endsWith(" queued");
  const pace = (part) => {
    const usual = Number(part.dataset.live) * 1000;
    const steady = usual <= AT_WORK && isAttentive() ? Math.min(SOON, usual) : usual;
    const wanted = failures ? Math.min(Math.max(steady, SOON) * 2 ** (failures - 1), Math.max(SLOWEST, steady)) : steady;
    // So that tabs which were opened together do not ask together.
    return wanted * (0.9 + Math.random() * 0.2);
  };
  const tick = () => {
    if (document.visibilityState !== "visible") return;
    const now = Date.now();
    for (const part of document.querySelectorAll("[data-live]")) {
      if (!due.has(part)) due.set(part, now + pace(part));
      if (due.get(part) > now) continue;
      due.set(part, now + pace(part));
      htmx.trigger(part, "refresh");
    }
  };
  const now = () => {
    for (const part of document.querySelectorAll("[data-live]")) due.set(part, 0);
    tick();
  };
  setInterval(tick, TICK);
  document.addEventListener("visibilitychange", now);
  addEventListener("online", now);
  for (const name of ["click", "keydown"]) {
    document.addEventListener(name, () => { touched = Date.now(); });
  }

  document.addEventListener("htmx:configRequest", ({ detail }) => {
    const tag = tags.get(detail.elt);
    if (tag) detail.headers["If-None-Match"] = tag;
  });

  // Several processes keep parts, and a page may be newer than all of them: nothing goes backwards.
  const made = new WeakMap();
  let answered = 0;
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const { elt, xhr } = detail;
    const when = Number(xhr.getResponseHeader("Rollout-Made"));
    if (!when || xhr.status !== 200) return;
    const seen = made.get(elt) ?? Number(document.body.dataset.made);
    if (when < seen) {
      detail.shouldSwap = false;
      return;
    }
    made.set(elt, when);
    tags.set(elt, xhr.getResponseHeader("ETag"));
    answered = when;
  });
  document.addEventListener("htmx:oobBeforeSwap", ({ detail }) => {
    const { target } = detail;
    if (target.id !== "rollout-now") return;
    detail.shouldSwap = answered >= (made.get(target) ?? 0);
    if (!detail.shouldSwap) return;
    made.set(target, answered);
    // What it knows now is none of its own answers.
    tags.delete(target);
  });

  // A part brings the header along, so that both tell of the same moment; a header that learns of a
  // change by itself has the others ask. A message about what was pressed is past then: it fades and
  // keeps its place, so that nothing moves below it.
  let known = state();
  document.addEventListener("htmx:afterSwap", ({ detail: { elt } }) => {
    const header = document.getElementById("rollout-now");
    if (!header) return;
    if (state() !== known) {
      known = state();
      touched = Date.now();
      for (const message of document.querySelectorAll(".messages .tone-good")) message.classList.add("past");
      for (const part of document.querySelectorAll("[data-live]")) if (part !== elt) due.set(part, 0);
    }
  });

  const say = (text) => {
    const place = document.getElementById("connection");
    if (place.textContent !== text) place.textContent = text;
  };
  let seen = new Date();
  const failed = (text) => {
    failures += 1;
    say(`${text} Showing data from ${seen.toLocaleTimeString()}; retrying…`);
  };
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, () => failed("Can't reach the server."));
  }
  document.addEventListener("htmx:responseError", ({ detail: { xhr } }) => {
    failed(xhr.status === 503 ? "Database unavailable." : `Server error (${xhr.status}).`);
  });
  document.addEventListener("htmx:afterOnLoad", ({ detail: { xhr } }) => {
    if (xhr.status >= 400) return;
    failures = 0;
    seen = new Date();
    say("");
  });
})();
