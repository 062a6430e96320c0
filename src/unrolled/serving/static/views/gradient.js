// Gradient: how far the loss reaches back in what was read, what that means, and why.

import * as api from "../api.js";
import { doublingHistogram, lagChart, shareBars } from "../charts.js";
import { partName } from "../controls.js";
import { h, oneAtATime } from "../dom.js";
import { capital, signalName, t, unitsOf } from "../i18n.js";
import { forget } from "../scales.js";
import { isHeard, question, readsTheSame, run, state, watch } from "../store.js";
import { sayMeasured, sayVerdict } from "../verdict.js";

export function gradient(root, { signal, report }) {
  const one = run();
  const chart = h("div");
  const verdict = h("div", { class: "verdict", role: "status" });
  const saturation = h("div", { class: "column" });
  const constants = h("div", { class: "column" });
  const verdictCard = h("section", { class: "card" }, h("h2", null, t("verdict_title")), verdict);
  const constantsCard = h("section", { class: "card", hidden: true }, h("h2", null, t("constants")),
    h("p", { class: "soft hint" }, t("constants_hint", { gate: one.keeps })), constants);
  const saturationCard = h("section", { class: "card", hidden: true }, h("h2", null, t("saturation")),
    h("p", { class: "soft hint" }, t("saturation_hint")), saturation);
  const others = state.runs.filter((other) => other.name !== one.name && readsTheSame(other, one));
  let everyone = false;
  const all = h("label", { class: "check" },
    h("input", {
      type: "checkbox", id: "all-runs",
      onchange(event) {
        everyone = event.target.checked;
        load();
      },
    }), t("all_runs"));
  const readsBothWays = one.parts.some((part) => part.reverse);
  root.replaceChildren(
    h("div", { class: "two wide-left" },
      h("div", { class: "column" },
        h("section", { class: "card" },
          h("div", { class: "card-head" }, h("h1", null, t("reach_title")), others.length ? all : null),
          h("p", { class: "soft hint" }, [t("reach_hint"), readsBothWays ? t("reach_forwards") : ""].join(" ")),
          chart),
        constantsCard),
      h("div", { class: "column" }, verdictCard, saturationCard)));

  const load = oneAtATime(async () => {
    const names = [one.name, ...(everyone ? others.map((other) => other.name) : [])];
    chart.classList.add("waiting");
    if (!chart.firstChild) chart.replaceChildren(h("p", { class: "soft" }, t("computing")));
    try {
      const answers = await Promise.all(names.map((name) => api.gradient(question(name))));
      if (one.characters !== null && !isHeard(state.text)) await api.read(question()); // what is passed over is said
      if (signal.aborted) return;
      report(null);
      show(answers, names);
    } catch (error) {
      if (signal.aborted) return;
      report(error);
      fail(error.code === "option");
    } finally {
      chart.classList.remove("waiting");
    }
  });

  /** Shows nothing; why, if what is read is too short. */
  function fail(isTooShort) {
    chart.replaceChildren(isTooShort ? h("p", { class: "soft" }, t("too_short")) : "");
    verdictCard.hidden = saturationCard.hidden = constantsCard.hidden = true;
  }

  function linesOf(answer, name, series) {
    const states = Object.keys(answer.reach).filter((key) => key !== "x"); // what a layer reads
    const keys = states.length ? states : ["x"];
    if (everyone) { // one line a run: the state that carries farthest
      const key = answer.verdict?.state ?? keys[0];
      return [{ label: name, values: answer.reach[key][answer.verdict?.layer ?? 0], series }];
    }
    const several = answer.reach[keys[0]].length > 1;
    return keys.flatMap((key, i) => answer.reach[key].map((values, layer) => ({
      label: several ? `${key} · ${t("layer").toLocaleLowerCase()} ${layer + 1}` : key, values, series: i + 2 * layer,
    })));
  }

  const titled = (part, element) => h("div", null, one.parts.length > 1 ? h("h3", null, titleOf(part)) : null, element);
  const titleOf = (part) => (one.parts.at(-1).layer ? `${t("layer")} ${partName(part, one)}` : capital(partName(part, one)));

  function show(answers, names) {
    const [own] = answers;
    const lines = answers.flatMap((answer, i) => linesOf(answer, names[i], i));
    const cuts = new Set(answers.map((answer) => answer.measured?.cut ?? null));
    const [lag] = cuts;
    const cut = cuts.size === 1 && lag !== null ? { lag, label: t("training_cut", { lag }) } : null;
    chart.replaceChildren(lagChart({ lines, cut, xTitle: capital(t("reach_x")), yTitle: t("reach_y"), label: t("reach_title") }));
    const judged = answers.map((answer, i) => [everyone ? names[i] : null, answer.verdict]).filter(([, each]) => each);
    verdictCard.hidden = !judged.length;
    verdict.replaceChildren(...judged.map(([name, each]) => sayVerdict(each, name)), sayMeasured(own.measured));
    saturationCard.hidden = !own.saturation.some((gates) => Object.keys(gates).length);
    saturation.replaceChildren(...own.saturation.map((gates, k) => titled(one.parts[k], h("div", null,
      h("div", { class: "shares-head soft" }, h("span", null, t("shut")), h("span", null, t("wide"))),
      shareBars(Object.entries(gates).map(([name, [low, high]]) => ({ name: signalName(name), low, high })), { shut: t("shut"), wide: t("wide") })))));
    constantsCard.hidden = !own.time_constants.length;
    constants.replaceChildren(...own.time_constants.map((values, k) => titled(one.parts[k],
      doublingHistogram(values, { xTitle: capital(unitsOf()), yTitle: t("units_title"), label: [t("constants"), one.parts.length > 1 ? titleOf(one.parts[k]) : ""].join(" ").trim() }))));
  }

  watch((changed) => {
    if (changed.has("theme")) forget();
    if (changed.has("text")) load();
  }, signal);
  load();
  return { step: () => false };
}
