"use strict";
// The approval page. It holds the token in one variable and nowhere else, asks
// the gate's API like any other client, and shows what others wrote as text
// only: nothing here makes markup of a string.
(() => {
  const api = "api/v1/remediation"; // beside this page, also where a proxy puts the gate below a path
  const patience = 20_000; // ms for one request
  const idle = 10 * 60_000; // ms without a touch after which the token is forgotten
  const maxComment = 1000; // bytes, as the API has it
  const tenantShape = /^[a-z0-9][a-z0-9._-]{0,62}$/;
  const idShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

  const $ = (id) => document.getElementById(id);
  const link = readLink();
  let token = "";
  let shown = null; // the approval as the gate gave it last
  let lapsed = false; // what was released could not be started any more when this was last looked at
  let ahead = 0; // the gate's clock minus this machine's, in ms
  let idleTimer = 0;

  // readLink takes the tenant and the id from the fragment, which no browser
  // sends to a server. Anything but exactly these two is no link.
  function readLink() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const tenant = parts.get("tenant") ?? "", id = (parts.get("id") ?? "").toLowerCase();
    const whole = [...parts.keys()].sort().join() === "id,tenant";
    return { tenant, id, good: whole && tenantShape.test(tenant) && idShape.test(id) };
  }

  // Text that others wrote.

  const unseen = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800\ufffd]|(?! )\p{Zs}/u;

  // visible is text in which nothing hides: what is invisible, moves the line or
  // turns the reading direction stands as \u{…}, marked, so that it differs from
  // the same letters typed. Of a target also spaces that cannot be counted.
  function visible(text, { keep = "", exact = false } = {}) {
    const out = document.createDocumentFragment();
    const chars = [...text];
    let plain = "";
    chars.forEach((c, i) => {
      const lost = exact && c === " " && (i === 0 || i === chars.length - 1 || chars[i - 1] === " ");
      if (keep.includes(c) || !(lost || unseen.test(c))) {
        plain += c;
        return;
      }
      out.append(plain, element("span", "escape", `\\u{${codePoint(c)}}`));
      plain = "";
    });
    out.append(plain);
    return out;
  }

  const codePoint = (c) => c.codePointAt(0).toString(16).toUpperCase();

  // foreign names the letters that may only look like the usual ones.
  function foreign(text) {
    const found = [...new Set(text)].filter((c) => c > "\x7f" && !unseen.test(c));
    if (found.length === 0) return "";
    const named = found.slice(0, 12).map((c) => `${c}\u00a0U+${codePoint(c).padStart(4, "0")}`);
    return `Letters that may look like others: ${named.join(", ")}${found.length > 12 ? ", …" : ""}`;
  }

  function element(name, className, ...content) {
    const e = document.createElement(name);
    if (className) e.className = className;
    e.append(...content);
    return e;
  }

  const text = (v) => (typeof v === "string" ? v : v === undefined || v === null ? "" : JSON.stringify(v));
  const words = (v) => element("span", "words", visible(text(v)));
  const value = (v) => element("span", "value", visible(text(v), { exact: true }));
  const people = (list) => (list ?? []).flatMap((p, i) => (i ? [", ", value(p)] : [value(p)]));
  const moment = (v) => (Number.isNaN(Date.parse(v)) ? words(v) : new Date(v).toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC"));

  function span(ms) {
    const s = Math.max(0, Math.floor(ms / 1000)), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
    return [h && `${h} h`, (h || m) && `${m} min`, `${s % 60} s`].filter(Boolean).join(" ");
  }

  // What the gate answers.

  class Unreachable extends Error {}

  async function call(method, path, body) {
    const headers = { Authorization: `Bearer ${token}`, "X-Tenant-ID": link.tenant };
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetch(api + path, {
      method, headers, body: body && JSON.stringify(body), mode: "same-origin", credentials: "omit", cache: "no-store",
      redirect: "error", referrerPolicy: "no-referrer", signal: AbortSignal.timeout(patience),
    }).catch((cause) => { throw new Unreachable("no answer", { cause }); });
    const sent = Date.parse(response.headers.get("Date"));
    if (!Number.isNaN(sent)) ahead = sent - Date.now();
    const answer = await response.json().catch(() => null);
    return { ok: response.status === 200 && answer !== null && typeof answer === "object", status: response.status, answer };
  }

  const approvalPath = () => `/approvals/${link.id}`;

  const headings = {
    approval_closed: "It has ended already",
    already_approved: "You have approved this before",
    parameters_gone: "The action is not known in full any more",
    vote_not_counted: "Your answer does not count",
    forbidden: "This token may not do that",
    approval_busy: "Others answer at the same moment",
    log_unavailable: "The gate cannot reach its database",
    policy_error: "The gate's policy cannot release anything now",
  };

  // explain is a refusal in words: what it means, what the gate says, what to do.
  function explain({ status, answer }, voted) {
    const kind = text(answer?.type).split("/").pop();
    const detail = text(answer?.detail);
    const unchanged = voted ? "Your answer was not taken." : "Nothing was changed.";
    const unsure = voted ? "Look again before you answer again." : "Try again in a moment.";
    switch (true) {
      case Object.hasOwn(headings, kind): return [headings[kind], detail, status >= 500 ? unsure : ""];
      case status === 400: return ["The gate did not take the request", detail, unchanged];
      case status === 401: return ["The gate does not know this token", "Check that all of it was pasted, or ask for a new one.", unchanged];
      case status === 403: return ["This token may not do that", detail, unchanged];
      case status === 404:
        return ["There is no such approval for you", `Either the tenant ${link.tenant} has none with this id, or your token is for another tenant.`, unchanged];
      case status === 409: return ["It cannot be done any more", detail, unchanged];
      case status === 410: return ["It is gone", detail, unchanged];
      case status === 503: return ["The gate cannot answer now", detail, unsure];
    }
    return [`The gate answered ${status}`, detail || "That is no answer of its approvals; something between you and the gate may be wrong.",
      voted ? "Whether your answer was taken is not known: look again before you answer again." : ""];
  }

  // stands is where an approval stands, in words; nothing while it simply waits.
  function stands(a, voted) {
    const last = (a.events ?? []).at(-1) ?? {};
    const it = [value(a.action_type), " on ", value(a.target)];
    const missing = a.approvals_needed - (a.approvers ?? []).length;
    switch (a.status) {
      case "released": {
        const begun = Date.parse(a.valid_until) <= now();
        return ["good", [begun ? "It was released" : `Released until ${moment(a.valid_until)}`],
          [...it, begun ? ` could be started until ${moment(a.valid_until)}; that has passed.` : " may be started now, and not after that."],
          ["The last yes was that of ", value(a.released_by), "."]];
      }
      case "denied": return ["bad", ["Denied"], [...it, " must not run. ", value(a.closed_by), " said no."]];
      case "refused": return ["bad", ["Approved, but refused by the gate"], [...it, " must not run. ", words(last.rationale)]];
      case "expired": return ["bad", ["Time has run out"], [...it, " must not run: not enough people said yes until ", moment(a.expires_at), "."]];
      case "cancelled": return ["", ["Taken back"], ["Who asked for ", ...it, " has taken it back. It must not run."]];
    }
    if (!voted) return null;
    return ["", [missing === 1 ? "Your yes counts; one more person must approve" : `Your yes counts; ${missing} more people must approve`],
      [...it, " is not released yet. It waits until ", moment(a.expires_at), "."]];
  }

  // Showing.

  const now = () => Date.now() + ahead;

  function notice(box, className, ...lines) {
    box.className = `notice ${className}`;
    box.replaceChildren(...lines.filter((l) => l.length > 0).map((l) => element("p", "", ...l)));
  }

  const quiet = () => { notice($("said"), ""); notice($("trouble"), "bad"); };

  function complain(...lines) {
    notice($("trouble"), "bad", ...lines.map((l) => (l ? [words(l)] : [])));
    $("trouble").scrollIntoView({ block: "nearest" });
  }

  // fault says below a field what is wrong with it; "" takes it back.
  function fault(field, what) {
    field.removeAttribute("aria-invalid");
    $(`${field.id}-fault`).textContent = what;
    if (!what) return;
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }

  function list(box, rows) {
    box.replaceChildren(...rows.filter(([, v]) => [v].flat().length > 0)
      .flatMap(([k, v]) => [element("dt", "", k), element("dd", "", ...[v].flat())]));
  }

  const given = (v, show) => (text(v) === "" ? [] : [show(v)]);

  const kinds = {
    opened: "asked for it", joined: "asked for the same", approve: "said yes", deny: "said no", cancelled: "took it back",
    expired: "time ran out", released: "it was released", refused: "the gate refused it",
  };
  const byTheGate = ["expired", "released", "refused"];

  function step(e) {
    const what = Object.hasOwn(kinds, e.kind) ? kinds[e.kind] : text(e.kind);
    const who = byTheGate.includes(e.kind) ? [] : [value(e.person), e.principal === e.person ? "" : ["with the credential ", value(e.principal)]].flat();
    const li = element("li", "", moment(e.at), " · ", ...who, " ", visible(what));
    if (text(e.comment)) li.append(": ", element("q", "words", visible(text(e.comment))));
    if (text(e.rationale) && byTheGate.includes(e.kind)) li.append(": ", words(e.rationale));
    return li;
  }

  function parameters(v) {
    if (v === undefined || v === null) return [];
    const pre = element("pre", "", visible(JSON.stringify(v, null, 2), { keep: "\n" }));
    pre.tabIndex = 0; // it may scroll
    return [pre];
  }

  function show() {
    const a = shown, d = a.decision ?? {}, yes = a.approvers ?? [];
    $("radius").replaceChildren(element("span", ["HIGH", "CRITICAL"].includes(a.blast_radius) ? "grave" : "", "Blast radius ", words(a.blast_radius)));
    $("action").replaceChildren(visible(text(a.action_type)));
    $("does").replaceChildren(words(a.does));
    $("target").replaceChildren(visible(text(a.target), { exact: true }));
    $("foreign").textContent = foreign(text(a.target));
    $("foreign").hidden = $("foreign").textContent === "";
    const asked = (a.requesters ?? []).length ? a.requesters : [a.requester];
    list($("facts"), [
      ["Parameters", parameters(a.parameters)],
      ["Asked by", people(asked)],
      ["For", text(d.actor) === "system" ? [] : given(d.actor, value)],
      ["Incident", given(d.incident_id, value)],
      ["Confidence", given(d.confidence, words)],
      ["Why it waits", given(d.rationale, words)],
      ["How it is undone", given(d.rollback, words)],
      ["Approved", [`${yes.length} of ${a.approvals_needed} who must`, ...(yes.length ? [": ", ...people(yes)] : [])]],
    ]);
    list($("record"), [
      ["Tenant", value(a.tenant_id)], ["Approval", value(a.id)], ["Decision", value(a.decision_id)],
      ["Action digest", value(a.action_digest)], ["Asked with", given(d.principal, value)], ["Policy", given(d.policy?.bundle_hash, value)],
      ["Opened", moment(a.opened_at)], ["Answered until", moment(a.expires_at)],
    ]);
    $("events").replaceChildren(...(a.events ?? []).map(step));
    $("token-form").hidden = true;
    $("approval").hidden = false;
    lapsed = a.status === "released" && Date.parse(a.valid_until) <= now();
    tick();
  }

  function tick() {
    if (!shown) return;
    const pending = shown.status === "pending", left = Date.parse(shown.expires_at) - now(), start = Date.parse(shown.valid_until) - now();
    $("vote-form").hidden = !pending || left <= 0;
    if (pending) $("clock").textContent = left > 0 ? `${span(left)} left to answer` : "Time has run out; an answer does not count any more.";
    else $("clock").textContent = shown.status === "released" && start > 0 ? `${span(start)} left to start it` : "";
    if (shown.status === "released" && start <= 0 && !lapsed) {
      lapsed = true;
      notice($("said"), ...stands(shown, false));
    }
  }

  // Doing.

  // busy runs one request at a time; what the network did not tell is said.
  async function busy(voted, work) {
    const focused = document.activeElement;
    const buttons = [...document.querySelectorAll("button")].filter((b) => !b.disabled);
    buttons.forEach((b) => { b.disabled = true; });
    try {
      await work();
    } catch (e) {
      complain(e instanceof Unreachable ? "The gate could not be reached" : "This page failed",
        voted ? "Whether your answer was taken is not known: look again before you answer again." : "Nothing was changed. Try again.");
      if (!(e instanceof Unreachable)) throw e;
    } finally {
      buttons.forEach((b) => { b.disabled = false; });
      if (document.activeElement === document.body) focused.focus(); // a disabled button had lost it
    }
  }

  function forget(...why) {
    clearTimeout(idleTimer);
    token = "";
    shown = null;
    $("token").value = "";
    $("comment").value = "";
    $("confirm").close();
    $("approval").hidden = true;
    $("token-form").hidden = !link.good;
    if (why.length) complain(...why);
    if (link.good) $("token").focus();
  }

  function touch() {
    clearTimeout(idleTimer);
    if (token) idleTimer = setTimeout(() => forget("Your token was forgotten", "Nobody touched the page for ten minutes."), idle);
  }

  // load takes the approval as it stands, and what the policy says that its
  // action does. It tells why where it cannot.
  async function load() {
    const got = await call("GET", approvalPath());
    if (got.status === 401) return forget(...explain(got, false));
    if (!got.ok) return complain(...explain(got, false));
    if (got.answer.id !== link.id || got.answer.tenant_id !== link.tenant) return complain("The gate answered about another approval", "Nothing is shown. Tell whoever runs it.");
    const table = await call("GET", "/actions");
    const action = table.ok && (table.answer.actions ?? []).find((x) => x.action_type === got.answer.action_type);
    const unknown = table.ok ? "The policy does not know this action type, so it counts as CRITICAL." : "";
    $("token").value = "";
    shown = { ...got.answer, does: action ? action.description : unknown };
    show();
    return true;
  }

  const look = (first) => busy(false, async () => {
    quiet();
    if (!await load()) return;
    const where = stands(shown, false);
    if (where) notice($("said"), ...where);
    if (first) $("action").focus();
  });

  const vote = (verdict, comment) => busy(true, async () => {
    quiet();
    const got = await call("POST", `${approvalPath()}/${verdict}`, { comment });
    if (got.status === 401) return forget(...explain(got, true));
    if (!got.ok) {
      const why = explain(got, true);
      if (got.status === 409) await load(); // it moved; show where it is now
      return complain(...why);
    }
    const steps = await call("GET", approvalPath()).catch(() => null); // a vote's answer has none
    shown = { ...shown, ...(steps?.ok ? steps.answer : got.answer) };
    notice($("said"), ...stands(shown, true));
    $("comment").value = "";
    show();
    $("said").focus();
  });

  // readComment is what is to be kept with the answer, or "" and a complaint.
  function readComment() {
    const field = $("comment");
    const comment = field.value.replace(/[\s\p{Cc}]+/gu, " ").trim(); // the API takes one line
    const long = new TextEncoder().encode(comment).length > maxComment;
    fault(field, comment === "" ? "Say why, for a yes as well as for a no." : long ? `The comment is too long: it may have ${maxComment} bytes.` : "");
    return long ? "" : comment;
  }

  function askAgain() {
    if (!readComment()) return;
    quiet();
    const missing = shown.approvals_needed - (shown.approvers ?? []).length - 1;
    $("confirm-action").replaceChildren(element("strong", "value", visible(text(shown.action_type))), shown.does ? ": " : "", words(shown.does));
    $("confirm-target").replaceChildren(visible(text(shown.target), { exact: true }));
    $("confirm-then").replaceChildren("Blast radius ", words(shown.blast_radius), ", tenant ", value(shown.tenant_id), ". ",
      missing > 0 ? (missing === 1 ? "After you, one more person must approve." : `After you, ${missing} more people must approve.`)
        : "With your yes the gate decides again, and unless it is blocked or stopped by now, it may run at once.");
    $("confirm").showModal();
  }

  $("link-form").addEventListener("submit", (e) => {
    e.preventDefault();
    const tenant = $("tenant").value.trim(), id = $("id").value.trim().toLowerCase();
    fault($("id"), idShape.test(id) ? "" : "That is no approval id. It looks like 01a212e6-755f-7000-8000-000000000000.");
    fault($("tenant"), tenantShape.test(tenant) ? "" : "That is no tenant: lower-case letters, digits, dot, dash and underscore.");
    if (tenantShape.test(tenant) && idShape.test(id)) location.hash = new URLSearchParams({ tenant, id });
  });
  $("token-form").addEventListener("submit", (e) => {
    e.preventDefault();
    const typed = $("token").value.trim();
    quiet();
    const sound = /^[\x20-\x7e]+$/.test(typed);
    fault($("token"), sound ? "" : typed ? "That is no token: it has letters, digits and signs of ASCII only." : "Your token is missing.");
    if (!sound) return;
    token = typed;
    touch();
    look(true);
  });
  $("approve").addEventListener("click", askAgain);
  $("deny").addEventListener("click", () => { const comment = readComment(); if (comment) vote("deny", comment); });
  $("no").addEventListener("click", () => $("confirm").close());
  $("yes").addEventListener("click", () => { const comment = readComment(); $("confirm").close(); if (comment) vote("approve", comment); });
  $("again").addEventListener("click", () => look(false));
  $("forget").addEventListener("click", () => { quiet(); forget(); });
  $("vote-form").addEventListener("submit", (e) => e.preventDefault());

  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, touch);
  // Another link in the same tab, and a page that comes back from the browser's
  // memory, begin anew: no token outlives the approval that it was typed for.
  addEventListener("hashchange", () => location.reload());
  addEventListener("pagehide", () => forget());
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
  setInterval(tick, 500);

  $("cleartext").hidden = isSecureContext;
  if (link.good) {
    $("for-tenant").textContent = ` · ${link.tenant}`;
  } else if (location.hash.length > 1) {
    complain("This link names no approval", "It may have been cut or changed on the way. Fill in what you know.");
    $("tenant").value = tenantShape.test(link.tenant) ? link.tenant : "";
    $("id").value = idShape.test(link.id) ? link.id : "";
  }
  $("link-form").hidden = link.good;
  $("token-form").hidden = !link.good;
  $(link.good ? "token" : "tenant").focus();
})();
